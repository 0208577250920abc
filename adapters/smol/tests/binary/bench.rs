//! `parlor bench`: what it finds out about a server, and whom it spares. A run takes one second, which is
//! the shortest that it measures; nothing here looks at how fast anything is.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::{ANY_PORT, Running, output, parlor, parse, text};

const SHORT: [&str; 4] = ["--seconds", "1", "--warmup", "0"];

/// Nobody said it.
const MADE_UP: &str = r#"{"type":"message","text":"ff ff ff "}"#;

fn bench(url: &str, args: &[&str]) -> Command {
    let mut command = parlor(&["bench", "--url", url]);
    command.args(SHORT).args(args);
    command
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/ws")
}

/// Of a run that was good, as JSON.
fn good(run: &Output) -> Value {
    let said = text(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{said}{}", text(&run.stderr));
    let report = parse(said);
    assert_eq!(report["verdict"], "ok", "{report}");
    assert_eq!(
        report["deliveries"], report["deliveriesExpected"],
        "{report}"
    );
    report
}

/// The one line of a run that did not come to a report.
fn refused(run: &Output) -> &str {
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert_eq!(text(&run.stdout), "");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_server_as_it_starts_delivers_everything() {
    let server = Running::start(&mut parlor(&ANY_PORT));
    let report = good(&output(&mut bench(&url(server.address), &["--json"])));
    assert_eq!(report["loop"], "open");
    assert_eq!(
        (&report["connections"], &report["senders"]),
        (&json!(50), &json!(5))
    );
    // Ten users hear each message.
    let messages = report["messages"].as_u64().unwrap();
    assert_eq!(report["deliveries"], messages * 10);
    assert_eq!(
        messages, 25,
        "as many as are due in a second, however late they are said"
    );
}

#[test]
fn a_closed_loop_shows_what_a_server_without_limits_can_do() {
    let server = Running::start(parlor(&ANY_PORT).args(["--rate", "0"]));
    let shape = [
        "--connections",
        "7",
        "--rooms",
        "3",
        "--senders",
        "2",
        "--window",
        "3",
    ];
    let report = good(&output(bench(&url(server.address), &shape).arg("--json")));
    assert_eq!(
        (&report["loop"], &report["window"]),
        (&json!("closed"), &json!(3))
    );
    assert_eq!(
        (&report["rooms"], &report["senders"]),
        (&json!(3), &json!(6))
    );
    // Each of the six said something more when something came back.
    assert!(report["messages"].as_u64().unwrap() > 6 * 3, "{report}");
}

#[test]
fn a_server_tells_what_the_load_costs_it() {
    let mut server = Running::start(parlor(&ANY_PORT).args(["--admin", "127.0.0.1:0"]));
    let admin = server.admin().to_string();
    let mut run = bench(&url(server.address), &["--admin", &admin, "--json"]);
    let report = good(&output(&mut run));
    for name in [
        "serverCpuUsPerDelivery",
        "serverBytesPerConnection",
        "benchCpuCores",
    ] {
        assert!(report[name].is_number(), "{name}: {report}");
    }
    let nobody = url(server.address).replace("ws://", "").replace("/ws", "");
    let run = output(&mut bench(&url(server.address), &["--admin", &nobody]));
    assert!(refused(&run).contains("give with --admin what the server has as --admin"));
}

#[test]
fn people_are_told_in_words() {
    let server = Running::start(&mut parlor(&ANY_PORT));
    let run = output(&mut bench(
        &url(server.address),
        &["--connections", "2", "--rooms", "2"],
    ));
    let said = text(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{said}");
    for word in [
        "2 users in 2 rooms",
        "open loop, 10 messages/s",
        "latency 99.9 %",
        "ok: all 10 ",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_server_with_tokens_lets_it_in() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret of thirty-two bytes, or more").unwrap();
    let secret = ["--token-secret-file", secret.to_str().unwrap()];
    let server = Running::start(parlor(&ANY_PORT).args(secret));
    let url = url(server.address);
    good(&output(bench(&url, &["--json"]).args(secret)));
    let said = output(&mut bench(&url, &[]));
    assert!(refused(&said).contains("NOT_IDENTIFIED; give the --token-secret-file"));
}

#[test]
fn limits_that_are_in_the_way_are_named() {
    let server = Running::start(&mut parlor(&ANY_PORT));
    let url = url(server.address);
    let run = output(&mut bench(&url, &["--connections", "65"]));
    assert!(refused(&run).contains("--max-connections-per-address 0"));
    let run = output(&mut bench(&url, &["--window", "32"]));
    let said = text(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(
        said.contains("RATE_LIMITED; start it with --rate 0"),
        "{said}"
    );
}

#[test]
fn nobody_else_is_put_under_load() {
    // Nobody has that address (RFC 5737), and nothing is sent there.
    let run = output(&mut bench("ws://192.0.2.1/ws", &[]));
    assert!(refused(&run).contains("--yes-load-this-server"));
    let run = output(&mut bench("wss://127.0.0.1/ws", &[]));
    assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
}

/// A server of two users, of whom one talks and hears what it says; the other one hears what
/// `deliver` makes of each two messages.
fn strange_server(deliver: fn([Message; 2]) -> Vec<Message>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut talker = enter(&listener);
        let mut listener = enter(&listener);
        if talker.0 != "bench-0" {
            std::mem::swap(&mut talker, &mut listener);
        }
        let (mut talker, mut listener) = (talker.1, listener.1);
        let mut hear = || {
            let message = talker.read().ok().filter(Message::is_text)?;
            talker.send(message.clone()).ok()?;
            Some(message)
        };
        while let Some(two) = hear().and_then(|one| Some([one, hear()?])) {
            for message in deliver(two) {
                let _ = listener.send(message);
            }
        }
    });
    address
}

/// Who comes next, by name.
fn enter(listener: &TcpListener) -> (String, WebSocket<TcpStream>) {
    let (stream, _) = listener.accept().expect("somebody comes");
    let mut socket = tungstenite::accept(stream).expect("it is a WebSocket");
    let join = parse(&socket.read().expect("it joins").to_string());
    let joined = Message::text(r#"{"type":"joined"}"#);
    socket.send(joined).expect("it is read");
    (
        join["username"].as_str().expect("it has a name").into(),
        socket,
    )
}

/// What is told of a server that is not good.
fn bad(deliver: fn([Message; 2]) -> Vec<Message>) -> Value {
    let url = url(strange_server(deliver));
    // An even number of messages.
    let shape = [
        "--connections",
        "2",
        "--rooms",
        "1",
        "--rate",
        "50",
        "--json",
    ];
    let run = output(&mut bench(&url, &shape));
    let report = parse(text(&run.stdout));
    assert_eq!(run.status.code(), Some(1), "{report}");
    assert_eq!(report["verdict"], "bad", "{report}");
    report
}

fn counts(report: &Value) -> [bool; 4] {
    ["missing", "duplicates", "strange", "otherOrder"].map(|name| report[name] != 0)
}

#[test]
fn what_a_server_loses_is_noticed() {
    let report = bad(|[one, _]| vec![one]);
    assert_eq!(counts(&report), [true, false, false, false], "{report}");
}

#[test]
fn what_a_server_says_twice_is_noticed() {
    let report = bad(|[one, two]| vec![one.clone(), two, one]);
    assert_eq!(counts(&report), [false, true, false, false], "{report}");
}

#[test]
fn what_a_server_makes_up_is_noticed() {
    let report = bad(|[one, two]| vec![one, Message::text(MADE_UP), two]);
    assert_eq!(counts(&report), [false, false, true, false], "{report}");
}

#[test]
fn another_order_is_noticed() {
    let report = bad(|[one, two]| vec![two, one]);
    assert_eq!(counts(&report), [false, false, false, true], "{report}");
}
