//! A chat that runs: answers requests for WebSockets, and lets each of them talk to the hub.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use parlor_core::Limits;
use parlor_hub::connection::{self, Access, ConnectionClock, Verified, Wire};
use parlor_hub::entrance::{Admission, Entered, Entrance};
use parlor_hub::{Clock, Handle, Hub, HubError};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};
use tracing::{debug, error, warn};

use crate::builder::Builder;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::timer::TokioTimer;
use crate::upgrade::Upgrade;

/// From a shutdown to the end of the last connection, as the server on smol has it.
const GOODBYE: Duration = Duration::from_millis(3500);

/// A chat that runs on tokio, within an application of one's own. Its clones are the same chat,
/// which ends when the last of them and the last connection are gone, or by [`Chat::shutdown`].
#[derive(Clone)]
pub struct Chat(Arc<Shared>);

struct Shared {
    limits: Limits,
    access: Access,
    entrance: Entrance,
    admission: Arc<Admission>,
    handle: Handle,
    /// How the hub ended, once it has.
    ended: watch::Sender<Option<Result<(), HubError>>>,
}

/// A handler that lets everybody in as the chat was told to; the router's state is the [`Chat`], or
/// has one.
pub async fn handler(State(chat): State<Chat>, upgrade: Upgrade) -> Response {
    chat.serve(upgrade)
}

impl Chat {
    /// A chat with the defaults of every option: guests, in memory.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        limits: Limits,
        access: Access,
        entrance: Entrance,
        admission: Arc<Admission>,
        handle: Handle,
    ) -> Self {
        Self(Arc::new(Shared {
            limits,
            access,
            entrance,
            admission,
            handle,
            ended: watch::Sender::new(None),
        }))
    }

    pub(crate) fn run(&self, hub: Hub, runtime: &runtime::Handle) {
        let handle = self.0.handle.clone();
        let shared = Arc::downgrade(&self.0);
        let ended = self.0.ended.clone();
        // Only as long as somebody has the chat: its handle would keep the hub running for ever.
        runtime.spawn(async move {
            let mut seconds = time::interval(Duration::from_secs(1));
            seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while shared.strong_count() > 0 {
                seconds.tick().await;
                handle.tick();
            }
        });
        runtime.spawn(async move {
            let how = hub.run().await;
            if let Err(error) = how {
                error!(%error, "the chat has ended: start the process again");
            }
            ended.send_replace(Some(how));
        });
    }

    /// Answers a request for a WebSocket: of a guest or, with [`Builder::verifier`], of somebody who
    /// is to send a token.
    #[must_use]
    pub fn serve(&self, upgrade: Upgrade) -> Response {
        self.answer(upgrade, self.0.access.clone())
    }

    /// Answers a request for a WebSocket of somebody whom the application knows. Needs
    /// [`Builder::identified`]: without it the answer is 500.
    #[must_use]
    pub fn serve_as(&self, upgrade: Upgrade, who: impl Into<Verified>) -> Response {
        if !self.0.limits.token_required {
            error!("a chat of guests was told who somebody is: start it with Builder::identified");
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This chat is for guests.\n",
            );
        }
        self.answer(upgrade, Access::Known(who.into()))
    }

    fn answer(&self, upgrade: Upgrade, access: Access) -> Response {
        let Upgrade {
            request,
            peer,
            on_upgrade,
        } = upgrade;
        let (answer, entered) = self.0.entrance.upgrade(&request, peer);
        let Some(entered) = entered else {
            return answer.map(Body::from);
        };
        let Some(on_upgrade) = on_upgrade else {
            return text(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "WebSockets need HTTP/1.1 here.\n",
            );
        };
        let connection = self.clone().connection(on_upgrade, peer, entered, access);
        tokio::spawn(connection);
        answer.map(Body::from)
    }

    async fn connection(
        self,
        on_upgrade: OnUpgrade,
        peer: Option<IpAddr>,
        entered: Entered,
        access: Access,
    ) {
        let timeout = Duration::from_millis(self.0.limits.handshake_timeout_ms.into());
        let address = peer.map(tracing::field::display);
        let upgraded = match time::timeout(timeout, on_upgrade).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return debug!(address, %error, "gone in its handshake"),
            Err(_) => return debug!(address, "did not take the answer to its handshake"),
        };
        match tcp(upgraded) {
            Ok((stream, read)) => match Socket::new(stream, &self.0.limits) {
                Ok(socket) => {
                    let wire = Wire::direct(socket.clone(), socket.clone(), socket);
                    self.talk(wire, read, &entered, access).await;
                }
                Err(error) => debug!(address, %error, "gone at once"),
            },
            Err(upgraded) => {
                let stream = Stream::new(upgraded);
                let aborted = stream.clone();
                let grace = Duration::from_millis(self.0.limits.close_grace_ms.into());
                let wire = Wire::piped::<TokioTimer>(
                    stream.clone(),
                    stream.clone(),
                    stream,
                    move || aborted.abort(),
                    grace,
                );
                self.talk(wire, Vec::new(), &entered, access).await;
            }
        }
    }

    async fn talk<R, O, S>(
        &self,
        wire: Wire<R, O, S>,
        read: Vec<u8>,
        entered: &Entered,
        access: Access,
    ) where
        R: futures_lite::AsyncRead + Unpin,
        O: parlor_hub::Outlet + 'static,
        S: futures_lite::AsyncRead + Send + Unpin + 'static,
    {
        let now = Clock::system()();
        let Shared { limits, handle, .. } = &*self.0;
        let protocol = connection::Chat::new(limits, access, now);
        let (most_bytes, clock) = (limits.frame_bytes as usize, ConnectionClock::new(now));
        connection::run::<TokioTimer, _, _, _>(
            wire, read, most_bytes, handle, clock, protocol, entered,
        )
        .await;
    }

    /// What else the application may do: [publish](Handle::publish), list [rooms](Handle::rooms) and
    /// [users](Handle::users), and [disconnect](Handle::disconnect_user).
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// How many connections there are, those in their handshake included.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.admission.count()
    }

    /// Says goodbye to everybody, lets nobody in any more, and returns when all of them are gone,
    /// after 3.5 s at the latest. In front of axum's own graceful shutdown, which knows nothing of
    /// WebSockets.
    pub async fn shutdown(&self) {
        let goodbye = async {
            self.0.handle.shutdown().await;
            let _ = self.ended().await;
            // What was written last is lost if the process ends before the peer closed.
            self.0.admission.close().await;
        };
        if time::timeout(GOODBYE, goodbye).await.is_err() {
            warn!("some connections did not take their goodbye in time");
        }
    }

    /// Waits until the chat has ended: by [`Chat::shutdown`], or because it could not go on.
    ///
    /// # Errors
    /// Why it could not go on. The process should end then, so that a supervisor starts a new one.
    pub async fn ended(&self) -> Result<(), HubError> {
        let mut ended = self.0.ended.subscribe();
        let how = ended.wait_for(Option::is_some).await;
        // Its sender is here.
        how.map_or(Ok(()), |how| how.unwrap_or(Ok(())))
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chat")
    }
}

/// The socket itself, if it is one, and what was read of it behind the handshake.
fn tcp(upgraded: Upgraded) -> Result<(TcpStream, Vec<u8>), Upgraded> {
    // axum's own server wraps it once more than hyper's.
    let upgraded = match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf.into())),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
    Ok((parts.io.into_inner(), parts.read_buf.into()))
}

fn text(status: StatusCode, body: &'static str) -> Response {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer
}
