//! A call of the application, until it is answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use async_channel::Sender;
use parlor_client::{
    ClientError, Failure, HistoryPage, Input, Joined, Message, Position, RoomList, Value,
};

use crate::chat::Chat;
use crate::driver::failure;

/// What a call is answered with.
pub(crate) type Answer = Result<Value, Failure>;

/// What the driver is asked to do.
pub(crate) struct Command {
    pub(crate) input: Input,
    /// The number of the call, and who waits for its answer.
    pub(crate) call: Option<(u64, Sender<Answer>)>,
}

/// A call that is made when it is awaited, and what may be said about it before.
///
/// When too many calls were made and not yet looked at, it waits for its turn. A future that is
/// dropped gives up waiting for the answer, and not what it began: a message may be stored all the
/// same, and a room be joined.
#[must_use = "a call is made when it is awaited"]
pub struct Call<'a, T> {
    chat: &'a Chat,
    number: u64,
    input: Input,
    value: fn(Value) -> Option<T>,
}

impl<'a, T> Call<'a, T> {
    pub(crate) fn new(
        chat: &'a Chat,
        input: impl FnOnce(u64) -> Input,
        value: fn(Value) -> Option<T>,
    ) -> Self {
        let number = chat.next_call();
        let input = input(number);
        Self {
            chat,
            number,
            input,
            value,
        }
    }

    async fn make(self) -> Result<T, Failure> {
        let (answer, answered) = async_channel::bounded(1);
        let call = Some((self.number, answer));
        let input = self.input;
        self.chat.tell(Command { input, call }).await;
        // Nobody answers any more once the client has ended.
        let answer = answered
            .recv()
            .await
            .map_err(|_| failure(ClientError::Closed))?;
        let value = (self.value)(answer?);
        Ok(value.expect("the client answers each call with its own kind of value"))
    }
}

impl Call<'_, Joined> {
    /// How many messages to replay at first: the server's 50 if it is not said, and 100 at most.
    pub fn history(mut self, messages: u64) -> Self {
        if let Input::Join { history, .. } = &mut self.input {
            *history = Some(messages);
        }
        self
    }

    /// Where to go on, as where a client of an earlier process has ended: the epoch and seq of the
    /// last message that was heard.
    pub fn since(mut self, position: Position) -> Self {
        if let Input::Join { since, .. } = &mut self.input {
            *since = Some(position);
        }
        self
    }
}

impl Call<'_, Message> {
    /// An id of one's own, 1 to 64 printable ASCII characters, never used before in this room. A
    /// message that is sent again under its id, as by the process after a crash, is stored once.
    pub fn client_msg_id(mut self, id: impl Into<String>) -> Self {
        if let Input::Send { client_msg_id, .. } = &mut self.input {
            *client_msg_id = Some(id.into());
        }
        self
    }
}

impl Call<'_, HistoryPage> {
    /// The seq to end before; the newest messages if it is not said.
    pub fn before(mut self, seq: u64) -> Self {
        if let Input::History { before, .. } = &mut self.input {
            *before = Some(seq);
        }
        self
    }

    /// How many messages at most: the server's 50 if it is not said, 1 to 100.
    pub fn limit(mut self, messages: u64) -> Self {
        if let Input::History { limit, .. } = &mut self.input {
            *limit = Some(messages);
        }
        self
    }
}

impl Call<'_, RoomList> {
    /// Only rooms whose ids come after this one.
    pub fn after(mut self, room: impl Into<String>) -> Self {
        if let Input::Rooms { after, .. } = &mut self.input {
            *after = Some(room.into());
        }
        self
    }
}

impl<'a, T: 'a> IntoFuture for Call<'a, T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl<T> fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
