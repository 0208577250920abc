//! The binary itself, as its users meet it.

mod admin;
mod bench;
mod cli;
mod crash;
mod data;
mod entrance;
#[cfg(target_os = "linux")]
mod full_disk;
mod health;
mod log;
mod record;
mod service;
mod tls;
mod tokens;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// A guard against tests that hang: nothing that is awaited takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];
const HELLO: &str = r#"{"type":"hello","protocol":1}"#;

/// The binary, untouched by what is set around the tests, with everything in memory.
fn parlor(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.args(args);
    alone(&mut command);
    command.env("PARLOR_MEMORY", "true");
    command
}

/// The binary in `dir`, where it makes a directory for its database unless told otherwise.
fn durable(dir: &Path, args: &[&str]) -> Command {
    let mut command = parlor(args);
    command.current_dir(dir).env_remove("PARLOR_MEMORY");
    command
}

/// Keeps away what is set around the tests.
fn alone(command: &mut Command) {
    command.stdin(Stdio::null());
    for variable in ["PORT", "NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"] {
        command.env_remove(variable);
    }
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in variables.filter(|name| name.starts_with("PARLOR_")) {
        command.env_remove(variable);
    }
}

/// What a run that ends by itself leaves behind.
fn output(command: &mut Command) -> Output {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the binary runs");
    let id = child.id().to_string();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(PATIENCE) else {
        let killed = Command::new("kill").arg(id).status();
        panic!("it goes on, but for a kill, which says {killed:?}");
    };
    output.expect("it can be waited for")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

/// A server that runs; killed when dropped.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    /// What its line said.
    url: String,
}

impl Running {
    /// Starts a server, and waits for its line.
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("it is piped");
        let mut running = Self {
            child,
            stdout: BufReader::new(stdout),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            url: String::new(),
        };
        running.url = running.line_behind("parlor listening on ");
        running.address = address_in(&running.url);
        running
    }

    /// The rest of its next line, which begins so.
    fn line_behind(&mut self, begin: &str) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        read.expect("it prints UTF-8");
        let rest = line.trim_end().strip_prefix(begin).map(str::to_string);
        rest.unwrap_or_else(|| panic!("{line:?}: {}", self.stderr()))
    }

    /// Where its operator's port is, as it says in its second line.
    fn admin(&mut self) -> SocketAddr {
        address_in(&self.line_behind("parlor admin on "))
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("there is a kill command").success());
    }

    /// Waits for the end; how it ended, and what stands on standard error.
    fn end(&mut self) -> (ExitStatus, String) {
        let stderr = self.stderr();
        let status = self.child.wait().expect("it was not waited for yet");
        (status, stderr)
    }

    /// Reads standard error to its end, which is the end of the process.
    fn stderr(&mut self) -> String {
        let mut stderr = self.child.stderr.take().expect("it is read once");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let read = stderr.read_to_string(&mut text);
            let _ = tell.send(read.map(|_| text));
        });
        let text = told.recv_timeout(PATIENCE).expect("the server ends");
        text.expect("it prints UTF-8")
    }

    fn connect(&self) -> WebSocket<TcpStream> {
        self.upgrade(self.dial()).expect("it lets everybody in")
    }

    /// A WebSocket over what stands already.
    fn upgrade<S: Read + Write>(&self, stream: S) -> Result<WebSocket<S>, String> {
        let url = format!("ws://{}/ws", self.address);
        let upgraded = tungstenite::client(url, stream).map_err(|error| error.to_string());
        upgraded.map(|(socket, _)| socket)
    }

    fn dial(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // The system takes little for a client that does not read.
        socket.set_recv_buffer_size(4096).expect("it is small");
        socket.connect(&self.address.into()).expect("it listens");
        let stream = TcpStream::from(socket);
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("it is a good time-out");
        stream
    }

    /// Reads standard error up to a line with this text, and leaves what follows.
    fn log_line(&mut self, with: &'static str) -> String {
        let mut stderr = self.child.stderr.take().expect("it is not read yet");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let line = read_to_line(&mut stderr, with);
            let _ = tell.send((stderr, line));
        });
        let told = told.recv_timeout(PATIENCE);
        let (stderr, line) = told.unwrap_or_else(|_| panic!("there is no line with {with:?}"));
        self.child.stderr = Some(stderr);
        line
    }
}

/// The next line with this text.
fn read_to_line(from: &mut impl Read, with: &str) -> String {
    let mut line = Vec::new();
    loop {
        // One by one, since what is read ahead is lost.
        let mut byte = [0];
        from.read_exact(&mut byte).expect("the server goes on");
        if byte != *b"\n" {
            line.extend(byte);
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut line)).expect("it prints UTF-8");
        if text.contains(with) {
            return text;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(url: &str) -> SocketAddr {
    let address = url
        .split_once("://")
        .and_then(|(_, address)| address.parse().ok());
    address.unwrap_or_else(|| panic!("{url}"))
}

/// The answer to a `GET` on a port that closes behind it.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("it is a good time-out");
    let request = format!("GET {path} HTTP/1.1\r\nHost: parlor\r\n\r\n");
    let written = stream.write_all(request.as_bytes());
    written.expect("it reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    read.expect("it answers in UTF-8");
    answer
}

/// The next message that is no ping.
fn read<S: Read + Write>(socket: &mut WebSocket<S>) -> Message {
    loop {
        match socket.read() {
            Ok(message) if message.is_ping() => {}
            // A read with a time-out is not begun again by the system (signal(7)).
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.expect("something comes"),
        }
    }
}

/// Sends a request; what comes next.
fn ask<S: Read + Write>(socket: &mut WebSocket<S>, request: &str) -> String {
    socket.send(Message::text(request)).expect("it is read");
    read(socket).to_string()
}

/// The code with which the server closes, and the messages before.
fn read_to_close<S: Read + Write>(socket: &mut WebSocket<S>) -> (CloseCode, Vec<String>) {
    let mut messages = Vec::new();
    loop {
        let message = read(socket);
        if let Message::Close(close) = message {
            return (close.expect("it has a code").code, messages);
        }
        messages.push(message.to_string());
    }
}

/// A client in a room.
struct Chat {
    socket: WebSocket<TcpStream>,
    /// The answer to its join.
    joined: Value,
    epoch: String,
    /// What the join replayed.
    replay: Vec<Value>,
}

impl Chat {
    fn join(running: &Running, room: &str, name: &str, since: Option<(&str, u64)>) -> Self {
        let since = since.map(|(epoch, seq)| json!({"epoch": epoch, "seq": seq}));
        let join = json!({"type": "join", "roomId": room, "username": name, "since": since});
        let mut socket = running.connect();
        let joined: Value = parse(&ask(&mut socket, &join.to_string()));
        let epoch = joined["epoch"].as_str();
        let epoch = epoch.unwrap_or_else(|| panic!("{joined}")).to_string();
        let replayed = joined["history"].as_u64().expect("it says how many");
        let replay = (0..replayed).map(|_| parse(&read(&mut socket).to_string()));
        let replay = replay.collect();
        Self {
            socket,
            joined,
            epoch,
            replay,
        }
    }

    fn send(&mut self, request: &Value) {
        let sent = self.socket.send(Message::text(request.to_string()));
        sent.expect("it is read");
    }

    /// Sends a request; what comes next.
    fn ask(&mut self, request: &Value) -> Value {
        parse(&ask(&mut self.socket, &request.to_string()))
    }

    /// Sends a request; what comes next, up to a message of this type.
    fn ask_all(&mut self, request: &Value, last: &str) -> Vec<Value> {
        let mut answers = vec![self.ask(request)];
        while answers.last().is_some_and(|answer| answer["type"] != last) {
            answers.push(parse(&read(&mut self.socket).to_string()));
        }
        answers
    }

    /// Says something, alone in the room; its acknowledgement.
    fn say(&mut self, room: &str, text: &str, id: &str) -> Value {
        self.ask(&json!({"type": "message", "roomId": room, "text": text, "clientMsgId": id}))
    }
}

fn parse(message: &str) -> Value {
    serde_json::from_str(message).expect("messages are JSON")
}
