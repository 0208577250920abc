//! The same as `socket` for systems without epoll: smol's own sockets and reactor.

use std::io;
use std::sync::Arc;

/// Nothing to keep.
#[derive(Debug)]
pub(crate) struct Sockets;

/// A non-blocking TCP socket; its clones are the same socket.
pub(crate) type Socket = smol::net::TcpStream;

impl Sockets {
    #[allow(clippy::unnecessary_wraps, reason = "the other one may fail")]
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self))
    }

    #[allow(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the other one may fail"
    )]
    pub(crate) fn adopt(&self, stream: smol::net::TcpStream) -> io::Result<Socket> {
        Ok(stream)
    }

    /// smol's reactor watches.
    pub(crate) async fn watch(self: Arc<Self>) -> io::Error {
        std::future::pending().await
    }
}
