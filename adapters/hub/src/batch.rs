//! What one turn of the hub leaves to be done: effects, and between them what concerns single
//! sockets, all of it withheld until its appends are stored (A-4).

use std::collections::VecDeque;

use async_channel::Sender;
use parlor_core::protocol::RoomInfo;
use parlor_core::{CloseReason, ConnId, Effect, Recipients, ServerMessage, Username};

use crate::frame::Frame;
use crate::metrics::Moment;
use crate::store::Append;

/// Events in one batch: a turn of about a millisecond, so that whoever came last does not wait
/// longer for its frame to be written.
const MOST_EVENTS: usize = 1024;
/// Bytes of effects in one batch, for the time when texts and histories are long.
const MOST_BYTES: usize = 16 << 20;

/// Effects whose memory is kept from batch to batch.
const KEPT_EFFECTS: usize = 4 * MOST_EVENTS;

/// Work of the hub's own, in its place among the effects.
pub(crate) enum Local {
    /// Queue a control frame.
    Control(ConnId, Frame),
    /// End a connection, with a close frame if there is a reason.
    End(ConnId, Option<CloseReason>),
    /// The answer that held this connection back is among the effects before.
    Answered(ConnId),
    /// Tell the application which rooms were open.
    Rooms(Sender<Vec<RoomInfo>>, Vec<RoomInfo>),
    /// Tell it who was in a room.
    Users(Sender<Vec<Username>>, Vec<Username>),
}

impl Local {
    /// What it holds in memory, about: a name or an id, and what is around it.
    const fn bytes(&self) -> usize {
        const ITEM: usize = 128;
        match self {
            Self::Rooms(_, rooms) => rooms.len() * ITEM,
            Self::Users(_, users) => users.len() * ITEM,
            Self::Control(..) | Self::End(..) | Self::Answered(_) => 0,
        }
    }
}

#[derive(Default)]
pub(crate) struct Batch {
    /// Where [`State::apply`](parlor_core::State::apply) puts its effects.
    pub(crate) effects: Vec<Effect>,
    /// Each stands before the effect of its index.
    locals: VecDeque<(usize, Local)>,
    /// When the messages were read that are said here.
    pub(crate) received: Vec<Moment>,
    events: usize,
    weighed: usize,
    bytes: usize,
}

impl Batch {
    pub(crate) fn push_local(&mut self, local: Local) {
        self.bytes += local.bytes();
        self.locals.push_back((self.effects.len(), local));
    }

    /// A message that was read then left the effects behind `before`. One that was refused is
    /// nobody's delivery.
    pub(crate) fn note_received(&mut self, received: Moment, before: usize) {
        let is_append = |effect: &Effect| matches!(effect, Effect::Append { .. });
        if self.effects[before..].iter().any(is_append) {
            self.received.push(received);
        }
    }

    /// One more event was applied to it, or a control frame was put into it.
    pub(crate) fn count_event(&mut self) {
        self.events += 1;
        self.bytes += self.effects[self.weighed..]
            .iter()
            .map(bytes)
            .sum::<usize>();
        self.weighed = self.effects.len();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.locals.is_empty()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.events >= MOST_EVENTS || self.bytes >= MOST_BYTES
    }

    pub(crate) const fn events(&self) -> usize {
        self.events
    }

    pub(crate) fn appends(&self) -> Vec<Append> {
        self.effects.iter().filter_map(Append::of).collect()
    }

    /// The next of the hub's own work that comes before the effect of this index.
    pub(crate) fn local_before(&mut self, index: usize) -> Option<Local> {
        self.locals.front().filter(|(before, _)| *before <= index)?;
        self.locals.pop_front().map(|(_, local)| local)
    }

    /// Forgets what it counted; it holds nothing any more.
    pub(crate) fn clear(&mut self) {
        self.effects.clear();
        self.locals.clear();
        self.received.clear();
        (self.events, self.weighed, self.bytes) = (0, 0, 0);
        // What one large batch took is not kept for ever.
        self.effects.shrink_to(KEPT_EFFECTS);
    }
}

/// What an effect holds in memory that nothing else does, about.
fn bytes(effect: &Effect) -> usize {
    const ITSELF: usize = 128;
    let text = match effect {
        Effect::Append { entry, .. } => entry.text.as_str().len(),
        // A replayed entry may be on its way out of the tail.
        Effect::Send {
            to: Recipients::One(_),
            message: ServerMessage::Message(delivery),
        } => delivery.entry.text.as_str().len(),
        Effect::Send { .. }
        | Effect::Answer { .. }
        | Effect::Tell(_)
        | Effect::Close { .. }
        | Effect::LoadRoom { .. }
        | Effect::FetchPage(_)
        | Effect::ReleaseRoom { .. } => 0,
    };
    ITSELF + text
}

#[cfg(test)]
mod tests {
    use parlor_core::RoomId;

    use super::*;

    fn close(conn: u64) -> Effect {
        Effect::Close {
            conn: ConnId(conn),
            reason: CloseReason::Slow,
        }
    }

    #[test]
    fn local_work_keeps_its_place_among_the_effects() {
        let mut batch = Batch::default();
        batch.push_local(Local::End(ConnId(0), None));
        batch.effects.push(close(1));
        batch.effects.push(close(2));
        batch.push_local(Local::End(ConnId(3), None));
        batch.effects.push(close(4));
        batch.push_local(Local::Answered(ConnId(5)));
        let mut order = Vec::new();
        for index in (0..3).chain([usize::MAX]) {
            while let Some(Local::End(conn, _) | Local::Answered(conn)) = batch.local_before(index)
            {
                order.push(conn.0);
            }
            if let Some(Effect::Close { conn, .. }) = batch.effects.get(index) {
                order.push(conn.0);
            }
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_batch_is_full_after_so_many_events_or_bytes() {
        let mut batch = Batch::default();
        for _ in 0..MOST_EVENTS {
            assert!(!batch.is_full());
            batch.count_event();
        }
        assert!(batch.is_full());

        let mut batch = Batch::default();
        batch
            .effects
            .extend((0..MOST_BYTES as u64 / 128).map(close));
        batch.count_event();
        assert!(batch.is_full());

        let mut batch = Batch::default();
        let (answer, _answered) = async_channel::bounded(1);
        let name = Username::new("alice").unwrap();
        let list = vec![name; MOST_BYTES / 128];
        batch.push_local(Local::Users(answer, list));
        assert!(batch.is_full(), "a long list counts");
        batch.clear();
        assert!(!batch.is_full());

        let (answer, _answered) = async_channel::bounded(1);
        let room = RoomInfo {
            id: RoomId::new("r").unwrap(),
            user_count: 1,
        };
        let list = vec![room; MOST_BYTES / 128];
        batch.push_local(Local::Rooms(answer, list));
        assert!(batch.is_full(), "so does one of rooms");
    }
}
