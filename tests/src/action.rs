//! What a test does to a server: actions whose operands are taken modulo what exists, so that every
//! sequence of them is legal. [`run`](crate::run) says what each operand means.

/// One thing that happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A connection comes.
    Connect,
    /// One that stands is announced a second time.
    ConnectAgain {
        /// Which connection.
        conn: u8,
    },
    /// A connection ends.
    Disconnect {
        /// Which connection.
        conn: u8,
        /// Why.
        cause: u8,
    },
    /// A token of a connection was verified.
    Identify {
        /// Which connection.
        conn: u8,
        /// As whom.
        name: u8,
        /// For which rooms.
        rooms: u8,
    },
    /// A well-formed request.
    Request {
        /// Of which connection.
        conn: u8,
        /// Whether it carries a `ref`.
        tagged: bool,
        /// What it asks.
        ask: Ask,
    },
    /// A text frame, good or bad, through the session.
    Frame {
        /// Of which connection.
        conn: u8,
        /// Which of [`FRAMES`].
        which: u8,
    },
    /// The application says something.
    Publish {
        /// In which room.
        room: u8,
        /// Under which name.
        name: u8,
        /// Which text.
        text: u8,
        /// Under which `clientMsgId`, if any.
        id: u8,
    },
    /// The store answers a load, however late.
    AnswerLoad {
        /// Which of those under way.
        which: u8,
        /// With a tail of what length, or with a failure.
        how: u8,
    },
    /// An answer to a load that nobody waits for.
    StrayLoad {
        /// Of which room.
        room: u8,
        /// To which load.
        load: u8,
        /// Whether it is a failure.
        fails: bool,
    },
    /// The store answers a fetch.
    AnswerFetch {
        /// Which of those under way.
        which: u8,
        /// Whether with a failure.
        fails: bool,
    },
    /// The store stores nothing for a while.
    StoreFailed,
    /// It works again.
    StoreRecovered,
    /// The store loses the log of a room that nobody uses.
    ForgetLog {
        /// Which room.
        room: u8,
    },
    /// Time passes.
    Wait {
        /// How much.
        ms: u16,
    },
    /// The clock is set back.
    GoBack {
        /// How far.
        ms: u16,
    },
    /// The server goes away.
    Shutdown,
    /// The state is lost; a new one starts from the store.
    Restart,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `hello`.
    Hello {
        /// Which resume token: none, a made-up one, that of a connection that came, or that of the
        /// guest that one is.
        resume: u8,
        /// Whether with a version that nobody speaks.
        wrong_version: bool,
    },
    /// `join`.
    Join {
        /// Which room.
        room: u8,
        /// Under which name, if any.
        name: u8,
        /// From where on.
        since: u8,
        /// How many entries.
        history: u8,
    },
    /// `leave`.
    Leave {
        /// Which room.
        room: u8,
    },
    /// `message`.
    Message {
        /// To which room.
        room: u8,
        /// Which text.
        text: u8,
        /// Under which `clientMsgId`, if any.
        id: u8,
    },
    /// `typing`.
    Typing {
        /// In which room.
        room: u8,
    },
    /// `list_rooms`.
    ListRooms {
        /// Behind which room, if any.
        after: u8,
    },
    /// `list_users`.
    ListUsers {
        /// Of which room.
        room: u8,
    },
    /// `get_history`.
    GetHistory {
        /// Of which room.
        room: u8,
        /// How many entries.
        limit: u8,
        /// Before which.
        before: u8,
    },
    /// `ping`.
    Ping,
}

/// The types of all requests.
pub const REQUESTS: [&str; 9] = [
    "hello",
    "join",
    "leave",
    "message",
    "typing",
    "list_rooms",
    "list_users",
    "get_history",
    "ping",
];

/// The operand that means a connection nobody has heard of.
pub const STRANGER: u8 = 255;

/// Frames as clients send them: one for every way in which a frame can be bad, and some good ones.
pub const FRAMES: &[&str] = &[
    "nonsense",
    "[]",
    "{}",
    r#"{"type":"nonsense","ref":"f"}"#,
    r#"{"type":"join","roomId":" a"}"#,
    r#"{"type":"join","roomId":"a","username":"\u0007","ref":"f"}"#,
    r#"{"type":"message","roomId":"a","text":"","clientMsgId":"f"}"#,
    r#"{"type":"get_history","roomId":"a","limit":0}"#,
    r#"{"type":"typing","roomId":"a","active":"yes"}"#,
    r#"{"type":"hello","protocol":1,"protocol":1}"#,
    r#"{"type":"ping","ref":"f"}"#,
    r#"{"type":"typing","roomId":"a","active":true}"#,
    r#"{"type":"join","roomId":"a","username":"ann","since":null,"history":2.0}"#,
    r#"{"type":"message","roomId":"a","text":"from a frame","clientMsgId":"f"}"#,
];

/// How many bytes make an action.
pub const ACTION_BYTES: usize = 6;

impl Action {
    /// The action that these bytes mean: all of them mean one.
    #[must_use]
    pub const fn from_bytes([kind, conn, a, b, c, d]: [u8; ACTION_BYTES]) -> Self {
        let ask = match kind {
            0..12 => return Self::Connect,
            12..30 => return Self::AnswerLoad { which: a, how: b },
            30..34 => return Self::Disconnect { conn, cause: a },
            34..44 => {
                return Self::Identify {
                    conn,
                    name: a,
                    rooms: b,
                };
            }
            44..52 => return Self::Frame { conn, which: a },
            52..58 => {
                return Self::AnswerFetch {
                    which: a,
                    fails: b % 4 == 3,
                };
            }
            58..74 => {
                return Self::Wait {
                    ms: u16::from_le_bytes([a, b % 8]),
                };
            }
            74..76 => {
                return Self::GoBack {
                    ms: u16::from_le_bytes([a, b % 8]),
                };
            }
            76..78 => return Self::ConnectAgain { conn },
            78..80 => {
                return Self::StrayLoad {
                    room: a,
                    load: b,
                    fails: c % 2 == 1,
                };
            }
            80..82 => return Self::StoreFailed,
            82..86 => return Self::StoreRecovered,
            86..88 => return Self::ForgetLog { room: a },
            88 => return Self::Shutdown,
            89..92 => return Self::Restart,
            92..105 => Ask::Hello {
                resume: a,
                wrong_version: b == 1,
            },
            105..150 => Ask::Join {
                room: a,
                name: b,
                since: c,
                history: d,
            },
            150..164 => Ask::Leave { room: a },
            206..216 => {
                return Self::Publish {
                    room: a,
                    name: conn,
                    text: b,
                    id: c,
                };
            }
            164..206 => Ask::Message {
                room: a,
                text: b,
                id: c,
            },
            216..222 => Ask::Typing { room: a },
            222..228 => Ask::ListRooms { after: a },
            228..234 => Ask::ListUsers { room: a },
            234..252 => Ask::GetHistory {
                room: a,
                limit: b,
                before: c,
            },
            252..=255 => Ask::Ping,
        };
        Self::Request {
            conn,
            tagged: conn % 2 == 1,
            ask,
        }
    }

    /// `len` actions, decided by `seed` alone.
    #[must_use]
    pub fn random(seed: u64, len: usize) -> Vec<Self> {
        let mut state = seed;
        let random = std::iter::repeat_with(|| {
            // SplitMix64 (Steele, Lea and Flood, 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).to_le_bytes()
        });
        let action = |[kind, conn, a, b, c, d, ..]: [u8; 8]| [kind, conn, a, b, c, d];
        random.take(len).map(action).map(Self::from_bytes).collect()
    }

    /// As many actions as there are bytes for.
    #[must_use]
    pub fn all_from_bytes(bytes: &[u8]) -> Vec<Self> {
        let (chunks, _) = bytes.as_chunks();
        chunks.iter().copied().map(Self::from_bytes).collect()
    }
}
