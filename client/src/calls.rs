//! What the application calls.

use alloc::format;
use alloc::string::String;
use core::mem;

use parlor_core::ErrorCode;
use parlor_core::limits::{
    AnnouncedLimits, ROOM_ID_CHARS, TEXT_CHARS, TOKEN_CHARS, USERNAME_CHARS,
};

use crate::client::{Client, next};
use crate::failure::{ClientError, Why};
use crate::input::Position;
use crate::output::{Output, Value};
use crate::request::{About, Asked, Question, Request};
use crate::room::{Pending, Phase, Room};
use crate::wire::{Body, MOST_COUNT};

impl Client {
    pub(crate) fn join(
        &mut self,
        call: u64,
        id: String,
        history: Option<u64>,
        since: Option<Position>,
    ) {
        if let Some(why) = self.refused_join(&id) {
            return self.reject(call, why.about(Some(&id), None));
        }
        let Some(index) = self.room(&id) else {
            let key = self.new_room_key();
            self.rooms.push(Room::new(key, id, call, history, since));
            return;
        };
        let room = &mut self.rooms[index];
        if room.is_listening() {
            let joined = room.joined(true);
            return self.resolve(call, Value::Joined(joined));
        }
        room.joins.push(call);
        if mem::replace(&mut room.wanted, true) {
            return;
        }
        room.since = since;
        room.history = history;
        // What was said meanwhile went unheard.
        room.resync |= room.phase == Phase::In;
        // A leave that is not on its way is not asked for any more.
        if room.phase != Phase::Leaving {
            self.resolve_leaves(index);
        }
    }

    pub(crate) fn leave(&mut self, call: u64, id: &str) {
        let Some(index) = self.wanted_room(id) else {
            let why = self
                .refused_call()
                .unwrap_or_else(|| ErrorCode::NotInRoom.into());
            return self.reject(call, why.about(Some(id), None));
        };
        let why = Why::from(ClientError::Left);
        let room = &mut self.rooms[index];
        room.wanted = false;
        room.leaves.push(call);
        let is_out = room.phase == Phase::Out;
        for join in mem::take(&mut room.joins) {
            self.reject(join, why.about(Some(id), None));
        }
        self.reject_outbox(index, &why);
        if is_out {
            self.left(index, None, None);
        }
    }

    pub(crate) fn send(&mut self, call: u64, id: &str, text: String, own_id: Option<String>) {
        let client_msg_id = own_id.unwrap_or_else(|| {
            let number = next(&mut self.next_id);
            format!("{}-{number}", self.options.id_prefix)
        });
        let index = match self.admit(id, &text, &client_msg_id) {
            Ok(index) => index,
            Err(why) => return self.reject(call, why.about(Some(id), Some(&client_msg_id))),
        };
        self.pending += 1;
        let room = &mut self.rooms[index];
        room.outbox.push_back(Pending {
            call,
            text,
            client_msg_id,
            in_flight: false,
            unanswered: false,
        });
        room.typed_at = None;
    }

    pub(crate) fn typing(&mut self, id: &str, active: bool) {
        if !self.link.is_ready() || self.now < self.quiet_until {
            return;
        }
        let Some(index) = self.room(id) else { return };
        let room = &mut self.rooms[index];
        if room.phase != Phase::In || !room.types(active, self.now) {
            return;
        }
        let text = Body::Typing {
            room_id: id,
            active,
        }
        .encode(None);
        self.outputs.push(Output::Transmit { text });
        // It has no answer unless it is refused.
        if self
            .in_flight
            .back()
            .is_none_or(|last| last.what != Asked::Typing)
        {
            self.in_flight.push_back(Request {
                reference: None,
                what: Asked::Typing,
            });
        }
    }

    pub(crate) fn ask(&mut self, call: u64, about: About) {
        let question = Question { call, about };
        match self.refused_question(&question.about) {
            Some(why) => self.reject_question(&question, &why),
            None => self.questions.push_back(question),
        }
    }

    // What is refused before it is asked.

    fn refused_join(&self, id: &str) -> Option<Why> {
        let is_bad_name =
            |name: &str| !is_text(name, self.lengths(|limits| limits.username, USERNAME_CHARS));
        if self.link.is_closed() {
            Some(ClientError::Closed.into())
        } else if !self.is_room(id) {
            Some(ErrorCode::InvalidRoomId.into())
        } else if self.options.username.as_deref().is_some_and(is_bad_name) {
            Some(ErrorCode::InvalidUsername.into())
        } else if self.room(id).is_none() && self.rooms.len() >= self.most_pending() {
            Some(ClientError::QueueFull.into())
        } else {
            None
        }
    }

    /// The room that a message may be said in.
    fn admit(&self, id: &str, text: &str, client_msg_id: &str) -> Result<usize, Why> {
        if !is_text(text, self.lengths(|limits| limits.text, TEXT_CHARS)) {
            return Err(ErrorCode::InvalidMessage.into());
        }
        if !is_printable(
            client_msg_id,
            self.lengths(|limits| limits.client_msg_id, TOKEN_CHARS),
        ) {
            return Err(ErrorCode::InvalidField.into());
        }
        let Some(index) = self.wanted_room(id) else {
            return Err(self
                .refused_call()
                .unwrap_or_else(|| ErrorCode::NotInRoom.into()));
        };
        if self.pending >= self.most_pending() {
            return Err(ClientError::QueueFull.into());
        }
        Ok(index)
    }

    fn refused_question(&self, about: &About) -> Option<Why> {
        self.refused_call().or_else(|| {
            let refused = match about {
                About::Rooms { after } => {
                    let is_bad = after.as_ref().is_some_and(|after| !self.is_room(after));
                    is_bad.then_some(ErrorCode::InvalidField)
                }
                About::Users { room } => (!self.is_room(room)).then_some(ErrorCode::InvalidRoomId),
                About::History {
                    room,
                    before,
                    limit,
                } => self.refused_page(room, *before, *limit),
            };
            let is_full = self.questions.len() >= self.most_pending();
            let full = is_full.then(|| ClientError::QueueFull.into());
            refused.map(Why::from).or(full)
        })
    }

    fn refused_page(
        &self,
        room: &str,
        before: Option<u64>,
        limit: Option<u64>,
    ) -> Option<ErrorCode> {
        if !self.is_room(room) {
            Some(ErrorCode::InvalidRoomId)
        } else if before.is_some_and(|before| before > MOST_COUNT) {
            Some(ErrorCode::InvalidField)
        } else if limit.is_some_and(|limit| !(1..=MOST_COUNT).contains(&limit)) {
            Some(ErrorCode::InvalidLimit)
        } else if self.wanted_room(room).is_none() {
            Some(ErrorCode::NotInRoom)
        } else {
            None
        }
    }

    fn refused_call(&self) -> Option<Why> {
        self.link.is_closed().then(|| ClientError::Closed.into())
    }

    fn is_room(&self, id: &str) -> bool {
        is_text(id, self.lengths(|limits| limits.room_id, ROOM_ID_CHARS))
    }

    /// Protocol 1's length, until the server has said its own.
    fn lengths(&self, told: impl FnOnce(&AnnouncedLimits) -> u32, default: u32) -> u32 {
        self.limits.as_ref().map_or(default, told)
    }

    fn wanted_room(&self, id: &str) -> Option<usize> {
        self.room(id).filter(|&index| self.rooms[index].wanted)
    }

    const fn most_pending(&self) -> usize {
        self.options.max_pending as usize
    }
}

/// From 1 to `most` Unicode scalar values. What else makes a good name is the server's to say.
fn is_text(text: &str, most: u32) -> bool {
    !text.is_empty() && text.chars().count() <= most as usize
}

/// From 1 to `most` printable ASCII characters.
fn is_printable(text: &str, most: u32) -> bool {
    let is_good = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    !text.is_empty() && text.len() <= most as usize && text.bytes().all(is_good)
}
