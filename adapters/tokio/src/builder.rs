//! What a chat may be told before it starts.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use parlor_core::Limits;
use parlor_hub::connection::{Access, Verify};
use parlor_hub::entrance::{Admission, AllowedOrigin, Entrance};
use parlor_hub::trace::Record;
use parlor_hub::{
    Clock, CrashReport, Handle, Happened, Hub, HubConfig, MemoryStore, Metrics, Store, epochs,
};
use tokio::runtime;

use crate::chat::Chat;

/// A chat that is to start, with the default of each option until it is told otherwise.
#[must_use]
pub struct Builder {
    limits: Limits,
    access: Access,
    identified: bool,
    store: Option<Box<dyn Store>>,
    origins: Vec<AllowedOrigin>,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    on_crash: Box<dyn FnMut(CrashReport) + Send>,
    recorder: Option<Box<dyn Record>>,
    observer: Option<Box<dyn FnMut(Happened) + Send>>,
}

/// Why a chat did not start.
#[derive(Debug)]
pub enum StartError {
    /// Nobody is there to run it: start it within a tokio runtime.
    NoRuntime,
    /// The system gives no random numbers.
    Random(io::Error),
    /// The system gives no thread for the store.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime => f.write_str("start the chat within a tokio runtime"),
            Self::Random(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Thread(error) => write!(f, "the store gets no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoRuntime => None,
            Self::Random(error) | Self::Thread(error) => Some(error),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            access: Access::Guests,
            identified: false,
            store: None,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            metrics: Metrics::default(),
            on_crash: Box::new(drop),
            recorder: None,
            observer: None,
        }
    }
}

impl Builder {
    /// What it allows. [`Limits::token_required`] follows from who is let in.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets in whom the application knows, and nobody else: see [`Chat::serve_as`]. Without it and
    /// [`Builder::verifier`] everybody is let in as a guest.
    pub fn identified(mut self) -> Self {
        self.identified = true;
        self
    }

    /// Lets in who sends a token that this verifies, as well as whom the application knows.
    pub fn verifier(mut self, verifier: impl Verify + 'static) -> Self {
        self.access = Access::Tokens(Arc::new(verifier));
        self.identified()
    }

    /// Keeps what is said there, on a thread of its own, which may wait for a disk: parlor-sqlite
    /// has one. Without it the chat forgets with the process.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Pages of these origins may connect besides those of the host that is asked.
    pub fn origins(mut self, origins: impl IntoIterator<Item = AllowedOrigin>) -> Self {
        self.origins.extend(origins);
        self
    }

    /// Proxies of these networks are believed when they say where a client is.
    pub fn trusted_proxies(mut self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted_proxies.extend(proxies);
        self
    }

    /// Tells these metrics what it does.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Is called with the report of a panic that the chat survived. Without it there is a line in
    /// the log only.
    pub fn on_crash(mut self, on_crash: impl FnMut(CrashReport) + Send + 'static) -> Self {
        self.on_crash = Box::new(on_crash);
        self
    }

    /// Takes what the core is fed.
    pub fn recorder(mut self, recorder: impl Record + 'static) -> Self {
        self.recorder = Some(Box::new(recorder));
        self
    }

    /// Is told who comes and goes and what is stored, as [`HubConfig::observer`] says: in the order in
    /// which it happens. The chat waits for it, so it must not wait itself; a channel is a good place
    /// for what it is told.
    pub fn observer(mut self, observer: impl FnMut(Happened) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Starts it on the runtime that this is called on.
    ///
    /// # Errors
    /// When there is no runtime, or the system does not give what it needs.
    pub fn start(mut self) -> Result<Chat, StartError> {
        let runtime = runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        self.limits.token_required = self.identified;
        let limits = self.limits.clamped();
        let admission = Admission::new(limits.connections, limits.connections_per_address);
        let entrance = Entrance::new(
            admission.clone(),
            self.origins,
            self.trusted_proxies,
            self.metrics.clone(),
        );
        let config = HubConfig {
            limits: limits.clone(),
            clock: Box::new(Clock::system()),
            on_crash: self.on_crash,
            recorder: self.recorder,
            observer: self.observer,
            metrics: self.metrics,
        };
        let (hub, handle) = with_store(config, self.store)?;
        let chat = Chat::new(limits, self.access, entrance, admission, handle);
        chat.run(hub, &runtime);
        Ok(chat)
    }
}

fn with_store(
    config: HubConfig,
    store: Option<Box<dyn Store>>,
) -> Result<(Hub, Handle), StartError> {
    let Some(store) = store else {
        let new_epoch = epochs().map_err(|error| StartError::Random(error.into()))?;
        let store = MemoryStore::new(&config.limits, new_epoch);
        return Ok(Hub::new(config, store));
    };
    let (hub, handle, worker) = Hub::with_store_thread(config, store);
    let thread = thread::Builder::new().name("parlor-store".into());
    let thread = thread.spawn(move || worker.run());
    thread.map_err(StartError::Thread)?;
    Ok((hub, handle))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}
