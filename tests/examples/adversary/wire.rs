//! A WebSocket as a client or an attacker has it: cheap enough for hundreds of them on one thread.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use parlor_tests::client::handshake;
use smol::Async;
use smol::io::AsyncWriteExt;
use socket2::{Domain, SockRef, Socket, Type};

/// A connection to the server.
pub(crate) struct Wire {
    stream: Rc<Async<TcpStream>>,
    /// What was read; up to `taken` it was handed out.
    read: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// A TCP connection from an address of this machine's own network, so that the server counts it
    /// apart from those of other addresses. With `receive_bytes` the system takes as little for it.
    pub(crate) async fn dial(
        from: Ipv4Addr,
        server: SocketAddr,
        receive_bytes: Option<usize>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        // It is under way, whatever this returns; whether it arrives is told below.
        let _ = socket.connect(&server.into());
        let stream = Async::new(TcpStream::from(socket))?;
        stream.writable().await?;
        stream.get_ref().peer_addr()?;
        Ok(Self {
            stream: Rc::new(stream),
            read: Vec::new(),
            taken: 0,
        })
    }

    /// The same, and a WebSocket.
    pub(crate) async fn connect(from: Ipv4Addr, server: SocketAddr) -> io::Result<Self> {
        let mut wire = Self::dial(from, server, None).await?;
        wire.upgrade().await?;
        Ok(wire)
    }

    /// Makes it a WebSocket.
    pub(crate) async fn upgrade(&mut self) -> io::Result<()> {
        self.write(handshake("/ws").as_bytes()).await?;
        match &*self.status().await? {
            "101" => Ok(()),
            status => Err(io::Error::other(format!("refused {status}"))),
        }
    }

    /// The status of the next HTTP response, which has no body.
    pub(crate) async fn status(&mut self) -> io::Result<String> {
        const BLANK: &[u8] = b"\r\n\r\n";
        loop {
            if let Some(at) = self.read.windows(BLANK.len()).position(|w| w == BLANK) {
                let head = String::from_utf8_lossy(&self.read[..at]);
                let status = head.split(' ').nth(1).unwrap_or_default().into();
                self.taken = at + BLANK.len();
                return Ok(status);
            }
            self.fill().await?;
        }
    }

    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.stream).write_all(bytes).await
    }

    /// Another hand to write with, for whoever reads at the same time. Frames stay whole as long as
    /// the system takes each at once, which it does for whoever writes little.
    pub(crate) fn writer(&self) -> Writer {
        Writer(self.stream.clone())
    }

    /// The next frame: its first byte, and its payload.
    pub(crate) async fn frame(&mut self) -> io::Result<(u8, &[u8])> {
        let (start, end) = loop {
            match payload(&self.read[self.taken..]) {
                Some((start, end)) => break (self.taken + start, self.taken + end),
                None => self.fill().await?,
            }
        };
        let head = self.read[self.taken];
        self.taken = end;
        Ok((head, &self.read[start..end]))
    }

    /// Reads some more. What was read is kept if this is cancelled.
    async fn fill(&mut self) -> io::Result<()> {
        const AT_ONCE: usize = 4 << 10;
        self.read.drain(..self.taken);
        self.taken = 0;
        let before = self.read.len();
        loop {
            self.read.resize(before + AT_ONCE, 0);
            let read = (&mut self.stream.get_ref()).read(&mut self.read[before..]);
            self.read.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.readable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends it with a reset instead of a goodbye.
    pub(crate) fn reset(self) {
        // Fails when the server was faster.
        let _ = SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
    }
}

/// The writing half of a connection.
pub(crate) struct Writer(Rc<Async<TcpStream>>);

impl Writer {
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.0).write_all(bytes).await
    }
}

/// Where the payload of the server's frame in `bytes` begins and ends, if all of it is there.
fn payload(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, bytes.get(2..4)?),
        127 => (10, bytes.get(2..10)?),
        _ => (2, &bytes[1..2]),
    };
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    (bytes.len() >= start + length).then_some((start, start + length))
}
