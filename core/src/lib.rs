//! The chat as a value: rooms, presence, broadcast and history as one pure state machine.
//!
//! A [`State`] is a whole chat server. It takes an [`Event`], what happened and when, and answers
//! with [`Effect`]s, what is to be done:
//!
//! ```text
//! (State, Event) -> (State, Vec<Effect>)
//! ```
//!
//! It has no clock, no randomness, no I/O and no order that differs from run to run. The same
//! events give the same effects, byte for byte, on every machine; so a conversation can be
//! replayed, simulated, searched exhaustively and fuzzed without a network. It is total: whatever
//! comes, it neither fails nor panics.
//!
//! # What a driver owes it
//!
//! 1. Give every connection a [`ConnId`] that was never used before, and a [`ResumeToken`] of 128
//!    random bits; say [`Input::Connected`] first and [`Input::Disconnected`] last.
//! 2. Pass each frame of a connection through its [`Session`], in order. What that admits becomes
//!    [`Input::Received`], what it refuses [`Input::Refused`].
//! 3. Hand over nothing behind a request that [holds](RequestKind::holds) until its answer is on
//!    its way: [`State::is_waiting`] is false, and a page that was fetched has been put in.
//! 4. Stamp the event with the time and call [`State::apply`].
//! 5. Carry out the effects in their order. What stands behind an [`Effect::Append`] waits until
//!    the entry is stored.
//! 6. Answer [`Effect::LoadRoom`] and [`Effect::FetchPage`] with the inputs that they name.
//!    [`Effect::Answer`] is for whoever made an [`Input::Published`], [`Effect::Tell`] for whoever
//!    wants to know who is there.
//!    [`Effect::Close`] means that the state has forgotten the connection; its socket may live on
//!    for its last frames.
//!
//! `parlor-hub` is such a driver, for any async runtime.
//!
//! # Features
//!
//! `schema`: the protocol as JSON Schema, in the module of that name. Off by default.
//!
//! # Stability
//!
//! All of parlor's crates have one version, which follows [SemVer](https://semver.org): before 1.0
//! it is the second number that breaks something. It promises
//! - the wire protocol. Its version 1 gains fields and types of messages, which clients ignore, and
//!   codes of errors and of closing; nothing in it changes its meaning. What cannot be had that way
//!   gets another version, told in `hello`, and `protocol/` describes each to machines;
//! - the API of this crate, of `parlor-client` and `parlor-client-async`, and in `parlor-hub` and
//!   `parlor-tokio` what an application uses;
//! - of the server: its options, exit codes, metrics, and the way from an older database to a newer.
//!
//! It does not promise the words of a message to people (match its code), log lines, anything's
//! [`Debug`](core::fmt::Debug), or what a [`State`] and a trace look like as JSON: a trace says which
//! version wrote it. Effects for the same events may differ from version to version, too.
//!
//! The oldest Rust that builds them is `rust-version` in their manifests, 1.95. It may become newer
//! with a minor version, not with a patch.
//!
//! # A conversation by hand
//!
//! ```
//! use parlor_core::decode::decode;
//! use parlor_core::encode::encode;
//! use parlor_core::{
//!     ConnId, Effect, Epoch, Event, Input, Limits, Recipients, ResumeToken, State, StoredLog,
//!     Timestamp, step,
//! };
//!
//! // One step, with everything that is sent written down as JSON.
//! let mut sent = Vec::new();
//! let mut happens = |state, at, input| {
//!     let (state, effects) = step(state, Event { at: Timestamp(at), input });
//!     for effect in &effects {
//!         if let Effect::Send { to: Recipients::One(conn), message } = effect {
//!             sent.push(format!("{conn} <- {}", String::from_utf8(encode(message)).unwrap()));
//!         }
//!     }
//!     (state, effects)
//! };
//! let says = |conn, text| Input::Received { conn, request: decode(text).unwrap().request };
//!
//! let alice = ConnId(1);
//! let state = State::new(Limits::default());
//! let resume_token = ResumeToken::from_random(4); // in earnest: 128 random bits
//! let (state, _) = happens(state, 1000, Input::Connected { conn: alice, resume_token });
//!
//! // A room that is not open has to be loaded first; the join waits.
//! let join = says(alice, r#"{"type":"join","roomId":"general","username":"Alice"}"#);
//! let (state, effects) = happens(state, 1001, join);
//! let [Effect::LoadRoom { room, load }] = &effects[..] else { panic!("{effects:?}") };
//! assert!(state.is_waiting(alice));
//!
//! let log = StoredLog::empty(Epoch::new("e1").unwrap());
//! let loaded = Input::RoomLoaded { room: room.clone(), load: *load, log };
//! let (state, _) = happens(state, 1002, loaded);
//!
//! // What is said is stored before it is sent.
//! let hello = says(alice, r#"{"type":"message","roomId":"general","text":"Hello!","ref":"1"}"#);
//! let (state, effects) = happens(state, 1003, hello);
//! assert!(matches!(effects[0], Effect::Append { .. }));
//! state.check().unwrap();
//!
//! assert_eq!(sent, [
//!     r#"c1 <- {"type":"joined","roomId":"general","users":["Alice"],"userCount":1,"epoch":"e1","seq":0,"recovered":false,"history":0}"#,
//!     r#"c1 <- {"type":"message","roomId":"general","from":"Alice","text":"Hello!","timestamp":1003,"seq":1,"ref":"1"}"#,
//! ]);
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod check;
pub mod decode;
pub mod encode;
pub mod entry;
pub mod error;
pub mod event;
pub mod limits;
pub mod log;
pub mod name;
mod presence;
pub mod protocol;
pub mod rate;
pub mod redact;
#[cfg(feature = "schema")]
pub mod schema;
pub mod session;
mod state;
pub mod types;

pub use check::{Invariant, Violation};
pub use entry::Entry;
pub use error::{Cause, CloseReason, ErrorCode};
pub use event::{
    Change, Effect, Event, Fetch, Identity, Input, Publication, Published, Recipients,
};
pub use limits::Limits;
pub use log::{Page, StoredLog};
pub use protocol::{Refusal, Request, RequestKind, ServerMessage};
pub use session::Session;
pub use state::{State, step};
pub use types::{ConnId, Epoch, ResumeToken, RoomId, Seq, Timestamp, Username};
