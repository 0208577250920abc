//! Reads a conversation, from a file or from standard input, and prints what becomes of it: the
//! core as a function, in a time of its own.
//!
//! ```text
//! # Whoever speaks first connects. Each line happens a second after the one before.
//! ann: {"type":"join","roomId":"tea","username":"Ann"}
//! bob: {"type":"join","roomId":"tea","username":"Bob"}
//! ann: {"type":"message","roomId":"tea","text":"Milk?","ref":"1"}
//! bob goes
//! ```
#![allow(clippy::print_stdout, reason = "the transcript is what it is for")]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;

use parlor_core::decode::decode;
use parlor_core::encode::encode;
use parlor_core::{
    Cause, ConnId, Effect, Entry, Epoch, Event, Input, Limits, Page, ResumeToken, RoomId, State,
    StoredLog, Timestamp,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut script = String::new();
    match std::env::args().nth(1) {
        Some(file) => script = std::fs::read_to_string(file)?,
        None => drop(std::io::stdin().read_to_string(&mut script)?),
    }
    print!("{}", transcribe(&script)?);
    Ok(())
}

/// The script, and below each line what it had the server send.
pub(crate) fn transcribe(script: &str) -> Result<String, String> {
    let mut stage = Stage {
        state: State::new(Limits::default()),
        present: BTreeMap::new(),
        logs: BTreeMap::new(),
        transcript: String::new(),
    };
    for (number, line) in (1..).zip(script.lines()) {
        stage.transcript += &format!("{line}\n");
        let at = Timestamp(number * 1000);
        let (name, frame) = line.split_once(": ").unwrap_or((line, ""));
        match (name.strip_suffix(" goes"), frame) {
            (Some(name), "") => stage.goes(name, at),
            (None, "") if line.is_empty() || line.starts_with('#') => {}
            (_, "") => return Err(format!("line {number} is no line of a script")),
            (_, frame) => stage.says(name, frame, at),
        }
    }
    Ok(stage.transcript)
}

struct Stage {
    state: State,
    /// Who is connected. Nobody has two connections at once.
    present: BTreeMap<ConnId, String>,
    /// Of the rooms that somebody is in.
    logs: BTreeMap<RoomId, Vec<Arc<Entry>>>,
    transcript: String,
}

impl Stage {
    fn find(&self, name: &str) -> Option<ConnId> {
        let mut present = self.present.iter();
        present.find_map(|(conn, found)| (found == name).then_some(*conn))
    }

    fn says(&mut self, name: &str, frame: &str, at: Timestamp) {
        let conn = self.find(name).unwrap_or_else(|| {
            let conn = ConnId(at.0);
            self.present.insert(conn, name.into());
            // In earnest it is random: whoever knows it is the same guest.
            let resume_token = ResumeToken::from_random(at.0.into());
            self.happen(at, Input::Connected { conn, resume_token });
            conn
        });
        let decoded = decode(frame).map(|decoded| decoded.request);
        let received = |request| Input::Received { conn, request };
        let refused = |refusal| Input::Refused { conn, refusal };
        self.happen(at, decoded.map_or_else(refused, received));
    }

    fn goes(&mut self, name: &str, at: Timestamp) {
        if let Some(conn) = self.find(name) {
            self.present.remove(&conn);
            let cause = Cause::Disconnected;
            self.happen(at, Input::Disconnected { conn, cause });
        }
    }

    fn happen(&mut self, at: Timestamp, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.state.apply(Event { at, input }, &mut effects);
            inputs.extend(
                effects
                    .into_iter()
                    .filter_map(|effect| self.carry_out(effect)),
            );
        }
    }

    /// The answer to an effect that asks something.
    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Append { room, entry, .. } => self.logs.entry(room).or_default().push(entry),
            Effect::Send { to, message } => {
                let names: Vec<&str> = to.conns().map(|conn| &*self.present[&conn]).collect();
                let json = String::from_utf8(encode(&message)).expect("JSON is UTF-8");
                self.transcript += &format!("    {} <- {json}\n", names.join(", "));
            }
            Effect::Close { conn, reason } => {
                let name = self.present.remove(&conn).expect("it was connected");
                self.transcript += &format!("    {name} is closed: {}\n", reason.code());
            }
            Effect::LoadRoom { room, load } => {
                let epoch = Epoch::new(&format!("e{}", load.0)).expect("it is short");
                let log = StoredLog::empty(epoch);
                return Some(Input::RoomLoaded { room, load, log });
            }
            Effect::FetchPage(fetch) => {
                let log = self.logs.get(&fetch.room).map_or(&[][..], |log| log);
                let end = log.partition_point(|entry| entry.seq < fetch.before);
                let start = end.saturating_sub(fetch.limit as usize);
                let (entries, has_more) = (log[start..end].to_vec(), start > 0);
                let page = Page { entries, has_more };
                return Some(Input::PageFetched { fetch, page });
            }
            Effect::ReleaseRoom { room } => drop(self.logs.remove(&room)),
            Effect::Answer { .. } | Effect::Tell(_) => {} // for an application
        }
        None
    }
}
