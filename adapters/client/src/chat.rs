//! What an application holds of a client.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender};
use parlor_client::{
    Client, HistoryPage, Input, Joined, Message, RoomList, Secret, State, UserList, Value,
};
use parlor_core::limits::AnnouncedLimits;

use crate::call::{Call, Command};

/// What a call is answered with, if it is of this kind.
macro_rules! only {
    ($value:ident, $kind:path) => {
        if let $kind(inner) = $value {
            Some(inner)
        } else {
            None
        }
    };
}

/// A client of a chat that comes back by itself. Clones are the same client; when the last one is
/// dropped, and no call of it is awaited, it closes as by [`close`](Self::close), unwatched.
///
/// Calls may be made at any time and in any number, also while the server is away: they are settled
/// when they can be. See [`Call`] for what happens to those that are given up.
#[derive(Clone)]
pub struct Chat {
    pub(crate) commands: Sender<Command>,
    pub(crate) client: Shared,
    pub(crate) calls: Arc<AtomicU64>,
    /// Nothing ever comes of it but its end: when the driver has ended, goodbyes included.
    pub(crate) ended: Receiver<Infallible>,
}

impl Chat {
    /// Joins a room and stays in it across reconnects, until [`leave`](Self::leave). What is said
    /// there comes as events. Joining again is answered with how things stand.
    pub fn join(&self, room: impl Into<String>) -> Call<'_, Joined> {
        let room = room.into();
        let input = |call| Input::Join {
            call,
            room,
            history: None,
            since: None,
        };
        Call::new(self, input, |value| only!(value, Value::Joined))
    }

    /// Leaves a room. Messages that were not sent yet fail with
    /// [`ClientError::Left`](parlor_client::ClientError::Left).
    pub fn leave(&self, room: impl Into<String>) -> Call<'_, ()> {
        let room = room.into();
        let input = |call| Input::Leave { call, room };
        Call::new(self, input, |value| (value == Value::Left).then_some(()))
    }

    /// Says something in a room that was joined, or is being joined. Answered with the message as
    /// it was stored, which takes as long as the server is away. Messages of a room are stored in
    /// the order of their calls.
    pub fn send(&self, room: impl Into<String>, text: impl Into<String>) -> Call<'_, Message> {
        let (room, text) = (room.into(), text.into());
        let input = |call| Input::Send {
            call,
            room,
            text,
            client_msg_id: None,
        };
        Call::new(self, input, |value| only!(value, Value::Sent))
    }

    /// The user is typing, or has stopped. Say it at each keystroke: the others are told no more
    /// often than needed, and sending a message ends it.
    pub async fn typing(&self, room: impl Into<String>, active: bool) {
        let room = room.into();
        self.say(Input::Typing { room, active }).await;
    }

    /// Asks for a page of a joined room's history. No events come of it.
    pub fn history(&self, room: impl Into<String>) -> Call<'_, HistoryPage> {
        let room = room.into();
        let input = |call| Input::History {
            call,
            room,
            before: None,
            limit: None,
        };
        Call::new(self, input, |value| only!(value, Value::History))
    }

    /// Asks for the open rooms that one may join.
    pub fn rooms(&self) -> Call<'_, RoomList> {
        let input = |call| Input::Rooms { call, after: None };
        Call::new(self, input, |value| only!(value, Value::Rooms))
    }

    /// Asks who is in a room.
    pub fn users(&self, room: impl Into<String>) -> Call<'_, UserList> {
        let room = room.into();
        let input = |call| Input::Users { call, room };
        Call::new(self, input, |value| only!(value, Value::Users))
    }

    /// Offline: connects at once. Online: looks whether the server still answers. As after the
    /// machine slept, or the network changed.
    pub async fn retry(&self) {
        self.say(Input::Retry).await;
    }

    /// For clients with [`shares`](parlor_client::Options::shares): another client of the same
    /// guest keeps another resume token, or none. What this client itself gave to
    /// [`Options::remember`](crate::Options::remember) it knows.
    pub async fn remembered(&self, resume_token: Option<Secret>) {
        self.say(Input::Remembered { resume_token }).await;
    }

    /// Ends the client for ever, and waits until it has said goodbye to the server, which is given
    /// 5 s for it. What is pending fails with
    /// [`ClientError::Closed`](parlor_client::ClientError::Closed); a message in flight may be
    /// stored all the same. Await it before the runtime ends.
    pub async fn close(&self) {
        self.say(Input::Close).await;
        // An error is all that can come.
        let _ = self.ended.recv().await;
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.client.lock().state().clone()
    }

    /// The user's name, as the server spells it once it has said so.
    #[must_use]
    pub fn username(&self) -> Option<String> {
        self.client.lock().username().map(String::from)
    }

    /// What the server allows; unknown before its first answer.
    #[must_use]
    pub fn limits(&self) -> Option<AnnouncedLimits> {
        self.client.lock().limits().cloned()
    }

    /// The server's name and version.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        self.client.lock().server().map(String::from)
    }

    /// How many messages are not yet stored.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.client.lock().pending()
    }

    async fn say(&self, input: Input) {
        self.tell(Command { input, call: None }).await;
    }

    /// Nobody is told anything any more once the client has ended.
    pub(crate) async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Chat")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// The machine that decides. The driver alone changes it; whoever asks how things are looks.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Client>>);

impl Shared {
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(Mutex::new(client)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
