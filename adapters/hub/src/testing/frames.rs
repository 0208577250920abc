//! What a client sees of the frames that the hub writes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::outlet::Outlet;

/// One frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of the protocol, in JSON.
    Text(String),
    /// It asks for a sign of life.
    Ping,
    /// It answers one.
    Pong,
    /// It closes the connection, with this code.
    Close(u16),
}

/// The far end of a connection that takes whatever comes.
#[derive(Clone, Debug, Default)]
pub(super) struct Mailbox(Arc<Mutex<Vec<u8>>>);

impl Mailbox {
    /// Takes out every whole frame.
    pub(super) fn take(&self) -> Vec<Received> {
        let mut bytes = self.bytes();
        let mut frames = Vec::new();
        let mut read = 0;
        while let Some((frame, len)) = first(&bytes[read..]) {
            frames.push(frame);
            read += len;
        }
        bytes.drain(..read);
        frames
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Mailbox {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bytes().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn finish(&mut self) {}

    fn abort(&mut self) {}
}

/// The first frame and its length, if it is whole (RFC 6455, section 5.2). The hub writes whole
/// messages, unmasked.
fn first(bytes: &[u8]) -> Option<(Received, usize)> {
    let (&[head, len], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match len {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let payload = rest.get(..len)?;
    let frame = match head & 0x0f {
        0x8 => {
            let code = payload.split_first_chunk().map(|(code, _)| *code);
            // RFC 6455, section 7.1.5: 1005 stands for none.
            Received::Close(code.map_or(1005, u16::from_be_bytes))
        }
        0x9 => Received::Ping,
        0xa => Received::Pong,
        _ => Received::Text(String::from_utf8_lossy(payload).into_owned()),
    };
    Some((frame, bytes.len() - rest.len() + len))
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use parlor_core::CloseReason;

    use super::*;
    use crate::frame::{Opcode, close_frame, frame};

    #[test]
    fn every_frame_of_the_hub_is_read_whatever_its_length_and_pieces() {
        let mut mailbox = Mailbox::default();
        let texts = [0, 1, 125, 126, 127, 65_535, 65_536].map(|len| "x".repeat(len));
        let mut all: Vec<u8> = Vec::new();
        for text in &texts {
            all.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
        }
        all.extend_from_slice(&frame(Opcode::Ping, b"p"));
        // A pong, which tungstenite makes.
        all.extend([0x8a, 0]);
        all.extend_from_slice(&close_frame(CloseReason::Slow));
        let mut received = Vec::new();
        for piece in all.chunks(1000) {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(mailbox.poll_write(&mut cx, piece).is_ready());
            received.extend(mailbox.take());
        }
        let mut expected: Vec<Received> = texts.map(Received::Text).into();
        expected.extend([Received::Ping, Received::Pong, Received::Close(4000)]);
        assert_eq!(received, expected);
    }
}
