//! What the binary logs, and what becomes of it when nobody reads it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::Message;

use super::{
    ANY_PORT, HELLO, PATIENCE, Running, ask, get, output, parlor, read, read_to_close, text,
};

/// In every text, name and token that is sent.
const MARKER: &str = "mArKeR";
/// What the server says of itself and of nobody else.
const OWN: [&str; 2] = ["the admin port is open", "shutting down"];
/// What it says of connections.
const OF_CONNECTIONS: [&str; 5] = ["connected", "frame", "refused", "closing", "disconnected"];

/// Everything that it logs while `talk` goes on, on every level.
fn log_of(command: &mut Command, talk: impl FnOnce(&Running)) -> String {
    let args = ["--log", "trace", "--admin", "127.0.0.1:0"];
    let proxied = ["--trust-proxy", "127.0.0.1"];
    let mut running = Running::start(command.args(args).args(proxied));
    let mut stderr = running.child.stderr.take().expect("it is piped");
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    talk(&running);
    running.signal("TERM");
    let status = running.child.wait().expect("it was not waited for yet");
    assert_eq!(status.code(), Some(0));
    let log = reading.join().expect("it only reads");
    log.expect("it prints UTF-8")
}

/// Says and does everything that leaves lines; what it sends bears the marker.
fn talk(running: &Running, hellos: &[&str]) {
    for (index, hello) in hellos.iter().enumerate() {
        let mut socket = running.connect();
        let answer = ask(&mut socket, hello);
        if answer.contains("UNAUTHORIZED") {
            read_to_close(&mut socket);
            continue;
        }
        for request in [
            json!({"type": "join", "roomId": "r", "username": format!("{MARKER}{index}")}),
            json!({"type": "message", "roomId": "r", "text": MARKER, "clientMsgId": MARKER}),
            json!({"type": "message", "roomId": "r", "text": MARKER, "clientMsgId": MARKER}),
            json!({"type": "message", "roomId": "r", "text": [MARKER]}),
            json!({"type": "get_history", "roomId": "r", "ref": MARKER}),
            json!({"type": "hello", "protocol": 1, "resumeToken": MARKER}),
            json!(MARKER),
        ] {
            let sent = socket.send(Message::text(request.to_string()));
            sent.expect("it is read");
        }
        let sent = socket.send(Message::binary(MARKER));
        sent.expect("it is read");
        read_to_close(&mut socket);
    }
    // Through a proxy, from another origin, and with things that are no handshake.
    for head in [
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         X-Forwarded-For: 192.0.2.7\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: http://evil.example\r\n\r\n",
        "GET /ws?mArKeR HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nCookie: mArKeR\r\n\r\n",
        "mArKeR\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(running.address).expect("it listens");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut first = [0; 12];
        let answered = stream.read_exact(&mut first);
        answered.expect("it answers");
    }
}

/// A line of the log: its words, and the connection and the address in it.
struct Line {
    message: String,
    conn: Option<String>,
    address: Option<String>,
    peer: Option<String>,
}

impl Line {
    fn of_json(line: &str) -> Self {
        let fields: Value = serde_json::from_str(line).expect("each line is JSON");
        let field = |name: &str| fields.get(name).and_then(Value::as_str).map(String::from);
        let time = field("timestamp").expect("it has a time");
        assert!(
            time.len() >= 20 && time.contains('T') && time.ends_with('Z'),
            "{time}"
        );
        assert!(
            field("target").is_some_and(|target| target.starts_with("parlor")),
            "{line}"
        );
        assert!(field("level").is_some(), "{line}");
        Self {
            message: field("message").expect("it has a message"),
            conn: field("conn"),
            address: field("address"),
            peer: field("peer"),
        }
    }

    fn of_text(line: &str) -> Self {
        let (head, said) = line.split_once(": ").expect("a target and what it says");
        assert!(head.contains(" parlor"), "{line}");
        let field = |name: &str| {
            let (_, value) = said.split_once(&format!(" {name}="))?;
            value.split(' ').next().map(String::from)
        };
        let end = said.find('=').map(|end| &said[..end]);
        let message = end.and_then(|words| words.rsplit_once(' ')).map(|(m, _)| m);
        Self {
            message: message.unwrap_or(said).to_string(),
            conn: field("conn"),
            address: field("address"),
            peer: field("peer"),
        }
    }
}

fn check(log: &str, parse: fn(&str) -> Line, of_connections: &[&str]) {
    assert!(!log.contains(MARKER), "{log}");
    let mut seen = BTreeSet::new();
    let mut proxied = 0;
    for text in log.lines() {
        let line = parse(text);
        let message = line.message.as_str();
        if of_connections.contains(&message) {
            assert!(line.conn.is_some(), "{text}");
            seen.insert(message.to_string());
        } else {
            let is_own = OWN.contains(&message);
            assert!(
                is_own || line.conn.is_some() || line.address.is_some(),
                "{text}"
            );
        }
        if message == "connected" {
            let address = line.address.as_deref();
            if line.peer.is_some() {
                let from_to = (address, line.peer.as_deref());
                assert_eq!(from_to, (Some("192.0.2.7"), Some("127.0.0.1")));
                proxied += 1;
            } else {
                assert_eq!(address, Some("127.0.0.1"));
            }
        }
    }
    assert_eq!(proxied, 1, "{log}");
    let expected = of_connections.iter().map(ToString::to_string);
    assert_eq!(seen, expected.collect(), "{log}");
}

#[test]
fn every_line_of_a_connection_has_it_and_none_has_what_is_said() {
    let resume = format!(
        r#"{{"type":"hello","protocol":1,"resumeToken":"{}"}}"#,
        "a".repeat(32)
    );
    for (args, parse) in [
        (&[][..], Line::of_text as fn(&str) -> Line),
        (&["--log-format", "json"], Line::of_json),
    ] {
        let mut token = String::new();
        let log = log_of(parlor(&ANY_PORT).args(args), |running| {
            let mut socket = running.connect();
            let hello: Value = super::parse(&ask(&mut socket, HELLO));
            token = hello["resumeToken"]
                .as_str()
                .expect("guests have one")
                .into();
            drop(socket);
            talk(running, &[HELLO, &resume]);
        });
        check(&log, parse, &OF_CONNECTIONS);
        assert!(!log.contains(&token), "{log}");
    }
}

#[test]
fn tokens_are_in_no_line() {
    let dir = tempfile::tempdir().expect("there is room");
    let secret = dir.path().join("secret");
    fs::write(&secret, MARKER.repeat(8)).expect("there is room");
    let good = sign(&secret);
    let hello = |token: &str| json!({"type": "hello", "protocol": 1, "token": token}).to_string();
    let hellos = [hello(&good), hello(MARKER)];
    let hellos = hellos.each_ref().map(String::as_str);
    let of_connections = [&OF_CONNECTIONS[..], &["token refused"]].concat();
    for (args, parse) in [
        (&[][..], Line::of_text as fn(&str) -> Line),
        (&["--log-format", "json"], Line::of_json),
    ] {
        let mut command = parlor(&ANY_PORT);
        command.args(args).arg("--token-secret-file").arg(&secret);
        let log = log_of(&mut command, |running| talk(running, &hellos));
        check(&log, parse, &of_connections);
        for part in good.split('.').filter(|part| part.len() >= 32) {
            assert!(!log.contains(part), "{part} is in {log}");
        }
    }
}

/// A token for somebody whose name bears the marker.
fn sign(secret: &Path) -> String {
    let mut command = parlor(&["token", "--sub", MARKER, "--ttl", "1h"]);
    let made = output(command.arg("--token-secret-file").arg(secret));
    text(&made.stdout).trim_end().to_string()
}

#[test]
fn what_was_logged_last_is_written_before_the_end() {
    let mut running = Running::start(&mut parlor(&ANY_PORT));
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0));
    assert!(
        log.lines().any(|line| line.ends_with("shutting down")),
        "{log}"
    );
}

#[test]
fn a_server_whose_log_nobody_reads_goes_on() {
    let args = ["--log", "trace", "--rate", "0", "--admin", "127.0.0.1:0"];
    let mut running = Running::start(parlor(&ANY_PORT).args(args));
    let admin = running.admin();
    let mut socket = running.connect();
    let begin = Instant::now();
    // A pipe takes 64 KiB, and the queue behind it some thousands of lines.
    while get(admin, "/metrics").contains("\nparlor_log_lines_lost_total 0\n") {
        assert!(begin.elapsed() < PATIENCE, "no line is lost");
        for _ in 0..1000 {
            let sent = socket.send(Message::text(r#"{"type":"ping"}"#));
            sent.expect("it is read");
        }
        for _ in 0..1000 {
            assert!(read(&mut socket).to_string().contains("pong"));
        }
    }
    running.signal("TERM");
    read_to_close(&mut socket);
    drop(socket);
    let status = loop {
        let status = running.child.try_wait().expect("it can be waited for");
        if let Some(status) = status {
            break status;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        thread::yield_now();
    };
    assert_eq!(status.code(), Some(0));
}

/// A line to a standard output that is full is a panic.
#[cfg(target_os = "linux")]
#[test]
fn a_panic_is_a_line_of_the_log() {
    let full = fs::File::options().write(true).open("/dev/full");
    let full = full.expect("there is one");
    let mut command = parlor(&["--listen", "127.0.0.1:0", "--log-format", "json"]);
    let ended = command.stdout(full).stderr(std::process::Stdio::piped());
    let ended = ended
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    let ended = ended.expect("the binary runs");
    assert_eq!(ended.status.code(), Some(101));
    let lines: Vec<Value> = text(&ended.stderr).lines().map(super::parse).collect();
    let panicked = lines.iter().find(|line| line["message"] == "panicked");
    let panicked = panicked.expect("it panicked");
    assert_eq!(panicked["level"], "ERROR");
    assert!(
        panicked["panic"]
            .as_str()
            .is_some_and(|panic| panic.contains("stdout"))
    );
    assert!(
        panicked["place"]
            .as_str()
            .is_some_and(|place| place.contains(".rs:"))
    );
}
