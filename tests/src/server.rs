//! A real server on a port of its own, in this process and on a thread of its own.

mod on_tokio;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use parlor_core::{Limits, Timestamp};
use parlor_hub::Store;
use parlor_hub::connection::{Access, Chat, Protocol};
use parlor_hub::trace::Texts;
use parlor_smol::{Config, Listen, Recording, Server, ServerError, Tls, Verifier};
use smol::Executor;
use smol::channel::{self, Sender};

use crate::certificate::Certificate;
use crate::client::Door;

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct TestServer {
    door: Door,
    admin: SocketAddr,
    /// Dropping it is the signal to stop.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl TestServer {
    /// A chat server with these limits.
    #[must_use]
    pub fn start(limits: Limits) -> Self {
        let of_sessions = limits.clone();
        Self::start_protocol(limits, move |now| {
            Chat::new(&of_sessions, Access::Guests, now)
        })
    }

    /// A chat server that speaks TLS, with a certificate that its clients trust.
    #[must_use]
    pub fn start_tls(limits: Limits) -> Self {
        let of_sessions = limits.clone();
        Self::start_tls_protocol(limits, move |now| {
            Chat::new(&of_sessions, Access::Guests, now)
        })
    }

    /// A chat server that lets nobody in without a token.
    #[must_use]
    pub fn start_with_verifier(mut limits: Limits, verifier: Verifier) -> Self {
        limits.token_required = true;
        let of_sessions = limits.clone();
        let access = Access::Tokens(Arc::new(verifier));
        let protocol = move |now| Chat::new(&of_sessions, access.clone(), now);
        Self::start_protocol(limits, protocol)
    }

    /// A chat server with these limits and whatever else `configure` changes.
    #[must_use]
    pub fn start_with(limits: Limits, configure: impl FnOnce(&mut Config)) -> Self {
        let of_sessions = limits.clone();
        let mut config = config(limits, std::env::temp_dir());
        configure(&mut config);
        let protocol = move |now| Chat::new(&of_sessions, Access::Guests, now);
        Self::start_server(config, |server| server, protocol)
    }

    /// A chat server with this store on a thread of its own, which leaves reports of panics in
    /// `crash_dir`, and records to `trace` there.
    #[must_use]
    pub fn start_with_store(
        limits: Limits,
        store: impl Store + 'static,
        crash_dir: PathBuf,
    ) -> Self {
        let of_sessions = limits.clone();
        let protocol = move |now| Chat::new(&of_sessions, Access::Guests, now);
        let recording = Recording {
            file: crash_dir.join("trace"),
            bytes: u64::MAX,
            texts: Texts::Redacted,
        };
        let config = Config {
            recording: Some(recording),
            ..config(limits, crash_dir)
        };
        Self::start_server(config, |server| server.with_store(store), protocol)
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

    /// The same over TLS.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start_tls_protocol<P: Protocol>(
        limits: Limits,
        protocol: impl Fn(Timestamp) -> P + Send + Sync + 'static,
    ) -> Self {
        let certificate = Certificate::default();
        let dir = tempfile::tempdir().expect("there is room");
        let [cert, key] = certificate.write(dir.path());
        let tls = Tls::load(cert, key).expect("the files are good");
        let config = Config {
            tls: Some(Arc::new(tls)),
            ..config(limits, std::env::temp_dir())
        };
        let mut server = Self::start_server(config, |server| server, protocol);
        server.door.tls = Some(certificate.trust());
        server
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
                let server = change(Server::bind(config, executor.clone()).await?);
                let admin = server.admin_address().expect("it was asked for");
                let listens = tell_address.send((server.address(), admin));
                listens.expect("the test waits for the address");
                let stop = async move {
                    let _ = stopped.recv().await;
                };
                let serving = server.run_protocol(stop, protocol);
                executor.spawn(serving).await
            }))
        });
        let (address, admin) = address.recv().expect("the server listens");
        Self {
            door: address.into(),
            admin,
            running: Some(running),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// The same for clients, who have to know whether it speaks TLS.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Where its operator's port is.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
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
        admin: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        limits,
        crash_dir,
        ..Config::default()
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
