//! Somebody who connects, enters a room, and listens.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::tungstenite::{self, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async};
use futures_lite::{FutureExt, StreamExt};
use parlor_core::{Identity, Timestamp, Username};
use serde::Deserialize;
use serde_json::{Value, json};
use smol::net::TcpStream;
use smol::{LocalExecutor, Timer};

use super::failure::Failure;
use super::run::Run;
use crate::cli::{Bench, with_key};

/// As many come at once: enough to keep a server busy, and fewer than it lets wait at its door.
const AT_ONCE: u32 = 32;
/// From the first packet of a connection until it is in its room.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a token is good for beyond the run.
const TOKEN_MS: u64 = 3_600_000;

pub(super) type Writer = WebSocketSender<TcpStream>;
type Reader = WebSocketReceiver<TcpStream>;

/// What everybody shows at the door, one for each user; nothing for a server of guests.
pub(super) struct Tokens(Option<Vec<String>>);

impl Tokens {
    pub(super) fn load(task: &Bench, now: Timestamp) -> Result<Self, Failure> {
        let Some(file) = &task.token_secret_file else {
            return Ok(Self(None));
        };
        let length = task.warmup() + task.measured();
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let expires_at = now.plus_ms(length.saturating_add(TOKEN_MS));
        let sign = |secret: &[u8]| {
            let token = |user| {
                let subject = Username::new(&name(user)).expect("letters and numbers are a name");
                let rooms = None;
                parlor_smol::sign(secret, &Identity { subject, rooms }, expires_at)
            };
            (0..task.connections).map(token).collect()
        };
        let tokens = with_key(file, sign);
        tokens
            .map(|tokens| Self(Some(tokens)))
            .map_err(|error| Failure::Token(error.to_string()))
    }

    fn of(&self, user: u32) -> Option<&str> {
        Some(&self.0.as_ref()?[user as usize])
    }
}

fn name(user: u32) -> String {
    format!("bench-{user}")
}

/// Everybody comes, and listens from then on: what each may write with, by the user's number.
pub(super) async fn arrive<'a>(
    run: &Rc<Run<'a>>,
    executor: &Rc<LocalExecutor<'a>>,
) -> Result<Vec<Writer>, Failure> {
    let door = |_| executor.spawn(come_in(run.clone(), executor.clone()));
    let doors: Vec<_> = (0..AT_ONCE).map(door).collect();
    let mut writers = Vec::new();
    for door in doors {
        writers.extend(door.await?);
    }
    writers.sort_by_key(|&(user, _)| user);
    Ok(writers.into_iter().map(|(_, writer)| writer).collect())
}

/// One after the other, until nobody is left.
async fn come_in<'a>(
    run: Rc<Run<'a>>,
    executor: Rc<LocalExecutor<'a>>,
) -> Result<Vec<(u32, Writer)>, Failure> {
    let mut writers = Vec::new();
    while let Some(user) = run.next_user() {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(Failure::Silent {
                connected: run.connected.get(),
            })
        };
        let (writer, reader) = enter(&run, user).or(late).await?;
        run.connected.set(run.connected.get() + 1);
        run.progress.inc(1);
        writers.push((user, writer));
        executor.spawn(listen(run.clone(), user, reader)).detach();
    }
    Ok(writers)
}

/// Connects, says who it is if it has to, and enters its room.
async fn enter(run: &Run<'_>, user: u32) -> Result<(Writer, Reader), Failure> {
    let addresses = &run.target.addresses;
    let address = addresses[user as usize % addresses.len()];
    let broken = |error: String| Failure::Broken {
        error,
        connected: run.connected.get(),
    };
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| broken(error.to_string()))?;
    // A message is to be sent when it is due.
    stream
        .set_nodelay(true)
        .map_err(|error| broken(error.to_string()))?;
    let (socket, _) = client_async(run.target.url.to_string(), stream)
        .await
        .map_err(|error| Failure::of_handshake(error, run.connected.get()))?;
    let (mut writer, mut reader) = socket.split();
    let mut join = json!({ "type": "join", "roomId": run.room(user), "history": 0 });
    if let Some(token) = run.tokens.of(user) {
        let hello = json!({ "type": "hello", "protocol": 1, "token": token });
        send(&mut writer, &hello)
            .await
            .map_err(|error| broken(error.to_string()))?;
    } else {
        join["username"] = name(user).into();
    }
    send(&mut writer, &join)
        .await
        .map_err(|error| broken(error.to_string()))?;
    loop {
        let Some(message) = reader.next().await else {
            return Err(broken("its connection ended".into()));
        };
        let message = message.map_err(|error| broken(error.to_string()))?;
        if read(&message)?.is_some_and(|frame| frame.kind == "joined") {
            return Ok((writer, reader));
        }
    }
}

async fn send(writer: &mut Writer, request: &Value) -> Result<(), tungstenite::Error> {
    writer.send(Message::text(request.to_string())).await
}

/// Hears everything that is said in its room, until the connection ends.
async fn listen(run: Rc<Run<'_>>, user: u32, mut reader: Reader) {
    let ended = loop {
        let message = match reader.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => break Failure::Closed(None, error.to_string()),
            None => break Failure::Closed(None, String::new()),
        };
        match read(&message) {
            Ok(Some(Frame {
                kind: "message",
                text: Some(text),
                ..
            })) => run.hear(user, &text),
            Ok(_) => {}
            Err(failure) => break failure,
        }
    };
    run.fail(ended);
}

/// What a frame says; nothing, if it is none of ours. What the server finds wrong is a failure.
fn read(message: &Message) -> Result<Option<Frame<'_>>, Failure> {
    match message {
        Message::Text(text) => match serde_json::from_str(text).ok() {
            Some(Frame {
                kind: "error",
                code,
                ..
            }) => Err(Failure::Error(code.unwrap_or_default().into_owned())),
            frame => Ok(frame),
        },
        Message::Close(frame) => {
            let code = frame.as_ref().map(|frame| frame.code.into());
            let reason = frame.as_ref().map(|frame| frame.reason.to_string());
            Err(Failure::Closed(code, reason.unwrap_or_default()))
        }
        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

/// Of a frame, what is looked at.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
}
