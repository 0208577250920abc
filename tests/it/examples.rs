//! The examples of the core, each as the module that it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write, pipe};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../../core/examples/by_hand.rs"]
mod by_hand;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../../core/examples/script.rs"]
mod script;

/// A guard against hanging, not a wait.
const AT_MOST: Duration = Duration::from_secs(60);

/// Starts the chat by hand; the address that it prints.
fn start() -> String {
    let (printed, out) = pipe().unwrap();
    thread::spawn(|| by_hand::serve("127.0.0.1:0", out).unwrap());
    let mut line = String::new();
    BufReader::new(printed).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on ");
    address.unwrap().into()
}

struct Guest(BufReader<TcpStream>);

impl Guest {
    fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(AT_MOST)).unwrap();
        Self(BufReader::new(socket))
    }

    /// Connects and joins `tea`.
    fn join(address: &str, join: &Value) -> (Self, Value) {
        let mut guest = Self::connect(address);
        let mut frame = json!({ "type": "join", "roomId": "tea" });
        frame
            .as_object_mut()
            .unwrap()
            .extend(join.as_object().unwrap().clone());
        guest.say(&frame);
        let joined = guest.hears("joined");
        (guest, joined)
    }

    fn write(&self, bytes: &[u8]) {
        self.0.get_ref().write_all(bytes).unwrap();
    }

    fn say(&self, frame: &Value) {
        self.write(format!("{frame}\n").as_bytes());
    }

    fn said(&self, text: &str) {
        self.say(&json!({ "type": "message", "roomId": "tea", "text": text }));
    }

    /// What comes next, of this type.
    fn hears(&mut self, kind: &str) -> Value {
        let message = self.hears_until(|_| true);
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    fn hears_until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let message = serde_json::from_str(&line).unwrap();
            if is_it(&message) {
                return message;
            }
        }
    }

    /// The texts of the next messages.
    fn texts(&mut self, count: u64) -> Vec<String> {
        let text = |_| self.hears("message")["text"].as_str().unwrap().into();
        (0..count).map(text).collect()
    }

    /// What comes before the server closes the connection.
    fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest,
            // It had not read everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("{error}"),
        }
    }

    fn says_no_more(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

#[test]
fn by_hand_two_people_talk_and_one_comes_back_without_having_missed_anything() {
    let address = start();
    let (mut ann, joined) = Guest::join(&address, &json!({ "username": "Ann" }));
    assert_eq!(joined["users"], json!(["Ann"]));
    let (mut bob, _) = Guest::join(&address, &json!({ "username": "Bob" }));
    assert_eq!(ann.hears("user_joined")["username"], "Bob");

    ann.said("Milk?");
    assert_eq!(ann.texts(1), ["Milk?"]);
    let seen = bob.hears("message");
    assert_eq!((&seen["from"], &seen["seq"]), (&json!("Ann"), &json!(1)));
    drop(bob);
    assert_eq!(ann.hears("user_left")["reason"], "disconnected");
    ann.said("Or sugar?");
    assert_eq!(ann.texts(1), ["Or sugar?"]);

    let since = json!({ "epoch": joined["epoch"], "seq": seen["seq"] });
    let back = json!({ "username": "Bob", "since": since });
    let (mut bob, joined) = Guest::join(&address, &back);
    assert_eq!(
        (&joined["recovered"], &joined["history"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(bob.texts(1), ["Or sugar?"]);
}

#[test]
fn by_hand_history_goes_back_behind_what_the_state_keeps() {
    let address = start();
    let (mut ann, _) = Guest::join(&address, &json!({ "username": "Ann" }));
    // Flood control lets each connection say twenty things at once.
    let speakers = (0..17).map(|number| {
        let (speaker, _) = Guest::join(
            &address,
            &json!({ "username": format!("S{number}"), "history": 0 }),
        );
        assert_eq!(ann.hears("user_joined")["username"], format!("S{number}"));
        for text in number * 20..(number + 1) * 20 {
            speaker.said(&text.to_string());
        }
        assert_eq!(ann.texts(20).len(), 20);
        speaker
    });
    let speakers: Vec<Guest> = speakers.collect();
    ann.say(&json!({ "type": "get_history", "roomId": "tea", "before": 21, "limit": 20 }));
    let told = ann.texts(20);
    assert_eq!(
        told,
        (0..20).map(|text| text.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(ann.hears("history")["hasMore"], false);
    ann.say(&json!({ "type": "get_history", "roomId": "tea", "before": 22, "limit": 20 }));
    assert_eq!(ann.texts(20).first().unwrap(), "1");
    assert_eq!(ann.hears("history")["hasMore"], true);
    drop(speakers);
}

#[test]
fn by_hand_a_bad_line_is_refused_and_what_was_asked_before_the_end_is_answered() {
    let address = start();
    let mut ann = Guest::connect(&address);
    ann.write(b"hello?\n{\"type\":\"ping\",\"ref\":\"p\"}\n");
    ann.says_no_more();
    assert_eq!(ann.hears("error")["code"], "INVALID_JSON");
    assert_eq!(ann.hears("pong")["ref"], "p");
    assert!(ann.rest().is_empty());
}

#[test]
fn by_hand_whoever_the_state_closes_is_told_why() {
    let mut ann = Guest::connect(&start());
    ann.say(&json!({ "type": "hello", "protocol": 2 }));
    assert_eq!(ann.hears("error")["code"], "UNSUPPORTED_PROTOCOL");
    assert!(ann.rest().is_empty());
}

#[test]
fn by_hand_a_line_without_an_end_ends_the_connection() {
    let address = start();
    for line in [vec![b'x'; 64 << 10], b"\xff\n".to_vec()] {
        let ann = Guest::connect(&address);
        ann.write(&line);
        assert!(ann.rest().is_empty());
    }
    // An error would have been an answer to it, and the others do not notice.
    let (_ann, _) = Guest::join(&address, &json!({ "username": "Ann" }));
}

#[test]
fn by_hand_whoever_reads_nothing_is_cut_and_the_others_talk_on() {
    let address = start();
    let (mut ann, _) = Guest::join(&address, &json!({ "username": "Ann" }));
    let (slow, _) = Guest::join(&address, &json!({ "username": "Slow" }));
    // What the system holds for a socket is megabytes, and behind that its outbox fills.
    let text = "\u{1}".repeat(2000);
    for number in 0.. {
        assert!(number < 200, "nobody was cut");
        let name = format!("S{number}");
        let (speaker, _) = Guest::join(&address, &json!({ "username": name, "history": 0 }));
        for _ in 0..20 {
            speaker.said(&text);
        }
        speaker.says_no_more();
        let left = ann.hears_until(|message| message["type"] == "user_left");
        if left["username"] == "Slow" {
            assert_eq!(left["reason"], "slow");
            break;
        }
        assert_eq!(left["username"], name);
    }
    ann.said("still here");
    ann.hears_until(|message| message["text"] == "still here");
    slow.rest();
}

#[test]
fn script_a_conversation_leads_to_its_transcript() {
    let script = include_str!("../../core/examples/script.rs");
    let example = script.lines().filter_map(|line| line.strip_prefix("//! "));
    let example = example.skip_while(|line| *line != "```text").skip(1);
    let example: Vec<&str> = example.take_while(|line| *line != "```").collect();
    insta::assert_snapshot!(script::transcribe(&example.join("\n")).unwrap());
}
