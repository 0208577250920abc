//! A client of a Parlor server that comes back by itself, on tokio, smol, or a runtime of your own.
//!
//! What it decides is [`parlor_client`]'s: every message of a room arrives once and in order
//! however often the connection breaks, and what could not be recovered is announced; what is sent
//! is stored once, or fails with a code. Here is what carries that out.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn chat() -> Result<(), Box<dyn std::error::Error>> {
//! use parlor_client_async::{Event, Options};
//!
//! let options = Options::guest("Alice");
//! let (chat, mut events) = parlor_client_async::tokio::connect("wss://chat.example/ws", options)?;
//! tokio::spawn(async move {
//!     while let Some(event) = events.recv().await {
//!         match event {
//!             Event::Message(said) => println!("{}: {}", said.from, said.text),
//!             Event::State(state) => println!("({state:?})"),
//!             _ => {}
//!         }
//!     }
//! });
//! let joined = chat.join("general").history(10).await?;
//! println!("{} are here", joined.user_count);
//! let sent = chat.send("general", "Hello!").await?; // once it is stored
//! println!("it is number {}", sent.seq);
//! chat.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! On smol it is `parlor_client_async::smol::connect`, and on whatever else [`connect`] with a
//! [`Runtime`] of your own; a test may bring sockets and a clock in the same way.
//!
//! That a server is away is no error: the client tries again, and tells where it stands by
//! [`Event::State`] and [`Chat::state`], with the reason in [`State::Offline`]. Times in there are
//! on the runtime's clock.
//!
//! # Features
//!
//! - `tokio`: the module `tokio`, in a runtime with I/O and time (`enable_all`).
//! - `smol`: the module `smol`, on smol's global executor.
//! - `tls`, on by default: `wss://`, by rustls with ring and the certificates that the system
//!   trusts; `Options::tls` takes a configuration of your own.
//!
//! Neither runtime is there by default.
//!
//! # Bounds
//!
//! - Events wait for the application, [`Options::max_events`] of them. Then the client reads no
//!   more, and its server waits, too; behind four times as many, while calls are waiting: their
//!   answers come behind the events, and who waits for them may be who takes the events. Calls and
//!   deadlines go on. The server ends a connection that is not read for long, or the client does
//!   when it hears nothing; it makes another one once its events are taken, and recovers as ever.
//!   So take them in a task of their own.
//! - A longer frame than [`Options::max_frame_bytes`] ends the connection.
//! - Messages, questions and rooms: [`max_pending`](parlor_client::Options::max_pending) of each,
//!   beyond which calls fail with [`ClientError::QueueFull`], as they do when four times as many
//!   wait for answers. Frames wait for a server that takes nothing, 256 of them; then it is hung
//!   up on. A call waits while 32 are waiting to be looked at.
//!
//! # Who drops what
//!
//! - All of [`Chat`]: the client closes politely, in the background.
//! - [`Events`]: nobody wants to hear them. The client goes on, for whoever only speaks.
//! - A [`Call`] that is awaited: it is carried out all the same, and nobody hears its answer.
//! - The runtime: all ends at once, and calls fail with [`ClientError::Closed`]. Await
//!   [`Chat::close`] before, which is given 5 s to say goodbye.
//!
//! # Another process
//!
//! Keep the epoch and seq of the last message of each room, and join with [`Call::since`]; keep
//! what [`Options::remember`] hands over, and the next process is the same guest; send with a
//! [`Call::client_msg_id`] of your own, and what was in flight is not doubled.

mod address;
mod call;
mod chat;
mod dial;
mod driver;
mod error;
mod events;
mod options;
mod runtime;
#[cfg(feature = "smol")]
pub mod smol;
mod socket;
#[cfg(test)]
mod testing;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use call::Call;
pub use chat::Chat;
pub use driver::connect;
pub use error::ConnectError;
pub use events::Events;
#[cfg(feature = "tls")]
pub use futures_rustls::rustls;
pub use options::Options;
pub use runtime::Runtime;

pub use parlor_client::{
    Backoff, Change, ClientError, Code, Event, Failure, Gap, HistoryPage, Joined, Left, Message,
    Position, Presence, RoomInfo, RoomList, Secret, State, Typing, UserList,
};
pub use parlor_core::ErrorCode;
pub use parlor_core::limits::AnnouncedLimits;
