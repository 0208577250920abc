//! What the server refuses, and what becomes of it.

use parlor_core::ErrorCode as E;

use crate::client::Client;
use crate::event::Event;
use crate::failure::{Code, Failure, Why};
use crate::link::MOST_WAIT_MS;
use crate::output::Output;
use crate::request::Asked;
use crate::room::Phase;
use crate::wire::Fields;

impl Client {
    pub(crate) fn on_error(&mut self, fields: &Fields) {
        let failure = Failure {
            code: Code::of_server(fields.text("code").unwrap_or_default()),
            message: fields.owned("message").unwrap_or_default(),
            room: fields.owned("roomId"),
            client_msg_id: fields.owned("clientMsgId"),
            retry_after_ms: fields
                .wait_ms("retryAfterMs")
                .map(|ms| ms.min(MOST_WAIT_MS)),
        };
        let request = self.answered(fields.text("ref"));
        let is_too_fast = failure.code == Code::Server(E::RateLimited);
        if is_too_fast {
            let wait_ms = failure
                .retry_after_ms
                .unwrap_or_else(|| self.options.backoff.base_ms.into());
            // A refusal behind a longer one does not shorten it.
            self.quiet_until = self.quiet_until.max(self.now.saturating_add(wait_ms));
        }
        if failure.code == Code::Server(E::ServerShutdown) {
            self.link.says_goodbye(failure.retry_after_ms);
        }
        match request {
            None if is_too_fast => self.refused_unread(),
            None => self.emit(Event::Error(failure)),
            // The close code behind it says whether to return.
            Some(Asked::Hello) => self.emit(Event::Error(failure)),
            Some(asked) if is_too_fast => self.too_fast(asked),
            Some(asked) => self.refused(asked, failure),
        }
    }

    /// Flood control has refused a request without reading it.
    fn refused_unread(&mut self) {
        let first = self
            .in_flight
            .pop_front_if(|first| first.what != Asked::Typing);
        match first {
            Some(first) => self.again(first.what),
            // What it was shows as soon as something behind it is answered.
            None => self.must_probe = true,
        }
    }

    /// A request was read, and comes again when there is time for it.
    fn too_fast(&mut self, asked: Asked) {
        if let Asked::Message(key) = asked
            && let Some(index) = self.keyed(key)
            && let Some(pending) = self.rooms[index].in_flight()
        {
            pending.unanswered = false;
        }
        self.again(asked);
    }

    fn refused(&mut self, asked: Asked, failure: Failure) {
        match asked {
            Asked::Join(key) => {
                if let Some(index) = self.keyed(key) {
                    self.join_refused(index, failure);
                }
            }
            Asked::Leave(key) => {
                if let Some(index) = self.keyed(key) {
                    self.has_left(index);
                }
            }
            Asked::Message(key) => {
                if let Some(index) = self.keyed(key) {
                    self.message_refused(index, failure);
                }
            }
            Asked::Question(question) => self.outputs.push(Output::Reject {
                call: question.call,
                failure,
            }),
            Asked::Hello | Asked::Ping | Asked::Typing => {}
        }
    }

    fn join_refused(&mut self, index: usize, failure: Failure) {
        let room = &self.rooms[index];
        let (is_wanted, is_member) = (room.wanted, room.member);
        self.not_joined(index);
        if !is_wanted {
            return;
        }
        if is_transient(&failure.code) || is_member && is_transient_for_members(&failure.code) {
            return self.later(index, failure);
        }
        if failure.code == Code::Server(E::UsernameTaken) && self.is_ours_elsewhere(index, &failure)
        {
            return;
        }
        self.reject_room(index, &Why::from(&failure));
        self.left(index, Some(failure.code), None);
    }

    /// Whether the one who has our name may be ourselves: another client, whose token was not yet
    /// there to be read, or a connection that the server does not know to be dead. Then we ask
    /// again in a while: once for a name that never was ours, and for as long as it takes for one
    /// that was.
    fn is_ours_elsewhere(&mut self, index: usize, failure: &Failure) -> bool {
        let room = &mut self.rooms[index];
        let was_asked = core::mem::replace(&mut room.is_name_refused, true);
        // Each of the rooms is refused; it is one refusal all the same.
        if self.must_greet {
            return true;
        }
        let was_named = self.guest.was_named();
        if !was_named && (!self.options.shares || was_asked) {
            return false;
        }
        if was_named {
            self.emit(Event::Error(failure.clone()));
        }
        let again_at = self.now.saturating_add(self.backoff_ms(self.name_refusals));
        self.quiet_until = self.quiet_until.max(again_at);
        self.name_refusals = self.name_refusals.saturating_add(1);
        self.must_greet = true;
        true
    }

    fn message_refused(&mut self, index: usize, failure: Failure) {
        let room = &mut self.rooms[index];
        let Some(pending) = room.in_flight() else {
            return;
        };
        pending.in_flight = false;
        pending.unanswered = false;
        if is_transient(&failure.code) {
            return self.later(index, failure);
        }
        if failure.code == Code::Server(E::NotInRoom) && room.wanted {
            room.phase = Phase::Out;
            room.is_in = false;
            return self.later(index, failure);
        }
        self.settle(index, |client, _, pending| {
            client.reject(pending.call, failure);
        });
    }

    /// Tries again after a while, and says so.
    fn later(&mut self, index: usize, failure: Failure) {
        let backoff_ms = self.backoff_ms(self.rooms[index].refusals);
        let wait_ms = failure.retry_after_ms.unwrap_or(0).max(backoff_ms);
        let room = &mut self.rooms[index];
        room.retry_at = self.now.saturating_add(wait_ms);
        room.refusals = room.refusals.saturating_add(1);
        self.emit(Event::Error(failure));
    }
}

/// Whether time mends it.
fn is_transient(code: &Code) -> bool {
    [E::RateLimited, E::StoreUnavailable]
        .iter()
        .any(|&transient| *code == Code::Server(transient))
}

/// Whether time mends it for somebody who was in the room already.
fn is_transient_for_members(code: &Code) -> bool {
    [E::RoomFull, E::ServerFull]
        .iter()
        .any(|&transient| *code == Code::Server(transient))
}
