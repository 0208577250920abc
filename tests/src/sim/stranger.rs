//! A client that keeps no rules: whatever may come over a wire, in any order.

use std::collections::BTreeMap;

use parlor_core::decode::decode;

use super::ledger::Ledger;
use super::plan::{Fault, Plan};
use super::{number, text};
use crate::action::FRAMES;
use crate::dice::Dice;

/// Most frames that wait in the network for one that sends as fast as it can.
const FLOOD: u64 = 150;

/// What it does next.
#[derive(Clone, Debug)]
pub enum Deed {
    /// It connects, if it is not connected.
    Connect,
    /// It sends these.
    Send(Vec<String>),
    /// It goes, with a word or without.
    Leave(bool),
}

/// Somebody who keeps no rules.
#[derive(Clone, Debug)]
pub struct Stranger {
    /// Its name.
    pub name: String,
    /// Its connection.
    pub link: Option<u64>,
    refs: u64,
    last: Option<String>,
    /// What it may have seen of rooms.
    places: BTreeMap<String, (String, u64)>,
}

impl Stranger {
    /// Somebody of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            link: None,
            refs: 0,
            last: None,
            places: BTreeMap::new(),
        }
    }

    /// It reads what the server says.
    pub fn reads(&mut self, frame: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(frame) else {
            return;
        };
        match text(&message, "type") {
            "joined" => self.saw(
                text(&message, "roomId"),
                text(&message, "epoch"),
                number(&message, "seq"),
            ),
            "message" => self.saw_more(text(&message, "roomId"), number(&message, "seq")),
            _ => {}
        }
    }

    /// It saw a message of a room.
    fn saw(&mut self, room: &str, epoch: &str, seq: u64) {
        self.places.insert(room.into(), (epoch.into(), seq));
    }

    /// It saw one more of a room where it saw some.
    fn saw_more(&mut self, room: &str, seq: u64) {
        if let Some(place) = self.places.get_mut(room) {
            place.1 = place.1.max(seq);
        }
    }

    /// What it does next.
    pub fn act(&mut self, plan: &Plan, dice: &mut Dice, ledger: &Ledger) -> Deed {
        if self.link.is_none() {
            return Deed::Connect;
        }
        let has = |fault| plan.faults.contains(&fault);
        match dice.roll(40) {
            0 => return Deed::Leave(dice.one_in(2)),
            1 | 2 if has(Fault::Malformed) => {
                let bad = FRAMES.iter().filter(|frame| decode(frame).is_err());
                let bad: Vec<&&str> = bad.collect();
                return Deed::Send(vec![(*bad[dice.pick(bad.len() as u64)]).into()]);
            }
            3 if has(Fault::Flood) => {
                let frames = dice.roll(FLOOD);
                return Deed::Send(
                    (0..frames)
                        .map(|_| self.frame(r#""type":"ping""#))
                        .collect(),
                );
            }
            4 | 5 if has(Fault::Duplicate) => {
                return Deed::Send(self.last.clone().into_iter().collect());
            }
            _ => {}
        }
        let request = self.request(plan, dice, ledger);
        let frame = self.frame(&request);
        self.last = Some(frame.clone());
        Deed::Send(vec![frame])
    }

    fn frame(&mut self, fields: &str) -> String {
        self.refs += 1;
        format!(r#"{{{fields},"ref":"{}"}}"#, self.refs)
    }

    fn request(&self, plan: &Plan, dice: &mut Dice, ledger: &Ledger) -> String {
        let room = format!("room {}", dice.roll(plan.rooms));
        let about = |kind: &str| format!(r#""type":"{kind}","roomId":"{room}""#);
        match dice.roll(20) {
            0..6 => {
                let since = self.since(&room, plan, dice, ledger);
                let history = dice.roll(60);
                let name = &self.name;
                format!(
                    r#"{},"username":"{name}","history":{history}{since}"#,
                    about("join")
                )
            }
            6 => about("leave"),
            7 => r#""type":"list_rooms""#.into(),
            8 => about("list_users"),
            9 | 10 => {
                let before = dice.roll(40);
                format!(
                    r#"{},"limit":{},"before":{before}"#,
                    about("get_history"),
                    1 + dice.roll(100)
                )
            }
            11 => format!(r#"{},"active":true"#, about("typing")),
            12 => {
                let stolen = plan.faults.contains(&Fault::StolenToken);
                let token = stolen.then(|| {
                    ledger
                        .tokens
                        .get(dice.pick(ledger.tokens.len().max(1) as u64))
                });
                let token = token.flatten();
                let resume =
                    token.map_or_else(String::new, |token| format!(r#","resumeToken":"{token}""#));
                let name = if dice.one_in(8) { "" } else { &self.name };
                format!(r#""type":"hello","protocol":1,"token":"{name}"{resume}"#)
            }
            _ => {
                let text = format!("{} says {}", self.name, self.refs);
                let text = if dice.one_in(6) {
                    format!("{text} {}", "l".repeat(1500))
                } else {
                    text
                };
                // The same id for two texts now and then.
                let id = self.refs - dice.roll(2).min(self.refs);
                format!(
                    r#"{},"text":"{text}","clientMsgId":"{}-{id}""#,
                    about("message"),
                    self.name
                )
            }
        }
    }

    fn since(&self, room: &str, plan: &Plan, dice: &mut Dice, ledger: &Ledger) -> String {
        let made_up = (String::from("never"), 3);
        let place = if plan.faults.contains(&Fault::OldEpoch) && dice.one_in(2) {
            let epoch = ledger
                .epochs
                .iter()
                .nth(dice.pick(ledger.epochs.len().max(1) as u64));
            epoch.map_or(made_up, |epoch| (epoch.clone(), dice.roll(50)))
        } else if let Some(place) = self.places.get(room).filter(|_| dice.one_in(2)) {
            place.clone()
        } else {
            return String::new();
        };
        let (epoch, seq) = place;
        format!(r#","since":{{"epoch":"{epoch}","seq":{seq}}}"#)
    }
}
