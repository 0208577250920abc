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
//! What a chat is, is in [`parlor_core`]; what is the same on every runtime, in [`parlor_hub`].
//! Here is what is tokio's own: sockets, timers, tasks.

mod builder;
mod chat;
mod socket;
mod stream;
mod timer;
mod upgrade;

pub use builder::{Builder, StartError};
pub use chat::{Chat, handler};
pub use upgrade::Upgrade;
