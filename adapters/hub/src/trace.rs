//! Traces: what a core was fed, as lines of JSON, so that what happened can happen again elsewhere.
//!
//! The first line is a [`Head`]. Then a state begins ([`Begin`]), and each [event](Recorded) that
//! it was fed has a line with the digest of all effects so far. Whenever the next event meets
//! another state than the last one left (a panic, a failed commit, a hole in the recording), that
//! state begins in a line of its own: a trace has no hole that does not show.
//!
//! Tokens are replaced always, and texts unless they are asked for, by something that leads to the
//! same effects (`redact`). What stays: names, rooms, ids, times, how long texts are, and
//! which retries had another text than what they retried.
//!
//! A tape in the hub hands what happens to whoever implements [`Record`], [`Encoder`] makes lines
//! of it, [`Reader`] reads them and [`Player`] applies them. [`show`] tells people what they say.

mod digest;
mod encode;
mod format;
mod play;
mod read;
mod redact;
pub mod show;
mod tape;

pub use digest::Digest;
pub(crate) use encode::line;
pub use encode::{Encoder, Recorder, TooLong};
pub use format::{Begin, Crash, FORMAT, Head, Line, MOST_LINE_BYTES, Recorded, Texts, Why};
pub use play::{Played, Player, Verdict};
pub use read::{Reader, TraceError};
pub(crate) use redact::Redactor;
pub use tape::{Beginning, Fed, Record, Wanted};
pub(crate) use tape::{Crashed, Tape};
