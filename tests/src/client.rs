//! A WebSocket client with its hands on the bytes: what it sends may be right or wrong. It shares no
//! code with the server, and it blocks, so a test reads from top to bottom.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::certificate::NAME;

/// A guard against tests that hang: nothing that is awaited takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The first byte of frames that are whole messages (RFC 6455, section 5.2).
pub mod head {
    /// A text.
    pub const TEXT: u8 = 0x81;
    /// A text of which more follows.
    pub const TEXT_BEGINS: u8 = 0x01;
    /// More of a message, and more follows.
    pub const CONTINUES: u8 = 0x00;
    /// The rest of a message.
    pub const ENDS: u8 = 0x80;
    /// Bytes.
    pub const BINARY: u8 = 0x82;
    /// The end of the connection.
    pub const CLOSE: u8 = 0x88;
    /// Asks for a sign of life.
    pub const PING: u8 = 0x89;
    /// A sign of life.
    pub const PONG: u8 = 0x8A;
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A message of the chat.
    Message(Value),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// The end, with the code of the close frame if it has one.
    Close(Option<u16>),
}

/// Where a server is, and whether it speaks TLS.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    /// What a client needs to know for TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// What was read and not yet understood.
    read: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A client's frame: masked, as it must be.
#[must_use]
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    const KEY: [u8; 4] = [0x5A, 0xC3, 0x0F, 0x96];
    let mut bytes = vec![head];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => bytes.push(MASKED | short),
        (_, Ok(medium)) => {
            bytes.push(MASKED | 126);
            bytes.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            bytes.push(MASKED | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    let masked = payload.iter().zip(KEY.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// The request that turns a connection into a WebSocket.
#[must_use]
pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: parlor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

impl Client {
    /// Connects, and speaks WebSocket from then on.
    ///
    /// # Panics
    /// When the server does not let it in.
    #[must_use]
    pub fn connect(server: impl Into<Door>) -> Self {
        Self::connect_to(server, "/ws")
    }

    /// The same with another path.
    ///
    /// # Panics
    /// When the server does not let it in.
    #[must_use]
    pub fn connect_to(server: impl Into<Door>, path: &str) -> Self {
        let mut client = Self::dial(server);
        client.upgrade(path);
        client
    }

    /// The same for a client whose system takes little before the client reads.
    ///
    /// # Panics
    /// When the server does not let it in.
    #[must_use]
    pub fn connect_narrow(server: impl Into<Door>) -> Self {
        let mut client = Self::dial_narrow(server);
        client.upgrade("/ws");
        client
    }

    /// A TCP connection, without a handshake.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn dial(server: impl Into<Door>) -> Self {
        let door = server.into();
        let stream = TcpStream::connect(door.address);
        Self::on(stream.expect("the server listens"), door.tls)
    }

    /// The same for a client whose system takes little before the client reads.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn dial_narrow(server: impl Into<Door>) -> Self {
        let door = server.into();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("it is small");
        let connected = socket.connect(&door.address.into());
        connected.expect("the server listens");
        Self::on(socket.into(), door.tls)
    }

    fn on(stream: TcpStream, tls: Option<Arc<ClientConfig>>) -> Self {
        stream.set_nodelay(true).expect("it is a TCP connection");
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).expect("it is a good time-out");
        }
        let stream = match tls {
            None => Stream::Tcp(stream),
            Some(config) => {
                let name = ServerName::try_from(NAME).expect("it is a name");
                let connection = ClientConnection::new(config, name);
                let connection = connection.expect("the configuration is good");
                Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Self {
            stream,
            read: Vec::new(),
        }
    }

    fn upgrade(&mut self, path: &str) {
        self.write(handshake(path).as_bytes());
        let response = self.response();
        let accepted = response.starts_with("HTTP/1.1 101 ")
            && response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accepted, "{response}");
    }

    // Out.

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection does not take them.
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server reads");
    }

    /// The same for a server that may have ended the connection.
    ///
    /// # Errors
    /// When it has.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends one frame.
    pub fn send_frame(&mut self, head: u8, payload: &[u8]) {
        self.write(&frame(head, payload));
    }

    /// Sends a text.
    pub fn send_text(&mut self, text: &str) {
        self.send_frame(head::TEXT, text.as_bytes());
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Value) {
        self.send_text(&request.to_string());
    }

    /// Sends requests in one go.
    pub fn send_all(&mut self, requests: &[Value]) {
        let frames = requests
            .iter()
            .map(|request| frame(head::TEXT, request.to_string().as_bytes()));
        self.write(&frames.collect::<Vec<_>>().concat());
    }

    /// Says something to a room.
    pub fn say(&mut self, room: &str, text: &str) {
        self.send(&json!({ "type": "message", "roomId": room, "text": text }));
    }

    /// Joins a room; its `joined`.
    pub fn join(&mut self, room: &str, username: &str) -> Value {
        self.send(&json!({ "type": "join", "roomId": room, "username": username }));
        self.expect(&json!({ "type": "joined", "roomId": room }))
    }

    // In.

    /// What comes next.
    ///
    /// # Panics
    /// When nothing does.
    pub fn incoming(&mut self) -> Incoming {
        let (head, payload) = self.next_frame();
        match head {
            head::TEXT => {
                Incoming::Message(serde_json::from_slice(&payload).expect("the server sends JSON"))
            }
            head::PING => Incoming::Ping(payload),
            head::PONG => Incoming::Pong(payload),
            head::CLOSE => {
                let code = payload.first_chunk().copied().map(u16::from_be_bytes);
                Incoming::Close(code)
            }
            _ => panic!("the server sends no frame that begins with {head:#04x}"),
        }
    }

    /// The first byte of the next frame, and its payload.
    ///
    /// # Panics
    /// When there is none.
    pub fn next_frame(&mut self) -> (u8, Vec<u8>) {
        let bytes = self.take(2);
        let (head, length) = (bytes[0], bytes[1]);
        let length = match length {
            126 => self.take(2),
            127 => self.take(8),
            short => vec![short],
        };
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        (head, self.take(length))
    }

    /// The next message. Pings on the way are answered.
    ///
    /// # Panics
    /// When something else comes.
    pub fn message(&mut self) -> Value {
        loop {
            match self.incoming() {
                Incoming::Message(message) => return message,
                Incoming::Ping(payload) => self.send_frame(head::PONG, &payload),
                other @ (Incoming::Pong(_) | Incoming::Close(_)) => {
                    panic!("a message is awaited, not {other:?}")
                }
            }
        }
    }

    /// The next message, which has these fields with these values.
    ///
    /// # Panics
    /// When it has not.
    pub fn expect(&mut self, fields: &Value) -> Value {
        let message = self.message();
        for (name, value) in fields.as_object().expect("fields with their values") {
            assert_eq!(
                message.get(name),
                Some(value),
                "`{name}` of {message} is awaited to be as in {fields}"
            );
        }
        message
    }

    /// Asks for a pong, which is the very next message: so nothing else was on its way.
    pub fn expect_silence(&mut self) {
        self.send(&json!({ "type": "ping", "ref": "silence" }));
        self.expect(&json!({ "type": "pong", "ref": "silence" }));
    }

    /// The code with which the server closes. It ends the connection then, and nothing comes behind.
    ///
    /// # Panics
    /// When something else comes first.
    pub fn expect_close(&mut self) -> Option<u16> {
        let incoming = self.incoming();
        let Incoming::Close(code) = incoming else {
            panic!("a close is awaited, not {incoming:?}")
        };
        self.expect_end();
        code
    }

    /// The connection ends, and nothing more comes.
    ///
    /// # Panics
    /// When more comes.
    pub fn expect_end(&mut self) {
        assert!(!self.fill(), "nothing more is awaited: {:?}", self.read);
    }

    /// Everything that still comes, and whether the end is one: over TLS it has to be said.
    ///
    /// # Panics
    /// When there is no end.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let unsaid = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        let ended = loop {
            match self.try_fill() {
                Ok(true) => {}
                Ok(false) => break true,
                Err(error) if unsaid.contains(&error.kind()) => break false,
                Err(error) => panic!("it does not end: {error}"),
            }
        };
        (std::mem::take(&mut self.read), ended)
    }

    /// What TLS knows of the connection.
    ///
    /// # Panics
    /// When it does not speak TLS.
    pub fn tls(&mut self) -> &mut ClientConnection {
        match &mut self.stream {
            Stream::Tcp(_) => panic!("it speaks no TLS"),
            Stream::Tls(stream) => &mut stream.conn,
        }
    }

    /// Ends the sending half.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn finish(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().expect("the server reads");
        }
        self.truncate();
    }

    /// The same without a word of TLS.
    pub fn truncate(&mut self) {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        };
        // Fails when the server has reset the connection, which is as good.
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Closes as a client should.
    ///
    /// # Panics
    /// When the server does not answer so.
    pub fn close(mut self) {
        self.send_frame(head::CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(self.expect_close(), Some(1000));
    }

    /// The next HTTP response, as text.
    ///
    /// # Panics
    /// When none comes.
    pub fn response(&mut self) -> String {
        let mut response = self.response_head();
        let lower = response.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let body = self.take(length.map_or(0, |n| n.parse().expect("a number")));
        response += &String::from_utf8(body).expect("it is UTF-8");
        response
    }

    /// The head of the next HTTP response, as text: all of it if a HEAD is answered.
    ///
    /// # Panics
    /// When none comes.
    pub fn response_head(&mut self) -> String {
        const BLANK: &[u8] = b"\r\n\r\n";
        let head = loop {
            let found = self.read.windows(BLANK.len()).position(|w| w == BLANK);
            if let Some(at) = found {
                break self.take(at + BLANK.len());
            }
            assert!(self.fill(), "a response is awaited: {:?}", self.read);
        };
        String::from_utf8(head).expect("it is ASCII")
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.fill(), "the connection ended: {:?}", self.read);
        }
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads some more; false at the end of the connection, also if it was reset. Over TLS an end
    /// without a word is a failure.
    fn fill(&mut self) -> bool {
        match self.try_fill() {
            Ok(filled) => filled,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }

    fn try_fill(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut bytes),
                Stream::Tls(stream) => stream.read(&mut bytes),
            };
            match read {
                Ok(count) => {
                    self.read.extend_from_slice(&bytes[..count]);
                    return Ok(count > 0);
                }
                // A read with a time-out is not begun again by the system (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
