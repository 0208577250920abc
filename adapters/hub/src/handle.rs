//! What an adapter holds: a [`Handle`] to the hub, and one [`Connection`] for each of its own. What
//! an application does with a handle is in `application`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_channel::{Sender, TrySendError};
use parlor_core::{
    CloseReason, ConnId, Identity, Input, Refusal, Request, RequestKind, ResumeToken,
};

use crate::frame::Frame;
use crate::inbox::{Inbound, Internal};
use crate::metrics::{Metrics, Moment};
use crate::outlet::Outlet;
use crate::signals::{Releases, signals};

/// The hub is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubGone;

impl fmt::Display for HubGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub is gone")
    }
}

impl std::error::Error for HubGone {}

/// A way to reach the hub; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inbox: Sender<Inbound>,
    pub(crate) internal: Sender<Internal>,
    pub(crate) shared: Arc<Shared>,
}

/// What the hub and its handles both see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) metrics: Metrics,
    next_conn: AtomicU64,
    pub(crate) next_publication: AtomicU64,
    pub(crate) store_failed: AtomicBool,
    /// A tick is on its way.
    pub(crate) ticked: AtomicBool,
}

impl Shared {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            next_conn: AtomicU64::default(),
            next_publication: AtomicU64::default(),
            store_failed: AtomicBool::default(),
            ticked: AtomicBool::default(),
        }
    }
}

impl Handle {
    /// Takes in a connection whose frames go to `outlet`. `resume_token` is fresh random bits.
    ///
    /// # Errors
    /// When the hub is gone.
    pub async fn connect(
        &self,
        resume_token: ResumeToken,
        outlet: impl Outlet + 'static,
    ) -> Result<Connection, HubGone> {
        let conn = ConnId(self.shared.next_conn.fetch_add(1, Ordering::Relaxed));
        let (releaser, releases) = signals();
        let outlet = Box::new(outlet);
        let dropped = Arc::<AtomicBool>::default();
        let open = Inbound::Open {
            conn,
            resume_token,
            outlet,
            signals: releaser,
            dropped: dropped.clone(),
        };
        self.send(open).await?;
        Ok(Connection {
            id: conn,
            handle: self.clone(),
            releases,
            dropped,
            ended: false,
        })
    }

    /// Tells the hub that time goes by: to be called about once a second. Deadlines of closing
    /// connections and of the store are looked at then.
    pub fn tick(&self) {
        // Not through the inbox: when the store hangs that is full, and nobody empties it.
        if !self.shared.ticked.swap(true, Ordering::AcqRel) {
            // A hub that is gone has no deadlines.
            let _ = self.internal.try_send(Internal::Tick);
        }
    }

    /// Says goodbye to everybody; the hub ends when all of them took it.
    pub async fn shutdown(&self) {
        // A hub that is gone needs no goodbye.
        let _ = self.inbox.send(Inbound::Shutdown).await;
    }

    /// Puts something into the inbox: at once, if there is room.
    fn send(&self, inbound: Inbound) -> impl Future<Output = Result<(), HubGone>> + Send {
        let sent = match self.inbox.try_send(inbound) {
            Ok(()) => Ok(None),
            // Seldom, and nobody else should have space for it.
            Err(TrySendError::Full(inbound)) => Ok(Some(Box::pin(self.inbox.send(inbound)))),
            Err(TrySendError::Closed(_)) => Err(HubGone),
        };
        async {
            match sent? {
                None => Ok(()),
                Some(waiting) => waiting.await.map_err(|_| HubGone),
            }
        }
    }

    /// Whether messages can be stored.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        !self.shared.store_failed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// The reading half of a connection: what it hands over, and when. Dropping it without
/// [`Connection::end`] ends the connection as an internal error. It belongs to one task: of two
/// that wait, one would not be woken.
#[derive(Debug)]
pub struct Connection {
    id: ConnId,
    handle: Handle,
    releases: Releases,
    dropped: Arc<AtomicBool>,
    ended: bool,
}

impl Connection {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// Hands over a request, and waits until the next may be handed over: at once for most, and
    /// until the answer is on its way for those that hold (T-8). Not to be cancelled while it waits:
    /// the next one would take its release for its own.
    ///
    /// # Errors
    /// When the hub is gone, or has finished with this connection.
    // No async fn, here and below: every connection would have space for what it may have to hand
    // over, more than once, and for as long as it is idle.
    pub fn receive(&self, request: Request) -> impl Future<Output = Result<(), HubGone>> + Send {
        let holds = request.kind.holds();
        let is_message = matches!(request.kind, RequestKind::Message { .. });
        let input = Input::Received {
            conn: self.id,
            request,
        };
        let received = is_message.then(Moment::now);
        let sent = self.send(Inbound::Input { input, received });
        async move {
            sent.await?;
            if holds && !self.releases.next().await {
                return Err(HubGone);
            }
            Ok(())
        }
    }

    /// Hands over a refusal, so that it takes its place among the answers.
    ///
    /// # Errors
    /// When the hub is gone.
    pub fn refuse(&self, refusal: Refusal) -> impl Future<Output = Result<(), HubGone>> + Send {
        let input = Input::Refused {
            conn: self.id,
            refusal,
        };
        self.input(input)
    }

    /// Hands over verified claims; the `hello` that carried them follows.
    ///
    /// # Errors
    /// When the hub is gone.
    pub fn identify(&self, identity: Identity) -> impl Future<Output = Result<(), HubGone>> + Send {
        let input = Input::Identified {
            conn: self.id,
            identity,
        };
        self.input(input)
    }

    /// Queues a frame of the WebSocket's own (ping, pong, the answer to a close) behind what was
    /// handed over before.
    ///
    /// # Errors
    /// When the hub is gone.
    pub fn control<F: Into<Frame>>(
        &self,
        frame: F,
    ) -> impl Future<Output = Result<(), HubGone>> + Send + use<'_, F> {
        self.send(Inbound::Control {
            conn: self.id,
            frame: frame.into(),
        })
    }

    /// Ends the connection. With a reason the peer is told so; without, it closed by itself.
    pub async fn end(&mut self, reason: Option<CloseReason>) {
        // A hub that is gone has ended every connection.
        let _ = self
            .send(Inbound::End {
                conn: self.id,
                reason,
            })
            .await;
        self.ended = true;
    }

    /// Waits until the hub has finished with this connection: its last frame is written, or given
    /// up.
    pub async fn finished(&self) {
        while self.releases.next().await {}
    }

    /// Whether the hub has finished with this connection.
    pub(crate) fn is_finished(&self) -> bool {
        self.releases.is_finished()
    }

    /// Counts so many bytes of a message that was read, for the [`Metrics`](crate::Metrics).
    pub fn count_received(&self, bytes: usize) {
        let counter = &self.handle.shared.metrics.received_bytes;
        counter.inc_by(bytes as u64);
    }

    fn input(&self, input: Input) -> impl Future<Output = Result<(), HubGone>> + Send {
        let received = None;
        self.send(Inbound::Input { input, received })
    }

    fn send(&self, inbound: Inbound) -> impl Future<Output = Result<(), HubGone>> + Send {
        self.handle.send(inbound)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.ended {
            // It overtakes what this connection handed over before, which is as good as lost, and
            // maybe the connection itself, for which there is the flag.
            self.dropped.store(true, Ordering::Release);
            let dropped = self.handle.internal.try_send(Internal::Dropped(self.id));
            debug_assert!(
                !matches!(dropped, Err(TrySendError::Full(_))),
                "it has no bound"
            );
        }
    }
}
