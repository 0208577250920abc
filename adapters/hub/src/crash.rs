//! What is left behind when the hub panics: the last events, without secrets, as a trace.

use std::collections::VecDeque;
use std::io::{self, Write};

use parlor_core::{ConnId, Event, Input, Limits, State, Timestamp};

use crate::trace::{Begin, Crash, Digest, Head, Line, Recorded, Redactor, Texts, Why, line};

/// Events that are kept: enough to see what led to a panic, little enough to copy at leisure.
const KEPT_EVENTS: usize = 1024;
/// Log entries that come with them, since what was loaded or fetched is kept from being freed: a few
/// MiB of usual texts.
const KEPT_ENTRIES: usize = 16 << 10;

/// A panic of the hub, and what it was fed before.
#[derive(Debug)]
pub struct CrashReport {
    /// When.
    pub at: Timestamp,
    /// What the panic said.
    pub panic: String,
    /// The connection whose event it was.
    pub conn: Option<ConnId>,
    /// The limits of the server.
    pub limits: Limits,
    /// The number of the last event.
    pub number: u64,
    /// The last events, in order, without texts and tokens, as [`trace`](crate::trace) redacts them.
    pub events: Vec<Event>,
    /// Whether they are all since the state began, so that they can be applied again.
    pub complete: bool,
    /// Whether the last of them was recorded as well.
    pub recorded: bool,
}

impl CrashReport {
    /// Writes it as a trace, which names the recording that the same events are in, if there is one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, recording: Option<&str>, mut out: impl Write) -> io::Result<()> {
        let first = self.number - self.events.len() as u64 + 1;
        let mut bytes = Vec::new();
        line(
            &Head {
                crash: Some(Crash {
                    panic: self.panic.clone(),
                    conn: self.conn,
                    event: self.number,
                    recording: recording.filter(|_| self.recorded).map(Into::into),
                }),
                ..Head::new(self.at, Texts::Redacted, self.limits.clone())
            },
            &mut bytes,
        )
        .map_err(io::Error::other)?;
        let begin = Begin {
            event: first,
            why: Why::Start,
            lost: 0,
            digest: Digest::default(),
            state: self.complete.then(|| State::new(self.limits.clone())),
        };
        line(&Line::Begin(Box::new(begin)), &mut bytes).map_err(io::Error::other)?;
        for (number, event) in (first..).zip(&self.events) {
            let recorded = Recorded {
                number,
                at: event.at,
                input: event.input.clone(),
                digest: None,
            };
            line(&Line::Event(recorded), &mut bytes).map_err(io::Error::other)?;
            out.write_all(&bytes)?;
            bytes.clear();
        }
        out.write_all(&bytes)?;
        out.flush()
    }
}

/// The last events of a state.
#[derive(Debug, Default)]
pub(crate) struct Last {
    events: VecDeque<Kept>,
    entries: usize,
    /// Whether there were more.
    forgot: bool,
}

#[derive(Debug)]
struct Kept {
    event: Event,
    /// It is a message, refused since its id was used for another text.
    other_text: bool,
}

impl Last {
    pub(crate) fn push(&mut self, event: &Event) {
        self.entries += entries(event);
        self.events.push_back(Kept {
            event: event.clone(),
            other_text: false,
        });
        while self.events.len() > KEPT_EVENTS || self.entries > KEPT_ENTRIES {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.entries -= entries(&oldest.event);
            self.forgot = true;
        }
    }

    pub(crate) fn had_another_text(&mut self) {
        if let Some(kept) = self.events.back_mut() {
            kept.other_text = true;
        }
    }

    /// All of them, without secrets, and whether there were no others; begins anew.
    pub(crate) fn take(&mut self) -> (Vec<Event>, bool) {
        let Self { events, forgot, .. } = std::mem::take(self);
        let redacted = |kept| {
            let Kept {
                mut event,
                other_text,
            } = kept;
            Redactor(Texts::Redacted).event(&mut event, other_text);
            event
        };
        (events.into_iter().map(redacted).collect(), !forgot)
    }
}

fn entries(event: &Event) -> usize {
    match &event.input {
        Input::RoomLoaded { log, .. } => log.tail().len(),
        Input::PageFetched { page, .. } => page.entries.len(),
        Input::Connected { .. }
        | Input::Identified { .. }
        | Input::Received { .. }
        | Input::Refused { .. }
        | Input::Disconnected { .. }
        | Input::Published { .. }
        | Input::LoadFailed { .. }
        | Input::FetchFailed { .. }
        | Input::StoreFailed
        | Input::StoreRecovered
        | Input::Shutdown => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parlor_core::types::{LoadId, MessageText};
    use parlor_core::{Entry, ErrorCode, Fetch};
    use parlor_core::{Epoch, Page, Refusal, RoomId, Seq, StoredLog, Username};

    use super::*;

    fn event(input: Input) -> Event {
        Event {
            at: Timestamp(0),
            input,
        }
    }

    fn tail(len: u64) -> Vec<Arc<Entry>> {
        let entry = |seq| Entry {
            seq: Seq(seq),
            at: Timestamp(0),
            from: Username::new("alice").unwrap(),
            text: MessageText::new("secret").unwrap(),
            client_msg_id: None,
        };
        (1..=len).map(|seq| Arc::new(entry(seq))).collect()
    }

    #[test]
    fn the_last_events_are_kept_within_bounds() {
        let mut last = Last::default();
        let refusal = Refusal::new(ErrorCode::InvalidJson);
        for conn in 0..2000 {
            let (conn, refusal) = (ConnId(conn), refusal.clone());
            last.push(&event(Input::Refused { conn, refusal }));
        }
        let events = last.take().0;
        assert_eq!(events.len(), KEPT_EVENTS);
        assert_eq!(
            events.last().and_then(|event| event.input.conn()),
            Some(ConnId(1999))
        );

        let room = RoomId::new("general").unwrap();
        let epoch = Epoch::new("e1").unwrap();
        for _ in 0..200 {
            let log = StoredLog::new(epoch.clone(), Seq(256), Timestamp(0), tail(256)).unwrap();
            let load = LoadId(1);
            last.push(&event(Input::RoomLoaded {
                room: room.clone(),
                load,
                log,
            }));
        }
        assert_eq!(last.take().0.len(), KEPT_ENTRIES / 256);
        assert_eq!(last.entries, 0);
    }

    #[test]
    fn no_text_is_left_in_what_came_from_the_store() {
        let mut last = Last::default();
        let room = RoomId::new("general").unwrap();
        let epoch = Epoch::new("e1").unwrap();
        let log = StoredLog::new(epoch.clone(), Seq(1), Timestamp(0), tail(1)).unwrap();
        last.push(&event(Input::RoomLoaded {
            room: room.clone(),
            load: LoadId(1),
            log,
        }));
        let fetch = Fetch {
            conn: ConnId(1),
            room,
            epoch,
            before: Seq(2),
            limit: 1,
            reference: None,
        };
        let page = Page {
            entries: tail(1),
            has_more: false,
        };
        last.push(&event(Input::PageFetched { fetch, page }));
        let kept = serde_json::to_string(&last.take().0).unwrap();
        assert!(!kept.contains("secret"), "{kept}");
        assert_eq!(kept.matches("xxxxxx").count(), 2);
    }
}
