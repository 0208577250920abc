//! A store that panics takes nobody's messages along, and the server only when it goes on doing so.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use parlor_core::Input;
use parlor_hub::HubError;
use parlor_hub::trace::Why;
use parlor_smol::ServerError;
use parlor_tests::client::Client;
use parlor_tests::driven_hub::{Outcome, ScriptedStore};
use parlor_tests::server::TestServer;
use parlor_tests::taped::{Replayed, replay};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::unlimited;

fn server(store: &ScriptedStore) -> (TestServer, TempDir) {
    let crashes = tempfile::tempdir().expect("there is room");
    let dir = crashes.path().into();
    (
        TestServer::start_with_store(unlimited(), store.clone(), dir),
        crashes,
    )
}

/// Comes into the room `r`, where so much was said before.
fn come(server: SocketAddr, seq: u64) -> Client {
    let mut client = Client::connect(server);
    client.send(&json!({
        "type": "join", "roomId": "r", "username": "alice",
        "since": { "epoch": "epoch-1", "seq": seq },
    }));
    client.expect(&json!({ "type": "joined", "epoch": "epoch-1", "seq": seq, "recovered": true }));
    client
}

/// The first message, which gives the room its epoch.
fn begin(server: SocketAddr) {
    let mut alice = come(server, 0);
    alice.send(&json!({ "type": "message", "roomId": "r", "text": "first" }));
    alice.expect(&json!({ "type": "message", "seq": 1 }));
}

/// Says something on which the store panics.
fn panic(client: &mut Client, store: &ScriptedStore, text: &str) {
    store.script().appends.push_back(Outcome::Panics);
    client.send(&json!({ "type": "message", "roomId": "r", "text": text }));
    assert_eq!(client.expect_close(), Some(1012));
}

fn reports(dir: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path()).expect("it is there");
    files
        .map(|file| file.expect("it can be read").path())
        .filter(|path| !path.ends_with("trace"))
        .collect()
}

/// What was recorded, which leads to the same effects.
fn recorded(dir: &TempDir) -> Replayed {
    replay(&fs::read(dir.path().join("trace")).expect("it is there"))
}

#[test]
fn hub_and_store_begin_anew_and_clients_come_back() {
    let store = ScriptedStore::default();
    let (server, crashes) = server(&store);
    begin(server.address());
    panic(&mut come(server.address(), 1), &store, "my secret");
    let mut alice = come(server.address(), 1);
    alice.send(&json!({ "type": "message", "roomId": "r", "text": "second" }));
    alice.expect(&json!({ "type": "message", "seq": 2, "text": "second" }));
    drop(alice);
    server.wait();

    let reports = reports(&crashes);
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report = fs::read_to_string(&reports[0]).expect("it is text");
    let lines = report.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("it is JSON");
    let crash = &lines[0]["crash"];
    assert_eq!(crash["panic"], "planned: the store panics");
    let recording = crashes.path().join("trace").display().to_string();
    assert_eq!(crash["recording"], json!(recording));
    let recorded = recorded(&crashes);
    let begins: Vec<Why> = recorded.begins.iter().map(|begin| begin.why).collect();
    assert_eq!(begins, [Why::Start, Why::Rebuilt]);
    assert_eq!(crash["event"], recorded.begins[1].event - 1);
    // Its events reach back to the beginning.
    assert_ne!(lines[1]["begin"]["state"], Value::Null);
    assert!(lines.len() > 4, "what the core was fed: {report}");
    assert!(!report.contains("secret"), "{report}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&reports[0])
            .expect("it is there")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}

#[test]
fn a_fourth_panic_ends_the_server() {
    let store = ScriptedStore::default();
    let (server, crashes) = server(&store);
    begin(server.address());
    for _ in 0..3 {
        panic(&mut come(server.address(), 1), &store, "text");
    }
    let mut alice = come(server.address(), 1);
    store.script().appends.push_back(Outcome::Panics);
    alice.send(&json!({ "type": "message", "roomId": "r", "text": "text" }));
    let error = server.wait_for_error();
    assert!(
        matches!(error, ServerError::Hub(HubError::PanicsTooOften)),
        "{error}"
    );
    assert_eq!(reports(&crashes).len(), 4);
    // What led to its end is recorded to the last event.
    let recorded = recorded(&crashes);
    let last = recorded.events.last().expect("there are some");
    let Input::Received { request, .. } = &last.input else {
        panic!("{last:?}");
    };
    assert!(request.kind.text().is_some(), "{last:?}");
    assert_eq!(recorded.begins.len(), 4);
}
