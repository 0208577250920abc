//! What one connection was asked and told, at the server's end of the wire: T-1 to T-10 as far as
//! one connection can see them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use parlor_core::decode::decode;
use parlor_core::{Limits, RequestKind};
use serde_json::Value;

use super::ledger::{Ledger, found};
use super::{Checked, number, rule, text};

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    asked: VecDeque<Asked>,
    /// Refusals that name no request.
    unread: usize,
    rooms: BTreeMap<String, Room>,
    /// What the connection is called, when it is known.
    pub name: Option<String>,
    closed: bool,
    /// Bytes of the answer that is coming, and how many frames of it are missing.
    answer: (usize, u64),
    /// Entries below what was seen already, and their bytes: of a page, unless a replay has them.
    page: (u64, usize),
}

#[derive(Clone, Debug)]
struct Asked {
    reference: Option<String>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Typing,
    Message(String),
    Join {
        name: Option<String>,
        since: Option<(String, u64)>,
    },
    Page,
    Other,
    /// No request.
    Bad,
}

/// What a connection knows of a room that it is in.
#[derive(Clone, Debug)]
pub struct Room {
    /// Of its log.
    pub epoch: String,
    /// Up to where it saw everything.
    pub seq: u64,
    /// Who is in it.
    pub users: BTreeSet<String>,
}

impl Witness {
    /// The rooms that it is in.
    #[must_use]
    pub const fn rooms(&self) -> &BTreeMap<String, Room> {
        &self.rooms
    }

    /// Whether it was told that it is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// A frame was read.
    pub fn asked(&mut self, frame: &str, ledger: &mut Ledger) {
        let (reference, what) = match decode(frame) {
            Ok(decoded) => {
                let what = match decoded.request.kind {
                    RequestKind::Typing { .. } => What::Typing,
                    RequestKind::Message { text, .. } => {
                        ledger.say(text.as_str());
                        What::Message(text.as_str().into())
                    }
                    RequestKind::Join {
                        username, since, ..
                    } => What::Join {
                        name: username.map(|name| name.as_str().to_string()),
                        since: since.map(|since| (since.epoch.as_str().into(), since.seq.0)),
                    },
                    RequestKind::GetHistory { .. } => What::Page,
                    RequestKind::Hello { .. }
                    | RequestKind::Leave { .. }
                    | RequestKind::ListRooms { .. }
                    | RequestKind::ListUsers { .. }
                    | RequestKind::Ping => What::Other,
                };
                (decoded.request.reference, what)
            }
            Err(refusal) => (refusal.reference, What::Bad),
        };
        let reference = reference.map(|reference| reference.as_str().to_string());
        self.asked.push_back(Asked { reference, what });
    }

    /// T-7: a frame was sent.
    ///
    /// # Errors
    /// When it should not have been.
    pub fn got(
        &mut self,
        message: &Value,
        bytes: usize,
        limits: &Limits,
        ledger: &mut Ledger,
    ) -> Checked {
        rule("T-7", !self.closed, || {
            format!("{message} comes behind the close")
        })?;
        let reference = message.get("ref").and_then(Value::as_str);
        let answered = self.answered(message, reference, ledger)?;
        let room = text(message, "roomId");
        match text(message, "type") {
            "hello" => {
                if let Some(token) = message.get("resumeToken").and_then(Value::as_str) {
                    ledger.tokens.push(token.to_string());
                }
                if let Some(name) = message.get("username").and_then(Value::as_str) {
                    self.name = Some(name.to_string());
                }
            }
            "joined" => self.joined(message, answered, ledger)?,
            "left" => {
                let left = self.rooms.remove(room);
                rule("T-1", left.is_some(), || {
                    format!("{message} of a room that it is not in")
                })?;
            }
            "message" => self.message(message, bytes, ledger)?,
            "user_joined" | "user_left" => self.presence(message, ledger)?,
            "typing" => rule("T-1", self.rooms.contains_key(room), || {
                format!("{message} of a room that it is not in")
            })?,
            "history" => {
                let count = number(message, "count");
                let (frames, page_bytes) = std::mem::take(&mut self.page);
                rule("T-8", frames >= count, || {
                    format!("{message} behind {frames} entries")
                })?;
                rule(
                    "T-10",
                    page_bytes + bytes <= limits.answer_bytes as usize,
                    || format!("{message} ends an answer of {page_bytes} bytes"),
                )?;
            }
            "error" => {
                let code = text(message, "code").to_string();
                if let Some(What::Message(text)) = &answered {
                    ledger.refuse(text);
                }
                ledger.note(format!("error {code}"));
            }
            _ => {}
        }
        if text(message, "type") == "joined" {
            self.answer = (0, number(message, "history") + 1);
        }
        if self.answer.1 > 0 && matches!(text(message, "type"), "joined" | "message") {
            self.answer = (self.answer.0 + bytes, self.answer.1 - 1);
            rule(
                "T-10",
                self.answer.0 <= limits.answer_bytes as usize,
                || format!("an answer of {} bytes", self.answer.0),
            )?;
        }
        ledger.note(text(message, "type"));
        Ok(())
    }

    /// The end was sent.
    ///
    /// # Errors
    /// When it was sent before.
    pub fn closed(&mut self) -> Checked {
        rule("T-7", !self.closed, || "it is closed twice".into())?;
        self.closed = true;
        Ok(())
    }

    /// T-8: answers come in the order of requests, each once. What was asked, if this is an answer.
    fn answered(
        &mut self,
        message: &Value,
        reference: Option<&str>,
        ledger: &mut Ledger,
    ) -> Result<Option<What>, crate::observe::Failure> {
        let code = text(message, "code");
        let kind = text(message, "type");
        let Some(reference) = reference else {
            if kind == "error" && code != "SERVER_SHUTDOWN" {
                if code == "RATE_LIMITED" {
                    self.unread += 1;
                    return Ok(None);
                }
                return self.answer_without_ref(message).map(Some);
            }
            return Ok(None);
        };
        let place = self
            .asked
            .iter()
            .position(|asked| asked.reference.as_deref() == Some(reference));
        let place = found("T-8", place, || format!("{message} answers nothing"))?;
        let skipped: Vec<Asked> = self.asked.drain(..place).collect();
        self.skip(&skipped, ledger, || {
            format!("{message} comes before the answers to {skipped:?}")
        })?;
        let answered = self.asked.pop_front();
        if self.asked.is_empty() {
            self.unread = 0;
        }
        Ok(answered.map(|asked| asked.what))
    }

    /// An error that names no request is about the first that is bad.
    fn answer_without_ref(&mut self, message: &Value) -> Result<What, crate::observe::Failure> {
        let is_it = |asked: &Asked| asked.reference.is_none() && asked.what != What::Typing;
        let first = self.asked.iter().position(is_it);
        let typing = || {
            self.asked
                .iter()
                .position(|asked| asked.what == What::Typing)
        };
        let place = first.or_else(typing);
        let place = found("T-8", place, || format!("{message} answers nothing"))?;
        let asked = self.asked.remove(place);
        Ok(asked.map_or(What::Other, |asked| asked.what))
    }

    /// Requests whose answers do not come any more: typing has none, and flood control refuses
    /// unread.
    fn skip(
        &mut self,
        skipped: &[Asked],
        ledger: &mut Ledger,
        detail: impl FnOnce() -> String,
    ) -> Checked {
        let unanswered = skipped
            .iter()
            .filter(|asked| asked.what != What::Typing)
            .count();
        rule("T-8", unanswered <= self.unread, detail)?;
        // What else was refused unread was typing; or it was one of two with the same ref.
        self.unread -= unanswered;
        for asked in skipped {
            if let What::Message(text) = &asked.what {
                ledger.refuse(text);
            }
        }
        Ok(())
    }

    /// At rest: everything is answered.
    ///
    /// # Errors
    /// When something is not.
    pub fn check_answered(&self) -> Checked {
        let waits = self.asked.iter().filter(|asked| asked.what != What::Typing);
        rule("T-8", waits.count() <= self.unread, || {
            format!("no answer to {:?}", self.asked)
        })
    }

    fn joined(&mut self, message: &Value, answered: Option<What>, ledger: &mut Ledger) -> Checked {
        let What::Join { name, since } =
            found("T-8", answered, || format!("{message} answers nothing"))?
        else {
            return rule("T-8", false, || format!("{message} answers something else"));
        };
        if self.name.is_none() {
            self.name = name;
        }
        let users = message["users"].as_array().map_or(&[][..], Vec::as_slice);
        let names: BTreeSet<String> = users
            .iter()
            .filter_map(Value::as_str)
            .map(String::from)
            .collect();
        let is_whole =
            names.len() == users.len() && names.len() as u64 == number(message, "userCount");
        rule("T-6", is_whole, || {
            format!("{message} names somebody twice, or not at all")
        })?;
        let (seq, history) = (number(message, "seq"), number(message, "history"));
        rule("T-6", history <= seq, || {
            format!("{message} replays what never was")
        })?;
        let epoch = text(message, "epoch").to_string();
        ledger.epochs.insert(epoch.clone());
        let room = Room {
            epoch,
            seq: seq - history,
            users: names,
        };
        if message["recovered"] == true {
            ledger.note("recovered");
            let from = (text(message, "epoch").to_string(), seq - history);
            rule("recovered", since.as_ref() == Some(&from), || {
                format!("{message} recovers what follows {since:?}")
            })?;
        }
        self.page = (0, 0);
        self.rooms.insert(text(message, "roomId").to_string(), room);
        Ok(())
    }

    fn message(&mut self, message: &Value, bytes: usize, ledger: &mut Ledger) -> Checked {
        let id = text(message, "roomId");
        let room = found("T-1", self.rooms.get_mut(id), || {
            format!("{message} of a room that it is not in")
        })?;
        ledger.see(id, &room.epoch, message)?;
        let seq = number(message, "seq");
        if seq == room.seq + 1 {
            room.seq = seq;
            return Ok(());
        }
        rule("T-2", seq <= room.seq, || {
            format!("{message} comes behind {}", room.seq)
        })?;
        if message["duplicate"] == true {
            ledger.note("duplicate");
            return Ok(());
        }
        let is_paging = self.asked.iter().any(|asked| asked.what == What::Page);
        rule("T-3", is_paging, || {
            format!("{message} comes a second time")
        })?;
        self.page = (self.page.0 + 1, self.page.1 + bytes);
        Ok(())
    }

    fn presence(&mut self, message: &Value, ledger: &mut Ledger) -> Checked {
        let id = text(message, "roomId");
        let room = found("T-1", self.rooms.get_mut(id), || {
            format!("{message} of a room that it is not in")
        })?;
        let name = text(message, "username");
        if text(message, "type") == "user_joined" {
            return rule("T-6", room.users.insert(name.to_string()), || {
                format!("{message} again")
            });
        }
        ledger.note(format!("left: {}", text(message, "reason")));
        rule("T-6", room.users.remove(name), || {
            format!("{message} again")
        })
    }
}
