//! The operator's own port.

use std::net::TcpStream;
use std::time::Instant;

use parlor_core::Limits;
use parlor_tests::client::{Client, PATIENCE, handshake};
use parlor_tests::driven_hub::{Outcome, ScriptedStore};
use parlor_tests::metrics::{Samples, samples};
use parlor_tests::server::TestServer;
use serde_json::json;

use super::http::{header, status};
use super::{server, unlimited};

/// The answer of the operator's port to one request.
fn ask(server: &TestServer, request: &str) -> String {
    let mut client = Client::dial(server.admin_address());
    client.write(request.as_bytes());
    client.response()
}

fn get(server: &TestServer, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: parlor\r\n\r\n");
    ask(server, &request)
}

fn body(response: &str) -> &str {
    let (_, body) = response.split_once("\r\n\r\n").expect("a body");
    body
}

fn metrics(server: &TestServer) -> Samples {
    samples(body(&get(server, "/metrics")))
}

/// Asks until the server is as expected; what it says to a `GET` of `/readyz`.
fn await_readiness(server: &TestServer, expected: &str) -> String {
    let begin = Instant::now();
    loop {
        let answer = get(server, "/readyz");
        if body(&answer) == expected {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{answer}");
    }
}

#[test]
fn health_readiness_and_metrics_are_told() {
    let server = server();
    let text = "text/plain; charset=utf-8";
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (path, content_type, begin) in [
        ("/healthz", text, "ok\n"),
        ("/readyz", text, "ready\n"),
        ("/metrics", open_metrics, "# HELP "),
    ] {
        let answer = get(&server, path);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(body(&answer).starts_with(begin), "{answer}");
        let told = |name| header(&answer, name);
        assert_eq!(told("content-type"), Some(content_type));
        assert_eq!(told("cache-control"), Some("no-store"));
        assert_eq!(told("connection"), Some("close"));
        assert_eq!(told("access-control-allow-origin"), None);

        let mut client = Client::dial(server.admin_address());
        client.write(format!("HEAD {path} HTTP/1.1\r\nHost: parlor\r\n\r\n").as_bytes());
        assert_eq!(status(&client.response_head()), "200");
        client.expect_end();
        let post = format!("POST {path} HTTP/1.1\r\nHost: parlor\r\nContent-Length: 0\r\n\r\n");
        let refused = ask(&server, &post);
        let allow = header(&refused, "allow");
        assert_eq!((status(&refused), allow), ("405", Some("GET, HEAD")));
    }
}

#[test]
fn the_chat_is_not_on_the_operators_port_nor_the_other_way_round() {
    let server = server();
    for path in ["/", "/ws", "/parlor-client.js"] {
        assert_eq!(status(&get(&server, path)), "404");
        assert_eq!(status(&ask(&server, &handshake(path))), "404");
    }
    for path in ["/metrics", "/readyz"] {
        assert_eq!(status(&super::http::get(&server, path)), "404");
    }
}

#[test]
fn metrics_tell_what_the_server_does() {
    let limits = Limits {
        connections: 2,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.address()));
    alice.join("lobby", "Alice");
    bob.join("lobby", "Bob");
    alice.say("lobby", "Hello!");
    bob.expect(&json!({ "type": "message", "text": "Hello!" }));
    let refused = super::http::ask(&server, &handshake("/ws"));
    assert_eq!(status(&refused), "503");
    let foreign = handshake("/ws").replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n");
    assert_eq!(status(&super::http::ask(&server, &foreign)), "403");
    let seen = metrics(&server);
    for (series, expected) in [
        ("parlor_ready", 1),
        ("parlor_connections", 2),
        ("parlor_connections_limit", 2),
        ("parlor_rooms", 1),
        ("parlor_members", 2),
        ("parlor_events_total{kind=\"message\"}", 1),
        ("parlor_delivery_seconds_count", 1),
        ("parlor_commit_seconds_count", 1),
        // Joined twice, once told of it, and the message to both.
        ("parlor_deliveries_total", 5),
        ("parlor_refused_connections_total{reason=\"full\"}", 1),
        ("parlor_refused_connections_total{reason=\"origin\"}", 1),
        ("parlor_refused_connections_total{reason=\"address\"}", 0),
        ("parlor_refused_connections_total{reason=\"handshakes\"}", 0),
        ("parlor_build_info{version=\"0.1.0\"}", 1),
        ("parlor_log_lines_lost_total", 0),
    ] {
        assert_eq!(seen[series], f64::from(expected), "{series}");
    }
    let said = r#"{"type":"join","roomId":"lobby","username":"Alice"}"#.len();
    assert!(seen["parlor_received_bytes_total"] > 2.0 * said as f64);
    assert!(seen["parlor_sent_bytes_total"] > 5.0 * 50.0);
}

#[test]
fn handshakes_under_way_are_counted() {
    let server = server();
    let mut begun = Client::dial(server.address());
    begun.write(b"GET / HTTP/1.1\r\nHost: parlor\r\n\r\n");
    assert_eq!(status(&begun.response()), "200");
    assert_eq!(metrics(&server)["parlor_handshakes"], 1.0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_is_told_of() {
    let server = server();
    let before = metrics(&server);
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = seconds.expect("it is later").as_secs_f64();
    assert!(before["process_resident_memory_bytes"] > 1e6);
    assert!(before["process_virtual_memory_bytes"] > before["process_resident_memory_bytes"]);
    assert!(before["process_threads"] >= 2.0);
    assert!(before["process_max_fds"] > before["process_open_fds"]);
    assert!(before["process_cpu_seconds_total"] >= 0.0);
    let began = before["process_start_time_seconds"];
    // The tests began a while ago, and not before the machine did.
    assert!(
        (seconds - 86_400.0..=seconds + 2.0).contains(&began),
        "{began}"
    );
}

#[test]
fn a_server_that_cannot_store_is_not_ready_but_lives() {
    let store = ScriptedStore::default();
    let crashes = tempfile::tempdir().expect("there is room");
    let dir = crashes.path().into();
    let server = TestServer::start_with_store(unlimited(), store.clone(), dir);
    let mut alice = Client::connect(server.address());
    alice.join("r", "alice");
    store.script().appends.push_back(Outcome::Fails);
    store.script().reopen = Outcome::Fails;
    alice.say("r", "lost");
    assert_eq!(alice.expect_close(), Some(1012));

    let answer = await_readiness(&server, "store unavailable\n");
    assert_eq!(status(&answer), "503");
    assert_eq!(status(&get(&server, "/healthz")), "200");
    assert_eq!(status(&super::http::get(&server, "/healthz")), "503");
    let seen = metrics(&server);
    assert_eq!(seen["parlor_ready"], 0.0);
    assert_eq!(seen["parlor_store_failures_total"], 1.0);

    store.script().reopen = Outcome::Succeeds;
    await_readiness(&server, "ready\n");
    assert_eq!(metrics(&server)["parlor_ready"], 1.0);
}

#[test]
fn a_server_that_goes_away_is_draining_meanwhile() {
    let limits = Limits {
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    let mut server = TestServer::start(limits);
    let mut alice = Client::connect(server.address());
    let mut sleepy = Client::connect_narrow(server.address());
    alice.join("lobby", "Alice");
    sleepy.join("lobby", "Sleepy");
    alice.expect(&json!({ "type": "user_joined" }));
    // More than two kernels hold for it, so that its goodbye takes as long as it may.
    let text = "x".repeat(2000);
    for seq in 1..=400 {
        alice.say("lobby", &text);
        alice.expect(&json!({ "type": "message", "seq": seq }));
    }
    assert_eq!(status(&get(&server, "/readyz")), "200");
    server.stop();
    let answer = await_readiness(&server, "draining\n");
    assert_eq!(status(&answer), "503");
    assert_eq!(status(&get(&server, "/healthz")), "200");
    drop((alice, sleepy));
    let admin = server.admin_address();
    server.wait();
    assert!(TcpStream::connect(admin).is_err());
}

#[test]
fn who_stalls_on_the_operators_port_is_ended() {
    let limits = Limits {
        handshake_timeout_ms: 50,
        ..Limits::default()
    };
    let server = TestServer::start(limits);
    for stalled in ["", "GET /metrics HTTP/1.1\r\nHost: parl"] {
        let mut client = Client::dial(server.admin_address());
        client.write(stalled.as_bytes());
        client.expect_end();
    }
}

#[test]
fn the_operators_port_has_so_many_places() {
    let server = server();
    let mut clients: Vec<Client> = (0..64)
        .map(|_| Client::dial(server.admin_address()))
        .collect();
    Client::dial(server.admin_address()).expect_end();
    let last = clients.last_mut().expect("there are some");
    last.write(b"GET /healthz HTTP/1.1\r\nHost: parlor\r\n\r\n");
    assert_eq!(status(&last.response()), "200");
}

#[test]
fn a_head_of_many_bytes_is_refused() {
    let server = server();
    let long = format!("Cookie: {}\r\n", "x".repeat(30_000));
    let request = format!("GET /metrics HTTP/1.1\r\nHost: parlor\r\n{long}\r\n");
    assert_eq!(status(&ask(&server, &request)), "431");
}
