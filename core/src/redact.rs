//! Where secrets are in what goes in and out of the core, and in the state: for traces, which are to
//! show none and to lead to the same effects all the same.

use alloc::sync::Arc;

use crate::entry::Entry;
use crate::event::{Effect, Event, Input};
use crate::protocol::{Delivery, Hello, RequestKind, ServerMessage};
use crate::types::{MessageText, ResumeToken};

/// Puts something else in the place of a secret.
///
/// The core goes on as it would have, if what takes the place of a text has as many scalar values
/// and the same [`escaped_bytes`](crate::encode::escaped_bytes), and equal secrets have equal
/// replacements, and different ones different ones. Texts are only compared when a message comes
/// with a `clientMsgId` that is known; the answer to another text is `DUPLICATE_ID`.
pub trait Redact {
    /// What somebody said.
    fn text(&self, text: &mut MessageText);
    /// What names a guest to itself.
    fn token(&self, token: &mut ResumeToken);
}

impl Event {
    /// Replaces its secrets.
    pub fn redact(&mut self, by: &impl Redact) {
        match &mut self.input {
            Input::Connected { resume_token, .. } => by.token(resume_token),
            Input::Received { request, .. } => match &mut request.kind {
                RequestKind::Hello {
                    resume_token: Some(resume_token),
                    ..
                } => by.token(resume_token),
                RequestKind::Message { text, .. } => by.text(text),
                RequestKind::Hello { .. }
                | RequestKind::Join { .. }
                | RequestKind::Leave { .. }
                | RequestKind::Typing { .. }
                | RequestKind::ListRooms { .. }
                | RequestKind::ListUsers { .. }
                | RequestKind::GetHistory { .. }
                | RequestKind::Ping => {}
            },
            Input::Published { publication, .. } => by.text(&mut publication.text),
            Input::RoomLoaded { log, .. } => log.texts_mut().for_each(|text| by.text(text)),
            Input::PageFetched { page, .. } => {
                page.entries.iter_mut().for_each(|it| entry(it, by));
            }
            Input::Identified { .. }
            | Input::Refused { .. }
            | Input::Disconnected { .. }
            | Input::LoadFailed { .. }
            | Input::FetchFailed { .. }
            | Input::StoreFailed
            | Input::StoreRecovered
            | Input::Shutdown => {}
        }
    }
}

impl Effect {
    /// Replaces its secrets.
    pub fn redact(&mut self, by: &impl Redact) {
        match self {
            Self::Append { entry: it, .. } => entry(it, by),
            Self::Send { message, .. } => match message {
                ServerMessage::Hello(Hello {
                    resume_token: Some(token),
                    ..
                }) => by.token(token),
                ServerMessage::Message(Delivery { entry: it, .. }) => entry(it, by),
                ServerMessage::Hello(_)
                | ServerMessage::Joined(_)
                | ServerMessage::Left(_)
                | ServerMessage::UserJoined(_)
                | ServerMessage::UserLeft(_)
                | ServerMessage::Typing(_)
                | ServerMessage::RoomList(_)
                | ServerMessage::UserList(_)
                | ServerMessage::History(_)
                | ServerMessage::Pong(_)
                | ServerMessage::Error(_) => {}
            },
            Self::Answer { .. }
            | Self::Tell(_)
            | Self::Close { .. }
            | Self::LoadRoom { .. }
            | Self::FetchPage(_)
            | Self::ReleaseRoom { .. } => {}
        }
    }
}

pub(crate) fn entry(entry: &mut Arc<Entry>, by: &impl Redact) {
    by.text(&mut Arc::make_mut(entry).text);
}
