//! Asks a server how it is, as a container or an operator does.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use futures_lite::{FutureExt, future};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use smol::Timer;
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;

/// From the first packet to the end of the answer: less than the five seconds that Docker and
/// Kubernetes are mostly told to wait, so that there is time to say what is wrong.
const PATIENCE: Duration = Duration::from_secs(3);
/// The head of an answer and, again, its body. Those about health have some tens of bytes each.
const MOST_BYTES: usize = 16 << 10;
/// Characters of the answer's line that are shown.
const MOST_CHARS: usize = 200;

/// What is wrong, and what to do.
#[derive(Debug)]
pub(crate) enum Unwell {
    Unreachable(Uri, io::Error),
    Silent(Uri),
    /// Whatever listens there does not speak HTTP, or too much of it.
    Strange(Uri, Box<dyn Error + Send + Sync>),
    Answered(Uri, StatusCode, String),
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(url, error) => write!(
                f,
                "cannot connect to {url}: {error}; start the server, or say with --url where it is"
            ),
            Self::Silent(url) => write!(
                f,
                "no answer from {url} within {} s; look into the server's log, and restart it",
                PATIENCE.as_secs()
            ),
            Self::Strange(url, error) => write!(
                f,
                "no answer of a server from {url}: {error}; say with --url where it is"
            ),
            Self::Answered(url, status, line) => write!(
                f,
                "{url} answered {}: {line}; look into the server's log",
                status.as_u16()
            ),
        }
    }
}

impl Error for Unwell {}

/// The line that a server that is well answers with.
pub(crate) fn ask(url: &Uri) -> Result<String, Unwell> {
    let late = async {
        Timer::after(PATIENCE).await;
        Err(Unwell::Silent(url.clone()))
    };
    let (status, body) = future::block_on(get(url, MOST_BYTES).or(late))?;
    let line = String::from_utf8_lossy(&body);
    let line = line.lines().next().unwrap_or_default();
    // It goes to a terminal, and --url may name anybody.
    let shown = line.chars().filter(|char| !char.is_control());
    let line = shown.take(MOST_CHARS).collect();
    if status != StatusCode::OK {
        return Err(Unwell::Answered(url.clone(), status, line));
    }
    Ok(line)
}

/// What is at a URL, in `most_bytes` at most.
pub(crate) async fn get(url: &Uri, most_bytes: usize) -> Result<(StatusCode, Bytes), Unwell> {
    let unreachable = |error| Unwell::Unreachable(url.clone(), error);
    let stream = connect(url).await.map_err(unreachable)?;
    let strange = |error| Unwell::Strange(url.clone(), error);
    let exchanged = exchange(url, stream, most_bytes).await;
    exchanged.map_err(strange)
}

async fn connect(url: &Uri) -> io::Result<TcpStream> {
    TcpStream::connect(host_and_port(url)).await
}

/// Whom a URL without TLS names.
pub(crate) fn host_and_port(url: &Uri) -> (&str, u16) {
    let host = url.host().unwrap_or_default();
    // An IPv6 address has brackets in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, url.port_u16().unwrap_or(80))
}

async fn exchange(
    url: &Uri,
    stream: TcpStream,
    most_bytes: usize,
) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_BYTES);
    let (mut sender, connection) = builder.handshake(FuturesIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most_bytes);
        Ok((status, body.collect().await?.to_bytes()))
    };
    let carried = async {
        // What ends it is told to whoever waits for the answer.
        let _ = connection.await;
        future::pending().await
    };
    answer.or(carried).await
}
