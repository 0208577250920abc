//! Server-to-client frames as bytes (RFC 6455, section 5.2). They carry no mask, so every recipient
//! of a message shares them.

use std::sync::Arc;

use parlor_core::CloseReason;

/// One whole frame, built once and queued by reference.
pub type Frame = Arc<[u8]>;

/// The kinds of frames that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Text in UTF-8.
    Text = 0x1,
    /// Bytes. The chat sends none.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// Asks for a sign of life.
    Ping = 0x9,
}

/// A frame that is a whole message.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Frame {
    const FIN: u8 = 0x80;
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    bytes.push(FIN | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            bytes.push(127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// The close frame for `reason`.
#[must_use]
pub fn close_frame(reason: CloseReason) -> Frame {
    let mut payload = reason.code().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.text().as_bytes());
    frame(Opcode::Close, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_as_many_bytes_as_it_needs() {
        for (len, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (255, &[0x81, 126, 0, 255]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let built = frame(Opcode::Text, &vec![b'x'; len]);
            assert_eq!(&built[..head.len()], head, "{len}");
            assert_eq!(built.len(), parlor_core::encode::frame_bytes(len));
        }
    }

    #[test]
    fn every_close_fits_into_a_control_frame() {
        for &reason in CloseReason::ALL {
            assert!(close_frame(reason).len() <= 2 + 125, "{reason:?}");
        }
    }
}
