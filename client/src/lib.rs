//! The client of a Parlor server as a pure state machine: for whoever brings sockets and timers of
//! their own, in any runtime, in a game loop, or in a simulation. `parlor-client-async` brings them
//! for tokio and smol.
//!
//! A [`Client`] is handed what happened ([`Input`]) and when, and answers with what is to be done
//! ([`Output`]). It has no clock, no socket and no randomness of its own, and it is total: whatever
//! a server says and whatever an application asks for, it neither fails nor panics. It is the
//! machine of the JavaScript client, decision for decision; both repeat the vectors in `vectors/`.
//!
//! What an application can rely on, however often the connection breaks:
//!
//! - every message of a room arrives once, in the order of its seq; what could not be recovered is
//!   announced by an [`Event::Gap`] where it is missing;
//! - what [`Input::Send`] was given is stored once and in order, or its call is rejected with a
//!   code;
//! - nothing waits for ever without a word: either the client is trying, and [`Client::state`] says
//!   so, or the call is settled, by [`Input::Close`] at the latest.
//!
//! # What a driver owes it
//!
//! 1. Make it with [`Options::from_random`], of 128 random bits, and say [`Input::Connect`].
//! 2. Carry out the outputs of each input, in their order, before the next input.
//! 3. [`Output::Connect`]: open a WebSocket, and say [`Input::Opened`] or [`Input::Closed`]. Its
//!    text frames are [`Input::Received`], its end is [`Input::Closed`].
//! 4. [`Output::HangUp`]: close that socket, or give up opening it, and drop whatever still comes
//!    of it.
//! 5. At [`Client::deadline`], which may be another one after each input, say [`Input::Tick`].
//!
//! Frames that cannot be sent may be dropped: the end of their socket follows.
//!
//! Memory is bounded by [`Options::max_pending`] and by what the server sends for each room: the
//! names of who is there and a page of history. Bound the frames that you read.
//!
//! # Stability
//!
//! This API is promised as [`parlor_core`'s](parlor_core#stability) is. A client of any version talks
//! to each server that speaks the same version of the protocol. The vectors only ever gain cases,
//! unless a case was wrong.
//!
//! # A conversation by hand
//!
//! ```
//! use parlor_client::{Client, Event, Input, Options, Output, Value};
//!
//! let mut options = Options::from_random(4); // in earnest: 128 random bits
//! options.username = Some("Alice".into());
//! let mut client = Client::new(options);
//! let mut happens = |at_ms, input| {
//!     let mut outputs = Vec::new();
//!     client.handle(at_ms, input, &mut outputs);
//!     // States are for people; everything else is for this test.
//!     outputs.retain(|output| !matches!(output, Output::Emit(Event::State(_))));
//!     (outputs, client.deadline())
//! };
//! let transmit = |text: &str| Output::Transmit { text: text.into() };
//! let received = |text: &str| Input::Received { text: text.into() };
//!
//! // It wants a socket, and gives it 10 s.
//! assert_eq!(happens(1_000, Input::Connect), (vec![Output::Connect], Some(11_000)));
//! let (outputs, _) = happens(1_020, Input::Opened { token: None });
//! assert_eq!(outputs, [transmit(r#"{"type":"hello","protocol":1,"ref":"1"}"#)]);
//!
//! // A call may come at any time, and is carried out when it can be.
//! let join = Input::Join { call: 1, room: "general".into(), history: None, since: None };
//! assert_eq!(happens(1_030, join), (vec![], Some(11_000)));
//! let send = Input::Send { call: 2, room: "general".into(), text: "Hello!".into(), client_msg_id: Some("a-1".into()) };
//! assert_eq!(happens(1_031, send), (vec![], Some(11_000)));
//!
//! let hello = r#"{"type":"hello","protocol":1,"resumeToken":"0f3c","pingIntervalMs":25000,"ref":"1"}"#;
//! let (outputs, deadline) = happens(1_040, received(hello));
//! assert_eq!(outputs, [transmit(r#"{"type":"join","roomId":"general","username":"Alice","ref":"2"}"#)]);
//! assert_eq!(deadline, Some(26_040)); // a server that is silent until then is asked for a sign of life
//!
//! // The room is ours, so what was to be said there is sent.
//! let joined = r#"{"type":"joined","roomId":"general","users":["Alice"],"userCount":1,"epoch":"e","seq":0,"recovered":false,"history":0,"ref":"2"}"#;
//! let (outputs, _) = happens(1_060, received(joined));
//! let [Output::Remember { .. }, Output::Emit(Event::Joined(joined)), Output::Resolve { call: 1, .. }, message] = &outputs[..] else {
//!     panic!("{outputs:?}");
//! };
//! assert_eq!(joined.users, ["Alice"]);
//! assert_eq!(*message, transmit(r#"{"type":"message","roomId":"general","text":"Hello!","clientMsgId":"a-1","ref":"3"}"#));
//!
//! // The connection breaks before the answer. The next one asks for what was missed, and there it is.
//! happens(2_000, Input::Closed { code: Some(1006), reason: None });
//! happens(3_000, Input::Tick);
//! happens(3_020, Input::Opened { token: None });
//! let (outputs, _) = happens(3_040, received(r#"{"type":"hello","protocol":1,"username":"Alice","ref":"4"}"#));
//! assert_eq!(outputs, [transmit(r#"{"type":"join","roomId":"general","username":"Alice","since":{"epoch":"e","seq":0},"ref":"5"}"#)]);
//! happens(3_060, received(r#"{"type":"joined","roomId":"general","users":["Alice"],"userCount":1,"epoch":"e","seq":1,"recovered":true,"history":1,"ref":"5"}"#));
//! let stored = r#"{"type":"message","roomId":"general","from":"Alice","text":"Hello!","timestamp":1099,"seq":1,"clientMsgId":"a-1"}"#;
//! let (outputs, _) = happens(3_060, received(stored));
//! let [Output::Emit(Event::Message(heard)), Output::Resolve { call: 2, value: Value::Sent(sent) }] = &outputs[..] else {
//!     panic!("{outputs:?}");
//! };
//! assert_eq!((heard, sent.seq, sent.own), (sent, 1, true));
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answers;
mod calls;
mod client;
mod dice;
mod event;
mod failure;
mod guest;
mod input;
mod link;
mod options;
mod output;
mod refusals;
mod request;
mod room;
mod wire;

pub use client::Client;
pub use event::{Change, Event, Gap, Joined, Left, Message, Presence, State, Typing};
pub use failure::{ClientError, Code, Failure};
pub use input::{Input, Position};
pub use options::{Backoff, Options, Secret};
pub use output::{HistoryPage, Output, RoomInfo, RoomList, UserList, Value};
