//! Who may come in, as operators say it and read it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{ANY_PORT, PATIENCE, Running, parlor};

/// The answer to a handshake with these headers, and the connection.
fn knock(running: &Running, headers: &str) -> (String, TcpStream) {
    ask(
        running,
        &format!(
            "GET /ws HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        ),
    )
}

fn ask(running: &Running, request: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(running.address).expect("it listens");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("it is a good time-out");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("it is text");
    (head, stream)
}

fn status(answer: &(String, TcpStream)) -> &str {
    answer.0.split(' ').nth(1).expect("a status line")
}

#[test]
fn origins_and_proxies_are_lists() {
    let origins = "https://a.example,https://b.example";
    let mut by_variable = parlor(&ANY_PORT);
    by_variable.env("PARLOR_ORIGIN", origins);
    by_variable.env("PARLOR_TRUST_PROXY", "192.0.2.0/24,127.0.0.1");
    let mut by_flag = parlor(&ANY_PORT);
    for origin in origins.split(',') {
        by_flag.args(["--origin", origin]);
    }
    by_flag.args([
        "--trust-proxy",
        "192.0.2.0/24",
        "--trust-proxy",
        "127.0.0.1",
    ]);
    for command in [&mut by_variable, &mut by_flag] {
        let running = Running::start(command.args(["--max-connections-per-address", "1"]));
        let one = "X-Forwarded-For: 203.0.113.1, 192.0.2.7\r\n";
        let other = "X-Forwarded-For: 203.0.113.2\r\n";
        let answers = [
            ("https://a.example", one, "101"),
            ("https://b.example", other, "101"),
            ("https://a.example", one, "429"),
            ("https://c.example", one, "403"),
        ];
        let answers = answers.map(|(origin, forwarded, expected)| {
            let answer = knock(&running, &format!("Origin: {origin}\r\n{forwarded}"));
            assert_eq!(status(&answer), expected, "{origin} {forwarded}");
            answer
        });
        drop(answers);
    }
}

#[test]
fn the_log_names_the_flag_and_says_it_once_a_second() {
    let begun = Instant::now();
    let mut running = Running::start(&mut parlor(
        &[&ANY_PORT[..], &["--max-connections-per-address", "1"]].concat(),
    ));
    let inside = knock(&running, "");
    assert_eq!(status(&inside), "101");
    for _ in 0..100 {
        assert_eq!(status(&knock(&running, "")), "429");
        let evil = knock(&running, "Origin: https://evil.example:8443\r\n");
        assert_eq!(status(&evil), "403");
    }
    let seconds = begun.elapsed().as_secs();
    drop(inside);
    running.signal("TERM");
    let (_, log) = running.end();
    for flag in [
        "--origin https://evil.example:8443",
        "--max-connections-per-address",
    ] {
        let lines = log.lines().filter(|line| line.contains(flag)).count();
        assert!(lines > 0, "{flag} is not in {log}");
        assert!(lines as u64 <= seconds + 1, "{lines} in {seconds} s: {log}");
    }
}

#[test]
fn everybody_may_come_through_a_trusted_proxy_at_once() {
    // More than the handshakes that one address may have, and all of them on this process.
    rlimit::increase_nofile_limit(4096).expect("the system allows it");
    let mut command = parlor(&ANY_PORT);
    let running = Running::start(command.args(["--trust-proxy", "127.0.0.1"]));
    let silent = |_| TcpStream::connect(running.address).expect("it listens");
    let silent: Vec<TcpStream> = (0..1100).map(silent).collect();
    let health = "GET /healthz HTTP/1.1\r\nHost: chat.example\r\n\r\n";
    assert_eq!(status(&ask(&running, health)), "200");
    drop(silent);
}
