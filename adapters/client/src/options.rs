//! What a client is made with.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "tls")]
use futures_rustls::rustls::ClientConfig;
use parlor_client::Secret;

/// A token on its way, or why there is none.
pub(crate) type Fetched = Pin<Box<dyn Future<Output = Result<Secret, String>> + Send>>;
pub(crate) type Fetch = dyn Fn() -> Fetched + Send + Sync;
pub(crate) type Remember = dyn Fn(Secret) + Send + Sync;

/// How a client behaves: begin with [`Options::guest`] or [`Options::with_token`].
#[derive(Clone)]
pub struct Options {
    /// What the client decides by: its name, its patience, how much may wait.
    pub client: parlor_client::Options,
    /// Events that may wait for the application, 256 unless changed. When so many do, the client
    /// reads no more; while calls are waiting for an answer, four times as many may.
    pub max_events: usize,
    /// The longest frame that is read, in bytes: 1 MiB unless changed. The longest of a server are
    /// answers to a join or for history: at most 256 KiB, unless its operator allows more. Whoever
    /// sends a longer one is hung up on.
    pub max_frame_bytes: usize,
    pub(crate) token: Option<Arc<Fetch>>,
    pub(crate) remember: Option<Arc<Remember>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Options {
    /// For a server without tokens: a guest of this name.
    ///
    /// # Panics
    /// When the system has no randomness, without which there are no WebSockets either.
    #[must_use]
    pub fn guest(username: impl Into<String>) -> Self {
        let mut options = Self::new();
        options.client.username = Some(username.into());
        options
    }

    /// For a server that requires tokens (JWT). `fetch` gives a fresh one for each connection, in
    /// the time that [`connect_timeout_ms`](parlor_client::Options::connect_timeout_ms) leaves;
    /// when it fails, so has the attempt to connect, and another one follows. What its error says
    /// is the reason in [`State::Offline`](parlor_client::State::Offline).
    ///
    /// A token that the server refuses, or that is over while it is in use, ends the client for
    /// ever, with 4500 in [`State::Closed`](parlor_client::State::Closed): to go on, make another
    /// one, which may join with [`since`](crate::Call::since).
    ///
    /// ```
    /// use parlor_client_async::{Options, Secret};
    ///
    /// let options = Options::with_token(|| async {
    ///     let token = std::fs::read_to_string("/run/chat-token")?;
    ///     Ok::<_, std::io::Error>(Secret(token.trim().into()))
    /// });
    /// ```
    ///
    /// # Panics
    /// When the system has no randomness, without which there are no WebSockets either.
    #[must_use]
    pub fn with_token<F, E>(fetch: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Secret, E>> + Send + 'static,
        E: fmt::Display,
    {
        let fetch = move || -> Fetched {
            let fetched = fetch();
            Box::pin(async move { fetched.await.map_err(|error| error.to_string()) })
        };
        let mut options = Self::new();
        options.token = Some(Arc::new(fetch));
        options
    }

    fn new() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("a system that runs WebSockets has randomness");
        Self {
            client: parlor_client::Options::from_random(u128::from_le_bytes(bits)),
            max_events: 256,
            max_frame_bytes: 1 << 20,
            token: None,
            remember: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Hands over each resume token that names our guest to the server. Whoever keeps it can be
    /// that guest again in another process, with
    /// [`resume_token`](parlor_client::Options::resume_token). It is as secret as a password. The
    /// client waits for `keep`, so it has to be quick.
    #[must_use]
    pub fn remember(mut self, keep: impl Fn(Secret) + Send + Sync + 'static) -> Self {
        self.remember = Some(Arc::new(keep));
        self
    }

    /// Trusts whom this configuration trusts, instead of whom the system does.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }
}

/// Without what is secret.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("client", &self.client)
            .field("max_events", &self.max_events)
            .field("max_frame_bytes", &self.max_frame_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_are_never_the_same() {
        let [one, other] = [(); 2].map(|()| Options::guest("Alice"));
        assert_ne!(one.client.id_prefix, other.client.id_prefix);
    }

    #[test]
    fn secrets_are_not_printed() {
        let fetch = || async { Ok::<_, String>(Secret::from("hidden")) };
        let mut options = Options::with_token(fetch).remember(drop);
        options.client.resume_token = Some("hidden".into());
        let printed = format!("{options:?}");
        assert!(
            printed.contains("max_events") && !printed.contains("hidden"),
            "{printed}"
        );
    }
}
