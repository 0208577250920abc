//! How much load to put on which server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use hyper::Uri;
use parlor_core::limits::TEXT_CHARS;

use super::listen::{address, plain_url};
use crate::bench::SHORTEST_TEXT;

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// WebSocket URL of the server.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/ws", value_parser = websocket)]
    pub(crate) url: Uri,

    /// Connections, each of them a user in one room.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,

    /// Rooms that they are spread over.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=60_000))]
    pub(crate) rooms: u32,

    /// Users in each room that say something; the others listen.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub(crate) senders: u32,

    /// Open loop: messages a second from all senders together, 5 for each of them if nothing is
    /// said. Latency counts from when a message was due, however late it was sent.
    #[arg(long, value_name = "N", conflicts_with = "window", value_parser = value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,

    /// Closed loop: each sender has as many messages on their way, and says the next when one came
    /// back. Shows how much the server can do; the latency is that of a server with no time to spare.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024))]
    window: Option<u32>,

    /// Characters of a message's text, one byte each.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = value_parser!(u32).range(SHORTEST_TEXT..=TEXT_CHARS as i64))]
    pub(crate) text_bytes: u32,

    /// Seconds to measure.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=86_400))]
    seconds: u32,

    /// Seconds before that, which do not count.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(0..=3_600))]
    warmup: u32,

    /// The server's file with its secret: everybody gets a token of their own. Other variables of the
    /// server's are not asked.
    #[arg(long, value_name = "FILE", env = "PARLOR_TOKEN_SECRET_FILE")]
    pub(crate) token_secret_file: Option<PathBuf>,

    /// The server's --admin address: tells what the load costs it. The memory of a connection is
    /// right only if the server has just started.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) admin: Option<SocketAddr>,

    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Without it nothing but this machine itself is put under load.
    #[arg(long)]
    pub(crate) yes_load_this_server: bool,
}

/// When the next message is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// This many a second, by all senders together, whatever comes back.
    Open(u32),
    /// When one of this many came back, by each sender.
    Closed(u32),
}

impl Bench {
    pub(crate) fn pace(&self) -> Pace {
        match (self.window, self.rate) {
            (Some(window), _) => Pace::Closed(window),
            (None, Some(rate)) => Pace::Open(rate),
            // Half of what a server allows each sender by default.
            (None, None) => Pace::Open(self.sender_count().saturating_mul(5)),
        }
    }

    /// Rooms that somebody is in.
    pub(crate) fn room_count(&self) -> u32 {
        self.rooms.min(self.connections)
    }

    /// All that say something: the first comers of each room.
    pub(crate) fn sender_count(&self) -> u32 {
        let wanted = self.rooms.saturating_mul(self.senders);
        wanted.min(self.connections)
    }

    /// Whether a user says something.
    pub(crate) fn says(&self, user: u32) -> bool {
        user < self.sender_count()
    }

    pub(crate) const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup as u64)
    }

    pub(crate) const fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds as u64)
    }
}

fn websocket(text: &str) -> Result<Uri, String> {
    let usage = "give a URL without TLS, such as ws://127.0.0.1:8080/ws: \
                 of a server that speaks TLS it is the proxy's or the cipher's speed that one would see";
    plain_url(text, "ws", usage)
}
