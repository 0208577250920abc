//! The loop between the machine that decides, a socket, a clock and the application.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use futures_lite::future::{or, yield_now};
use parlor_client::{Client, ClientError, Code, Event, Failure, Input, Output, Secret, State};

use crate::call::{Answer, Command};
use crate::chat::{Chat, Shared};
use crate::dial::{Dialled, Dialler};
use crate::error::ConnectError;
use crate::events::Events;
use crate::options::{Options, Remember};
use crate::runtime::Runtime;
use crate::socket::{ABNORMAL, Heard, Socket};

/// Commands that may wait for the driver, which looks at one after the other.
const MOST_COMMANDS: usize = 32;
/// For the other side to say goodbye, ms: as long as the server gives its clients.
const PARTING_MS: u64 = 5_000;
/// While calls are waiting for answers, so many times the events may wait: the answers come behind
/// them on the same socket, and whoever takes the events may be who waits for the answers.
const WITH_CALLS: usize = 4;
/// Turns after which others get theirs, on a runtime where nothing else makes them.
const BURST: u32 = 16;

/// Begins a client on a runtime. It connects from then on, and again whenever it has to.
///
/// # Errors
/// When the URL, or TLS on this system, cannot be used.
pub fn connect<R: Runtime>(
    runtime: R,
    url: &str,
    options: Options,
) -> Result<(Chat, Events), ConnectError> {
    let dialler = Arc::new(Dialler::new(url, &options)?);
    let (commands, commanded) = async_channel::bounded(MOST_COMMANDS);
    let (tell, events) = async_channel::unbounded();
    let (taken, told) = async_channel::bounded(1);
    let (ending, ended) = async_channel::bounded(1);
    let max_pending = options.client.max_pending as usize;
    let client = Shared::new(Client::new(options.client));
    let runtime = Arc::new(runtime);
    let driver = Driver {
        runtime: runtime.clone(),
        dialler,
        client: client.clone(),
        remember: options.remember,
        link: Link::Off,
        commands: commanded,
        calls: BTreeMap::new(),
        most_calls: max_pending.saturating_mul(KINDS),
        events: tell,
        max_events: options.max_events,
        told,
        ending,
    };
    runtime.spawn(driver.run());
    let chat = Chat {
        commands,
        client,
        calls: Arc::default(),
        ended,
    };
    Ok((chat, Events { events, taken }))
}

/// Messages, questions, joins and leaves: so many of each may wait as the machine lets of one.
const KINDS: usize = 4;

struct Driver<R> {
    runtime: Arc<R>,
    dialler: Arc<Dialler>,
    client: Shared,
    remember: Option<Arc<Remember>>,
    link: Link,
    commands: Receiver<Command>,
    /// Who waits for an answer.
    calls: BTreeMap<u64, Sender<Answer>>,
    most_calls: usize,
    /// Bounded by not asking for more, see [`Self::is_stalled`].
    events: Sender<Event>,
    max_events: usize,
    /// The application took an event.
    told: Receiver<()>,
    /// Whoever holds it has not ended yet: the driver, and each goodbye.
    ending: Sender<Infallible>,
}

enum Link {
    Off,
    Dialling(Pin<Box<dyn Future<Output = Dialled> + Send>>),
    Open(Socket),
}

/// What a turn is about.
enum Happened {
    /// None once nobody is left who could command anything.
    Command(Option<Command>),
    Dialled(Dialled),
    Heard(Heard),
    Due,
    Told,
}

impl<R: Runtime> Driver<R> {
    async fn run(mut self) {
        self.take(Input::Connect);
        let mut turns = 0_u32;
        while !self.is_closed() {
            let is_socket_first = turns.is_multiple_of(2);
            let happened = self.next(is_socket_first).await;
            self.carry(happened);
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(BURST) {
                yield_now().await;
            }
        }
    }

    /// Waits for what happens next. Of commands and the socket neither keeps the other waiting.
    async fn next(&mut self, is_socket_first: bool) -> Happened {
        let is_stalled = self.is_stalled();
        let deadline = self.deadline();
        let Self {
            runtime,
            link,
            commands,
            told,
            ..
        } = self;
        let due = async {
            match deadline {
                Some(at_ms) => runtime.sleep_until(at_ms).await,
                None => pending().await,
            }
            Happened::Due
        };
        let room = async {
            if !is_stalled {
                return pending().await;
            }
            // An error says that nobody wants the events any more.
            let _ = told.recv().await;
            Happened::Told
        };
        let command = async { Happened::Command(commands.recv().await.ok()) };
        let link = link.next(!is_stalled);
        let both = async {
            if is_socket_first {
                or(link, command).await
            } else {
                or(command, link).await
            }
        };
        or(due, or(room, both)).await
    }

    fn carry(&mut self, happened: Happened) {
        match happened {
            Happened::Command(Some(command)) => self.command(command),
            Happened::Command(None) => self.take(Input::Close),
            Happened::Dialled(Ok((socket, token))) => {
                self.link = Link::Open(socket);
                self.take(Input::Opened { token });
            }
            Happened::Dialled(Err(reason)) => self.lost(ABNORMAL, reason),
            Happened::Heard(Heard::Text(text)) => self.take(Input::Received { text }),
            Happened::Heard(Heard::Closed { code, reason }) => self.lost(code, reason),
            Happened::Due => self.take(Input::Tick),
            Happened::Told => {}
        }
    }

    fn command(&mut self, Command { input, call }: Command) {
        // It would connect, which waits until the application takes its events.
        if input == Input::Retry && self.waits_to_connect() {
            return;
        }
        if let Some((number, answer)) = call {
            if self.calls.len() >= self.most_calls {
                answer_with(&answer, Err(too_many()));
                return;
            }
            self.calls.insert(number, answer);
        }
        self.take(input);
    }

    fn lost(&mut self, code: u16, reason: String) {
        self.hang_up();
        self.take(closed(code, reason));
    }

    /// Hands something to the machine, and carries out what it wants.
    fn take(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            let now = self.runtime.now_ms();
            self.client.lock().handle(now, input, &mut outputs);
            for output in outputs {
                inputs.extend(self.carry_out(output));
            }
        }
    }

    /// What the machine has to be told of it.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Connect => self.dial(),
            Output::Transmit { text } => return self.transmit(text),
            Output::HangUp => self.hang_up(),
            Output::Remember { resume_token } => return Some(self.keep(resume_token)),
            Output::Emit(event) => {
                // Whoever dropped them wants none.
                let _ = self.events.try_send(event);
            }
            Output::Resolve { call, value } => self.answer(call, Ok(value)),
            Output::Reject { call, failure } => self.answer(call, Err(failure)),
        }
        None
    }

    fn dial(&mut self) {
        let (runtime, dialler) = (self.runtime.clone(), self.dialler.clone());
        let dialling = async move { dialler.dial(&*runtime).await };
        self.link = Link::Dialling(Box::pin(dialling));
    }

    /// A frame without a socket is dropped: the end of its socket follows, or came.
    fn transmit(&mut self, text: String) -> Option<Input> {
        let Link::Open(socket) = &self.link else {
            return None;
        };
        if socket.send(text) {
            return None;
        }
        self.link = Link::Off;
        Some(closed(ABNORMAL, "the server takes nothing".into()))
    }

    fn hang_up(&mut self) {
        let Link::Open(socket) = mem::replace(&mut self.link, Link::Off) else {
            return;
        };
        let (runtime, ending) = (self.runtime.clone(), self.ending.clone());
        self.runtime.spawn(async move {
            let by = runtime.now_ms().saturating_add(PARTING_MS);
            or(socket.part(), runtime.sleep_until(by)).await;
            drop(ending);
        });
    }

    fn keep(&self, resume_token: Secret) -> Input {
        if let Some(remember) = &self.remember {
            remember(resume_token.clone());
        }
        let resume_token = Some(resume_token);
        Input::Remembered { resume_token }
    }

    fn answer(&mut self, call: u64, answer: Answer) {
        if let Some(waiting) = self.calls.remove(&call) {
            answer_with(&waiting, answer);
        }
    }

    /// Whether so much waits for the application that nothing more is asked for.
    fn is_stalled(&self) -> bool {
        let most = match self.calls.is_empty() {
            true => self.max_events,
            false => self.max_events.saturating_mul(WITH_CALLS),
        };
        !self.events.is_closed() && self.events.len() >= most
    }

    /// A stalled client that lost its connection makes no other, which nobody would read.
    fn waits_to_connect(&self) -> bool {
        self.is_stalled() && matches!(self.client.lock().state(), State::Offline { .. })
    }

    fn deadline(&self) -> Option<u64> {
        if self.waits_to_connect() {
            return None;
        }
        self.client.lock().deadline()
    }

    fn is_closed(&self) -> bool {
        matches!(self.client.lock().state(), State::Closed { .. })
    }
}

impl Link {
    /// What comes of it. A stalled one still writes, and is still opened.
    async fn next(&mut self, reads: bool) -> Happened {
        match self {
            Self::Off => pending().await,
            Self::Dialling(dialling) => Happened::Dialled(dialling.await),
            Self::Open(socket) => Happened::Heard(socket.next(reads).await),
        }
    }
}

/// Whoever dropped the call wants no answer.
fn answer_with(waiting: &Sender<Answer>, answer: Answer) {
    let _ = waiting.try_send(answer);
}

const fn closed(code: u16, reason: String) -> Input {
    Input::Closed {
        code: Some(code),
        reason: Some(reason),
    }
}

fn too_many() -> Failure {
    failure(ClientError::QueueFull)
}

/// A failure about nothing but the client itself.
pub(crate) fn failure(error: ClientError) -> Failure {
    Failure {
        code: Code::Client(error),
        message: error.message().into(),
        room: None,
        client_msg_id: None,
        retry_after_ms: None,
    }
}
