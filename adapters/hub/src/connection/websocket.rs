//! The reading half of a WebSocket: handshake behind it, tungstenite unmasks, joins fragments and
//! checks UTF-8. What tungstenite wants to write itself (pongs, the answer to a close) is collected,
//! so that the hub alone writes to the socket. It is there only while a peer has something to say:
//! most of them are silent most of the time, and its buffer would be most of what they take.

use std::io::{self, Read, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::AsyncRead;
use parlor_core::CloseReason;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Message, Utf8Bytes};

/// Bytes that are read at once: tungstenite zeroes as many before every read.
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
    stream: Collecting<R>,
    /// None while it would hold nothing of the peer's.
    tungstenite: Option<Box<WebSocketContext>>,
    /// What was read when a reply had to go first.
    next: Option<Incoming>,
    /// Bytes that a message may have.
    most_bytes: usize,
}

impl<R: AsyncRead + Unpin> WebSocket<R> {
    /// Takes over a stream behind its handshake, with what was `read` of it already.
    pub(super) fn new(stream: R, read: Vec<u8>, most_bytes: usize) -> Self {
        let stream = Collecting {
            stream,
            turn: TURN_BYTES,
            unfinished: read.len(),
            held: read.len(),
            written: Vec::new(),
        };
        let tungstenite = (!read.is_empty()).then(|| tungstenite(read, most_bytes));
        Self {
            stream,
            tungstenite,
            next: None,
            most_bytes,
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(next);
        }
        let new = || tungstenite(Vec::new(), self.most_bytes);
        let tungstenite = self.tungstenite.get_or_insert_with(new);
        let stream = &mut self.stream;
        let polled = match tungstenite.read(&mut Polled { stream, cx }) {
            Ok(message) => {
                self.stream.finish(&message);
                Poll::Ready(incoming(message))
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.stream.unfinished > self.most_unfinished() {
                    return Poll::Ready(Incoming::End(Some(CloseReason::TooBig)));
                }
                if self.stream.held == 0 {
                    self.tungstenite = None;
                }
                Poll::Pending
            }
            Err(error) => Poll::Ready(Incoming::End(fault(&error))),
        };
        // tungstenite writes its reply to what it read before at the next read.
        let written = mem::take(&mut self.stream.written);
        if written.is_empty() {
            return polled;
        }
        if let Poll::Ready(next) = polled {
            self.next = Some(next);
        }
        Poll::Ready(Incoming::Reply(written))
    }

    /// Bytes that an unfinished message may take on the wire. What is read may belong to the message
    /// behind it.
    const fn most_unfinished(&self) -> usize {
        self.most_bytes.saturating_mul(WIRE_FACTOR) + READ_BYTES
    }
}

fn tungstenite(read: Vec<u8>, most_bytes: usize) -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 10) // control frames only
        .max_message_size(Some(most_bytes))
        .max_frame_size(Some(most_bytes));
    let context = WebSocketContext::from_partially_read(read, Role::Server, Some(config));
    Box::new(context)
}

fn incoming(message: Message) -> Incoming {
    match message {
        Message::Text(text) => Incoming::Text(text),
        Message::Binary(bytes) => Incoming::Binary(bytes),
        // After a close tungstenite still has to write its answer; then comes the end.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
            Incoming::Control
        }
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
    /// Bytes that tungstenite may hold, of an unfinished message or behind a finished one. It holds
    /// no more than that: every message is taken for as short on the wire as it can be. One of
    /// fragments was longer, and its connection keeps tungstenite.
    held: usize,
    written: Vec<u8>,
}

impl<R> Collecting<R> {
    /// Counts what was made a message as such.
    fn finish(&mut self, message: &Message) {
        let on_wire = message.len() + head_bytes(message.len());
        self.held = self.held.saturating_sub(on_wire);
        match message {
            Message::Text(_) | Message::Binary(_) => self.unfinished = 0,
            // It may stand between the fragments of a message, and is not what finishes that.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                self.unfinished = self.unfinished.saturating_sub(on_wire);
            }
        }
    }
}

/// The least that stands before so many bytes of a peer's (RFC 6455, section 5.2): its mask is part
/// of it.
const fn head_bytes(payload: usize) -> usize {
    match payload {
        0..=125 => 6,
        126..=0xFFFF => 8,
        _ => 14,
    }
}

/// The same while it is polled, as tungstenite wants it.
struct Polled<'a, 'b, R> {
    stream: &'a mut Collecting<R>,
    cx: &'a mut Context<'b>,
}

impl<R: AsyncRead + Unpin> Read for Polled<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let stream = &mut *self.stream;
        if stream.turn == 0 {
            stream.turn = TURN_BYTES;
            self.cx.waker().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buf.len().min(stream.turn);
        let polled = Pin::new(&mut stream.stream).poll_read(self.cx, &mut buf[..most]);
        let Poll::Ready(read) = polled else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let read = read?;
        stream.turn -= read;
        stream.unfinished += read;
        stream.held += read;
        Ok(read)
    }
}

impl<R> Write for Polled<'_, '_, R> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.written.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        WebSocket::new(sent, Vec::new(), MOST_BYTES)
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
            let read = socket.stream.unfinished;
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
            let goes_on = |read: &Incoming| !matches!(read, Incoming::End(_));
            let read = iter::repeat_with(|| turn(&mut socket).filter(goes_on));
            read.map_while(|read| read)
                .filter(|read| matches!(read, Incoming::Text(_)))
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
            assert_eq!(socket.stream.unfinished, most);
            socket.stream.stream.0.extend(end);
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
    fn nothing_is_kept_of_a_peer_that_is_silent() {
        let long = |bytes: u16| {
            let length = bytes.to_be_bytes();
            let head = [0x81, 0xFE, length[0], length[1], 0, 0, 0, 0];
            [&head[..], &vec![b' '; bytes.into()]].concat()
        };
        for bytes in [vec![], TEXT.to_vec(), PING.to_vec(), long(126), long(5002)] {
            let mut socket = with_sent(&[&bytes[..], &TEXT].concat());
            while let Some(read) = turn(&mut socket) {
                assert!(!matches!(read, Incoming::End(_)), "{} bytes", bytes.len());
            }
            assert!(socket.tungstenite.is_none(), "{} bytes", bytes.len());
            socket.stream.stream.0.extend(TEXT);
            assert!(matches!(turn(&mut socket), Some(Incoming::Text(text)) if text == "t"));
        }
    }

    #[test]
    fn what_is_half_read_is_kept() {
        let whole = [&TEXT[..], &BEGINS, &PING, &GOES_ON, &ENDS, &TEXT].concat();
        for half in 0..whole.len() {
            let read = whole[..half].to_vec();
            let mut socket = WebSocket::new(Sent(Vec::new()), read, MOST_BYTES);
            let mut texts = 0;
            for rest in [&[], &whole[half..]] {
                socket.stream.stream.0.extend(rest);
                while let Some(read) = turn(&mut socket) {
                    texts += u32::from(matches!(read, Incoming::Text(_)));
                    assert!(!matches!(read, Incoming::End(_)), "{half}");
                }
            }
            assert_eq!(texts, 3, "{half}");
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
