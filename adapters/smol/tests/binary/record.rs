//! What a server records under load from real clients happens again, wherever it is replayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use parlor_core::{ConnId, Event, Input, Limits, ResumeToken, Timestamp};
use parlor_hub::CrashReport;
use serde_json::{Value, json};

use super::{Chat, HELLO, Running, ask, durable, output, parlor, text};

const CLIENTS: usize = 6;
/// So many that a room has more than its tail.
const MESSAGES: usize = 180;
const SECRET: &str = "nobody but us";

/// A server in `dir` that records to `trace`.
fn recording(dir: &Path, more: &[&str]) -> Command {
    let mut args = vec![
        "--listen",
        "127.0.0.1:0",
        "--rate",
        "0",
        "--record",
        "trace",
    ];
    args.extend(more);
    durable(dir, &args)
}

/// Many clients talk in three rooms, retry, come back, look around, and leave; a token that one of
/// them got.
fn talk(running: &Running) -> String {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let room = format!("room {}", client % 3);
                let mut chat = Chat::join(running, &room, &format!("client {client}"), None);
                for number in 0..MESSAGES {
                    let say = |text: &str| {
                        let id = format!("id {number}");
                        json!({"type": "message", "roomId": room, "text": text, "clientMsgId": id})
                    };
                    let said = format!("{SECRET} {number}");
                    chat.ask_all(&say(&said), "message");
                    if number % 10 == 3 {
                        chat.send(&say(&said));
                        chat.send(&say(&format!("{SECRET} {}", number + 1)));
                    }
                    if number % 50 == 7 {
                        chat.send(&json!({"type": "get_history", "roomId": room, "limit": 100}));
                        chat.send(&json!({"type": "list_users", "roomId": room}));
                        chat.send(&json!({"type": "leave", "roomId": room}));
                        chat.send(&json!({"type": "join", "roomId": room}));
                    }
                }
                chat.ask_all(&json!({"type": "ping"}), "pong");
            });
        }
    });
    let mut late = Chat::join(running, "room 0", "late", None);
    let page = json!({"type": "get_history", "roomId": "room 0", "before": 50});
    late.ask_all(&page, "history");
    let mut guest = running.connect();
    let hello: Value = super::parse(&ask(&mut guest, HELLO));
    let token = hello["resumeToken"]
        .as_str()
        .expect("it gets one")
        .to_string();
    ask(
        &mut guest,
        r#"{"type":"join","roomId":"room 0","username":"guest"}"#,
    );
    let mut again = running.connect();
    let hello = json!({"type": "hello", "protocol": 1, "resumeToken": token});
    let hello = ask(&mut again, &hello.to_string());
    assert!(hello.contains(r#""username":"guest""#), "{hello}");
    token
}

fn replay(dir: &Path, file: &str, args: &[&str]) -> Output {
    let mut command = parlor(&["replay", file]);
    output(command.args(args).current_dir(dir))
}

/// What it prints, when all is well.
fn replayed(dir: &Path, file: &str, args: &[&str]) -> String {
    let output = replay(dir, file, args);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    text(&output.stdout).into()
}

/// What it says when it is not.
fn refused(dir: &Path, file: &str, args: &[&str]) -> String {
    let output = replay(dir, file, args);
    let said = text(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// The numbers of the first and the last event of a recording that is as it was.
fn checked(dir: &Path, file: &str) -> (u64, u64) {
    let said = replayed(dir, file, &["--check"]);
    let numbers: Vec<u64> = said
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[first, last] = &numbers[..] else {
        panic!("{said}");
    };
    (first, last)
}

fn file(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).expect("it is there, and text")
}

/// Stops a server that has nothing to warn of.
fn stop(mut running: Running) {
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(" WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn what_is_recorded_under_load_happens_again() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let running = Running::start(&mut recording(dir, &[]));
    let token = talk(&running);
    stop(running);
    let (first, last) = checked(dir, "trace");
    assert_eq!(first, 1);
    assert!(last > (CLIENTS * MESSAGES) as u64);
    let trace = file(dir, "trace");
    assert!(!trace.contains("nobody") && !trace.contains(&token));
    for code in ["DUPLICATE_ID", "\"duplicate\":true"] {
        // Both are effects, which are not in the file, but in the replay.
        assert!(!trace.contains(code));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = fs::metadata(dir.join("trace")).expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    }

    let shown = replayed(dir, "trace", &[]);
    for part in [
        "# a state begins before event 1: the server started",
        "DUPLICATE_ID",
        "duplicate=true",
        "Message client_msg_id=\"id 0\" room=\"room 0\" text=\"xxxxxxxxxxxxxxx\"",
        "do Append",
        "PageFetched",
        "RoomLoaded",
        "Shutdown",
        "-> c",
    ] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(!shown.contains("! event"), "nothing differs");
    let events = |shown: &str| {
        let numbered = shown
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        numbered.count() as u64
    };
    assert_eq!(events(&shown), last);
    assert_eq!(events(&replayed(dir, "trace", &["--until", "10"])), 10);

    let room = replayed(dir, "trace", &["--room", "room 1"]);
    assert!(events(&room) > 200 && events(&room) < last / 2);
    // Only their own departure has to do with several rooms.
    let others = |line: &&str| line.contains("room 2") && line.contains("Append");
    assert_eq!(room.lines().find(others), None);
    let conn = replayed(dir, "trace", &["--conn", "c1", "--until", "200"]);
    assert!(conn.lines().any(|line| line.contains(" c1 Connected")));
    assert!(events(&conn) > 10 && events(&conn) < 200);

    let state = replayed(dir, "trace", &["--state"]);
    let state: Value = serde_json::from_str(&state).expect("it is JSON");
    assert_eq!(state["shutting_down"], true);
    let before = replayed(
        dir,
        "trace",
        &["--state", "--until", &(last / 2).to_string()],
    );
    assert!(before.contains("room 0") && before.contains("client 0"));
    assert!(!before.contains("nobody"));
}

#[test]
fn two_files_are_kept_and_each_can_be_replayed() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let args = ["--record-bytes", "20000"];
    let running = Running::start(&mut recording(dir, &args));
    talk(&running);
    stop(running);
    let ((first, middle), (next, last)) = (checked(dir, "trace.1"), checked(dir, "trace"));
    assert!(first > 1 && middle > first, "{first} {middle}");
    assert_eq!(middle + 1, next);
    let shown = replayed(dir, "trace", &[]);
    assert!(shown.contains("the file before this was full"), "{shown}");

    // The next server keeps the last file of this one.
    let running = Running::start(&mut recording(dir, &[]));
    stop(running);
    assert_eq!(checked(dir, "trace.1"), (next, last));
    let said = refused(dir, "trace.1", &["--until", "1"]);
    assert_eq!(said, format!("parlor: its first event is {next}\n"));
}

#[test]
fn texts_are_recorded_if_they_are_asked_for_and_tokens_never() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let running = Running::start(&mut recording(dir, &["--record-texts"]));
    let token = talk(&running);
    stop(running);
    checked(dir, "trace");
    let trace = file(dir, "trace");
    assert!(trace.contains(SECRET) && !trace.contains(&token));
}

#[test]
fn what_a_killed_server_recorded_is_replayed_up_to_there() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let mut running = Running::start(&mut recording(dir, &[]));
    talk(&running);
    running.child.kill().expect("it runs");
    running.end();
    let trace = file(dir, "trace");
    // The system has at least what was written long ago.
    assert!(trace.lines().count() > 100);
    let whole = &trace[..=trace.rfind('\n').expect("it has lines")];
    fs::write(dir.join("whole"), whole).expect("there is room");
    let (first, last) = checked(dir, "whole");
    assert_eq!(first, 1);
    let before = whole.trim_end().rfind('\n').expect("it has lines");
    for cut in [before + 2, whole.len() - 10] {
        fs::write(dir.join("cut"), &whole[..cut]).expect("there is room");
        let output = replay(dir, "cut", &["--check"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("is cut short"), "{said}");
        let checked = format!("events 1 to {} have", last - 1);
        assert!(text(&output.stdout).starts_with(&checked), "{checked}");
    }
    // Only its end is missing, so nothing is.
    fs::write(dir.join("cut"), whole.trim_end()).expect("there is room");
    assert_eq!(checked(dir, "cut"), (first, last));
}

#[test]
fn a_trace_that_is_not_right_is_told_from_one_that_is() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let running = Running::start(&mut recording(dir, &[]));
    let mut alice = Chat::join(&running, "r", "alice", None);
    for number in 0..5 {
        alice.say("r", "hello", &number.to_string());
    }
    stop(running);
    let trace = file(dir, "trace");
    let (_, last) = checked(dir, "trace");
    let change = |from: &str, to: &str| {
        assert!(trace.contains(from), "{from} is not in {trace}");
        fs::write(dir.join("other"), trace.replacen(from, to, 1)).expect("there is room");
    };

    // Other effects.
    change(r#""client_msg_id":"3""#, r#""client_msg_id":"2""#);
    let said = refused(dir, "other", &["--check"]);
    assert!(
        said.contains("has other effects than it was recorded with"),
        "{said}"
    );
    let shown = replayed(dir, "other", &[]);
    let differing = shown
        .lines()
        .filter(|line| line.trim_start().starts_with('!'));
    assert!(differing.count() >= 1, "{shown}");

    // Another version, and another format.
    let version = env!("CARGO_PKG_VERSION");
    change(&format!("parlor/{version}"), "parlor/0.0.9");
    for args in [&["--check"][..], &[]] {
        let output = replay(dir, "other", args);
        assert_eq!(output.status.code(), Some(0));
        let said = text(&output.stderr);
        let expected = format!(
            "parlor: this was recorded by parlor/0.0.9, and is replayed by parlor/{version}: \
             effects may differ\n"
        );
        assert_eq!(said, expected);
    }
    change(r#"{"trace":1"#, r#"{"trace":2"#);
    let said = refused(dir, "other", &[]);
    assert!(
        said.contains("format 2") && said.contains("reads format 1"),
        "{said}"
    );

    // A line that is none, one that is missing, and a state that cannot be.
    let middle = trace.lines().nth(5).expect("it has lines");
    for (bad, expected) in [
        (
            "{\"event\":nonsense}\n",
            "line 6 is no line of a trace: expected",
        ),
        (
            "",
            "line 6 is no line of a trace: event 5 comes where 4 should",
        ),
        ("{\"\u{9b}31m\":1}\n", "unknown variant `\\u009b31m`"),
    ] {
        change(&format!("{middle}\n"), bad);
        for args in [&["--check"][..], &["--state"], &[]] {
            let said = refused(dir, "other", args);
            assert!(said.contains(expected), "{said}");
        }
    }
    change(r#""members":0"#, r#""members":7"#);
    let said = refused(dir, "other", &[]);
    assert!(said.contains("the state contradicts itself"), "{said}");

    // Something else.
    fs::write(dir.join("other"), "precious").expect("there is room");
    let said = refused(dir, "other", &[]);
    assert_eq!(
        said,
        "parlor: other is no recording and no crash report of parlor\n"
    );
    let said = refused(dir, "nothing", &[]);
    assert!(
        said.starts_with("parlor: nothing cannot be read: "),
        "{said}"
    );
    let said = refused(dir, "trace", &["--state", "--until", "0"]);
    assert_eq!(said, "parlor: its first event is 1\n");
    assert!(last > 5);
}

#[test]
fn a_crash_report_is_replayed_if_its_state_is_known() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    let at = Timestamp(1_700_000_000_000);
    let input = Input::Connected {
        conn: ConnId(3),
        resume_token: ResumeToken::from_random(1),
    };
    let report = |complete| CrashReport {
        at,
        panic: "oops \u{1b}[2J".into(),
        conn: Some(ConnId(3)),
        limits: Limits::default(),
        number: 7,
        events: vec![
            Event {
                at,
                input: input.clone(),
            },
            Event {
                at,
                input: Input::Shutdown,
            },
        ],
        complete,
        recorded: true,
    };
    let write = |complete| {
        let mut bytes = Vec::new();
        let written = report(complete).write(Some("/var/lib/parlor/trace"), &mut bytes);
        written.expect("memory takes it");
        fs::write(dir.join("crash"), bytes).expect("there is room");
    };
    write(true);
    let shown = replayed(dir, "crash", &[]);
    for part in [
        "the hub panicked behind event 7: \"oops \\u001b[2J\", by c3",
        "parlor replay \"/var/lib/parlor/trace\" --until 7",
        "6 2023-11-14T22:13:20.000Z c3 Connected",
        "-> c3: error code=\"SERVER_SHUTDOWN\"",
        "do c3 Close",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(replayed(dir, "crash", &["--state"]).contains("shutting_down"));
    write(false);
    let shown = replayed(dir, "crash", &[]);
    assert!(
        shown.contains("is not known, so events are not applied"),
        "{shown}"
    );
    assert!(shown.contains("7 2023") && !shown.contains("->"), "{shown}");
    assert!(refused(dir, "crash", &["--state"]).contains("the state there is not known"));
    assert!(refused(dir, "crash", &["--check"]).contains("has no digests"));
}

#[test]
fn a_file_that_cannot_be_recorded_to_is_named() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path();
    fs::write(dir.join("trace"), "precious").expect("there is room");
    let refused = output(&mut recording(dir, &[]));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot record to trace") && said.contains("--record"),
        "{said}"
    );
    assert_eq!(file(dir, "trace"), "precious");

    let missing = PathBuf::from("missing").join("trace");
    let missing = missing.display().to_string();
    let refused = output(&mut parlor(&[
        "--listen",
        "127.0.0.1:0",
        "--record",
        &missing,
    ]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&missing));
}
