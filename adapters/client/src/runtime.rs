//! What a client needs of a runtime.

use std::future::Future;
use std::io;

use futures_lite::{AsyncRead, AsyncWrite};

/// What a client needs of a runtime: connections, time and tasks. Implement it to bring your own
/// runtime, or sockets and a clock for tests.
///
/// It need not be cheap to copy, since there is one for each client; dropping one of its futures
/// has to give up what that began.
pub trait Runtime: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Milliseconds since any moment; never less than before.
    fn now_ms(&self) -> u64;

    /// Ends when [`now_ms`](Self::now_ms) has reached `at_ms`.
    fn sleep_until(&self, at_ms: u64) -> impl Future<Output = ()> + Send;

    /// Opens a connection to a name or IP address, without TLS, which the client adds itself.
    /// It need not limit the time: what takes too long is dropped.
    ///
    /// # Errors
    /// When nobody is there.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs a task until it ends by itself: the client's own, and one for each goodbye.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}
