//! What systemd hands over (sd_listen_fds(3)), and what it is told (sd_notify(3)).

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::{ANY_PORT, HELLO, PATIENCE, Running, alone, ask, output, read, text};

/// The server with something as its file descriptor 3.
fn handed(socket: impl Into<OwnedFd>, environment: &str) -> Command {
    let mut command = Command::new("sh");
    // Only here is it known which process it will be.
    let exec = format!("{environment} exec \"$0\" \"$@\" 3<&0 </dev/null");
    command.args(["-c", &exec, env!("CARGO_BIN_EXE_parlor")]);
    command.args(ANY_PORT);
    alone(&mut command);
    command.env("PARLOR_MEMORY", "true");
    command.stdin(Stdio::from(socket.into()));
    command
}

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

#[test]
fn nobody_is_refused_while_it_starts_again() {
    const ACTIVATED: &str = "LISTEN_PID=$$ LISTEN_FDS=1";
    let (listener, address) = listening();
    let start = || {
        let socket = listener.try_clone().expect("there are file descriptors");
        Running::start(&mut handed(socket, ACTIVATED))
    };
    let mut first = start();
    assert_eq!(first.address, address);
    ask(&mut first.connect(), HELLO);
    first.signal("TERM");
    let (status, stderr) = first.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("a listening socket was handed over"),
        "{stderr}"
    );

    let stream = TcpStream::connect(address).expect("the socket still listens");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("it is a good time-out");
    let second = start();
    assert_eq!(second.address, address);
    let url = format!("ws://{address}/ws");
    let (mut early, _) = tungstenite::client(url, stream).expect("it lets everybody in");
    ask(&mut early, HELLO);
}

#[test]
fn a_socket_for_another_process_is_left_alone() {
    let (listener, address) = listening();
    let mut command = handed(listener, "LISTEN_PID=1 LISTEN_FDS=1");
    let running = Running::start(&mut command);
    assert_ne!(running.address, address);
    ask(&mut running.connect(), HELLO);
}

#[test]
fn what_is_no_listening_socket_is_said_in_one_line() {
    let two = "LISTEN_PID=$$ LISTEN_FDS=2";
    let one = "LISTEN_PID=$$ LISTEN_FDS=1";
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let file = File::open("/dev/null").expect("it is there");
    let (datagrams, _) = UnixDatagram::pair().expect("there are sockets");
    for (mut command, expected) in [
        (handed(listening().0, two), "2 sockets in LISTEN_FDS"),
        (handed(deaf, one), "it does not listen"),
        (handed(file, one), "fd 3 is not a socket"),
        (handed(datagrams, one), "fd 3 is not a valid tcp socket"),
    ] {
        let refused = output(&mut command);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert_eq!(text(&refused.stdout), "");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("ListenStream="), "{said}");
    }
}

#[test]
fn the_service_manager_hears_when_it_is_ready_alive_and_ending() {
    let dir = tempfile::tempdir().expect("there is room");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("there is room");
    let patience = manager.set_read_timeout(Some(PATIENCE));
    patience.expect("it is a good time-out");
    let told = || {
        let mut told = [0; 256];
        let length = manager.recv(&mut told).expect("something comes");
        text(&told[..length]).to_string()
    };
    let (listener, address) = listening();
    let mut command = handed(listener, "LISTEN_PID=$$ LISTEN_FDS=1");
    command.env("NOTIFY_SOCKET", &path);
    // Microseconds.
    command.env("WATCHDOG_USEC", "200000");
    let mut running = Running::start(&mut command);
    assert_eq!(told(), format!("READY=1\nSTATUS=listening on {address}\n"));
    let mut socket = running.connect();
    ask(&mut socket, HELLO);
    assert_eq!(told(), "WATCHDOG=1\n");
    running.signal("TERM");
    let mut last = told();
    while last == "WATCHDOG=1\n" {
        last = told();
    }
    assert_eq!(last, "STOPPING=1\nSTATUS=saying goodbye\n");
    // Nobody reads what is told from here on, and who tells it must not wait for that.
    drop(manager);
    read(&mut socket);
    drop(socket);
    let (status, stderr) = running.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[test]
fn a_service_manager_that_is_gone_stops_nobody() {
    let (listener, _) = listening();
    let mut command = handed(listener, "LISTEN_PID=$$ LISTEN_FDS=1");
    command.env("NOTIFY_SOCKET", "/nowhere/notify");
    let mut running = Running::start(&mut command);
    ask(&mut running.connect(), HELLO);
    running.signal("TERM");
    let (status, stderr) = running.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("NOTIFY_SOCKET"), "{stderr}");
}
