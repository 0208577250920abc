//! A chat in a terminal: `cargo run -p parlor-client-async --features smol --example say -- ws://127.0.0.1:8080/ws Alice general`
//! says each line of its input in the room, and prints what is said there, until the input ends.

use std::error::Error;
use std::io::{self, Read, Write};

use parlor_client_async::{Event, Events, Options, State};
use smol::Unblock;
use smol::io::{AsyncBufReadExt as _, BufReader};
use smol::stream::StreamExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let [url, name, room] = [(); 3].map(|()| arguments.next());
    let (Some(url), Some(name), Some(room)) = (url, name, room) else {
        return Err("usage: say URL NAME ROOM".into());
    };
    smol::block_on(chat(&url, &name, &room, io::stdin(), io::stdout()))
}

/// Says each line of `input`, and prints what is said.
pub(crate) async fn chat(
    url: &str,
    name: &str,
    room: &str,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let (chat, events) = parlor_client_async::smol::connect(url, Options::guest(name))?;
    let printing = smol::spawn(print(events, output));
    chat.join(room).await?;
    let mut lines = BufReader::new(Unblock::new(input)).lines();
    while let Some(line) = lines.next().await {
        chat.send(room, line?).await?;
    }
    chat.close().await;
    Ok(printing.await?)
}

async fn print(mut events: Events, mut output: impl Write) -> io::Result<()> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(said) => writeln!(output, "{}: {}", said.from, said.text)?,
            Event::Gap(_) => writeln!(output, "(something is missing here)")?,
            Event::State(State::Offline { reason, .. }) => {
                writeln!(output, "(offline: {})", reason.unwrap_or_default())?;
            }
            Event::State(_)
            | Event::Joined(_)
            | Event::Left(_)
            | Event::Presence(_)
            | Event::Typing(_)
            | Event::Error(_) => {}
        }
    }
    Ok(())
}
