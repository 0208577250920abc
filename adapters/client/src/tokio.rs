//! The client on tokio: needs the feature `tokio`.

use std::io;
use std::time::Duration;

use ::tokio::net::TcpStream;
use ::tokio::runtime::Handle;
use ::tokio::time::{Instant, sleep_until};
use async_tungstenite::tokio::TokioAdapter;

use crate::{Chat, ConnectError, Events, Options, Runtime};

/// A runtime of tokio's, its sockets and its timers.
#[derive(Debug)]
pub struct Tokio {
    handle: Handle,
    began: Instant,
}

impl Tokio {
    /// The runtime that this is called in, which needs I/O and time (`enable_all`); none elsewhere.
    #[must_use]
    pub fn current() -> Option<Self> {
        let handle = Handle::try_current().ok()?;
        let began = Instant::now();
        Some(Self { handle, began })
    }
}

impl Runtime for Tokio {
    type Stream = TokioAdapter<TcpStream>;

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, at_ms: u64) {
        match self.began.checked_add(Duration::from_millis(at_ms)) {
            Some(at) => sleep_until(at).await,
            // What no clock can tell never comes.
            None => std::future::pending().await,
        }
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(TokioAdapter::new(stream))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

/// Begins a client on the runtime that this is called in. It connects from then on, and again
/// whenever it has to.
///
/// # Errors
/// When the URL, or TLS on this system, cannot be used, or there is no runtime here.
pub fn connect(url: &str, options: Options) -> Result<(Chat, Events), ConnectError> {
    let runtime = Tokio::current().ok_or(ConnectError::NoRuntime)?;
    crate::connect(runtime, url, options)
}
