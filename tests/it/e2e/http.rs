//! The HTTP in front of the WebSocket, and who gets past it.

use parlor_core::Limits;
use parlor_tests::client::{Client, handshake};
use parlor_tests::server::TestServer;
use serde_json::json;

use super::on_smol::hostile::assert_is_ended;
use super::{server, unlimited};

/// The answer to one request, on a connection of its own.
pub(super) fn ask(server: &TestServer, request: &str) -> String {
    let mut client = Client::dial(server.door());
    client.write(request.as_bytes());
    client.response()
}

pub(super) fn get(server: &TestServer, path: &str) -> String {
    ask(
        server,
        &format!("GET {path} HTTP/1.1\r\nHost: parlor\r\n\r\n"),
    )
}

pub(super) fn status(response: &str) -> &str {
    response.split(' ').nth(1).expect("a status line")
}

pub(super) fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = response.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn the_health_is_told_and_not_cached() {
    let server = server();
    let health = get(&server, "/healthz");
    assert_eq!(
        (status(&health), header(&health, "cache-control")),
        ("200", Some("no-store"))
    );
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
}

#[test]
fn a_connection_gets_a_hundred_answers() {
    let server = server();
    let ask = "GET /healthz HTTP/1.1\r\nHost: parlor\r\n\r\n";
    let mut client = Client::dial(server.door());
    client.write(ask.repeat(100).as_bytes());
    for _ in 1..100 {
        assert_eq!(header(&client.response(), "connection"), None);
    }
    assert_eq!(header(&client.response(), "connection"), Some("close"));
    client.expect_end();

    let mut client = Client::dial(server.door());
    client.write(ask.repeat(99).as_bytes());
    for _ in 1..100 {
        client.response();
    }
    client.write(handshake("/ws").as_bytes());
    assert_eq!(status(&client.response_head()), "101");
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let server = server();
    assert_eq!(status(&get(&server, "/nothing")), "404");
    assert_eq!(status(&get(&server, "/ws/")), "404");
    for path in ["/", "/healthz"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: parlor\r\nContent-Length: 0\r\n\r\n");
        let refused = ask(&server, &post);
        assert_eq!(
            (status(&refused), header(&refused, "allow")),
            ("405", Some("GET, HEAD"))
        );
    }
    let plain = get(&server, "/ws");
    assert_eq!(
        (status(&plain), header(&plain, "upgrade")),
        ("426", Some("websocket"))
    );
}

#[test]
fn only_a_handshake_of_version_13_is_one() {
    let server = server();
    let good = handshake("/ws");
    for bad in [
        good.replace("Version: 13", "Version: 8"),
        good.replace("Sec-WebSocket-Version: 13\r\n", ""),
        good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        good.replace("Connection: Upgrade\r\n", ""),
        good.replace("GET", "POST"),
        good.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let refused = ask(&server, &bad);
        assert_eq!(status(&refused), "400", "{bad}");
        assert_eq!(header(&refused, "sec-websocket-version"), Some("13"));
    }
    for path in ["/", "/ws", "/ws?from=anywhere"] {
        assert_eq!(status(&ask(&server, &handshake(path))), "101");
    }
    assert_eq!(status(&ask(&server, &handshake("/nothing"))), "404");
}

#[test]
fn an_upgrade_to_anything_else_is_ignored() {
    let server = server();
    let h2c = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: parlor\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        )
    };
    assert_eq!(status(&ask(&server, &h2c("/"))), "200");
    assert_eq!(status(&ask(&server, &h2c("/ws"))), "426");
}

#[test]
fn a_head_of_many_bytes_or_headers_is_refused() {
    let server = server();
    let long = format!("Cookie: {}\r\n", "x".repeat(30_000));
    let many = "A: b\r\n".repeat(100);
    for headers in [long, many] {
        let request = format!("GET / HTTP/1.1\r\nHost: parlor\r\n{headers}\r\n");
        assert_eq!(status(&ask(&server, &request)), "431");
    }
}

#[test]
fn what_is_no_http_ends_the_connection() {
    let server = server();
    let mut client = Client::dial(server.door());
    client.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n");
    let response = client.response();
    assert_eq!(status(&response), "400");
    client.expect_end();
}

/// Tries until it is let in: when a place is given back cannot be seen from outside.
pub(super) fn connect_when_there_is_a_place(server: &TestServer) -> Client {
    for _ in 0..1_000_000 {
        let mut client = Client::dial(server.door());
        client.write(handshake("/ws").as_bytes());
        if client.response().starts_with("HTTP/1.1 101 ") {
            return client;
        }
    }
    panic!("the place was not given back");
}

#[test]
fn the_server_takes_so_many_connections_and_no_more() {
    let limits = Limits {
        connections: 2,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    let first = Client::connect(server.door());
    let mut second = Client::connect(server.door());
    let refused = ask(&server, &handshake("/ws"));
    assert_eq!(status(&refused), "503");
    assert!(header(&refused, "retry-after").is_some());
    // Only WebSockets count.
    assert_eq!(status(&get(&server, "/healthz")), "200");

    first.close();
    let mut third = connect_when_there_is_a_place(&server);
    assert_eq!(status(&ask(&server, &handshake("/ws"))), "503");
    for client in [&mut second, &mut third] {
        client.send(&json!({ "type": "ping" }));
        client.expect(&json!({ "type": "pong" }));
    }
    // Without a word.
    drop(second);
    connect_when_there_is_a_place(&server);
}

#[test]
fn an_address_gets_so_many_connections_and_no_more() {
    let limits = Limits {
        connections_per_address: 1,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    let client = Client::connect(server.door());
    let refused = ask(&server, &handshake("/ws"));
    assert_eq!(status(&refused), "429");
    assert!(header(&refused, "retry-after").is_some());
    client.close();
    connect_when_there_is_a_place(&server);
}

#[test]
fn a_handshake_that_stalls_is_ended() {
    let limits = Limits {
        handshake_timeout_ms: 50,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    for stalled in ["", "GET /ws HTTP/1.1\r\nHost: parlor\r\nConnection: Upg"] {
        let mut client = Client::dial(server.door());
        client.write(stalled.as_bytes());
        client.expect_end();
    }
    // Also behind a request that was answered.
    let mut client = Client::dial(server.door());
    client.write(b"GET /healthz HTTP/1.1\r\nHost: parlor\r\n\r\n");
    assert_eq!(status(&client.response()), "200");
    client.expect_end();
}

#[test]
fn a_handshake_that_trickles_is_ended() {
    let limits = Limits {
        handshake_timeout_ms: 50,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    let mut trickling = Client::dial(server.door());
    trickling.write(b"GET /ws HTTP/1.1\r\nCookie: ");
    let mut other = Client::connect(server.door());
    // Fewer bytes than a head may have, and between two of them somebody else is answered.
    let ended = (0..15_000).any(|_| {
        other.expect_silence();
        trickling.try_write(b"x").is_err()
    });
    assert!(ended, "the server waits for the rest");
}

#[test]
fn who_asks_for_the_page_again_and_again_and_never_reads_it_is_ended() {
    let limits = Limits {
        handshake_timeout_ms: 50,
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    let server = TestServer::start(limits);
    let mut hostile = Client::dial_narrow(server.door());
    let requests = "GET / HTTP/1.1\r\nHost: parlor\r\n\r\n".repeat(1000);
    assert_is_ended(&mut hostile, requests.as_bytes());
}

#[test]
fn a_websocket_may_be_at_the_root() {
    let server = server();
    let mut client = Client::connect_to(server.door(), "/");
    client.send(&json!({ "type": "ping" }));
    client.expect(&json!({ "type": "pong" }));
}
