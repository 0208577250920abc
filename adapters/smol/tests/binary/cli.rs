//! Its flags, its lines, its exit codes and its end.

use std::net::TcpListener;

use tungstenite::protocol::frame::coding::CloseCode;

use super::{ANY_PORT, HELLO, Running, ask, durable, output, parlor, read, read_to_close, text};

const FLAGS: [(&str, &str); 23] = [
    ("--listen", "PARLOR_LISTEN"),
    ("--admin", "PARLOR_ADMIN"),
    ("--data", "PARLOR_DATA"),
    ("--memory", "PARLOR_MEMORY"),
    ("--token-secret-file", "PARLOR_TOKEN_SECRET_FILE"),
    ("--token-public-key", "PARLOR_TOKEN_PUBLIC_KEY"),
    ("--tls-cert", "PARLOR_TLS_CERT"),
    ("--tls-key", "PARLOR_TLS_KEY"),
    ("--retain-messages", "PARLOR_RETAIN_MESSAGES"),
    ("--retain-days", "PARLOR_RETAIN_DAYS"),
    ("--max-connections", "PARLOR_MAX_CONNECTIONS"),
    (
        "--max-connections-per-address",
        "PARLOR_MAX_CONNECTIONS_PER_ADDRESS",
    ),
    ("--origin", "PARLOR_ORIGIN"),
    ("--trust-proxy", "PARLOR_TRUST_PROXY"),
    ("--members-per-room", "PARLOR_MEMBERS_PER_ROOM"),
    ("--rate", "PARLOR_RATE"),
    ("--burst", "PARLOR_BURST"),
    ("--max-outbox-total", "PARLOR_MAX_OUTBOX_TOTAL"),
    ("--record", "PARLOR_RECORD"),
    ("--record-bytes", "PARLOR_RECORD_BYTES"),
    ("--record-texts", "PARLOR_RECORD_TEXTS"),
    ("--log", "PARLOR_LOG"),
    ("--log-format", "PARLOR_LOG_FORMAT"),
];

#[test]
fn help_names_every_flag_and_its_variable() {
    for args in [&["--help"][..], &["serve", "--help"]] {
        let help = output(&mut parlor(args));
        assert_eq!(help.status.code(), Some(0));
        let help = text(&help.stdout);
        for (flag, variable) in FLAGS {
            let words: Vec<&str> = help.split_whitespace().collect();
            assert!(words.contains(&flag), "{flag} is not in {help}");
            assert!(help.contains(&format!("[env: {variable}=")), "{variable}");
        }
        assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
    }
}

#[test]
fn the_version_is_told() {
    let version = output(&mut parlor(&["--version"]));
    assert_eq!(version.status.code(), Some(0));
    let expected = concat!("parlor ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&version.stdout), expected);
}

#[test]
fn a_bad_flag_or_value_is_named_with_what_it_takes() {
    let levels = "off, error, warn, info, debug, trace";
    for (args, expected) in [
        (&["--nonsense"][..], &["--nonsense"][..]),
        (&["nonsense"], &["nonsense"]),
        (&["--rate", "x"], &["--rate <N>", "'x'"]),
        (&["--rate"], &["--rate <N>"]),
        (&["--listen", "x"], &["--listen <ADDR>", "127.0.0.1:8080"]),
        (&["--listen", ":x"], &["--listen <ADDR>", "127.0.0.1:8080"]),
        (
            &["--members-per-room", "0"],
            &["--members-per-room <N>", "1.."],
        ),
        (
            &["--origin", "chat.example"],
            &["--origin <ORIGIN>", "https://chat.example", "null", "*"],
        ),
        (
            &["--origin", "https://*.example"],
            &["--origin <ORIGIN>", "'https://*.example'"],
        ),
        (
            &["--origin", "https://a.example,b.example"],
            &["--origin <ORIGIN>", "'b.example'"],
        ),
        (
            &["--trust-proxy", "10.0.0.0/33"],
            &["--trust-proxy <CIDR>", "10.0.0.0/8"],
        ),
        (&["--burst", "0"], &["--burst <N>", "1.."]),
        (&["--admin", "x"], &["--admin <ADDR>", "127.0.0.1:8080"]),
        (&["--log", "loud"], &["--log <LEVEL>", levels]),
        (
            &["--log-format", "xml"],
            &["--log-format <FORMAT>", "text, json"],
        ),
        (&["serve", "--rate", "x"], &["--rate <N>", "'x'"]),
    ] {
        let refused = output(&mut parlor(args));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert_eq!(text(&refused.stdout), "");
        for expected in expected {
            assert!(said.contains(expected), "{args:?}, {expected:?}: {said}");
        }
    }
}

#[test]
fn a_bad_variable_is_named_with_its_flag() {
    for (variable, flag) in [
        ("PORT", "--port"),
        ("PARLOR_RATE", "--rate"),
        ("PARLOR_LISTEN", "--listen"),
        ("PARLOR_MEMORY", "--memory"),
        ("PARLOR_ORIGIN", "--origin"),
        ("PARLOR_TRUST_PROXY", "--trust-proxy"),
        ("PARLOR_LOG", "--log"),
        ("PARLOR_LOG_FORMAT", "--log-format"),
        ("PARLOR_ADMIN", "--admin"),
    ] {
        let refused = output(parlor(&[]).env(variable, "nonsense"));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{variable}: {said}");
        assert!(said.contains(flag) && said.contains("'nonsense'"), "{said}");
    }
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let refused = output(&mut parlor(&["--listen", &address]));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(text(&refused.stdout), "");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains(&address) && said.contains("--listen"),
        "{said}"
    );
}

#[test]
fn an_admin_port_in_use_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("there is room");
    let mut command = durable(dir.path(), &ANY_PORT);
    let refused = output(command.args(["--admin", &address]));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(text(&refused.stdout), "");
    assert_eq!(said.lines().count(), 1, "{said}");
    let names = said.contains(&address) && said.contains("--admin");
    assert!(names, "{said}");
    let made = std::fs::read_dir(dir.path()).expect("it is there").count();
    assert_eq!(made, 0, "nothing is opened before");
}

#[test]
fn port_replaces_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    // That it is in use shows that it was tried.
    let refused = output(parlor(&[]).env("PORT", &port));
    assert_eq!(refused.status.code(), Some(1));
    let address = format!("127.0.0.1:{port}");
    assert!(text(&refused.stderr).contains(&address));

    let mut elsewhere = parlor(&["--listen", &address]);
    let running = Running::start(elsewhere.env("PORT", "0"));
    ask(&mut running.connect(), HELLO);
}

#[test]
fn a_flag_beats_its_variable_which_beats_the_default() {
    let mut by_variable = parlor(&[]);
    by_variable.env("PARLOR_LISTEN", "127.0.0.1:0");
    by_variable.env("PARLOR_RATE", "7").env("PARLOR_BURST", "9");
    let mut by_flag = parlor(&["--listen", "127.0.0.1:0", "--rate", "5"]);
    by_flag.env("PARLOR_LISTEN", "192.0.2.1:1");
    by_flag.env("PARLOR_RATE", "7");
    for (command, rate, burst) in [(&mut by_variable, 7, 9), (&mut by_flag, 5, 20)] {
        let running = Running::start(command);
        let hello = ask(&mut running.connect(), HELLO);
        let limits = format!(r#""messagesPerSecond":{rate},"burst":{burst}"#);
        assert!(hello.contains(&limits), "{hello}");
    }
}

#[test]
fn serve_is_the_same_as_no_command() {
    for args in [
        &["serve", "--memory", "--listen", "127.0.0.1:0"][..],
        &["serve", "--listen", "127.0.0.1:0"],
        &["--memory", "--listen", "127.0.0.1:0"],
    ] {
        let mut command = parlor(args);
        command.env("PARLOR_RATE", "7").env("PARLOR_LOG", "warn");
        let running = Running::start(&mut command);
        let hello = ask(&mut running.connect(), HELLO);
        assert!(hello.contains(r#""messagesPerSecond":7"#), "{hello}");
    }
}

#[test]
fn a_variable_turns_a_flag_on_as_people_write_it() {
    let dir = tempfile::tempdir().expect("there is room");
    for yes_or_no in ["1", "0", "true", "false", "yes", "no", "on", "off"] {
        let mut command = durable(dir.path(), &ANY_PORT);
        Running::start(command.env("PARLOR_MEMORY", yes_or_no));
        let data = dir.path().join("parlor-data");
        let in_memory = ["1", "true", "yes", "on"].contains(&yes_or_no);
        assert_ne!(data.is_dir(), in_memory, "{yes_or_no}");
        if !in_memory {
            std::fs::remove_dir_all(data).expect("it is there");
        }
    }
}

#[test]
fn a_signal_is_a_goodbye_to_everybody_and_a_good_exit() {
    for signal in ["TERM", "INT"] {
        let mut running = Running::start(&mut parlor(&ANY_PORT));
        let mut socket = running.connect();
        ask(&mut socket, HELLO);
        running.signal(signal);
        let (code, messages) = read_to_close(&mut socket);
        assert_eq!((code, messages.len()), (CloseCode::Away, 1));
        for part in [r#""code":"SERVER_SHUTDOWN""#, r#""retryAfterMs":"#] {
            assert!(messages[0].contains(part), "{messages:?}");
        }
        drop(socket);
        let (status, stderr) = running.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn a_signal_right_after_the_line_is_heard() {
    for _ in 0..10 {
        let mut running = Running::start(&mut parlor(&ANY_PORT));
        // This one would end it otherwise.
        running.signal("HUP");
        running.signal("TERM");
        let (status, stderr) = running.end();
        assert_eq!(status.code(), Some(0), "{status}: {stderr}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut running = Running::start(&mut parlor(&["--listen", "127.0.0.1:0", "--rate", "0"]));
    let [mut reader, mut sleepy] = [(); 2].map(|()| running.connect());
    let join = |name| format!(r#"{{"type":"join","roomId":"r","username":"{name}"}}"#);
    ask(&mut reader, &join("reader"));
    ask(&mut sleepy, &join("sleepy"));
    read(&mut reader);
    // More than two systems hold for a client that does not read, and less than its outbox.
    let message = "x".repeat(2000);
    let message = format!(r#"{{"type":"message","roomId":"r","text":"{message}"}}"#);
    for _ in 0..400 {
        let said = ask(&mut reader, &message);
        assert!(said.contains(r#""type":"message""#), "{said}");
    }
    running.signal("TERM");
    let (code, _) = read_to_close(&mut reader);
    assert_eq!(code, CloseCode::Away);
    // Its goodbye still waits for the other one.
    running.signal("TERM");
    let (status, stderr) = running.end();
    assert_eq!(status.code(), Some(1), "{status}: {stderr}");
    drop(sleepy);
}
