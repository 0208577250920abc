//! What the application that has the hub inside of it may do, through its [`Handle`]: it is trusted,
//! and needs no connection.

use std::fmt;
use std::sync::atomic::Ordering;

use async_channel::Sender;
use parlor_core::protocol::RoomInfo;
use parlor_core::types::{ClientMsgId, MessageText, PublicationId};
use parlor_core::{ConnId, ErrorCode, Publication, Published, RoomId, Username};

use crate::handle::{Handle, HubGone};
use crate::inbox::{Command, Inbound};

/// Why something was not published, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// It was not.
    Refused(ErrorCode),
    /// The hub is gone, or began anew before it answered: it may have been said, or not. With a
    /// `client_msg_id` it is safe to say it again.
    HubGone,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the publication was refused: {code}"),
            Self::HubGone => HubGone.fmt(f),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<HubGone> for PublishError {
    fn from(HubGone: HubGone) -> Self {
        Self::HubGone
    }
}

impl Handle {
    /// Says something in a room, under any name, without being there, and waits until it is stored
    /// and on its way to everybody who is. A room that nobody is in is loaded for it. Rate limits
    /// are for clients.
    ///
    /// With a `client_msg_id` it may be said again as often as need be, after a
    /// [`PublishError::HubGone`] too: as long as the original is among the room's last entries in
    /// memory ([`Limits::tail_entries`](parlor_core::Limits::tail_entries)) the answer is where it
    /// stands. Retries are told by the name and the id, among what clients say under that name as
    /// well, so an id should be one that no client has.
    ///
    /// If this is cancelled it may be said all the same.
    ///
    /// # Errors
    /// Refused with
    /// - [`ErrorCode::StoreUnavailable`]: nothing can be stored, or the room cannot be loaded;
    /// - [`ErrorCode::ServerFull`]: it would need one more room than may be open;
    /// - [`ErrorCode::RateLimited`]: too many wait for the room to load, as many as its tail holds;
    /// - [`ErrorCode::DuplicateId`]: the id was used for another text. If the room had to be loaded,
    ///   the id alone tells a retry;
    /// - [`ErrorCode::ServerShutdown`]: the server goes away.
    pub async fn publish(
        &self,
        room: RoomId,
        from: Username,
        text: MessageText,
        client_msg_id: Option<ClientMsgId>,
    ) -> Result<Published, PublishError> {
        let id = self.shared.next_publication.fetch_add(1, Ordering::Relaxed);
        let publication = Publication {
            id: PublicationId(id),
            from,
            text,
            client_msg_id,
        };
        let publish = |answer| Command::Publish {
            room,
            publication,
            answer,
        };
        let outcome = self.ask(publish).await?;
        outcome.map_err(PublishError::Refused)
    }

    /// The rooms that are open, by their ids, with what was asked and published before in effect. As
    /// many as there are: [`Limits::open_rooms`](parlor_core::Limits::open_rooms) at most.
    ///
    /// # Errors
    /// When the hub is gone, or began anew before it answered.
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, HubGone> {
        self.ask(Command::Rooms).await
    }

    /// The users of a room in the order in which they came, with what was asked and published before
    /// in effect; nobody, if it is not open. As many as there are:
    /// [`Limits::members_per_room`](parlor_core::Limits::members_per_room) at most.
    ///
    /// # Errors
    /// When the hub is gone, or began anew before it answered.
    pub async fn users(&self, room: RoomId) -> Result<Vec<Username>, HubGone> {
        self.ask(|answer| Command::Users { room, answer }).await
    }

    /// Closes a connection, as [`CloseReason::Removed`](parlor_core::CloseReason::Removed). Its
    /// client does not come back by itself; to keep a person out is up to whoever identifies them.
    /// One that is gone already is left alone.
    ///
    /// # Errors
    /// When the hub is gone.
    pub async fn disconnect(&self, conn: ConnId) -> Result<(), HubGone> {
        self.command(Command::Disconnect(conn)).await
    }

    /// The same with every connection of the user of this name, however it is spelled.
    ///
    /// # Errors
    /// When the hub is gone.
    pub async fn disconnect_user(&self, name: Username) -> Result<(), HubGone> {
        self.command(Command::DisconnectUser(name)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, HubGone> {
        let (answer, answered) = async_channel::bounded(1);
        self.command(command(answer)).await?;
        answered.recv().await.map_err(|_| HubGone)
    }

    async fn command(&self, command: Command) -> Result<(), HubGone> {
        let sent = self.inbox.send(Inbound::Command(command)).await;
        sent.map_err(|_| HubGone)
    }
}
