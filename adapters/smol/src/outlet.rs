//! Plain TCP as an outlet: the hub writes the non-blocking socket directly, and is woken when it
//! can take more.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::AsyncWrite;
use parlor_hub::Outlet;

use crate::socket::Socket;

pub(crate) struct TcpOutlet(pub(crate) Socket);

impl Outlet for TcpOutlet {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn finish(&mut self) {
        // Fails when the peer is gone already, which is as good.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn abort(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
