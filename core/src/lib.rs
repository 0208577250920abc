//! The chat as a value: rooms, presence, broadcast and history as one pure state machine.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod check;
pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
pub mod limits;
pub mod log;
pub mod name;
mod presence;
pub mod protocol;
pub mod rate;
pub mod session;
mod state;
pub mod types;

pub use check::{Invariant, Violation};
pub use error::{CloseReason, ErrorCode};
pub use event::{Effect, Event, Fetch, Identity, Input, Page, Recipients};
pub use limits::Limits;
pub use log::{Entry, StoredLog};
pub use protocol::{Cause, Refusal, Request, RequestKind, ServerMessage};
pub use session::Session;
pub use state::{State, step};
pub use types::{ConnId, Epoch, ResumeToken, RoomId, Seq, Timestamp, Username};
