//! Who gets past the door: pages of which origins, and how many of which address.

use std::net::SocketAddr;

use parlor_core::Limits;
use parlor_tests::client::{Client, handshake};
use parlor_tests::server::TestServer;

use super::http::{ask, header, status};
use super::{server, unlimited};

/// A handshake with this Host and these headers.
fn with(host: &str, headers: &[&str]) -> String {
    let lines = headers.iter().map(|line| format!("{line}\r\n"));
    let lines: String = lines.collect();
    let lines = format!("Host: {host}\r\n{lines}");
    handshake("/ws").replace("Host: parlor\r\n", &lines)
}

fn from_page(server: &TestServer, host: &str, origin: &str) -> String {
    ask(server, &with(host, &[&format!("Origin: {origin}")]))
}

#[test]
fn only_the_servers_own_pages_may_connect() {
    let server = server();
    let own = server.address().to_string();
    for (host, origin, expected) in [
        (own.as_str(), format!("http://{own}"), "101"),
        ("Chat.example", String::from("https://chat.example"), "101"),
        (&own, String::from("http://evil.example"), "403"),
        (&own, String::from("http://127.0.0.1:1"), "403"),
        (&own, String::from("null"), "403"),
        (&own, String::from("nonsense"), "403"),
    ] {
        let answer = from_page(&server, host, &origin);
        assert_eq!(status(&answer), expected, "{host} {origin}: {answer}");
    }
    let refused = from_page(&server, &own, "http://evil.example");
    assert!(refused.contains("Pages of this Origin may not connect"));
    assert_eq!(header(&refused, "upgrade"), None);
    // On both paths, and not for what is no WebSocket.
    let evil = "Origin: http://evil.example";
    let root = with("parlor", &[evil]).replace("GET /ws", "GET /");
    assert_eq!(status(&ask(&server, &root)), "403");
    let plain = format!("GET /healthz HTTP/1.1\r\nHost: parlor\r\n{evil}\r\n\r\n");
    assert_eq!(status(&ask(&server, &plain)), "200");
}

#[test]
fn a_request_with_two_origins_or_hosts_is_refused() {
    let server = server();
    let origin = "Origin: http://parlor";
    for headers in [&[origin, origin][..], &["Host: parlor"]] {
        let answer = ask(&server, &with("parlor", headers));
        assert_eq!(status(&answer), "403", "{headers:?}");
        assert!(answer.contains("There is more than one "), "{answer}");
    }
}

#[test]
fn other_pages_may_connect_if_they_are_allowed() {
    let origins = ["https://a.example", "null"];
    let origins = origins.map(|origin| origin.parse().expect("it is one"));
    let server = TestServer::start_with(unlimited(), |config| config.origins = origins.into());
    for (origin, expected) in [
        ("https://a.example", "101"),
        ("null", "101"),
        ("http://parlor", "101"),
        ("http://a.example", "403"),
        ("https://b.example", "403"),
    ] {
        let answer = from_page(&server, "parlor", origin);
        assert_eq!(status(&answer), expected, "{origin}");
    }
}

/// A server behind a proxy on this machine, with one connection for each address.
fn behind_a_proxy(proxy: &str) -> TestServer {
    let limits = Limits {
        connections_per_address: 1,
        ..unlimited()
    };
    let proxies = vec![proxy.parse().expect("it is a network")];
    TestServer::start_with(limits, |config| config.trusted_proxies = proxies)
}

/// Asks for a WebSocket, and keeps it.
fn knock(server: SocketAddr, headers: &[&str]) -> (Client, String) {
    let mut client = Client::dial(server);
    client.write(with("parlor", headers).as_bytes());
    let status = String::from(status(&client.response()));
    (client, status)
}

#[test]
fn a_trusted_proxy_tells_who_has_how_many_connections() {
    let server = behind_a_proxy("127.0.0.0/8");
    let connections: Vec<(Client, String)> = [
        &["X-Forwarded-For: 192.0.2.1"][..],
        &["X-Forwarded-For: 192.0.2.2"],
        &["Forwarded: for=192.0.2.1"],
        &["X-Forwarded-For: 192.0.2.3, 192.0.2.2"],
        &["X-Forwarded-For: 192.0.2.3, 127.0.0.5"],
        &["Forwarded: for=\"[2001:db8:1:2::3]:1\""],
        &["X-Forwarded-For: 2001:db8:1:2::4"],
        // The proxy's own address, for whatever it cannot tell.
        &[],
        &["X-Forwarded-For: unknown"],
        &["X-Forwarded-For: 192.0.2.9", "Forwarded: for=192.0.2.8"],
    ]
    .into_iter()
    .map(|headers| knock(server.address(), headers))
    .collect();
    let statuses: Vec<&str> = connections.iter().map(|(_, status)| &status[..]).collect();
    let expected = [
        "101", "101", "429", "429", "101", "101", "429", "101", "429", "429",
    ];
    assert_eq!(statuses, expected);
}

#[test]
fn who_is_no_trusted_proxy_is_not_believed() {
    let server = behind_a_proxy("10.0.0.0/8");
    let [first, second] = ["192.0.2.1", "192.0.2.2"]
        .map(|address| knock(server.address(), &[&format!("X-Forwarded-For: {address}")]));
    assert_eq!((&first.1[..], &second.1[..]), ("101", "429"));
}
