//! The same chat as an axum handler on tokio.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use parlor_core::{Identity, Limits, Username};
use parlor_smol::ServerError;
use parlor_tokio::{Builder, Chat, Upgrade};
use smol::channel::Receiver;
use socket2::SockRef;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;

use super::TestServer;

/// How the application's server serves its sockets.
#[derive(Clone, Copy, Debug)]
enum Sockets {
    /// As TCP, which the chat knows.
    Known,
    /// As a stream that the chat knows nothing of, such as a TLS library's, nor where it is from.
    Opaque { send_buffer_bytes: usize },
}

impl TestServer {
    /// A chat on tokio with these limits.
    #[must_use]
    pub fn start_tokio(limits: Limits) -> Self {
        Self::start_application(Chat::builder().limits(limits), Sockets::Known)
    }

    /// The same over streams of which the chat knows nothing.
    #[must_use]
    pub fn start_tokio_opaque(limits: Limits) -> Self {
        let send_buffer_bytes = limits.send_buffer_bytes as usize;
        let sockets = Sockets::Opaque { send_buffer_bytes };
        Self::start_application(Chat::builder().limits(limits), sockets)
    }

    /// Another chat on tokio, and what its application has of it.
    #[must_use]
    pub fn start_chat(builder: Builder) -> (Self, Chat) {
        Self::begin(builder, Sockets::Known)
    }

    fn start_application(builder: Builder, sockets: Sockets) -> Self {
        Self::begin(builder, sockets).0
    }

    fn begin(builder: Builder, sockets: Sockets) -> (Self, Chat) {
        let (running, stop) = smol::channel::bounded(1);
        let (started, starts) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Two, so that a connection and the hub do run at once.
            let runtime = runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                let chat = builder.start().expect("the chat starts");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("it binds");
                let address = listener.local_addr().expect("it listens");
                let told = started.send((address, chat.clone()));
                told.expect("the test waits for it");
                run(chat, listener, sockets, stop).await
            })
        });
        let (address, chat) = starts.recv().expect("the server listens");
        let server = Self {
            door: address.into(),
            admin: address,
            running: Some(running),
            thread: Some(thread),
        };
        (server, chat)
    }
}

async fn run(
    chat: Chat,
    listener: TcpListener,
    sockets: Sockets,
    stop: Receiver<()>,
) -> Result<(), ServerError> {
    let app = Router::new()
        .route("/ws", get(parlor_tokio::handler))
        .route("/as/{name}", get(known))
        .route("/", get("There is a chat at /ws."))
        .with_state(chat.clone());
    tokio::select! {
        served = serve(app, listener, sockets) => {
            panic!("it serves until it is told to stop: {served:?}")
        }
        ended = chat.ended() => ended.map_err(ServerError::Hub),
        _ = stop.recv() => {
            chat.shutdown().await;
            Ok(())
        }
    }
}

async fn serve(app: Router, inner: TcpListener, sockets: Sockets) -> io::Result<()> {
    match sockets {
        Sockets::Known => {
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(inner, app).await
        }
        Sockets::Opaque { send_buffer_bytes } => {
            let listener = OpaqueListener {
                inner,
                send_buffer_bytes,
            };
            axum::serve(listener, app).await
        }
    }
}

/// The application believes the path.
async fn known(State(chat): State<Chat>, Path(name): Path<String>, upgrade: Upgrade) -> Response {
    let Ok(subject) = Username::new(&name) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let rooms = None;
    chat.serve_as(upgrade, Identity { subject, rooms })
}

struct OpaqueListener {
    inner: TcpListener,
    /// What the system keeps for a socket is for the application to say.
    send_buffer_bytes: usize,
}

struct Opaque(TcpStream);

impl Listener for OpaqueListener {
    type Io = Opaque;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Opaque, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        let socket = SockRef::from(&stream);
        let set = socket.set_send_buffer_size(self.send_buffer_bytes);
        set.expect("the system sets it");
        (Opaque(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
