//! A chat in a terminal: `cargo run -p parlor-client-async --features smol --example say -- ws://127.0.0.1:8080/ws Alice general`
//! says each line of its input in the room, and prints what is said there, until the input ends.

#![allow(clippy::print_stdout, reason = "it is for a terminal")]

use std::error::Error;
use std::io;

use parlor_client_async::{Chat, Event, Events, Options, State};
use smol::Unblock;
use smol::io::{AsyncBufReadExt as _, BufReader};
use smol::stream::StreamExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let [url, name, room] = [(); 3].map(|()| arguments.next());
    let (Some(url), Some(name), Some(room)) = (url, name, room) else {
        return Err("usage: say URL NAME ROOM".into());
    };
    smol::block_on(async {
        let (chat, events) = parlor_client_async::smol::connect(&url, Options::guest(name))?;
        let printing = smol::spawn(print(events));
        chat.join(&room).await?;
        say(&chat, &room).await?;
        chat.close().await;
        printing.await;
        Ok(())
    })
}

async fn say(chat: &Chat, room: &str) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(Unblock::new(io::stdin())).lines();
    while let Some(line) = lines.next().await {
        chat.send(room, line?).await?;
    }
    Ok(())
}

async fn print(mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(said) => println!("{}: {}", said.from, said.text),
            Event::Gap(_) => println!("(something is missing here)"),
            Event::State(State::Offline { reason, .. }) => {
                println!("(offline: {})", reason.unwrap_or_default());
            }
            Event::State(_)
            | Event::Joined(_)
            | Event::Left(_)
            | Event::Presence(_)
            | Event::Typing(_)
            | Event::Error(_) => {}
        }
    }
}
