//! A real server on a port of its own, in this process and on a thread of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use parlor_core::{Limits, Timestamp};
use parlor_hub::Store;
use parlor_smol::{Chat, Config, Listen, Protocol, Server, ServerError, Storage, Verifier};
use smol::Executor;
use smol::channel::{self, Sender};

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    /// Dropping it is the signal to stop.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl TestServer {
    /// A chat server with these limits.
    #[must_use]
    pub fn start(limits: Limits) -> Self {
        let of_sessions = limits.clone();
        Self::start_protocol(limits, move |now| Chat::new(&of_sessions, None, now))
    }

    /// A chat server that lets nobody in without a token.
    #[must_use]
    pub fn start_with_verifier(mut limits: Limits, verifier: Verifier) -> Self {
        limits.token_required = true;
        let of_sessions = limits.clone();
        let verifier = Some(Arc::new(verifier));
        let protocol = move |now| Chat::new(&of_sessions, verifier.clone(), now);
        Self::start_protocol(limits, protocol)
    }

    /// A chat server with these limits and whatever else `configure` changes.
    #[must_use]
    pub fn start_with(limits: Limits, configure: impl FnOnce(&mut Config)) -> Self {
        let of_sessions = limits.clone();
        let mut config = config(limits, std::env::temp_dir());
        configure(&mut config);
        let protocol = move |now| Chat::new(&of_sessions, None, now);
        Self::start_server(config, |server| server, protocol)
    }

    /// A chat server with this store on a thread of its own, which leaves reports of panics in
    /// `crash_dir`.
    #[must_use]
    pub fn start_with_store(
        limits: Limits,
        store: impl Store + 'static,
        crash_dir: PathBuf,
    ) -> Self {
        let of_sessions = limits.clone();
        let protocol = move |now| Chat::new(&of_sessions, None, now);
        Self::start_server(
            config(limits, crash_dir),
            |server| server.with_store(store),
            protocol,
        )
    }

    /// The same with another protocol on its connections.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start_protocol<P: Protocol>(
        limits: Limits,
        protocol: impl Fn(Timestamp) -> P + Send + Sync + 'static,
    ) -> Self {
        let config = config(limits, std::env::temp_dir());
        Self::start_server(config, |server| server, protocol)
    }

    fn start_server<P: Protocol>(
        config: Config,
        change: impl FnOnce(Server) -> Server + Send + 'static,
        protocol: impl Fn(Timestamp) -> P + Send + Sync + 'static,
    ) -> Self {
        let (running, stopped) = channel::bounded(1);
        let (tell_address, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let executor = Arc::new(Executor::new());
            smol::block_on(executor.clone().run(async {
                let server = change(Server::bind(config).await?);
                let listens = tell_address.send(server.address());
                listens.expect("the test waits for the address");
                let stop = async move {
                    let _ = stopped.recv().await;
                };
                let serving = server.run_protocol(executor.clone(), stop, protocol);
                executor.spawn(serving).await
            }))
        });
        Self {
            address: address.recv().expect("the server listens"),
            running: Some(running),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it to stop; it says goodbye to everybody meanwhile.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Waits until it has ended well.
    ///
    /// # Panics
    /// When it ended with an error.
    pub fn wait(mut self) {
        self.join().expect("the server ends without an error");
    }

    /// Waits until it has ended badly.
    ///
    /// # Panics
    /// When it ended well.
    #[must_use]
    pub fn wait_for_error(mut self) -> ServerError {
        self.thread
            .take()
            .expect("it is waited for once")
            .join()
            .expect("the server does not panic")
            .expect_err("the server ends with an error")
    }

    fn join(&mut self) -> Result<(), ServerError> {
        self.stop();
        let thread = self.thread.take();
        thread.map_or(Ok(()), |thread| {
            thread.join().expect("the server does not panic")
        })
    }
}

fn config(limits: Limits, crash_dir: PathBuf) -> Config {
    Config {
        listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 0))),
        limits,
        verifier: None,
        storage: Storage::Memory,
        crash_dir,
        origins: Vec::new(),
        trusted_proxies: Vec::new(),
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A test that fails leaves clients behind that would keep the server for seconds.
        if !thread::panicking() {
            let ended = self.join();
            ended.expect("the server ends without an error");
        }
    }
}
