//! The reading half of a WebSocket: handshake behind it, tungstenite unmasks, joins fragments and
//! checks UTF-8. What tungstenite wants to write itself (pongs, the answer to a close) is collected,
//! so that the hub alone writes to the socket.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use futures_lite::{AsyncRead, AsyncWrite, Stream};
use parlor_core::CloseReason;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Message, Utf8Bytes};

/// Bytes that are read at once: tungstenite zeroes as many before every read, and an idle
/// connection keeps them.
const READ_BYTES: usize = 4 << 10;
/// Bytes that a peer may make the server read before others have their turn, if they make no
/// message: endless empty fragments, for one.
const TURN_BYTES: usize = 16 << 10;

/// What comes from a peer.
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A ping or pong.
    Control,
    /// Frames that the WebSocket wants to write.
    Reply(Vec<u8>),
    /// The end: with a reason when the peer broke the protocol and is to be told so.
    End(Option<CloseReason>),
}

impl Incoming {
    /// For logs, which never hold what was said.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Control => "control",
            Self::Reply(_) => "reply",
            Self::End(_) => "end",
        }
    }
}

pub(crate) struct WebSocket<R> {
    inner: WebSocketStream<Collecting<R>>,
    /// What was read when a reply had to go first.
    next: Option<Incoming>,
}

impl<R: AsyncRead + Unpin> WebSocket<R> {
    /// Takes over a stream behind its handshake, with what was `read` of it already.
    pub(crate) async fn new(stream: R, read: Vec<u8>, most_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 10) // control frames only
            .max_message_size(Some(most_bytes))
            .max_frame_size(Some(most_bytes));
        let stream = Collecting {
            stream,
            turn: TURN_BYTES,
            written: Vec::new(),
        };
        let role = Role::Server;
        let inner = WebSocketStream::from_partially_read(stream, read, role, Some(config)).await;
        Self { inner, next: None }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(next);
        }
        self.inner.get_mut().turn = TURN_BYTES;
        let polled = Pin::new(&mut self.inner).poll_next(cx).map(incoming);
        // tungstenite writes its reply to what it read before at the next read.
        let written = mem::take(&mut self.inner.get_mut().written);
        if written.is_empty() {
            return polled;
        }
        if let Poll::Ready(next) = polled {
            self.next = Some(next);
        }
        Poll::Ready(Incoming::Reply(written))
    }
}

fn incoming(read: Option<Result<Message, Error>>) -> Incoming {
    match read {
        Some(Ok(Message::Text(text))) => Incoming::Text(text),
        Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
        // After a close tungstenite still has to write its answer; then comes the end.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {
            Incoming::Control
        }
        Some(Err(error)) => Incoming::End(fault(&error)),
        None => Incoming::End(None),
    }
}

/// The close reason for what a peer did wrong; none if it is merely gone. tungstenite itself sends
/// no close frame on errors.
fn fault(error: &Error) -> Option<CloseReason> {
    match error {
        Error::Capacity(_) => Some(CloseReason::TooBig),
        Error::Utf8(_) => Some(CloseReason::InvalidUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) | Error::AttackAttempt => Some(CloseReason::ProtocolError),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => None,
    }
}

/// A stream to read from, and a buffer to write to.
struct Collecting<R> {
    stream: R,
    /// Bytes that may still be read in this turn.
    turn: usize,
    written: Vec<u8>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Collecting<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.turn == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buf.len().min(self.turn);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf[..most]))?;
        self.turn -= read;
        Poll::Ready(Ok(read))
    }
}

impl<R: Unpin> AsyncWrite for Collecting<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream as StdStream};

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::socket::Sockets;

    #[test]
    fn endless_fragments_leave_others_their_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let begin = [0x01, 0x80, 0, 0, 0, 0];
        let go_on = [0x00, 0x80, 0, 0, 0, 0];
        peer.write_all(&begin).unwrap();
        peer.write_all(&go_on.repeat(2 * TURN_BYTES / go_on.len()))
            .unwrap();
        let mut waiting = vec![0; TURN_BYTES + 1];
        while accepted.peek(&mut waiting).unwrap() < waiting.len() {}

        let stream = smol::net::TcpStream::try_from(accepted).unwrap();
        let stream = Sockets::new().unwrap().adopt(stream).unwrap();
        let mut socket = block_on(WebSocket::new(stream, Vec::new(), 1 << 20));
        let read = block_on(poll_once(poll_fn(|cx| socket.poll_next(cx))));
        assert!(read.is_none(), "there is no message in it");
        assert_eq!(
            socket.inner.get_ref().turn,
            0,
            "it stopped, though more was there"
        );
    }
}
