//! The operator's own port: whether the process runs, whether it is ready, and its metrics. It is
//! served by the executor that serves the chat, so that one which is stuck does not look healthy.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_lite::FutureExt;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use parlor_hub::Handle;
use parlor_hub::entrance::Admission;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task, Timer};
use smol_hyper::rt::FuturesIo;
use tracing::{debug, info, warn};

use crate::http::{self, Answer};
use crate::server::ACCEPT_RETRY;

/// Connections at once: a few monitoring systems and people.
const CONNECTIONS: u32 = 64;
/// prometheus-client writes this format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the server can be used, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    /// Messages cannot be stored.
    StoreUnavailable,
    /// It was told to stop.
    Draining,
}

/// Where a server is in its life.
#[derive(Debug, Default)]
pub(crate) struct Life {
    hub: OnceLock<Handle>,
    draining: AtomicBool,
}

impl Life {
    /// It serves the chat.
    pub(crate) fn serves(&self, hub: Handle) {
        // A server is run once.
        let _ = self.hub.set(hub);
    }

    /// It was told to stop.
    pub(crate) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.hub.get() {
            _ if self.draining.load(Ordering::Relaxed) => Phase::Draining,
            None => Phase::Starting,
            Some(hub) if hub.is_storing() => Phase::Ready,
            Some(_) => Phase::StoreUnavailable,
        }
    }
}

/// What is told on the port.
pub(crate) struct Admin {
    life: Arc<Life>,
    handshakes: Arc<Admission>,
    registry: Registry,
    ready: Gauge,
    handshakes_open: Gauge,
}

/// The port, as long as this lives.
#[derive(Debug)]
pub(crate) struct AdminPort {
    pub(crate) address: SocketAddr,
    _serving: Task<()>,
}

impl Admin {
    pub(crate) fn new(
        life: Arc<Life>,
        handshakes: Arc<Admission>,
        mut registry: Registry,
    ) -> Arc<Self> {
        let (ready, handshakes_open) = (Gauge::default(), Gauge::default());
        let own = registry.sub_registry_with_prefix("parlor");
        own.register(
            "ready",
            "Whether the server can be used: 1 when /readyz says so, else 0",
            ready.clone(),
        );
        own.register(
            "handshakes",
            "TCP connections that are not WebSockets, or not yet",
            handshakes_open.clone(),
        );
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(crate::process::ProcessCollector));
        Arc::new(Self {
            life,
            handshakes,
            registry,
            ready,
            handshakes_open,
        })
    }

    /// Serves it at `address`. Whoever is silent for `timeout` is disconnected.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub(crate) async fn listen(
        self: Arc<Self>,
        address: SocketAddr,
        timeout: Duration,
        executor: &Arc<Executor<'static>>,
    ) -> io::Result<AdminPort> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        info!(%address, "the admin port is open");
        let serving = self.accept(listener, timeout, executor.clone());
        Ok(AdminPort {
            address,
            _serving: executor.spawn(serving),
        })
    }

    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        timeout: Duration,
        executor: Arc<Executor<'static>>,
    ) {
        let places = Admission::new(CONNECTIONS, 0);
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "the admin port cannot accept; if there are too few file descriptors, raise ulimit -n");
                    Timer::after(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(place) = places.admit(None) else {
                debug!(%address, "dropped: too many connections to the admin port");
                continue;
            };
            let admin = self.clone();
            let serving = async move {
                admin.serve(stream, address, timeout).await;
                drop(place);
            };
            executor.spawn(serving).detach();
        }
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr, timeout: Duration) {
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(self.respond(&request))
        });
        let serving = http::builder(timeout)
            .keep_alive(false)
            .serve_connection(FuturesIo::new(stream), service);
        let late = async {
            Timer::after(timeout * http::TIMEOUTS).await;
            Ok(())
        };
        if let Err(error) = serving.or(late).await {
            debug!(%address, %error, "not served by the admin port");
        }
    }

    fn respond(&self, request: &Request<Incoming>) -> Answer {
        let answer: fn(&Self) -> Answer = match request.uri().path() {
            // It is the answer that shows it.
            "/healthz" => |_| http::text(StatusCode::OK, "ok\n"),
            "/readyz" => Self::readiness,
            "/metrics" => Self::metrics,
            _ => return http::text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
        };
        if http::reads(request) {
            http::with(answer(self), CACHE_CONTROL, "no-store")
        } else {
            http::only_reads()
        }
    }

    fn readiness(&self) -> Answer {
        const NOT: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match self.life.phase() {
            Phase::Starting => http::text(NOT, "starting\n"),
            Phase::Ready => http::text(StatusCode::OK, "ready\n"),
            Phase::StoreUnavailable => http::text(NOT, "store unavailable\n"),
            Phase::Draining => http::text(NOT, "draining\n"),
        }
    }

    fn metrics(&self) -> Answer {
        let is_ready = self.life.phase() == Phase::Ready;
        self.ready.set(is_ready.into());
        let open = self.handshakes.count();
        self.handshakes_open
            .set(i64::try_from(open).unwrap_or(i64::MAX));
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        if let Err(error) = written {
            warn!(%error, "the metrics cannot be written");
            let sorry = "The metrics cannot be written.\n";
            return http::text(StatusCode::INTERNAL_SERVER_ERROR, sorry);
        }
        let mut answer = Response::new(text.into());
        let content_type = HeaderValue::from_static(OPEN_METRICS);
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        answer
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admin").field(&self.life.phase()).finish()
    }
}
