//! The lines of a trace, as values.

use parlor_core::protocol::SERVER;
use parlor_core::{ConnId, Input, Limits, State, Timestamp};
use serde::{Deserialize, Serialize};

use super::Digest;

/// The version of the format. A reader that does not know it reads nothing.
pub const FORMAT: u32 = 1;
/// No line is longer, so that whoever reads a trace knows what it takes: the state of thousands of
/// rooms whose tails are full.
pub const MOST_LINE_BYTES: usize = 256 << 20;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub trace: u32,
    /// Whose core it was, with its version.
    pub server: String,
    /// When the file was begun.
    pub at: Timestamp,
    /// What became of texts.
    pub texts: Texts,
    /// The limits of the server.
    pub limits: Limits,
    /// The panic that this is the report of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
}

impl Head {
    /// The head of a recording by this version.
    #[must_use]
    pub fn new(at: Timestamp, texts: Texts, limits: Limits) -> Self {
        Self {
            trace: FORMAT,
            server: SERVER.into(),
            at,
            texts,
            limits,
            crash: None,
        }
    }

    /// Whether it is of this version.
    #[must_use]
    pub fn is_of_this_version(&self) -> bool {
        self.server == SERVER
    }
}

/// What becomes of texts in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Texts {
    /// Others take their place, as long as they were.
    #[default]
    Redacted,
    /// They stay.
    Plain,
}

/// A panic of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// What it said.
    pub panic: String,
    /// The connection whose event or outlet it was.
    pub conn: Option<ConnId>,
    /// The last event before it.
    pub event: u64,
    /// The recording that has the same events and what was before.
    pub recording: Option<String>,
}

/// Any other line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// A state begins.
    Begin(Box<Begin>),
    /// What it was fed.
    Event(Recorded),
}

/// The state that the next event meets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The number of that event.
    pub event: u64,
    /// Why it does not go on as it was.
    pub why: Why,
    /// Events before it that are in no file.
    pub lost: u64,
    /// The digest so far.
    pub digest: Digest,
    /// Itself; none in a report whose events do not reach back to where the state began.
    pub state: Option<State>,
}

/// Why a state begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// So does the recording.
    Start,
    /// The last file was full; the state goes on.
    Rotated,
    /// The hub began anew, after a panic or a failed commit.
    Rebuilt,
    /// Events were lost, since the recording could not keep up.
    Lost,
}

/// An event, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number, from 1, without a gap between two beginnings.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub input: Input,
    /// The digest of all effects so far, its own included; none if there were no effects to see: the
    /// core panicked, or it is a report, which has only what was fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_knows_its_own_version() {
        let mut head = Head::new(Timestamp(1), Texts::Plain, Limits::default());
        assert!(head.is_of_this_version());
        head.server.push('1');
        assert!(!head.is_of_this_version());
    }
}
