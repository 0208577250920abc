//! What is left behind when the hub panics: the last events, without secrets.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;

use parlor_core::types::MessageText;
use parlor_core::{ConnId, Event, Input, RequestKind, ResumeToken, Timestamp};
use serde::Serialize;

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
    /// The last events, in order, without texts and tokens: a text has as many `x` as it had
    /// characters, a resume token is numbered.
    pub events: Vec<Event>,
}

impl CrashReport {
    /// Writes it as lines of JSON: what happened, then each event.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Head<'a> {
            server: &'a str,
            at: Timestamp,
            panic: &'a str,
            conn: Option<ConnId>,
        }
        let Self {
            at,
            panic,
            conn,
            events,
        } = self;
        let server = parlor_core::protocol::SERVER;
        serde_json::to_writer(
            &mut out,
            &Head {
                server,
                at: *at,
                panic,
                conn: *conn,
            },
        )?;
        for event in events {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, event)?;
        }
        out.write_all(b"\n")
    }
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: VecDeque<Event>,
    entries: usize,
}

impl Recorder {
    pub(crate) fn record(&mut self, event: &Event) {
        self.entries += entries(event);
        self.events.push_back(event.clone());
        while self.events.len() > KEPT_EVENTS || self.entries > KEPT_ENTRIES {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.entries -= entries(&oldest);
        }
    }

    /// Everything recorded, without secrets; begins anew.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut tokens = BTreeMap::new();
        std::mem::take(self)
            .events
            .into_iter()
            .map(|event| redacted(event, &mut tokens))
            .collect()
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
        | Input::LoadFailed { .. }
        | Input::FetchFailed { .. }
        | Input::StoreFailed
        | Input::StoreRecovered
        | Input::Shutdown => 0,
    }
}

fn redacted(mut event: Event, tokens: &mut BTreeMap<ResumeToken, u128>) -> Event {
    let mut token = |token: &mut ResumeToken| {
        let number = tokens.len() as u128 + 1;
        *token = ResumeToken::from_random(*tokens.entry(*token).or_insert(number));
    };
    match &mut event.input {
        Input::Connected { resume_token, .. } => token(resume_token),
        Input::Received { request, .. } => match &mut request.kind {
            RequestKind::Hello {
                resume_token: Some(resume_token),
                ..
            } => token(resume_token),
            RequestKind::Message { text, .. } => cross_out(text),
            RequestKind::Hello { .. }
            | RequestKind::Join { .. }
            | RequestKind::Leave { .. }
            | RequestKind::Typing { .. }
            | RequestKind::ListRooms { .. }
            | RequestKind::ListUsers { .. }
            | RequestKind::GetHistory { .. }
            | RequestKind::Ping => {}
        },
        Input::RoomLoaded { log, .. } => log.texts_mut().for_each(cross_out),
        Input::PageFetched { page, .. } => {
            for entry in &mut page.entries {
                cross_out(&mut Arc::make_mut(entry).text);
            }
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
    event
}

fn cross_out(text: &mut MessageText) {
    let crosses = "x".repeat(text.as_str().chars().count());
    *text = MessageText::new(&crosses).expect("it is as long as a text that was good");
}

#[cfg(test)]
mod tests {
    use parlor_core::types::LoadId;
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
        let mut recorder = Recorder::default();
        let refusal = Refusal::new(ErrorCode::InvalidJson);
        for conn in 0..2000 {
            let (conn, refusal) = (ConnId(conn), refusal.clone());
            recorder.record(&event(Input::Refused { conn, refusal }));
        }
        let events = recorder.take();
        assert_eq!(events.len(), KEPT_EVENTS);
        assert_eq!(
            events.last().and_then(|event| event.input.conn()),
            Some(ConnId(1999))
        );

        let room = RoomId::new("general").unwrap();
        let epoch = Epoch::new("e1").unwrap();
        for _ in 0..200 {
            let log = StoredLog::new(epoch.clone(), Seq(300), Timestamp(0), tail(300)).unwrap();
            let load = LoadId(1);
            recorder.record(&event(Input::RoomLoaded {
                room: room.clone(),
                load,
                log,
            }));
        }
        assert_eq!(recorder.take().len(), KEPT_ENTRIES / 300);
        assert_eq!(recorder.entries, 0);
    }

    #[test]
    fn no_text_is_left_in_what_came_from_the_store() {
        let mut recorder = Recorder::default();
        let room = RoomId::new("general").unwrap();
        let epoch = Epoch::new("e1").unwrap();
        let log = StoredLog::new(epoch.clone(), Seq(1), Timestamp(0), tail(1)).unwrap();
        recorder.record(&event(Input::RoomLoaded {
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
        recorder.record(&event(Input::PageFetched { fetch, page }));
        let kept = serde_json::to_string(&recorder.take()).unwrap();
        assert!(!kept.contains("secret"), "{kept}");
        assert_eq!(kept.matches("xxxxxx").count(), 2);
    }
}
