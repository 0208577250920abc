//! Whom an event concerns.

use parlor_core::protocol::ErrorMessage;
use parlor_core::{Change, ConnId, Effect, Input, Recipients, RoomId, ServerMessage};

/// Whether an event or what came of it is about `room`.
pub(super) fn room(input: &Input, effects: &[Effect], room: &RoomId) -> bool {
    let about = |effect| room_of_effect(effect) == Some(room);
    room_of(input) == Some(room) || effects.iter().any(about)
}

/// Whether an event is of `conn`, or it gets something of what came of it.
pub(super) fn conn(input: &Input, effects: &[Effect], conn: ConnId) -> bool {
    input.conn() == Some(conn) || effects.iter().any(|effect| reaches(effect, conn))
}

fn room_of(input: &Input) -> Option<&RoomId> {
    match input {
        Input::Received { request, .. } => request.kind.room(),
        Input::Refused { refusal, .. } => refusal.room.as_ref(),
        Input::Published { room, .. }
        | Input::RoomLoaded { room, .. }
        | Input::LoadFailed { room, .. } => Some(room),
        Input::PageFetched { fetch, .. } | Input::FetchFailed { fetch } => Some(&fetch.room),
        Input::Connected { .. }
        | Input::Identified { .. }
        | Input::Disconnected { .. }
        | Input::StoreFailed
        | Input::StoreRecovered
        | Input::Shutdown => None,
    }
}

fn room_of_effect(effect: &Effect) -> Option<&RoomId> {
    match effect {
        Effect::Append { room, .. }
        | Effect::LoadRoom { room, .. }
        | Effect::ReleaseRoom { room } => Some(room),
        Effect::FetchPage(fetch) => Some(&fetch.room),
        Effect::Tell(Change::Joined { room, .. } | Change::Left { room, .. }) => Some(room),
        Effect::Answer { .. } | Effect::Tell(Change::AllLeft) | Effect::Close { .. } => None,
        Effect::Send { message, .. } => match message {
            ServerMessage::Joined(joined) => Some(&joined.room_id),
            ServerMessage::Left(left) => Some(&left.room_id),
            ServerMessage::Message(delivery) => Some(&delivery.room),
            ServerMessage::UserJoined(joined) => Some(&joined.room_id),
            ServerMessage::UserLeft(left) => Some(&left.room_id),
            ServerMessage::Typing(typing) => Some(&typing.room_id),
            ServerMessage::UserList(list) => Some(&list.room_id),
            ServerMessage::History(history) => Some(&history.room_id),
            ServerMessage::Error(ErrorMessage(refusal)) => refusal.room.as_ref(),
            ServerMessage::Hello(_) | ServerMessage::RoomList(_) | ServerMessage::Pong(_) => None,
        },
    }
}

fn reaches(effect: &Effect, wanted: ConnId) -> bool {
    match effect {
        Effect::Send { to, .. } => match to {
            Recipients::One(conn) => *conn == wanted,
            Recipients::Room { members, except } => {
                *except != Some(wanted) && members.contains(&wanted)
            }
        },
        Effect::Close { conn, .. } => *conn == wanted,
        Effect::FetchPage(fetch) => fetch.conn == wanted,
        Effect::Append { .. }
        | Effect::Answer { .. }
        | Effect::Tell(_)
        | Effect::LoadRoom { .. }
        | Effect::ReleaseRoom { .. } => false,
    }
}
