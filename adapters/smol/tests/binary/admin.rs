//! The operator's port of the binary.

use std::io::BufRead;

use super::{ANY_PORT, Running, get, parlor};

#[test]
fn there_is_no_operators_port_unless_asked_for() {
    let mut running = Running::start(&mut parlor(&ANY_PORT));
    running.signal("TERM");
    let mut more = String::new();
    let read = running.stdout.read_line(&mut more);
    assert_eq!((read.ok(), &*more), (Some(0), ""));
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn the_operators_port_is_told_behind_the_servers() {
    let mut command = parlor(&ANY_PORT);
    let mut running = Running::start(command.env("PARLOR_ADMIN", "127.0.0.1:0"));
    let admin = running.admin();
    assert_ne!(admin, running.address);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(admin, path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// The lock of the data directory is a pipe: who opens it waits until somebody reads from it.
#[cfg(target_os = "linux")]
#[test]
fn a_server_that_waits_for_its_store_is_starting() {
    use std::fs::File;
    use std::io::BufReader;
    use std::process::{Command, Stdio};

    use super::durable;

    let dir = tempfile::tempdir().expect("there is room");
    let data = dir.path().join("parlor-data");
    std::fs::create_dir(&data).expect("there is room");
    let lock = data.join("parlor.lock");
    let made = Command::new("mkfifo").arg(&lock).status();
    assert!(made.expect("there is a mkfifo command").success());
    let mut command = durable(dir.path(), &ANY_PORT);
    command.args(["--admin", "127.0.0.1:0"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // Its lines come when it is ready; the log tells before.
    let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    let address = loop {
        line.clear();
        let read = log.read_line(&mut line).expect("it prints UTF-8");
        assert_ne!(read, 0, "it ended");
        if let Some((_, address)) = line.split_once("the admin port is open address=") {
            break address.trim_end().parse().expect("it is an address");
        }
    };
    let answer = get(address, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nstarting\n"), "{answer}");
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
    let metrics = get(address, "/metrics");
    assert!(metrics.contains("\nparlor_ready 0\n"), "{metrics}");

    let _reader = File::open(&lock).expect("it is there");
    let stdout = child.stdout.take().expect("it is piped");
    let mut running = Running {
        child,
        stdout: BufReader::new(stdout),
        address,
        url: String::new(),
    };
    running.line_behind("parlor listening on ");
    assert_eq!(running.admin(), address);
    let answer = get(address, "/readyz");
    assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");
}
