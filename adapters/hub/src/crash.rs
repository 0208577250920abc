//! What is left behind when the hub panics: the last events, without secrets.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;

use parlor_core::types::MessageText;
use parlor_core::{ConnId, Event, Input, RequestKind, ResumeToken, Timestamp};
use serde::Serialize;

/// Events that are kept: enough to see what led to a panic, little enough to copy at leisure.
const KEPT_EVENTS: usize = 1024;

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
pub(crate) struct Recorder(VecDeque<Event>);

impl Recorder {
    pub(crate) fn record(&mut self, event: &Event) {
        if self.0.len() == KEPT_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(event.clone());
    }

    /// Everything recorded, without secrets; begins anew.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut tokens = BTreeMap::new();
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|event| redacted(event, &mut tokens))
            .collect()
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
