//! The server as a whole: listens, accepts, and ends when it is told to.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite, FutureExt, StreamExt, future};
use ipnet::IpNet;
use parlor_core::{Limits, Timestamp};
use parlor_hub::connection::{self, Access, Chat, ConnectionClock, Protocol, Wire};
use parlor_hub::entrance::{Admission, AllowedOrigin, Entrance, Permit};
use parlor_hub::trace::Record;
use parlor_hub::{Clock, Handle, HubConfig, HubError, Outlet, Store};
use parlor_sqlite::DatabaseError;
use parlor_token::Verifier;
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use socket2::{Domain, SockRef, Socket as Socket2, Type};
use tracing::{debug, info, warn};
use tracing_appender::non_blocking::ErrorCounter;

use crate::admin::{Admin, AdminPort, Life};
use crate::crash;
use crate::http;
use crate::metrics::Metrics;
use crate::outlet::TcpOutlet;
use crate::record::{OpenRecording, Recording};
use crate::socket::{Socket, Sockets};
use crate::storage::{OpenStore, Storage};
use crate::timer::SmolTimer;
use crate::tls::{self, Tls};

/// TCP connections that are not WebSockets (yet): handshakes under way and requests for the page.
/// Beyond it new ones are dropped. So many that it takes many addresses to lock everybody out, and
/// few enough for memory: some 30 KiB each at worst.
const HANDSHAKES: u32 = 16 << 10;
/// Connections that the system accepts before the server does: a thousand clients that come back at
/// once need not ask a second time. Linux takes no more than net.core.somaxconn says.
const BACKLOG: i32 = 4096;
/// As many of them may come from one address: more than a proxy or a test that connects a thousand
/// clients at once needs, and too few to lock everybody else out. Proxies that are trusted may have
/// as many as there are.
const HANDSHAKES_PER_ADDRESS: u32 = 1024;
/// After this many connections accepted in a row their handshakes have their turn.
const ACCEPTED_IN_A_ROW: u32 = 64;
/// From the signal to the end of the last connection.
const GOODBYE: Duration = Duration::from_millis(3500);
/// From the signal to the end of the server. The log may take another second to be written.
const SHUTDOWN: Duration = Duration::from_millis(3900);
/// From there to the end of a recording: what waits for it was fed within a second or so.
const RECORDED: Duration = Duration::from_millis(900);
/// After a failure to accept, which is mostly a lack of file descriptors.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Where the operator's own port is, if there is one.
    pub admin: Option<SocketAddr>,
    /// What it allows.
    pub limits: Limits,
    /// Who verifies tokens; with it nobody gets in without one.
    pub verifier: Option<Arc<Verifier>>,
    /// The certificate; with it nobody gets in without TLS.
    pub tls: Option<Arc<Tls>>,
    /// Where it keeps what is said.
    pub storage: Storage,
    /// Where the report of a panic is written.
    pub crash_dir: PathBuf,
    /// Where it is recorded what the core is fed, if it is.
    pub recording: Option<Recording>,
    /// Whose pages may connect besides the server's own.
    pub origins: Vec<AllowedOrigin>,
    /// Proxies that are believed when they say where a client is from.
    pub trusted_proxies: Vec<IpNet>,
    /// Who counts the lines that the log lost, if anybody does.
    pub lost_log_lines: Option<ErrorCounter>,
}

impl Default for Config {
    /// A chat for guests at 127.0.0.1:8080, in memory, that leaves reports of panics in the working
    /// directory.
    fn default() -> Self {
        Self {
            listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 8080))),
            admin: None,
            limits: Limits::default(),
            verifier: None,
            tls: None,
            storage: Storage::Memory,
            crash_dir: PathBuf::from("."),
            recording: None,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            lost_log_lines: None,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Listen {
    /// On this address; port 0 picks a free one.
    Address(SocketAddr),
    /// On a socket that listens already, and may go on when the server has ended.
    Socket(Arc<std::net::TcpListener>),
}

impl Listen {
    fn listener(&self) -> Result<TcpListener, ServerError> {
        match self {
            Self::Address(address) => {
                let failed = |error| ServerError::Listen(*address, error);
                let listener = listen(*address).and_then(TcpListener::try_from);
                listener.map_err(failed)
            }
            Self::Socket(socket) => {
                let socket = socket.try_clone().and_then(TcpListener::try_from);
                socket.map_err(ServerError::Sockets)
            }
        }
    }
}

/// As the standard library does it, with a longer queue.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    // A server that ended a moment ago is not in the way.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why a server ended.
#[derive(Debug)]
pub enum ServerError {
    /// It cannot listen where it should.
    Listen(SocketAddr, io::Error),
    /// It cannot open the operator's port where it should.
    Admin(SocketAddr, io::Error),
    /// The database cannot be used.
    Database(DatabaseError),
    /// The system gives no random numbers.
    Random(getrandom::Error),
    /// The system does not tell when sockets are ready.
    Sockets(io::Error),
    /// The system gives no thread for the store.
    Thread(io::Error),
    /// It cannot record where it should.
    Record(PathBuf, io::Error),
    /// The hub gave up.
    Hub(HubError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; choose another address with --listen"
                )
            }
            Self::Admin(address, error) => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; choose another address with --admin"
                )
            }
            Self::Database(error) => write!(f, "{error}"),
            Self::Random(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Sockets(error) => write!(f, "cannot watch sockets: {error}"),
            Self::Thread(error) => write!(f, "the store gets no thread: {error}"),
            Self::Record(file, error) => write!(
                f,
                "cannot record to {}: {error}; choose another file with --record",
                file.display()
            ),
            Self::Hub(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error)
            | Self::Admin(_, error)
            | Self::Sockets(error)
            | Self::Record(_, error)
            | Self::Thread(error) => Some(error),
            Self::Database(error) => Some(error),
            Self::Random(error) => Some(error),
            Self::Hub(error) => Some(error),
        }
    }
}

/// A server that listens, and has its store.
#[derive(Debug)]
pub struct Server {
    config: Config,
    store: OpenStore,
    recording: Option<OpenRecording>,
    listener: TcpListener,
    address: SocketAddr,
    executor: Arc<Executor<'static>>,
    handshakes: Arc<Admission>,
    metrics: Metrics,
    life: Arc<Life>,
    admin: Option<AdminPort>,
}

impl Server {
    /// Begins to listen, then opens the store. The operator's port is served on `executor`
    /// meanwhile, and so will be the chat.
    ///
    /// # Errors
    /// When it cannot do either.
    pub async fn bind(
        mut config: Config,
        executor: Arc<Executor<'static>>,
    ) -> Result<Self, ServerError> {
        config.limits = config.limits.clamped();
        config.limits.token_required |= config.verifier.is_some();
        let listener = config.listen.listener()?;
        let address = listener.local_addr().map_err(ServerError::Sockets)?;
        let handshakes = Admission::new(HANDSHAKES, HANDSHAKES_PER_ADDRESS);
        let (metrics, life) = (Metrics::default(), Arc::<Life>::default());
        let admin = match config.admin {
            Some(at) => {
                let registry = metrics.registry(config.lost_log_lines.clone());
                let admin = Admin::new(life.clone(), handshakes.clone(), registry);
                let port = admin.listen(at, handshake_timeout(&config.limits), &executor);
                Some(port.await.map_err(|error| ServerError::Admin(at, error))?)
            }
            None => None,
        };
        let (storage, limits) = (config.storage.clone(), config.limits.clone());
        let store = smol::unblock(move || storage.open(&limits)).await?;
        // Behind the port and the database, which only one server has: the recording of another one
        // stays where it is.
        let recording = match config.recording.clone() {
            None => None,
            Some(recording) => {
                let file = recording.file.clone();
                let opened = smol::unblock(move || recording.open()).await;
                Some(opened.map_err(|error| ServerError::Record(file, error))?)
            }
        };
        Ok(Self {
            config,
            store,
            recording,
            listener,
            address,
            executor,
            handshakes,
            metrics,
            life,
            admin,
        })
    }

    /// The same with another store, which gets a thread of its own.
    #[must_use]
    pub fn with_store(mut self, store: impl Store + 'static) -> Self {
        self.store = OpenStore::Thread(Box::new(store));
        self
    }

    /// What browsers open.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = self.config.tls.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operator's port is.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Serves the chat until `stop` resolves; then says goodbye to everybody and ends within 5 s.
    ///
    /// # Errors
    /// When it cannot go on.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let limits = self.config.limits.clone();
        let access = match self.config.verifier.clone() {
            Some(verifier) => Access::Tokens(verifier),
            None => Access::Guests,
        };
        let protocol = move |now| Chat::new(&limits, access.clone(), now);
        self.run_protocol(stop, protocol).await
    }

    /// The same with another protocol on its connections, for tests of everything below it.
    ///
    /// # Errors
    /// When it cannot go on.
    pub async fn run_protocol<P: Protocol>(
        mut self,
        stop: impl Future<Output = ()>,
        protocol: impl Fn(Timestamp) -> P + Send + Sync + 'static,
    ) -> Result<(), ServerError> {
        let Some(recording) = self.recording.take() else {
            return self.serve(stop, protocol, None).await;
        };
        let started = recording.start(&self.config.limits);
        let (recorder, thread) = started.map_err(ServerError::Thread)?;
        let ended = self.serve(stop, protocol, Some(Box::new(recorder))).await;
        let late = async {
            Timer::after(RECORDED).await;
            warn!("the last events were not recorded in time");
        };
        thread.ended().or(late).await;
        ended
    }

    async fn serve<P: Protocol>(
        self,
        stop: impl Future<Output = ()>,
        protocol: impl Fn(Timestamp) -> P + Send + Sync + 'static,
        recorder: Option<Box<dyn Record>>,
    ) -> Result<(), ServerError> {
        let limits = &self.config.limits;
        let crash_dir = self.config.crash_dir.clone();
        let recording = self.config.recording.as_ref().map(Recording::name);
        let config = HubConfig {
            limits: limits.clone(),
            clock: Box::new(Clock::system()),
            on_crash: Box::new(move |report| {
                crash::keep(&report, &crash_dir, recording.as_deref());
            }),
            recorder,
            observer: None,
            metrics: self.metrics.hub.clone(),
        };
        let (hub, handle, store) = self.store.start(config)?;
        let executor = self.executor;
        let sockets = Sockets::new().map_err(ServerError::Sockets)?;
        let mut watching = executor.spawn(sockets.clone().watch());
        let admission = Admission::new(limits.connections, limits.connections_per_address);
        let Config {
            tls,
            origins,
            trusted_proxies,
            ..
        } = self.config;
        let entrance = Entrance::new(
            admission.clone(),
            origins,
            trusted_proxies,
            self.metrics.hub.clone(),
        );
        let hub = executor.spawn(hub.run());
        let ticking = executor.spawn(tick(handle.clone()));
        let accepting = executor.spawn(accept(
            self.listener,
            executor.clone(),
            handle.clone(),
            Accepting {
                entrance,
                sockets,
                tls,
                handshakes: self.handshakes,
                limits: limits.clone(),
                protocol,
            },
        ));
        self.life.serves(handle.clone());
        let mut hub = hub;
        let stopped = async {
            stop.await;
            None
        };
        let hub_ended = async { Some((&mut hub).await.map_err(ServerError::Hub)) };
        let blind = async { Some(Err(ServerError::Sockets((&mut watching).await))) };
        if let Some(ended) = stopped.or(hub_ended).or(blind).await {
            return ended;
        }
        self.life.drains();
        info!("shutting down");
        let signalled = Instant::now();
        accepting.cancel().await;
        let goodbye = async {
            handle.shutdown().await;
            hub.await.map_err(ServerError::Hub)?;
            // What was written last is lost if the process ends before the peer closed.
            admission.close().await;
            Ok(())
        };
        let late = async {
            Timer::at(signalled + GOODBYE).await;
            warn!("some connections did not take their goodbye in time");
            Ok(())
        };
        goodbye.or(late).await?;
        ticking.cancel().await;
        watching.cancel().await;
        if let Some(store) = store {
            let late = async {
                Timer::at(signalled + SHUTDOWN).await;
                warn!("the store was not closed in time; what was shown to anybody is kept");
            };
            store.ended().or(late).await;
        }
        Ok(())
    }
}

/// What every accepted connection needs.
struct Accepting<F> {
    sockets: Arc<Sockets>,
    tls: Option<Arc<Tls>>,
    entrance: Entrance,
    handshakes: Arc<Admission>,
    limits: Limits,
    protocol: F,
}

/// A connection that was accepted, and is no WebSocket yet.
struct Accepted<F> {
    address: SocketAddr,
    handshake: Permit,
    hub: Handle,
    shared: Arc<Accepting<F>>,
}

async fn accept<P: Protocol, F>(
    listener: TcpListener,
    executor: Arc<Executor<'static>>,
    hub: Handle,
    shared: Accepting<F>,
) where
    F: Fn(Timestamp) -> P + Send + Sync + 'static,
{
    let shared = Arc::new(shared);
    let mut in_a_row: u32 = 0;
    loop {
        in_a_row = in_a_row.wrapping_add(1);
        if in_a_row.is_multiple_of(ACCEPTED_IN_A_ROW) {
            future::yield_now().await;
        }
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept; if there are too few file descriptors, raise ulimit -n");
                Timer::after(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(handshake) = shared
            .handshakes
            .admit(shared.entrance.counted(address.ip()))
        else {
            shared.entrance.too_many_handshakes(address.ip());
            continue;
        };
        if let Err(error) = prepare(&stream, &shared.limits) {
            debug!(%address, %error, "gone at once");
            continue;
        }
        let socket = match shared.sockets.adopt(stream) {
            Ok(socket) => socket,
            Err(error) => {
                warn!(%address, %error, "cannot watch the socket");
                continue;
            }
        };
        let accepted = Accepted {
            address,
            handshake,
            hub: hub.clone(),
            shared: shared.clone(),
        };
        match shared.tls.clone() {
            None => executor.spawn(accepted.serve(socket, tcp)),
            Some(tls) => executor.spawn(accepted.serve_tls(socket, tls)),
        }
        .detach();
    }
}

impl<P: Protocol, F: Fn(Timestamp) -> P> Accepted<F> {
    async fn serve_tls(self, socket: Socket, tls: Arc<Tls>) {
        // Boxed, so that what only the handshake needs is freed with it.
        let accepting = Box::pin(tls.accept(socket, handshake_timeout(&self.shared.limits)));
        match accepting.await {
            Ok(stream) => {
                let grace = Duration::from_millis(self.shared.limits.close_grace_ms.into());
                self.serve(stream, |stream| tls::wire(stream, grace)).await;
            }
            Err(error) => debug!(address = %self.address, %error, "no TLS handshake"),
        }
    }

    // No async fn: that would have space for its arguments twice, as they come and as they are used.
    fn serve<S, R, O>(
        self,
        stream: S,
        wire: impl FnOnce(S) -> Wire<R, O, Socket>,
    ) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        R: AsyncRead + Unpin,
        O: Outlet + 'static,
    {
        let Self {
            address,
            handshake,
            hub,
            shared,
        } = self;
        // Boxed for the same reason as that of TLS.
        let serving = Box::pin({
            let (shared, hub) = (shared.clone(), hub.clone());
            async move {
                let (entrance, timeout) = (&shared.entrance, handshake_timeout(&shared.limits));
                let served = http::serve(stream, address.ip(), entrance, &hub, timeout).await;
                drop(handshake);
                served
            }
        });
        async move {
            let Some(http::Upgraded {
                stream,
                read,
                entered,
            }) = serving.await
            else {
                return;
            };
            let now = Clock::system()();
            let protocol = (shared.protocol)(now);
            let most_bytes = shared.limits.frame_bytes as usize;
            let clock = ConnectionClock::new(now);
            let wire = wire(stream);
            connection::run::<SmolTimer, _, _, _>(
                wire, read, most_bytes, &hub, clock, protocol, &entered,
            )
            .await;
            drop(entered);
        }
    }
}

fn tcp(socket: Socket) -> Wire<Socket, TcpOutlet, Socket> {
    let outlet = TcpOutlet(socket.clone());
    Wire::direct(socket.clone(), outlet, socket)
}

fn handshake_timeout(limits: &Limits) -> Duration {
    Duration::from_millis(limits.handshake_timeout_ms.into())
}

fn prepare(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    // A frame is written whole, and is to leave at once.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_recv_buffer_size(limits.receive_buffer_bytes as usize)?;
    socket.set_send_buffer_size(limits.send_buffer_bytes as usize)
}

async fn tick(hub: Handle) {
    let mut seconds = Timer::interval(Duration::from_secs(1));
    while seconds.next().await.is_some() {
        hub.tick();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};

    use super::*;

    #[test]
    fn the_system_keeps_no_more_for_a_socket_than_it_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let stream = TcpStream::try_from(accepted).unwrap();
        let limits = Limits {
            send_buffer_bytes: 40 << 10,
            receive_buffer_bytes: 50 << 10,
            ..Limits::default()
        };
        prepare(&stream, &limits).unwrap();
        let socket = SockRef::from(&stream);
        // Linux says twice the number, since it counts what it needs itself.
        let told = |bytes: u32| [bytes as usize, 2 * bytes as usize];
        let (sent, received) = (socket.send_buffer_size(), socket.recv_buffer_size());
        assert!(told(limits.send_buffer_bytes).contains(&sent.unwrap()));
        assert!(told(limits.receive_buffer_bytes).contains(&received.unwrap()));
        assert!(stream.nodelay().unwrap());
    }
}
