//! Plain TCP: the connection's task reads, and the hub writes at once, without a task between.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;
use parlor_core::Limits;
use parlor_hub::Outlet;
use socket2::SockRef;
use tokio::net::TcpStream;

/// A TCP socket; its clones are the same socket. One of them may be read and one written at a time:
/// tokio wakes only the last who waits for either.
#[derive(Clone)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    /// Takes over a stream, which from here on holds no more in the system than the limits say.
    pub(crate) fn new(stream: TcpStream, limits: &Limits) -> io::Result<Self> {
        // A frame is written whole, and is to leave at once.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_recv_buffer_size(limits.receive_buffer_bytes as usize)?;
        socket.set_send_buffer_size(limits.send_buffer_bytes as usize)?;
        Ok(Self(Arc::new(stream)))
    }

    fn shutdown(&self, how: Shutdown) {
        // Fails when the peer is gone already, which is as good.
        let _ = SockRef::from(&*self.0).shutdown(how);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

impl Outlet for Socket {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            ready!(self.0.poll_write_ready(cx))?;
        }
    }

    fn finish(&mut self) {
        self.shutdown(Shutdown::Write);
    }

    fn abort(&mut self) {
        self.shutdown(Shutdown::Both);
    }
}
