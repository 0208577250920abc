//! The network between a client and the server: packets of one connection come in order, later than
//! they were sent, or not at all.

use super::door::Door;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client that keeps the rules, by number.
    Person(usize),
    /// One that does not.
    Stranger(usize),
}

/// What comes from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// The connection stands.
    Opened,
    /// A text frame.
    Text(String),
    /// A ping.
    Ping,
    /// The end, with its code.
    Close(u16),
    /// It is gone.
    Gone,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// Whose it is.
    pub owner: Owner,
    /// The server's end of it, if it is there.
    pub door: Option<Door>,
    /// Whether the client still listens.
    pub is_listening: bool,
    /// Nothing comes through any more, but word of the end.
    pub broken: bool,
    /// Nothing comes through to the server, and to the client.
    pub silent: (bool, bool),
    /// How many bytes the client reads every now and then; none is all of them, always.
    pub slow: Option<usize>,
    /// When the server's end has something to do with the time, ms.
    pub due_ms: u64,
    /// When the last packets arrive, ms.
    last_ms: (u64, u64),
}

impl Link {
    /// A connection that is being opened.
    #[must_use]
    pub const fn new(owner: Owner) -> Self {
        Self {
            owner,
            door: None,
            is_listening: true,
            broken: false,
            silent: (false, false),
            slow: None,
            due_ms: 0,
            last_ms: (0, 0),
        }
    }

    /// When a packet to the server arrives that would like to at `ms`.
    pub fn up_at(&mut self, ms: u64) -> u64 {
        self.last_ms.0 = self.last_ms.0.max(ms);
        self.last_ms.0
    }

    /// The same for one to the client.
    pub fn down_at(&mut self, ms: u64) -> u64 {
        self.last_ms.1 = self.last_ms.1.max(ms);
        self.last_ms.1
    }
}
