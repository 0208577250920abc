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
/// Bytes that a peer may make the server read before others have their turn, whatever they are: a
/// few large messages take as long as many small ones, and endless fragments are no message at all.
const TURN_BYTES: usize = 16 << 10;
/// So many times the size of the largest message may an unfinished one take on the wire. A fragment
/// has 6 bytes of its own, so this is for fragments that carry 6 or more, and for messages of up to
/// 18 KiB byte by byte. It ends those that carry nothing, which neither the bound of a message nor
/// flood control sees.
const WIRE_FACTOR: usize = 2;

/// What comes from a peer.
pub(super) enum Incoming {
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
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Control => "control",
            Self::Reply(_) => "reply",
            Self::End(_) => "end",
        }
    }
}

pub(super) struct WebSocket<R> {
    inner: WebSocketStream<Collecting<R>>,
    /// What was read when a reply had to go first.
    next: Option<Incoming>,
    /// Bytes that an unfinished message may take on the wire.
    most_unfinished: usize,
}

impl<R: AsyncRead + Unpin> WebSocket<R> {
    /// Takes over a stream behind its handshake, with what was `read` of it already.
    pub(super) async fn new(stream: R, read: Vec<u8>, most_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 10) // control frames only
            .max_message_size(Some(most_bytes))
            .max_frame_size(Some(most_bytes));
        let stream = Collecting {
            stream,
            turn: TURN_BYTES,
            unfinished: read.len(),
            written: Vec::new(),
        };
        let role = Role::Server;
        let inner = WebSocketStream::from_partially_read(stream, read, role, Some(config)).await;
        // What is read may belong to the message behind it.
        let most_unfinished = most_bytes.saturating_mul(WIRE_FACTOR) + READ_BYTES;
        Self {
            inner,
            next: None,
            most_unfinished,
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(next);
        }
        let polled = Pin::new(&mut self.inner).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(message))) => self.inner.get_mut().finish(message),
            Poll::Ready(Some(Err(_)) | None) => {}
            Poll::Pending if self.inner.get_ref().unfinished > self.most_unfinished => {
                return Poll::Ready(Incoming::End(Some(CloseReason::TooBig)));
            }
            Poll::Pending => {}
        }
        let polled = polled.map(incoming);
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
    /// Bytes read that no message was made of yet.
    unfinished: usize,
    written: Vec<u8>,
}

impl<R> Collecting<R> {
    /// Counts what was made a message as such.
    fn finish(&mut self, message: &Message) {
        /// The head of a control frame: it may stand between the fragments of a message, and is not
        /// what finishes that.
        const HEAD_BYTES: usize = 6;
        match message {
            Message::Text(_) | Message::Binary(_) => self.unfinished = 0,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                let counted = message.len() + HEAD_BYTES;
                self.unfinished = self.unfinished.saturating_sub(counted);
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Collecting<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.turn == 0 {
            self.turn = TURN_BYTES;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buf.len().min(self.turn);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf[..most]))?;
        self.turn -= read;
        self.unfinished += read;
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
    use std::iter;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    const BEGINS: [u8; 6] = [0x01, 0x80, 0, 0, 0, 0];
    const GOES_ON: [u8; 6] = [0x00, 0x80, 0, 0, 0, 0];
    const ENDS: [u8; 6] = [0x80, 0x80, 0, 0, 0, 0];
    const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];
    const PING: [u8; 7] = [0x89, 0x81, 0, 0, 0, 0, b'p'];
    const TEXT: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b't'];
    const MOST_BYTES: usize = 16 << 10;

    /// What a peer sent so far, all of which has arrived.
    struct Sent(Vec<u8>);

    impl AsyncRead for Sent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let most = buf.len().min(self.0.len());
            if most == 0 {
                return Poll::Pending;
            }
            buf[..most].copy_from_slice(&self.0[..most]);
            self.0.drain(..most);
            Poll::Ready(Ok(most))
        }
    }

    fn with_sent(bytes: &[u8]) -> WebSocket<Sent> {
        let sent = Sent(bytes.to_vec());
        block_on(WebSocket::new(sent, Vec::new(), MOST_BYTES))
    }

    fn fragments(bytes: usize) -> Vec<u8> {
        [&BEGINS[..], &GOES_ON.repeat(bytes / GOES_ON.len())].concat()
    }

    /// What a turn brings; none if it ends before it brings anything.
    fn turn(socket: &mut WebSocket<Sent>) -> Option<Incoming> {
        block_on(poll_once(poll_fn(|cx| socket.poll_next(cx))))
    }

    #[test]
    fn endless_fragments_leave_others_their_turn() {
        let mut socket = with_sent(&fragments(2 * TURN_BYTES));
        for turns in 1..=2 {
            assert!(turn(&mut socket).is_none(), "there is no message in it");
            let read = socket.inner.get_ref().unfinished;
            assert_eq!(read, turns * TURN_BYTES, "though more was there");
        }
    }

    #[test]
    fn messages_leave_others_their_turn() {
        // An unfragmented text of 5,002 spaces.
        let text = [&[0x81, 0xFE, 0x13, 0x8A, 0, 0, 0, 0][..], &[b' '; 5002]].concat();
        // Together they are more than one may be.
        let all = 2 * (MOST_BYTES + TURN_BYTES) / text.len();
        let mut socket = with_sent(&text.repeat(all));
        let mut turns = iter::repeat_with(|| {
            let read = iter::repeat_with(|| turn(&mut socket)).map_while(|read| read);
            read.filter(|read| matches!(read, Incoming::Text(_)))
                .count()
        });
        let texts: Vec<usize> = turns.by_ref().take(4).collect();
        let least = TURN_BYTES / text.len();
        assert!(texts.iter().all(|&texts| texts <= least + 1), "{texts:?}");
        assert_eq!(texts.iter().sum::<usize>(), all, "{texts:?}");
    }

    #[test]
    fn a_message_is_too_big_on_the_wire_even_if_it_says_nothing() {
        let most = 2 * MOST_BYTES;
        // Pongs between the fragments neither count nor help.
        let pongs = PONG.repeat(2000);
        for (bytes, is_read) in [
            ([fragments(most - 6), ENDS.to_vec()].concat(), true),
            (
                [&pongs[..], &fragments(most - 6), &pongs, &ENDS].concat(),
                true,
            ),
            (fragments(most + 2 * READ_BYTES), false),
            (
                [
                    fragments(most),
                    pongs,
                    fragments(2 * READ_BYTES)[6..].to_vec(),
                ]
                .concat(),
                false,
            ),
        ] {
            let mut socket = with_sent(&bytes);
            let is_last = |read: &Incoming| matches!(read, Incoming::Text(_) | Incoming::End(_));
            let turns = iter::repeat_with(|| turn(&mut socket)).take(1 << 13);
            let last = turns.flatten().find(is_last);
            match last {
                Some(Incoming::Text(text)) => assert!(is_read && text.is_empty()),
                Some(Incoming::End(reason)) => {
                    assert!(!is_read);
                    assert_eq!(reason, Some(CloseReason::TooBig));
                }
                _ => panic!("neither read nor refused"),
            }
        }
    }

    #[test]
    fn an_unfinished_message_may_take_so_much_and_not_a_byte_more() {
        let most = 2 * MOST_BYTES + READ_BYTES;
        let begun = fragments(most - BEGINS.len());
        assert_eq!(begun.len(), most);
        for (end, is_read) in [(&ENDS[..], true), (&GOES_ON, false)] {
            let mut socket = with_sent(&begun);
            for _ in 0..=most / TURN_BYTES {
                assert!(turn(&mut socket).is_none());
            }
            assert_eq!(socket.inner.get_ref().unfinished, most);
            socket.inner.get_mut().stream.0.extend(end);
            match turn(&mut socket) {
                Some(Incoming::Text(text)) => assert!(is_read && text.is_empty()),
                Some(Incoming::End(reason)) => {
                    assert!(!is_read);
                    assert_eq!(reason, Some(CloseReason::TooBig));
                }
                _ => panic!("neither read nor refused"),
            }
        }
    }

    #[test]
    fn a_ping_is_answered_before_what_comes_behind_it() {
        let mut socket = with_sent(&[&PING[..], &TEXT].concat());
        assert!(matches!(turn(&mut socket), Some(Incoming::Control)));
        let Some(Incoming::Reply(pong)) = turn(&mut socket) else {
            panic!("a ping has an answer");
        };
        assert_eq!(pong, [0x8A, 0x01, b'p']);
        assert!(matches!(turn(&mut socket), Some(Incoming::Text(text)) if text == "t"));
        assert!(turn(&mut socket).is_none());
    }

    #[test]
    fn who_breaks_the_protocol_is_told_how() {
        let too_big = [
            &[0x81, 0xFF][..],
            &(MOST_BYTES as u64 + 1).to_be_bytes(),
            &[0; 4],
        ]
        .concat();
        for (bytes, reason) in [
            (&[0x81, 0x01, b't'][..], CloseReason::ProtocolError),
            (&[0x81, 0x81, 0, 0, 0, 0, 0xFF], CloseReason::InvalidUtf8),
            (&too_big, CloseReason::TooBig),
        ] {
            let Some(Incoming::End(told)) = turn(&mut with_sent(bytes)) else {
                panic!("{reason:?} ends the connection");
            };
            assert_eq!(told, Some(reason));
        }
    }
}
