//! Servers that require tokens, and the tokens that it makes.

use std::fs;
use std::path::Path;

use tungstenite::protocol::frame::coding::CloseCode;

use super::{ANY_PORT, HELLO, Running, ask, output, parlor, read_to_close, text};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../token/tests/keys");
const JOIN: &str = r#"{"type":"join","roomId":"lobby"}"#;

fn hello(token: &str) -> String {
    format!(r#"{{"type":"hello","protocol":1,"token":"{token}"}}"#)
}

/// A token that the binary makes with the secret in `file`.
fn token(file: &Path, args: &[&str]) -> String {
    let mut command = parlor(&["token"]);
    command.args(args).env("PARLOR_TOKEN_SECRET_FILE", file);
    let made = output(&mut command);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let token = text(&made.stdout).strip_suffix('\n');
    token.expect("it is a line").to_string()
}

#[test]
fn with_a_secret_everybody_needs_a_token() {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).expect("there is room");
    let alice = token(
        &file,
        &["--sub", "Alice", "--ttl", "1h", "--rooms", "lobby,team-*"],
    );
    let root = token(&file, &["--sub", "Root", "--ttl", "7d"]);
    let mut command = parlor(&ANY_PORT);
    command.args(["--log", "trace"]).arg("--token-secret-file");
    let mut running = Running::start(command.arg(&file));

    let mut socket = running.connect();
    let refused = ask(&mut socket, JOIN);
    assert!(refused.contains(r#""NOT_IDENTIFIED""#), "{refused}");
    for (token, staff) in [(&alice, r#""FORBIDDEN""#), (&root, r#""joined""#)] {
        let mut socket = running.connect();
        let answer = ask(&mut socket, &hello(token));
        assert!(answer.contains(r#""username":"#), "{answer}");
        let answer = ask(&mut socket, &JOIN.replace("lobby", "staff"));
        assert!(answer.contains(staff), "{answer}");
        let answer = ask(&mut socket, &JOIN.replace("lobby", "team-b"));
        assert!(answer.contains(r#""joined""#), "{answer}");
    }
    let other = dir.path().join("other");
    fs::write(&other, SECRET.to_uppercase()).expect("there is room");
    let foreign = token(&other, &["--sub", "Alice", "--ttl", "1h"]);
    for hello in [HELLO.to_string(), hello(&foreign), hello("")] {
        let mut socket = running.connect();
        let refused = ask(&mut socket, &hello);
        assert!(refused.contains(r#""UNAUTHORIZED""#), "{refused}");
        assert_eq!(read_to_close(&mut socket).0, CloseCode::Library(4500));
    }

    drop(socket);
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("token refused"), "{log}");
    for secret in [SECRET, &alice, &root, &foreign] {
        for part in secret.split('.').filter(|part| part.len() >= 32) {
            assert!(!log.contains(part), "{part} is in {log}");
        }
    }
}

#[test]
fn a_new_key_is_for_tokens_that_come_and_drops_nobody() {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("secret");
    let token_of = |secret: &str| {
        fs::write(&file, secret).expect("there is room");
        token(&file, &["--sub", "Alice", "--ttl", "1h"])
    };
    let new = token_of(&SECRET.to_uppercase());
    let old = token_of(SECRET);
    let mut command = parlor(&ANY_PORT);
    let mut running = Running::start(command.arg("--token-secret-file").arg(&file));
    let mut early = running.connect();
    let answer = ask(&mut early, &hello(&old));
    assert!(answer.contains(r#""username""#), "{answer}");

    for (content, line, level) in [
        (
            SECRET.to_uppercase(),
            "read the key of tokens again",
            "INFO",
        ),
        (
            String::from("short"),
            "the key of tokens stays as it was",
            "WARN",
        ),
    ] {
        fs::write(&file, content).expect("there is room");
        running.signal("HUP");
        let line = running.log_line(line);
        assert!(line.contains(level), "{line}");
        for (token, expected) in [(&new, r#""username""#), (&old, r#""UNAUTHORIZED""#)] {
            let answer = ask(&mut running.connect(), &hello(token));
            assert!(answer.contains(expected), "{answer}");
        }
        let answer = ask(&mut early, JOIN);
        assert!(answer.contains("lobby"), "{answer}");
    }
}

#[test]
fn with_a_public_key_everybody_needs_a_token() {
    for key in ["rsa-public.pem", "ec-public.pem", "ed-public.pem"] {
        let file = format!("{KEYS}/{key}");
        let running = Running::start(parlor(&ANY_PORT).env("PARLOR_TOKEN_PUBLIC_KEY", file));
        let refused = ask(&mut running.connect(), JOIN);
        assert!(refused.contains(r#""NOT_IDENTIFIED""#), "{refused}");
    }
}

#[test]
fn a_key_of_no_use_is_said_in_one_line() {
    let dir = tempfile::tempdir().expect("there is room");
    let short = dir.path().join("short");
    fs::write(&short, &SECRET[1..]).expect("there is room");
    let short = short.to_str().expect("it is UTF-8");
    let missing = dir.path().join("missing");
    let missing = missing.to_str().expect("it is UTF-8");
    let private = format!("{KEYS}/ec-private.pem");
    let token = ["token", "--sub", "a", "--ttl", "1h", "--token-secret-file"];
    for (args, file, expected) in [
        (&["--token-secret-file"][..], short, "at least 32"),
        (&["--token-secret-file"], missing, "cannot read"),
        (&["--token-public-key"], missing, "cannot read"),
        (&["--token-public-key"], short, "P-256"),
        (&["--token-public-key"], &private, "P-256"),
        (&token, short, "at least 32"),
        (&token, missing, "cannot read"),
    ] {
        let refused = output(parlor(args).arg(file));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {said}");
        assert_eq!(text(&refused.stdout), "");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(file) && said.contains(expected), "{said}");
        assert!(!said.contains(&SECRET[1..]), "{said}");
    }
}

#[test]
fn a_secret_and_a_public_key_exclude_each_other() {
    let args = ["--token-secret-file", "a", "--token-public-key", "b"];
    let mut by_variable = parlor(&args[..2]);
    by_variable.env("PARLOR_TOKEN_PUBLIC_KEY", "b");
    for command in [&mut parlor(&args), &mut by_variable] {
        let refused = output(command);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        for flag in [args[0], args[2]] {
            assert!(said.contains(flag), "{said}");
        }
    }
}

#[test]
fn a_token_needs_a_name_and_a_time() {
    for (args, expected) in [
        (&["--ttl", "1h"][..], "--sub <NAME>"),
        (&["--sub", "a"], "--ttl <TIME>"),
        (&["--sub", " a", "--ttl", "1h"], "white space"),
        (&["--sub", "a", "--ttl", "1"], "such as 30s"),
        (&["--sub", "a", "--ttl", "h"], "such as 30s"),
        (&["--sub", "a", "--ttl", "0h"], "such as 30s"),
        (&["--sub", "a", "--ttl", ""], "--ttl <TIME>"),
        (&["--sub", "a", "--ttl", "5\u{b5}"], "such as 30s"),
    ] {
        let mut command = parlor(&["token"]);
        command.args(args).args(["--token-secret-file", "secret"]);
        let refused = output(&mut command);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
