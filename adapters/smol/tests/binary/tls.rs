//! TLS as operators set it up, and what is read again on SIGHUP.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tungstenite::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;

use super::{ANY_PORT, HELLO, PATIENCE, Running, ask, output, parlor, read_to_close, text};

const NAME: &str = "localhost";

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The files of a certificate.
struct Files(TempDir);

impl Files {
    /// With a new certificate, and what clients need that trust it alone.
    fn new() -> (Self, Arc<ClientConfig>) {
        let files = Self(tempfile::tempdir().expect("there is room"));
        let trust = files.renew();
        (files, trust)
    }

    /// Replaces certificate and key.
    fn renew(&self) -> Arc<ClientConfig> {
        let made = generate_simple_self_signed([NAME.to_string()]);
        let CertifiedKey { cert, signing_key } = made.expect("it is a good name");
        fs::write(self.cert(), cert.pem()).expect("there is room");
        fs::write(self.key(), signing_key.serialize_pem()).expect("there is room");
        trust(cert.der())
    }

    fn cert(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut command = parlor(&ANY_PORT);
        command.arg("--tls-cert").arg(self.cert());
        command.arg("--tls-key").arg(self.key());
        Running::start(command.args(args))
    }
}

fn trust(certificate: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what they need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A WebSocket over TLS, or why there is none.
fn connect(running: &Running, trust: &Arc<ClientConfig>) -> Result<WebSocket<Stream>, String> {
    let name = ServerName::try_from(NAME).expect("it is a name");
    let connection = ClientConnection::new(trust.clone(), name).expect("it is well configured");
    running.upgrade(StreamOwned::new(connection, running.dial()))
}

fn assert_talks<S: Read + Write>(socket: &mut WebSocket<S>) {
    let answer = ask(socket, r#"{"type":"ping"}"#);
    assert!(answer.contains(r#""pong""#), "{answer}");
}

#[test]
fn the_line_says_https_and_nothing_else_is_spoken() {
    let (files, trust) = Files::new();
    let mut running = files.start(&["--log", "debug"]);
    assert_eq!(running.url, format!("https://{}", running.address));
    running.upgrade(running.dial()).expect_err("it speaks TLS");
    let line = running.log_line("no TLS handshake");
    assert!(line.contains("DEBUG"), "{line}");

    let mut socket = connect(&running, &trust).expect("it lets everybody in");
    ask(&mut socket, HELLO);
    running.signal("TERM");
    let (code, messages) = read_to_close(&mut socket);
    assert_eq!((code, messages.len()), (CloseCode::Away, 1));
    drop(socket);
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn without_tls_the_line_says_http() {
    let running = Running::start(&mut parlor(&ANY_PORT));
    assert_eq!(running.url, format!("http://{}", running.address));
}

#[test]
fn variables_do_as_well() {
    let (files, trust) = Files::new();
    let mut command = parlor(&ANY_PORT);
    command.env("PARLOR_TLS_CERT", files.cert());
    let running = Running::start(command.env("PARLOR_TLS_KEY", files.key()));
    assert_talks(&mut connect(&running, &trust).expect("it lets everybody in"));
}

#[test]
fn a_new_certificate_is_for_those_who_come_and_drops_nobody() {
    let (files, mut old) = Files::new();
    let mut running = files.start(&[]);
    let mut early = connect(&running, &old).expect("it lets everybody in");
    assert_talks(&mut early);
    for _ in 0..2 {
        let new = files.renew();
        // Nobody looks at the files until they are asked to.
        assert_talks(&mut connect(&running, &old).expect("it lets everybody in"));
        running.signal("HUP");
        let line = running.log_line("read the certificate again");
        assert!(line.contains("INFO"), "{line}");
        assert_talks(&mut connect(&running, &new).expect("it lets everybody in"));
        // Not even by a session of the time before, which would need no certificate.
        let refused = connect(&running, &old).expect_err("it has another certificate");
        assert!(refused.contains("certificate"), "{refused}");
        assert_talks(&mut early);
        old = new;
    }
}

#[test]
fn files_of_no_use_leave_the_certificate_as_it_was() {
    let (files, first) = Files::new();
    let key = fs::read_to_string(files.key()).expect("it is there");
    let mut running = files.start(&[]);
    let mut early = connect(&running, &first).expect("it lets everybody in");
    fs::write(files.cert(), "nonsense").expect("there is room");
    running.signal("HUP");
    let line = running.log_line("stays as it was");
    for part in ["WARN", "cert.pem", "no readable certificate"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    // The certificate is there already, its key is not yet.
    files.renew();
    fs::write(files.key(), &key).expect("there is room");
    running.signal("HUP");
    let line = running.log_line("stays as it was");
    assert!(line.contains("is not that of"), "{line}");
    assert_talks(&mut early);
    assert_talks(&mut connect(&running, &first).expect("it lets everybody in"));
    drop(early);
    running.signal("TERM");
    let (_, log) = running.end();
    for secret in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn files_of_no_use_are_said_in_one_line() {
    let (files, _) = Files::new();
    let missing = files.0.path().join("missing");
    let (cert, key) = (files.cert(), files.key());
    let other = Files::new().0;
    let cases: [(&Path, &Path, &Path, &str); 5] = [
        (&missing, &key, &missing, "cannot read"),
        (&cert, &missing, &missing, "cannot read"),
        (&key, &key, &key, "no readable certificate in it"),
        (&cert, &cert, &cert, "no readable private key in it"),
        (&cert, &other.key(), &other.key(), "is not that of"),
    ];
    for (cert, key, file, expected) in cases {
        let mut command = parlor(&ANY_PORT);
        command.arg("--tls-cert").arg(cert);
        let refused = output(command.arg("--tls-key").arg(key));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert_eq!(text(&refused.stdout), "");
        assert_eq!(said.lines().count(), 1, "{said}");
        let file = file.to_str().expect("it is UTF-8");
        assert!(said.contains(file) && said.contains(expected), "{said}");
    }
}

#[test]
fn certificate_and_key_belong_together() {
    for (alone, variable, missing) in [
        ("--tls-cert", "PARLOR_TLS_CERT", "--tls-key"),
        ("--tls-key", "PARLOR_TLS_KEY", "--tls-cert"),
    ] {
        let mut by_variable = parlor(&[]);
        by_variable.env(variable, "file");
        for command in [&mut parlor(&[alone, "file"]), &mut by_variable] {
            let refused = output(command);
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains(missing), "{said}");
        }
    }
}

#[test]
fn without_files_a_hangup_changes_nothing() {
    let mut running = Running::start(&mut parlor(&ANY_PORT));
    let mut socket = running.connect();
    for _ in 0..2 {
        running.signal("HUP");
        let line = running.log_line("there is nothing to read again");
        assert!(line.contains("INFO"), "{line}");
        assert_talks(&mut socket);
    }
}

#[test]
fn a_closed_terminal_harms_nobody() {
    let mut running = Running::start(&mut parlor(&ANY_PORT));
    let mut socket = running.connect();
    // Every line from here on fails.
    drop(running.child.stderr.take());
    running.signal("HUP");
    assert_talks(&mut socket);
    assert_talks(&mut running.connect());
}

#[test]
fn handshakes_that_do_not_end_are_counted() {
    // As many as one address may have, and both ends of all of them.
    rlimit::increase_nofile_limit(4096).expect("the system allows it");
    let (files, trust) = Files::new();
    let running = files.start(&[]);
    let silent: Vec<TcpStream> = (0..1024).map(|_| running.dial()).collect();
    connect(&running, &trust).expect_err("there are too many");
    drop(silent);
    let begun = Instant::now();
    while let Err(refused) = connect(&running, &trust) {
        assert!(begun.elapsed() < PATIENCE, "{refused}");
        thread::yield_now();
    }
}
