//! `parlor health`: whom it asks, what it says, and how long it waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};

use super::{ANY_PORT, Running, output, parlor, text};

/// A server that answers one request with `answer`, and then with `more` for as long as somebody
/// reads. Its thread ends with the request.
fn answering(answer: &'static str, more: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
            request.extend(byte);
        }
        let mut written = stream.write_all(answer.as_bytes());
        while !more.is_empty() && written.is_ok() {
            written = stream.write_all(more.as_bytes());
        }
        String::from_utf8(request).expect("it is ASCII")
    });
    (address, thread)
}

fn health() -> Command {
    parlor(&["health"])
}

/// The one line about what is wrong.
fn unwell(asked: &Output) -> &str {
    let said = text(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert_eq!(text(&asked.stdout), "");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn well(asked: &Output) {
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked.stderr));
    assert_eq!(text(&asked.stdout), "ok\n");
}

#[test]
fn asked_is_the_server_that_the_same_environment_would_start() {
    let running = Running::start(&mut parlor(&ANY_PORT));
    let (address, port) = (running.address.to_string(), running.address.port());
    let url = format!("http://{address}/healthz");
    well(&output(health().env("PARLOR_LISTEN", &address)));
    well(&output(health().env("PORT", port.to_string())));
    let everywhere = format!("0.0.0.0:{port}");
    well(&output(health().env("PARLOR_LISTEN", everywhere)));
    well(&output(health().args(["--listen", &address])));
    well(&output(health().args(["--url", &url])));
    let elsewhere = output(health().args(["--url", &format!("http://{address}/nothing")]));
    assert!(unwell(&elsewhere).contains("/nothing answered 404: There is nothing here.;"));
}

#[test]
fn a_server_with_an_admin_address_is_asked_there_whether_it_is_ready() {
    const READY: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
    for everywhere in [false, true] {
        let (address, asked) = answering(READY, "");
        let port = address.port();
        let admin = if everywhere {
            format!("0.0.0.0:{port}")
        } else {
            address.to_string()
        };
        let mut command = health();
        command.env("PARLOR_ADMIN", admin);
        command.env("PARLOR_TLS_CERT", "cert.pem");
        well(&output(&mut command));
        let request = asked.join().expect("it only answers");
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
        let host = format!("\r\nhost: 127.0.0.1:{port}\r\n");
        assert!(request.contains(&host), "{request}");
    }
}

#[test]
fn who_cannot_be_asked_is_said_with_what_to_do() {
    let tls = output(health().env("PARLOR_TLS_CERT", "cert.pem"));
    assert!(unwell(&tls).contains("TLS") && unwell(&tls).contains("--admin"));
    let unknown = output(health().env("PORT", "0"));
    assert!(unwell(&unknown).contains("--url"));
    for url in [
        "https://127.0.0.1/",
        "/healthz",
        "127.0.0.1:8080",
        "http://",
        "x",
    ] {
        let refused = output(health().args(["--url", url]));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{url}: {said}");
        assert!(said.contains("--url <URL>"), "{url}: {said}");
    }
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    // Nobody else can get the port, and nobody listens on it.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    taken.bind(&any.into()).expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").as_socket();
    let address = address.expect("it is an address").to_string();
    let refused = output(health().env("PARLOR_LISTEN", &address));
    let url = format!("cannot connect to http://{address}/healthz: ");
    assert!(unwell(&refused).contains(&url), "{}", unwell(&refused));
    assert!(unwell(&refused).contains("start the server"));
}

#[test]
fn whoever_never_answers_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = silent.local_addr().expect("it is bound").to_string();
    let asked = output(health().env("PARLOR_LISTEN", &address));
    assert!(unwell(&asked).contains("within 3 s"), "{}", unwell(&asked));
}

#[test]
fn only_a_good_answer_is_good() {
    for (answer, more, expected) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\nstarting",
            "",
            "/healthz answered 503: starting; look into",
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "",
            "/healthz answered 301: ; look into",
        ),
        (
            "HTTP/1.1 500 No\r\n\r\n\u{1b}[31mred\u{7}\nmore",
            "",
            "answered 500: [31mred; look into",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok\n",
            "",
            "--url",
        ),
        ("", "", "no answer of a server from http://"),
        ("220 mail.example ESMTP\r\n", "", "--url"),
        ("HTTP/1.1 200 OK\r\n\r\nok\n", "more", "length limit"),
        ("HTTP/1.1 200 OK\r\nX: ", "more", "too large"),
    ] {
        let (address, thread) = answering(answer, more);
        let asked = output(health().env("PARLOR_LISTEN", address.to_string()));
        assert!(unwell(&asked).contains(expected), "{}", unwell(&asked));
        let request = thread.join().expect("it only answers");
        assert!(
            request.starts_with("GET /healthz HTTP/1.1\r\n"),
            "{request}"
        );
    }
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let help = output(&mut parlor(&["health", "--help"]));
    for expected in [
        "--url <URL>",
        "--listen <ADDR>",
        "[env: PARLOR_LISTEN=",
        "--admin <ADDR>",
        "[env: PARLOR_ADMIN=",
    ] {
        assert!(text(&help.stdout).contains(expected), "{expected}");
    }
}
