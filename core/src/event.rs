//! What goes into the state machine and what comes out of it. Plain values, externally tagged in
//! serde, so that a trace of them can be stored in any format.

use alloc::sync::Arc;
use core::slice;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::error::{Cause, CloseReason, ErrorCode};
use crate::log::{Page, StoredLog};
use crate::protocol::{Refusal, Request, ServerMessage};
use crate::types::{
    ClientMsgId, ConnId, Epoch, LoadId, MessageText, PublicationId, Ref, ResumeToken, RoomId,
    RoomPattern, Seq, Timestamp, Username,
};

/// What happened, and when. The core has no clock: time only ever comes in here, and is clamped so
/// that it never goes back (I-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub input: Input,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A connection stands.
    Connected {
        /// Its id, never used before.
        conn: ConnId,
        /// 128 random bits, drawn by the adapter.
        resume_token: ResumeToken,
    },
    /// The adapter verified the token of the `hello` that follows. Means nothing unless
    /// [`Limits::token_required`](crate::Limits::token_required).
    Identified {
        /// Whose.
        conn: ConnId,
        /// What the token says.
        identity: Identity,
    },
    /// A well-formed request came.
    Received {
        /// From whom.
        conn: ConnId,
        /// What it asks.
        request: Request,
    },
    /// The session refused a frame. It passes here so that answers keep their order.
    Refused {
        /// Whose frame.
        conn: ConnId,
        /// The answer.
        refusal: Refusal,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        conn: ConnId,
        /// Why, as `user_left` will say.
        cause: Cause,
    },
    /// The application says something, without being there.
    Published {
        /// In which room.
        room: RoomId,
        /// What.
        publication: Publication,
    },
    /// Answers [`Effect::LoadRoom`].
    RoomLoaded {
        /// Which room.
        room: RoomId,
        /// Which load.
        load: LoadId,
        /// What the store knows of it.
        log: StoredLog,
    },
    /// Answers [`Effect::LoadRoom`]: the store could not.
    LoadFailed {
        /// Which room.
        room: RoomId,
        /// Which load.
        load: LoadId,
    },
    /// Answers [`Effect::FetchPage`].
    PageFetched {
        /// What was asked.
        fetch: Fetch,
        /// What the store has, be it too old to be shown.
        page: Page,
    },
    /// Answers [`Effect::FetchPage`]: the store could not.
    FetchFailed {
        /// What was asked.
        fetch: Fetch,
    },
    /// The store can store nothing until further notice.
    StoreFailed,
    /// The store works again.
    StoreRecovered,
    /// The server goes away.
    Shutdown,
}

impl Input {
    /// The connection whose event this is.
    #[must_use]
    pub const fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Connected { conn, .. }
            | Self::Identified { conn, .. }
            | Self::Received { conn, .. }
            | Self::Refused { conn, .. }
            | Self::Disconnected { conn, .. }
            | Self::PageFetched {
                fetch: Fetch { conn, .. },
                ..
            }
            | Self::FetchFailed {
                fetch: Fetch { conn, .. },
            } => Some(*conn),
            Self::Published { .. }
            | Self::RoomLoaded { .. }
            | Self::LoadFailed { .. }
            | Self::StoreFailed
            | Self::StoreRecovered
            | Self::Shutdown => None,
        }
    }
}

/// Claims that the adapter has verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user and its name.
    pub subject: Username,
    /// The rooms it may join, list and see; none means all.
    pub rooms: Option<Arc<[RoomPattern]>>,
}

/// What the application says in a room. It is trusted: it may do so in any room, under any name and
/// as fast as it likes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Named by the answer, see [`Effect::Answer`]; no other publication without one has it.
    pub id: PublicationId,
    /// Under which name, whoever holds it.
    pub from: Username,
    /// What it says.
    pub text: MessageText,
    /// With it a retry is recognised, as one of whoever else says something under that name.
    pub client_msg_id: Option<ClientMsgId>,
}

/// Where a publication stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// In which life of the room's log.
    pub epoch: Epoch,
    /// Where in it.
    pub seq: Seq,
    /// It stood there before: this is a retry.
    pub duplicate: bool,
}

/// A page of a room's log that the store is asked for, with all that its answer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Who asks.
    pub conn: ConnId,
    /// Which room.
    pub room: RoomId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// Only entries before this one.
    pub before: Seq,
    /// How many entries at most: the last of those. One more than the page has, which tells whether
    /// anything before it may still be shown.
    pub limit: u32,
    /// The request's tag.
    pub reference: Option<Ref>,
}

/// What is to be done, in order. Exhaustive on purpose: a new effect is a new duty for every
/// adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Store an entry, before any later effect is carried out (T-5).
    Append {
        /// In which room's log.
        room: RoomId,
        /// In which life of it.
        epoch: Epoch,
        /// What.
        entry: Arc<Entry>,
    },
    /// Send one message, encoded once, whoever it is for.
    Send {
        /// To whom.
        to: Recipients,
        /// What.
        message: ServerMessage,
    },
    /// Answer the application, once for each [`Input::Published`].
    Answer {
        /// Which publication.
        publication: PublicationId,
        /// Where it stands, or why it does not.
        outcome: Result<Published, ErrorCode>,
    },
    /// Tell the application who came or went, if it wants to know.
    Tell(Change),
    /// Close a connection. The state has forgotten it already.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Load a room's log; answered by `RoomLoaded` or `LoadFailed`.
    LoadRoom {
        /// Which.
        room: RoomId,
        /// Named by the answer.
        load: LoadId,
    },
    /// Read a page of a room's log; answered by `PageFetched` or `FetchFailed`.
    FetchPage(Fetch),
    /// The last member left, or a load came when nobody waited for it any more: nobody is in the
    /// room, and its log is wanted in memory no more.
    ReleaseRoom {
        /// Which.
        room: RoomId,
    },
}

/// A user came into a room or went out of it (T-11). One with several connections does so with the
/// first and the last of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Change {
    /// It came.
    Joined {
        /// Into which room.
        room: RoomId,
        /// Who.
        username: Username,
    },
    /// It went.
    Left {
        /// Out of which room.
        room: RoomId,
        /// Who.
        username: Username,
        /// Why.
        cause: Cause,
    },
    /// Everybody went out of every room at once: the server goes away.
    AllLeft,
}

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Recipients {
    /// One connection.
    One(ConnId),
    /// The members of a room: at least one, besides the one left out.
    Room {
        /// A list that every message of the room shares until somebody comes or goes.
        members: Arc<[ConnId]>,
        /// Who is left out.
        except: Option<ConnId>,
    },
}

impl Recipients {
    /// All of them, each once.
    pub fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        let (all, without) = match self {
            Self::One(conn) => (slice::from_ref(conn), None),
            Self::Room { members, except } => (&**members, *except),
        };
        let all = all.iter().copied();
        all.filter(move |conn| Some(*conn) != without)
    }
}
