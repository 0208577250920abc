//! TLS: what is different from plain TCP, and what must not be.

use std::sync::Arc;

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::version::{TLS12, TLS13};
use futures_rustls::rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use parlor_core::Limits;
use parlor_smol::Tls;
use parlor_tests::certificate::{Certificate, NAME};
use parlor_tests::client::{Client, Door, Incoming, frame, handshake, head};
use parlor_tests::server::TestServer;
use serde_json::json;

use super::http::{connect_when_there_is_a_place, status};
use super::unlimited;

fn server() -> TestServer {
    TestServer::start_tls(unlimited())
}

/// A server with this certificate.
fn server_with(certificate: &Certificate) -> TestServer {
    let dir = tempfile::tempdir().expect("there is room");
    let [cert, key] = certificate.write(dir.path());
    TestServer::start_with(unlimited(), |config| {
        let tls = Tls::load(cert, key).expect("the files are good");
        config.tls = Some(Arc::new(tls));
    })
}

fn door(server: &TestServer, trust: Arc<ClientConfig>) -> Door {
    Door {
        address: server.address(),
        tls: Some(trust),
    }
}

fn assert_still_serves(server: &TestServer) {
    Client::connect(server.door()).expect_silence();
}

#[test]
fn both_versions_speak_http_1() {
    let certificate = Certificate::default();
    let server = server_with(&certificate);
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut trust = ClientConfig::clone(&certificate.trust_in(&[version]));
        trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = Client::connect(door(&server, Arc::new(trust.clone())));
        client.expect_silence();
        let tls = client.tls();
        assert_eq!(tls.protocol_version(), Some(expected));
        assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.close();

        trust.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = Client::dial(door(&server, Arc::new(trust)));
        assert!(client.try_write(handshake("/ws").as_bytes()).is_err());
    }
}

#[test]
fn who_does_not_trust_the_certificate_stays_outside() {
    let server = server();
    let stranger = door(&server, Certificate::default().trust());
    let refused = Client::dial(stranger).try_write(handshake("/ws").as_bytes());
    assert!(refused.is_err());
    assert_still_serves(&server);
}

#[test]
fn much_at_once_passes_both_ways() {
    let server = server();
    let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
    let epoch = alice.join("lobby", "Alice")["epoch"].clone();
    let text = |n: usize| format!("{n} {}", "\u{e9}".repeat(1000 + n));
    let requests = (1..=100).map(
        |n| json!({ "type": "message", "roomId": "lobby", "text": text(n), "ref": n.to_string() }),
    );
    alice.send_all(&requests.collect::<Vec<_>>());
    for seq in 1..=100 {
        alice.expect(
            &json!({ "type": "message", "seq": seq, "text": text(seq), "ref": seq.to_string() }),
        );
    }
    bob.send(&json!({ "type": "join", "roomId": "lobby", "username": "Bob", "since": { "epoch": epoch, "seq": 0 } }));
    bob.expect(&json!({ "type": "joined", "recovered": true, "history": 100 }));
    for seq in 1..=100 {
        bob.expect(&json!({ "type": "message", "seq": seq, "text": text(seq) }));
    }
    bob.expect_silence();
}

#[test]
fn keys_may_be_renewed_on_the_way() {
    let server = server();
    let mut alice = Client::connect(server.door());
    alice.join("lobby", "Alice");
    for seq in 1..=5 {
        let renewed = alice.tls().refresh_traffic_keys();
        renewed.expect("TLS 1.3 is spoken");
        alice.say("lobby", "hi");
        alice.expect(&json!({ "type": "message", "seq": seq }));
    }
    alice.close();
}

#[test]
fn the_end_of_http_is_said() {
    let server = server();
    let last = "GET /healthz HTTP/1.1\r\nHost: parlor\r\nConnection: close\r\n\r\n";
    let refused = "POST /ws HTTP/1.1\r\nHost: parlor\r\nContent-Length: x\r\n\r\n";
    for (request, expected) in [(last, "200"), (refused, "400"), ("\0\r\n\r\n", "400")] {
        let mut client = Client::dial(server.door());
        client.write(request.as_bytes());
        assert_eq!(status(&client.response()), expected);
        assert_eq!(client.rest(), (Vec::new(), true));
    }
    let mut silent = Client::dial(server.door());
    silent.write(b"");
    silent.finish();
    assert_eq!(silent.rest(), (Vec::new(), true));
}

#[test]
fn who_ends_the_sending_half_with_a_word_or_without_is_gone_and_told_so() {
    let server = server();
    let mut alice = Client::connect(server.door());
    alice.join("lobby", "Alice");
    for end in [Client::finish, Client::truncate] {
        let mut bob = Client::connect(server.door());
        bob.join("lobby", "Bob");
        alice.expect(&json!({ "type": "user_joined" }));
        end(&mut bob);
        alice.expect(&json!({ "type": "user_left", "username": "Bob", "reason": "disconnected" }));
        assert_eq!(bob.rest(), (Vec::new(), true));
    }
    alice.expect_silence();
}

#[test]
fn what_is_no_tls_ends_its_own_connection() {
    let server = server();
    let largest = [&[22, 3, 1, 0xFF, 0xFF][..], &[1; 1 << 16]].concat();
    let alert = [21, 3, 3, 0, 2, 2, 40];
    let data = [23, 3, 3, 0, 4, 1, 2, 3, 4];
    for nonsense in [
        handshake("/ws").as_bytes(),
        &[0; 64 << 10],
        &[0xFF; 64 << 10],
        &largest,
        &alert,
        &data,
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is not quite TLS\r\n\r\n",
    ] {
        let mut client = Client::dial(server.address());
        // The server need not read to the end what makes no sense.
        let _ = client.try_write(nonsense);
        client.truncate();
        let (answer, _) = client.rest();
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert_still_serves(&server);
    }
}

#[test]
fn plain_http_is_ended_without_waiting() {
    let server = server();
    let mut client = Client::dial(server.address());
    client.write(handshake("/ws").as_bytes());
    let (answer, _) = client.rest();
    // An alert that it is no TLS (RFC 8446, section 6).
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
}

#[test]
fn a_tls_handshake_that_stalls_is_ended() {
    let limits = Limits {
        handshake_timeout_ms: 50,
        ..unlimited()
    };
    let server = TestServer::start_tls(limits);
    let trust = server.door().tls.expect("it speaks TLS");
    let name = ServerName::try_from(NAME).expect("it is a name");
    let mut hello = Vec::new();
    let mut connection = ClientConnection::new(trust, name).expect("it is well configured");
    let written = connection.write_tls(&mut hello);
    written.expect("memory takes everything");
    for stalled in [&hello[..0], &hello[..hello.len() / 2], &hello] {
        let mut client = Client::dial(server.address());
        client.write(stalled);
        client.rest();
    }
}

/// Somebody who does not read is closed while `texts` wait for them: they get their place taken
/// away, and no goodbye.
fn who_does_not_read_is_given_up(texts: usize) {
    let limits = Limits {
        close_grace_ms: 50,
        send_buffer_bytes: 4 << 10,
        connections: 2,
        ..unlimited()
    };
    let server = TestServer::start_tls(limits);
    let mut alice = Client::connect(server.door());
    let mut sleepy = Client::connect_narrow(server.door());
    alice.join("lobby", "Alice");
    sleepy.join("lobby", "Sleepy");
    alice.expect(&json!({ "type": "user_joined" }));
    let text = "x".repeat(2000);
    for seq in 1..=texts {
        alice.say("lobby", &text);
        alice.expect(&json!({ "type": "message", "seq": seq }));
    }
    sleepy.send_frame(head::BINARY, b"");
    alice.expect(&json!({ "type": "user_left", "username": "Sleepy" }));
    connect_when_there_is_a_place(&server);
    let (got, ended) = sleepy.rest();
    assert!(!ended, "it got a goodbye");
    assert!(got.len() < text.len() * texts, "it got everything");
    alice.expect_silence();
}

#[test]
fn who_does_not_take_what_is_in_the_pipe_is_given_up() {
    who_does_not_read_is_given_up(30);
}

#[test]
fn who_does_not_take_what_is_behind_the_pipe_is_given_up() {
    who_does_not_read_is_given_up(300);
}

#[test]
fn who_reads_late_gets_everything_though_nothing_more_is_said() {
    let limits = Limits {
        // A ping would push the rest.
        ping_interval_ms: 600_000,
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    let server = TestServer::start_tls(limits);
    let mut alice = Client::connect(server.door());
    let mut late = Client::connect_narrow(server.door());
    alice.join("lobby", "Alice");
    late.join("lobby", "Late");
    alice.expect(&json!({ "type": "user_joined" }));
    let text = "x".repeat(2000);
    for seq in 1..=30 {
        alice.say("lobby", &text);
        alice.expect(&json!({ "type": "message", "seq": seq }));
    }
    for seq in 1..=30 {
        late.expect(&json!({ "type": "message", "seq": seq }));
    }
}

#[test]
fn who_reads_late_gets_everything_and_the_goodbye() {
    let limits = Limits {
        close_grace_ms: 60_000,
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    let server = TestServer::start_tls(limits);
    let mut alice = Client::connect(server.door());
    let mut late = Client::connect_narrow(server.door());
    alice.join("lobby", "Alice");
    late.join("lobby", "Late");
    alice.expect(&json!({ "type": "user_joined" }));
    let text = "x".repeat(2000);
    for seq in 1..=300 {
        alice.say("lobby", &text);
        alice.expect(&json!({ "type": "message", "seq": seq }));
    }
    // What it goes on sending is read meanwhile, or the end would take along what is on its way.
    late.write(&frame(head::BINARY, b"").repeat(1000));
    alice.expect(&json!({ "type": "user_left", "username": "Late" }));
    for seq in 1..=300 {
        late.expect(&json!({ "type": "message", "seq": seq }));
    }
    assert_eq!(late.incoming(), Incoming::Close(Some(1003)));
    assert_eq!(late.rest(), (Vec::new(), true));
}
