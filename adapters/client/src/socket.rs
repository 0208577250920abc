//! An open WebSocket: what is to be sent goes into a queue, what comes is read on demand.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use futures_lite::Stream;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use crate::dial::Duplex;

/// Frames that may wait to be sent. A client has 20 requests without an answer at most; beyond them
/// only `typing` can get here, of somebody whose server takes nothing.
const MOST_WAITING: usize = 256;

/// Without a close frame (RFC 6455, section 7.4.1).
pub(crate) const ABNORMAL: u16 = 1006;

type Connection = Pin<Box<dyn Duplex>>;

/// What comes of a socket.
pub(crate) enum Heard {
    /// A text frame.
    Text(String),
    /// The end.
    Closed { code: u16, reason: String },
}

type Pump = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

pub(crate) struct Socket {
    reader: WebSocketReceiver<Connection>,
    queue: Sender<String>,
    /// Writes what is in the queue, and a close frame behind its end; none once it has failed or is
    /// done.
    pump: Option<Pump>,
}

impl Socket {
    pub(crate) fn new(stream: WebSocketStream<Connection>) -> Self {
        let (writer, reader) = stream.split();
        let (queue, queued) = async_channel::bounded(MOST_WAITING);
        let pump: Pump = Box::pin(pump(writer, queued));
        Self {
            reader,
            queue,
            pump: Some(pump),
        }
    }

    /// Queues a text frame; false if the server has not taken those before it for far too long.
    pub(crate) fn send(&self, text: String) -> bool {
        self.queue.try_send(text).is_ok()
    }

    /// What comes next; nothing does while `reads` is false, though the end may. Writes meanwhile
    /// what is to be sent.
    pub(crate) async fn next(&mut self, reads: bool) -> Heard {
        poll_fn(|cx| self.poll_next(cx, reads)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Heard> {
        if let Poll::Ready(heard) = self.poll_pump(cx) {
            return Poll::Ready(heard);
        }
        if !reads {
            return Poll::Pending;
        }
        loop {
            let Poll::Ready(message) = Pin::new(&mut self.reader).poll_next(cx) else {
                return Poll::Pending;
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Poll::Ready(Heard::Text(text.as_str().into()));
                }
                Some(Ok(Message::Close(frame))) => return Poll::Ready(closed(frame)),
                // tungstenite answers pings itself, and the protocol has no bytes.
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
                Some(Err(error)) => return Poll::Ready(broken(&error)),
                None => return Poll::Ready(closed(None)),
            }
        }
    }

    /// Ready once nothing can be written any more.
    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let Some(pump) = &mut self.pump else {
            return Poll::Pending;
        };
        let Poll::Ready(written) = pump.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.pump = None;
        match written {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(broken(&error)),
        }
    }

    /// Sends what is left, says goodbye, and waits until the other side has, too: a connection that
    /// is dropped while something still comes is reset, and what was sent last may be lost.
    pub(crate) async fn part(mut self) {
        self.queue.close();
        poll_fn(|cx| {
            // It also fails when the other side has said goodbye first, whom reading answers.
            let _ = self.poll_pump(cx);
            loop {
                match Pin::new(&mut self.reader).poll_next(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

async fn pump(
    mut writer: WebSocketSender<Connection>,
    queued: Receiver<String>,
) -> Result<(), Error> {
    while let Ok(text) = queued.recv().await {
        writer.send(Message::text(text)).await?;
    }
    let code = CloseCode::Normal;
    let reason = "".into();
    writer.close(Some(CloseFrame { code, reason })).await
}

fn closed(frame: Option<CloseFrame>) -> Heard {
    let (code, reason) = frame.map_or_else(
        || (ABNORMAL, String::new()),
        |frame| (frame.code.into(), frame.reason.as_str().into()),
    );
    Heard::Closed { code, reason }
}

fn broken(error: &Error) -> Heard {
    let reason = error.to_string();
    let code = ABNORMAL;
    Heard::Closed { code, reason }
}
