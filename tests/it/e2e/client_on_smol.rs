//! The Rust client on smol.

#![allow(clippy::duplicate_mod, reason = "each runtime has the scenarios")]

use std::future::Future;
use std::io::{Read as _, pipe};

use parlor_client_async::{Chat, Events, Options};
use parlor_tests::client::{Client, PATIENCE};
use smol::Timer;
use smol::future::or;

use super::server;

#[path = "scenarios/client.rs"]
mod client;

#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../../../adapters/client/examples/say.rs"]
mod say;

#[test]
fn the_example_says_its_lines_and_prints_what_is_said() {
    let server = server();
    let mut bob = Client::connect(server.door());
    bob.join("general", "Bob");
    bob.say("general", "Who is there?");
    let (mut printed, output) = pipe().expect("there are files");
    let url = format!("ws://{}/ws", server.address());
    let input = "Me.\nAnd who are you?\n".as_bytes();
    let chatted = run(say::chat(&url, "Alice", "general", input, output));
    chatted.expect("the server is there");
    let mut all = String::new();
    printed.read_to_string(&mut all).expect("it is text");
    assert_eq!(
        all,
        "Bob: Who is there?\nAlice: Me.\nAlice: And who are you?\n"
    );
}

fn connect(url: &str, options: Options) -> (Chat, Events) {
    parlor_client_async::smol::connect(url, options).expect("it is a good URL")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let guard = async {
        Timer::after(PATIENCE).await;
        panic!("what is awaited never comes")
    };
    smol::block_on(or(future, guard))
}
