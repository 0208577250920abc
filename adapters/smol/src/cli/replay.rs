//! What of a trace is to be applied again, and shown.

use std::path::PathBuf;

use clap::Args;
use parlor_core::{ConnId, RoomId};

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// A recording (--record), or a crash report.
    pub(crate) file: PathBuf,

    /// Print nothing but whether the effects are those that were recorded; the exit code is 0 if so.
    #[arg(long)]
    pub(crate) check: bool,

    /// Print the state behind the last event instead, as JSON.
    #[arg(long, conflicts_with = "check")]
    pub(crate) state: bool,

    /// Stop behind this event.
    #[arg(long, value_name = "N")]
    pub(crate) until: Option<u64>,

    /// Print only events that concern this room.
    #[arg(long, value_name = "ROOM", value_parser = room)]
    pub(crate) room: Option<RoomId>,

    /// Print only events that concern this connection, such as c7.
    #[arg(long, value_name = "CONN", value_parser = conn)]
    pub(crate) conn: Option<ConnId>,
}

fn room(text: &str) -> Result<RoomId, String> {
    RoomId::new(text).map_err(|error| error.to_string())
}

fn conn(text: &str) -> Result<ConnId, &'static str> {
    let number = text.strip_prefix('c').unwrap_or(text).parse();
    number
        .map(ConnId)
        .map_err(|_| "give its number, such as c7")
}
