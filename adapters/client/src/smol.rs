//! The client on smol: needs the feature `smol`.

use std::io;
use std::time::{Duration, Instant};

use ::smol::Timer;
use ::smol::net::TcpStream;

use crate::{Chat, ConnectError, Events, Options, Runtime};

/// smol's global executor, sockets and timers.
#[derive(Debug)]
pub struct Smol {
    began: Instant,
}

impl Default for Smol {
    fn default() -> Self {
        let began = Instant::now();
        Self { began }
    }
}

impl Runtime for Smol {
    type Stream = TcpStream;

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, at_ms: u64) {
        // What no clock can tell never comes.
        match self.began.checked_add(Duration::from_millis(at_ms)) {
            Some(at) => Timer::at(at).await,
            None => Timer::never().await,
        };
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        ::smol::spawn(task).detach();
    }
}

/// Begins a client on smol's global executor. It connects from then on, and again whenever it has
/// to.
///
/// # Errors
/// When the URL, or TLS on this system, cannot be used.
pub fn connect(url: &str, options: Options) -> Result<(Chat, Events), ConnectError> {
    crate::connect(Smol::default(), url, options)
}
