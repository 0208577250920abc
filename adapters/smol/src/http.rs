//! The HTTP in front: who gets the page, the health, or the upgrade to WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt, future};
use http_body_util::Full as FullBody;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use parlor_hub::Handle;
use parlor_hub::entrance::{Entered, Entrance, is_upgrade};
use smol::Timer;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use tracing::debug;

use crate::page;

/// Bytes of a request's head: hyper's least is 8 KiB, and browsers with many cookies need more.
const HEAD_BYTES: usize = 16 << 10;
/// Headers in a request's head.
const HEADERS: usize = 64;
/// An HTTP connection lives for so many time-outs, whatever it does: a client that asks and never
/// reads is silent in a way that hyper has no time-out for.
pub(crate) const TIMEOUTS: u32 = 6;
/// Requests of one connection: the page is a dozen files. They are answered as fast as they come, so
/// whoever wants more has to come again.
const REQUESTS: u32 = 100;

/// A connection that became a WebSocket.
pub(crate) struct Upgraded<S> {
    pub(crate) stream: S,
    /// What the client sent behind its handshake.
    pub(crate) read: Vec<u8>,
    pub(crate) entered: Entered,
}

/// Answers the requests of one connection until one upgrades it; none if it ended before. Whoever
/// is silent for `timeout` in the middle or between requests is disconnected, and everybody after a
/// few times that.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: IpAddr,
    entrance: &Entrance,
    hub: &Handle,
    timeout: Duration,
) -> Option<Upgraded<S>> {
    // Requests of one connection are served one after the other; this is no real sharing.
    let entered: Mutex<Option<Entered>> = Mutex::new(None);
    let requests = AtomicU32::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, address, entrance, hub);
        let is_last = requests.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS;
        let response = response.map(|(mut response, let_in)| {
            if is_last && let_in.is_none() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            *entered.lock().unwrap_or_else(PoisonError::into_inner) = let_in;
            response
        });
        Box::pin(async {
            // Requests that came together have their answers one by one, the chat between them.
            future::yield_now().await;
            response
        })
    });
    let mut connection = builder(timeout).serve_connection(FuturesIo::new(stream), service);
    let late = async {
        Timer::after(timeout * TIMEOUTS).await;
        debug!(%address, "served for long enough");
        None
    };
    let served = async {
        let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        if let Err(error) = &served {
            debug!(%address, %error, "not served");
        }
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner();
        let let_in = entered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Ok(()), Some(entered)) = (served, let_in) {
            let read = parts.read_buf.into();
            return Some(Upgraded {
                stream,
                read,
                entered,
            });
        }
        // Over TLS the end has to be said. A peer that is gone needs no word.
        let _ = stream.close().await;
        None
    };
    served.or(late).await
}

/// HTTP with bounds: whoever is silent for `timeout` in the middle or between requests is
/// disconnected.
pub(crate) fn builder(timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(SmolTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .half_close(false);
    builder
}

pub(crate) type Answer = Response<FullBody<Bytes>>;

fn respond(
    request: &Request<Incoming>,
    address: IpAddr,
    entrance: &Entrance,
    hub: &Handle,
) -> Result<(Answer, Option<Entered>), Infallible> {
    let path = request.uri().path();
    let answer = match path {
        "/ws" => return Ok(upgrade(request, address, entrance)),
        "/" if is_upgrade(request) => return Ok(upgrade(request, address, entrance)),
        "/healthz" if reads(request) => health(hub),
        "/healthz" => only_reads(),
        _ => match page::file(path) {
            Some(file) if reads(request) => file.answer(request.headers()),
            Some(_) => only_reads(),
            None => text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
        },
    };
    Ok((answer, None))
}

pub(crate) fn reads(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

pub(crate) fn only_reads() -> Answer {
    let answer = text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n");
    with(answer, ALLOW, "GET, HEAD")
}

fn upgrade(
    request: &Request<Incoming>,
    address: IpAddr,
    entrance: &Entrance,
) -> (Answer, Option<Entered>) {
    let (answer, entered) = entrance.upgrade(request, Some(address));
    (answer.map(FullBody::from), entered)
}

fn health(hub: &Handle) -> Answer {
    let answer = if hub.is_storing() {
        text(StatusCode::OK, "ok\n")
    } else {
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            "messages cannot be stored\n",
        )
    };
    with(answer, CACHE_CONTROL, "no-store")
}

pub(crate) fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(FullBody::from(body));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, "text/plain; charset=utf-8")
}

pub(crate) fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}
