//! Every bound of the server, with the reason for its number.
//!
//! Bounds of what a single value may be ([`USERNAME_CHARS`] …) are constants, because the
//! newtypes check them on construction. Everything an operator may change is in [`Limits`].
//! The ones that clients need are told in `hello` ([`AnnouncedLimits`]).

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// Most Unicode scalar values in a username; the seed's number.
pub const USERNAME_CHARS: u32 = 32;
/// Most Unicode scalar values in a message text; the seed's number.
pub const TEXT_CHARS: u32 = 2000;
/// Most Unicode scalar values in a room id: long enough for a UUID with a prefix.
pub const ROOM_ID_CHARS: u32 = 64;
/// Most characters in a `clientMsgId`, a `ref` or an epoch: enough for a UUID or a hash in hex.
pub const TOKEN_CHARS: u32 = 64;

/// How much of everything a server allows. Counts unless the name ends in a unit.
///
/// [`State::new`](crate::State::new) and [`Session::new`](crate::session::Session::new) take any
/// value: whatever is out of range is moved to the nearest number that works, see
/// [`Limits::clamped`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Whether a verified identity is needed for everything but `hello` and `ping`.
    pub token_required: bool,

    /// Rooms that one connection may be in, waiting joins counted. Ergo's number.
    pub rooms_per_connection: u32,
    /// Connections in one room, waiting joins counted: presence costs their square.
    pub members_per_room: u32,
    /// Rooms open or loading at once; each holds a tail in memory.
    pub open_rooms: u32,

    /// Entries of an open room kept in memory. Centrifugo's number.
    pub tail_entries: u32,
    /// Bytes of frames of an open room kept in memory, so that long texts do not multiply
    /// `tail_entries` by their worst case of 12 KB.
    pub tail_bytes: u32,
    /// How old a message may be and still be replayed by `join` or stand on a page of
    /// `get_history`, ms; 0 is any age. For an operator whose store deletes what is older: else a
    /// room in use would go on showing what it has in memory. A retry is recognised by an older
    /// one, too, as long as that is in memory, and its sender gets it.
    pub history_age_ms: u64,
    /// Messages on a page of `get_history`, and the most that `join` replays.
    pub history_page: u32,
    /// Messages replayed by a `join` that does not say how many. The seed's number.
    pub replay: u32,
    /// Users named in `joined` and `user_list`.
    pub listed_users: u32,
    /// Rooms named in `room_list`.
    pub listed_rooms: u32,
    /// Bytes of all frames of one answer: a quarter of `outbox_bytes`, so that an answer admitted
    /// while the queue is below a quarter can never be what cuts its connection.
    pub answer_bytes: u32,

    /// `message` requests per second and connection; 0 turns flood control off.
    pub messages_per_second: u32,
    /// `message` requests at once after a silence.
    pub burst: u32,
    /// Frames of any kind are allowed at this many times the rate and burst of messages.
    pub frames_per_message: u32,
    /// Frames refused in a row before the connection is closed as flooding.
    pub refusals_in_a_row: u32,

    /// Bytes of one inbound message: more than twice the longest `message` with every character
    /// escaped (2000 of up to 12 bytes), so no good one is too big.
    pub frame_bytes: u32,
    /// Bytes waiting for one connection before it is cut as too slow.
    pub outbox_bytes: u32,
    /// Bytes waiting for all connections; beyond it the one with the most is cut.
    pub outbox_total_bytes: u64,
    /// The kernel's send buffer for one socket (SO_SNDBUF), bytes: without it Linux buffers up to
    /// 4 MB for a client that does not read.
    pub send_buffer_bytes: u32,
    /// The kernel's receive buffer for one socket (SO_RCVBUF), bytes: twice the longest frame.
    /// Without it Linux keeps up to 6 MB of what a client sends while the server does not read it,
    /// and it does not read whoever waits for an answer.
    pub receive_buffer_bytes: u32,

    /// Between two pings, ms: below the 30 to 60 s after which proxies drop a silent connection.
    pub ping_interval_ms: u32,
    /// From a ping to the first sign of life, ms.
    pub pong_timeout_ms: u32,
    /// From the connection to its `hello` when a token is required, ms.
    pub hello_timeout_ms: u32,
    /// For the HTTP (and TLS) handshake, ms.
    pub handshake_timeout_ms: u32,
    /// For a closing connection to take its last frames, ms.
    pub close_grace_ms: u32,

    /// WebSocket connections at once; 0 is no limit. An adapter's duty.
    pub connections: u32,
    /// WebSocket connections of one address; 0 is no limit. An adapter's duty.
    pub connections_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_required: false,
            rooms_per_connection: 100,
            members_per_room: 1000,
            open_rooms: 10_000,
            tail_entries: 300,
            tail_bytes: 256 << 10,
            history_age_ms: 0,
            history_page: 100,
            replay: 50,
            listed_users: 1000,
            listed_rooms: 1000,
            answer_bytes: 256 << 10,
            messages_per_second: 10,
            burst: 20,
            frames_per_message: 10,
            refusals_in_a_row: 100,
            frame_bytes: 64 << 10,
            outbox_bytes: 1 << 20,
            outbox_total_bytes: 1 << 30,
            send_buffer_bytes: 128 << 10,
            receive_buffer_bytes: 128 << 10,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 10_000,
            hello_timeout_ms: 10_000,
            handshake_timeout_ms: 10_000,
            close_grace_ms: 5_000,
            connections: 10_000,
            connections_per_address: 64,
        }
    }
}

/// The smallest answer that can hold any single message: 2000 + 32 + 64 scalar values of at most
/// 6 bytes each, and the field names.
const LEAST_ANSWER_BYTES: u32 = 16 << 10;

impl Limits {
    /// The same limits with every number moved into the range in which the protocol can work:
    /// counts that must not be zero become 1, an answer holds at least one message of any length,
    /// and an outbox holds at least four answers.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        for count in [
            &mut self.rooms_per_connection,
            &mut self.members_per_room,
            &mut self.open_rooms,
            &mut self.tail_entries,
            &mut self.history_page,
            &mut self.listed_users,
            &mut self.listed_rooms,
            &mut self.burst,
            &mut self.frames_per_message,
            &mut self.refusals_in_a_row,
            &mut self.ping_interval_ms,
            &mut self.pong_timeout_ms,
        ] {
            *count = (*count).max(1);
        }
        self.replay = self.replay.min(self.history_page);
        self.answer_bytes = self.answer_bytes.clamp(LEAST_ANSWER_BYTES, 1 << 28);
        self.outbox_bytes = self.outbox_bytes.max(self.answer_bytes * 4);
        self
    }

    /// The time of the oldest message that may be shown at `now`.
    pub(crate) const fn oldest_shown(&self, now: Timestamp) -> Timestamp {
        match self.history_age_ms {
            0 => Timestamp(0),
            age_ms => Timestamp(now.0.saturating_sub(age_ms)),
        }
    }

    /// What `hello` tells clients.
    #[must_use]
    pub fn announced(&self) -> AnnouncedLimits {
        AnnouncedLimits {
            username: USERNAME_CHARS,
            text: TEXT_CHARS,
            room_id: ROOM_ID_CHARS,
            client_msg_id: TOKEN_CHARS,
            frame_bytes: self.frame_bytes,
            history_page: self.history_page,
            replay: self.replay,
            rooms_per_connection: self.rooms_per_connection,
            members_per_room: self.members_per_room,
            messages_per_second: self.messages_per_second,
            burst: self.burst,
        }
    }
}

/// The limits in `hello`: lengths in Unicode scalar values, `frameBytes` in bytes, the rest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedLimits {
    /// Longest username.
    pub username: u32,
    /// Longest text.
    pub text: u32,
    /// Longest room id.
    pub room_id: u32,
    /// Longest `clientMsgId`.
    pub client_msg_id: u32,
    /// Largest frame.
    pub frame_bytes: u32,
    /// Most messages on a page of history.
    pub history_page: u32,
    /// Messages replayed by a `join` that does not say how many.
    pub replay: u32,
    /// Most rooms of one connection.
    pub rooms_per_connection: u32,
    /// Most connections in one room.
    pub members_per_room: u32,
    /// Messages per second; 0 means that flood control is off.
    pub messages_per_second: u32,
    /// Messages at once after a silence.
    pub burst: u32,
}
