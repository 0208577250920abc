//! What comes to the hub: from connections through a bounded channel, whose senders wait when it is
//! full, and from the hub's own helpers through one that never makes them wait.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_channel::Sender;
use parlor_core::protocol::RoomInfo;
use parlor_core::{
    CloseReason, ConnId, ErrorCode, Input, Publication, Published, ResumeToken, RoomId, Username,
};

use crate::frame::Frame;
use crate::metrics::Moment;
use crate::outlet::Outlet;
use crate::signals::Releaser;
use crate::store::Answer;

/// Events that wait for the hub: a few batches. Beyond it readers wait, and with them their peers,
/// by TCP's own flow control.
pub(crate) const INBOX_EVENTS: usize = 4096;

/// From a connection, or from whoever runs the server.
pub(crate) enum Inbound {
    /// A connection stands.
    Open {
        conn: ConnId,
        resume_token: ResumeToken,
        outlet: Box<dyn Outlet>,
        signals: Releaser,
        /// Whether its task is gone already: word of that may have overtaken this.
        dropped: Arc<AtomicBool>,
    },
    /// Something of a connection that is for the core.
    Input {
        input: Input,
        /// When it was read, if it is a message that is said.
        received: Option<Moment>,
    },
    /// A control frame for a connection's own peer: a ping or pong.
    Control { conn: ConnId, frame: Frame },
    /// A connection ended. With a reason its peer is told so first.
    End {
        conn: ConnId,
        reason: Option<CloseReason>,
    },
    /// The application wants something.
    Command(Command),
    /// The server goes away.
    Shutdown,
}

/// What the application wants. An answer that does not come is a sender that was dropped.
pub(crate) enum Command {
    /// To say something.
    Publish {
        room: RoomId,
        publication: Publication,
        answer: Sender<Result<Published, ErrorCode>>,
    },
    /// To know which rooms are open.
    Rooms(Sender<Vec<RoomInfo>>),
    /// To know who is in a room.
    Users {
        room: RoomId,
        answer: Sender<Vec<Username>>,
    },
    /// To be rid of a connection.
    Disconnect(ConnId),
    /// To be rid of every connection of a user.
    DisconnectUser(Username),
}

/// From the hub's own helpers. At most one tick waits, one each of the next two for each
/// connection, and one answer for each question, so the channel is bounded by what exists.
pub(crate) enum Internal {
    /// A second or so went by.
    Tick,
    /// An outlet that could take no more can take some again.
    Writable(ConnId),
    /// The task of a connection is gone without a word: it panicked or was cancelled.
    Dropped(ConnId),
    /// The store answered a question of this generation.
    Stored { generation: u64, answer: Answer },
    /// The store panicked, with this, on a thread of its own.
    StorePanicked(Box<dyn Any + Send>),
}
