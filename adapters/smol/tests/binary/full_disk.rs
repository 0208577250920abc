//! A disk that takes nothing more, and then takes something again, under a server that goes on.

use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use super::{Chat, PATIENCE, Running, alone, output, parlor, read_to_close, text};

/// No file may become larger than that, and nothing may be written behind it.
fn limit(running: &Running, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    let server = Pid::from_child(&running.child);
    prlimit(Some(server), Resource::Fsize, limit).expect("it is a process of ours");
}

/// What `parlor health` says.
fn health(running: &Running) -> String {
    let mut command = parlor(&["health"]);
    let asked = output(command.env("PARLOR_LISTEN", running.address.to_string()));
    let said = [text(&asked.stdout), text(&asked.stderr)].concat();
    let answer = said.split_once("/healthz answered ");
    let (line, _) = answer.map_or((said.as_str(), ""), |(_, answer)| {
        answer.split_once(';').expect("it says what to do")
    });
    line.trim_end().into()
}

fn wait_for_health(running: &Running, expected: &str) {
    let begin = Instant::now();
    while health(running) != expected {
        assert!(begin.elapsed() < PATIENCE, "it stays {}", health(running));
    }
}

#[test]
fn a_recording_ends_with_its_disk_and_the_server_goes_on() {
    let dir = tempfile::tempdir().expect("there is room");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_parlor"));
    command.args(["--listen", "127.0.0.1:0", "--memory", "--record", "trace"]);
    alone(&mut command);
    let mut running = Running::start(command.current_dir(dir.path()));
    let mut alice = Chat::join(&running, "r", "alice", None);
    alice.say("r", "one", "1");
    limit(&running, Some(1000));
    alice.say("r", "two", "2");
    let line = running.log_line("the recording ends here");
    assert!(line.contains("trace"), "{line}");
    limit(&running, None);
    for number in 3..10 {
        let said = alice.say("r", "text", &number.to_string());
        assert_eq!(said["seq"], number);
    }
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("the recording ends"), "{log}");
    // What was written before is good.
    let replayed = output(parlor(&["replay", "trace", "--check"]).current_dir(dir.path()));
    assert_eq!(
        replayed.status.code(),
        Some(0),
        "{}",
        text(&replayed.stderr)
    );
}

#[test]
fn a_full_disk_loses_nothing_and_is_survived() {
    const HEALTHY: &str = "ok";
    const ILL: &str = "503: messages cannot be stored";
    let dir = tempfile::tempdir().expect("there is room");
    // Without this the system ends whoever writes too much.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_parlor"));
    command.args(["--listen", "127.0.0.1:0", "--rate", "0"]);
    alone(&mut command);
    let mut running = Running::start(command.current_dir(dir.path()));

    let mut alice = Chat::join(&running, "r", "alice", None);
    for number in 1..=20 {
        alice.say("r", &format!("text {number}"), &format!("id {number}"));
    }
    let mut bob = Chat::join(&running, "r", "bob", None);
    assert_eq!(bob.replay.len(), 20);
    assert_eq!(health(&running), HEALTHY);

    for seq in 21..23 {
        limit(&running, Some(1000));
        let say = json!({"type": "message", "roomId": "r", "text": "kept?", "clientMsgId": seq.to_string()});
        alice.send(&say);
        for chat in [&mut alice, &mut bob] {
            let (code, messages) = read_to_close(&mut chat.socket);
            assert_eq!(u16::from(code), 1012);
            assert!(!messages.iter().any(|message| message.contains("kept?")));
        }
        assert_eq!(health(&running), ILL);
        let mut carol = running.connect();
        let join = r#"{"type":"join","roomId":"r","username":"carol"}"#;
        let refused = super::ask(&mut carol, join);
        assert!(refused.contains("STORE_UNAVAILABLE"), "{refused}");

        limit(&running, None);
        wait_for_health(&running, HEALTHY);
        let epoch = alice.epoch;
        let since = Some((&*epoch, seq - 1));
        alice = Chat::join(&running, "r", "alice", since);
        assert_eq!(
            (&alice.joined["recovered"], &alice.joined["seq"]),
            (&json!(true), &json!(seq - 1))
        );
        let said = alice.ask(&say);
        assert_eq!(
            (&said["seq"], &said["duplicate"]),
            (&json!(seq), &json!(null))
        );
        bob = Chat::join(&running, "r", "bob", since);
        assert_eq!(
            (&bob.joined["recovered"], bob.replay.len()),
            (&json!(true), 1)
        );
        alice.ask(&json!({"type": "ping"}));
    }

    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(said("messages cannot be stored"), 2, "{log}");
    assert!(said("look at the disk") >= 2, "{log}");
    assert_eq!(said("the store works again"), 2, "{log}");
    assert!(!log.contains("kept?"), "{log}");
}
