//! parlor inside an application on tokio: a chat as an [axum] handler.
//!
//! ```no_run
//! use axum::Router;
//! use axum::routing::get;
//! use parlor_tokio::Chat;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let chat = Chat::builder().start()?;
//! let app = Router::new()
//!     .route("/chat", get(parlor_tokio::handler))
//!     .with_state(chat);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An application that knows its users says who they are, see [`Chat::serve_as`]:
//!
//! ```
//! use axum::extract::State;
//! use axum::http::{HeaderMap, StatusCode};
//! use axum::response::{IntoResponse, Response};
//! use parlor_core::{Identity, Username};
//! use parlor_tokio::{Chat, Upgrade};
//!
//! async fn chat(State(chat): State<Chat>, headers: HeaderMap, upgrade: Upgrade) -> Response {
//!     let Some(subject) = logged_in(&headers) else {
//!         return StatusCode::UNAUTHORIZED.into_response();
//!     };
//!     let rooms = None; // All of them.
//!     chat.serve_as(upgrade, Identity { subject, rooms })
//! }
//!
//! /// The application's own authentication.
//! fn logged_in(headers: &HeaderMap) -> Option<Username> {
//!     # let _ = headers; None
//!     // …
//! }
//! ```
//!
//! It may take part, too, without a connection:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use parlor_core::types::{MessageText, RoomId, Username};
//! use parlor_hub::Happened;
//! use parlor_tokio::Chat;
//!
//! let (tell, happened) = std::sync::mpsc::channel();
//! let chat = Chat::builder().observer(move |it| drop(tell.send(it))).start()?;
//!
//! let (room, from) = (RoomId::new("builds")?, Username::new("ci")?);
//! let text = MessageText::new("The build is green.")?;
//! let published = chat.handle().publish(room, from, text, None).await?;
//! assert_eq!(published.seq.0, 1);
//!
//! let Happened::Stored(stored) = happened.recv()? else { panic!("nobody came or went") };
//! assert_eq!(stored.entry.text.as_str(), "The build is green.");
//! # Ok(())
//! # }
//! ```
//!
//! What a chat is, is in [`parlor_core`]; what is the same on every runtime, in [`parlor_hub`].
//! Here is what is tokio's own: sockets, timers, tasks. The API is promised as
//! [`parlor_core`'s](parlor_core#stability) is.

mod builder;
mod chat;
mod socket;
mod stream;
mod timer;
mod upgrade;

pub use builder::{Builder, StartError};
pub use chat::{Chat, handler};
pub use upgrade::Upgrade;
