//! Any other stream that hyper upgraded, such as TLS: its clones are the same stream, of which one
//! is read and one written.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;

#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<Shared>>);

struct Shared {
    /// None once it was aborted.
    io: Option<Upgraded>,
    /// Who waits for something to read.
    reader: Option<Waker>,
}

impl Stream {
    pub(crate) fn new(io: Upgraded) -> Self {
        let reader = None;
        let io = Some(io);
        Self(Arc::new(Mutex::new(Shared { io, reader })))
    }

    /// Ends it as a whole: who reads it, reads the end.
    pub(crate) fn abort(&self) {
        let reader = {
            let mut shared = self.shared();
            shared.io = None;
            shared.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.shared();
        let Some(io) = &mut shared.io else {
            return Poll::Ready(Ok(0));
        };
        let mut buf = ReadBuf::new(buf);
        match Pin::new(io).poll_read(cx, buf.unfilled()) {
            Poll::Ready(read) => Poll::Ready(read.map(|()| buf.filled().len())),
            Poll::Pending => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with_io(|io| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_io(|io| io.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_io(|io| io.poll_shutdown(cx))
    }
}

impl Stream {
    fn with_io<T>(
        &self,
        use_io: impl FnOnce(Pin<&mut Upgraded>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.shared().io {
            Some(io) => use_io(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}
