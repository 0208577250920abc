//! What is read again while the server runs: the certificate and the keys of tokens.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use parlor_smol::{Config, Tls, Verifier};
use tracing::{info, warn};

use crate::cli::Serve;

pub(crate) struct Reload {
    options: Serve,
    tls: Option<Arc<Tls>>,
    verifier: Option<Arc<Verifier>>,
}

impl Reload {
    pub(crate) fn new(options: &Serve, config: &Config) -> Self {
        Self {
            options: options.clone(),
            tls: config.tls.clone(),
            verifier: config.verifier.clone(),
        }
    }

    /// Reads the files again with each SIGHUP since this was called, which would end the process
    /// otherwise.
    pub(crate) fn at_each_hangup(self) -> impl Future<Output = ()> + Send + 'static {
        let signals = Signals::new([Signal::Hup]);
        let reload = Arc::new(self);
        async move {
            let mut signals = match signals {
                Ok(signals) => signals,
                Err(error) => return warn!(%error, "SIGHUP cannot be received"),
            };
            while signals.next().await.is_some() {
                let reload = reload.clone();
                // A disk may be slow.
                smol::unblock(move || reload.now()).await;
            }
        }
    }

    fn now(&self) {
        if self.tls.is_none() && self.verifier.is_none() {
            info!("SIGHUP: there is nothing to read again");
        }
        if let Some(tls) = &self.tls {
            tell("the certificate", tls.reload());
        }
        if let Some(verifier) = &self.verifier {
            let fresh = self.options.verifier();
            // The options are those of the start, so there is one again.
            let replaced = fresh.map(|fresh| fresh.map_or((), |fresh| verifier.replace(fresh)));
            tell("the key of tokens", replaced);
        }
    }
}

fn tell(what: &str, read: Result<(), impl Display>) {
    match read {
        Ok(()) => info!("SIGHUP: read {what} again"),
        Err(error) => warn!(%error, "SIGHUP: {what} stays as it was"),
    }
}
