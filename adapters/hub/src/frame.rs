//! Server-to-client frames as bytes (RFC 6455, section 5.2). They carry no mask, so every recipient
//! of a message shares them.

use std::sync::Arc;

use parlor_core::encode::encode_into;
use parlor_core::{CloseReason, ServerMessage};

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
    let mut bytes = vec![0; HEAD_BYTES];
    bytes.extend_from_slice(payload);
    finish(opcode, &mut bytes)
}

/// The text frame for `message`, written in `scratch`, whose memory serves the next one.
pub(crate) fn text_frame(message: &ServerMessage, scratch: &mut Vec<u8>) -> Frame {
    scratch.clear();
    scratch.resize(HEAD_BYTES, 0);
    encode_into(message, scratch);
    finish(Opcode::Text, scratch)
}

/// The longest head of a frame without a mask.
const HEAD_BYTES: usize = 10;

/// Puts the head right before the payload, which stands behind the first [`HEAD_BYTES`].
fn finish(opcode: Opcode, bytes: &mut [u8]) -> Frame {
    const FIN: u8 = 0x80;
    let len = bytes.len() - HEAD_BYTES;
    let head = &mut bytes[..HEAD_BYTES];
    let start = match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..126), _) => {
            head[9] = short;
            8
        }
        (_, Ok(medium)) => {
            head[7] = 126;
            head[8..].copy_from_slice(&medium.to_be_bytes());
            6
        }
        (_, Err(_)) => {
            head[1] = 127;
            head[2..].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    };
    head[start] = FIN | opcode as u8;
    bytes[start..].into()
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
    use parlor_core::Timestamp;
    use parlor_core::protocol::Pong;

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
    fn a_text_frame_holds_the_message_as_the_core_encodes_it() {
        let message = ServerMessage::Pong(Pong {
            time: Timestamp(7),
            reference: None,
        });
        let mut scratch = b"what was here before".to_vec();
        let json = parlor_core::encode::encode(&message);
        assert_eq!(
            text_frame(&message, &mut scratch),
            frame(Opcode::Text, &json)
        );
    }

    #[test]
    fn every_close_fits_into_a_control_frame() {
        for &reason in CloseReason::ALL {
            assert!(close_frame(reason).len() <= 2 + 125, "{reason:?}");
        }
    }
}
