//! Clients that want to harm the others.

use std::io::ErrorKind;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Instant;

use parlor_tests::client::{Client, PATIENCE, frame, head};
use serde_json::json;

use super::both;
use crate::e2e::unlimited;

/// Talks to a server while somebody sends it `begin` and then `again` and again, as fast as they
/// can, until the server ends that connection or the talk is over.
fn talks_while_flooded_with(begin: &[u8], again: &[u8]) {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        client.join("lobby", "Alice");
        let mut hostile = Client::connect(server.door());
        hostile.write(begin);
        let flood = again.repeat((256 << 10) / again.len());
        let (underway, wait) = mpsc::channel();
        let (talking, talk) = mpsc::channel::<()>();
        let flooding = thread::spawn(move || {
            for sent in 0.. {
                if talk.try_recv() == Err(TryRecvError::Disconnected)
                    || hostile.try_write(&flood).is_err()
                {
                    return;
                }
                // More than fits between the two: the server reads it.
                if sent == 64 {
                    underway.send(()).expect("the test waits for it");
                }
            }
        });
        // An error: the server ended the connection already, which is as good.
        let _ = wait.recv();
        for seq in 1..=20 {
            client.say("lobby", "still here");
            client.expect(&json!({ "type": "message", "seq": seq }));
        }
        drop(talking);
        flooding.join().expect("it only writes");
    }
}

#[test]
fn a_message_of_endless_empty_pieces_does_not_stop_the_others() {
    let begin = frame(head::TEXT_BEGINS, b"");
    talks_while_flooded_with(&begin, &frame(head::CONTINUES, b""));
}

#[test]
fn who_goes_on_sending_when_closed_does_not_stop_the_others() {
    talks_while_flooded_with(&frame(head::BINARY, b""), &[0; 1024]);
}

#[test]
fn requests_without_end_do_not_stop_the_others() {
    let typing = br#"{"type":"typing","roomId":"x","active":true}"#;
    talks_while_flooded_with(b"", &frame(head::TEXT, typing));
}

#[test]
fn large_messages_without_end_do_not_stop_the_others() {
    talks_while_flooded_with(b"", &frame(head::TEXT, &[b' '; 65_000]));
}

#[test]
fn who_goes_on_asking_when_closed_is_ended() {
    for server in both(&unlimited()) {
        let mut hostile = Client::connect(server.door());
        hostile.send(&json!({ "type": "hello", "protocol": 2 }));
        let flood = frame(head::TEXT, br#"{"type":"ping"}"#).repeat(1000);
        assert_is_ended(&mut hostile, &flood);
    }
}

/// Sends until the server ends the connection.
pub(in crate::e2e) fn assert_is_ended(client: &mut Client, bytes: &[u8]) {
    let begun = Instant::now();
    let ended = loop {
        if let Err(error) = client.try_write(bytes) {
            break error.kind();
        }
        assert!(begun.elapsed() < PATIENCE, "the server still reads");
    };
    assert_ne!(ended, ErrorKind::WouldBlock, "it only does not read");
}
