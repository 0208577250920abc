//! What is to be known for everything but serving.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use parlor_core::types::RoomPattern;
use parlor_core::{Identity, Username};

#[derive(Args, Clone, Debug)]
pub(crate) struct Data {
    /// Directory of the database, parlor.db; made, for this user alone, if it is missing.
    #[arg(
        long = "data",
        value_name = "DIR",
        env = "PARLOR_DATA",
        default_value = "./parlor-data"
    )]
    pub(crate) dir: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// File to write; it must not be there yet.
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// A backup.
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) data: Data,

    /// Replace the database that is there; it is kept as parlor.db.replaced.
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// Who it is for: the name that the others see.
    #[arg(long, value_name = "NAME", value_parser = username)]
    sub: Username,

    /// How long it is good for: 30s, 15m, 1h or 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ttl: Duration,

    /// The rooms it is good for, with commas between; team-* are all that begin so. Without it: all.
    #[arg(long, value_name = "ROOMS", value_delimiter = ',')]
    rooms: Option<Vec<String>>,

    /// File with the server's secret.
    #[arg(long, value_name = "FILE", env = "PARLOR_TOKEN_SECRET_FILE")]
    pub(crate) token_secret_file: PathBuf,
}

impl Token {
    pub(crate) fn identity(&self) -> Identity {
        let pattern = |room: &String| RoomPattern(room.as_str().into());
        let rooms = self.rooms.as_ref();
        Identity {
            subject: self.sub.clone(),
            rooms: rooms.map(|rooms| rooms.iter().map(pattern).collect()),
        }
    }
}

fn username(text: &str) -> Result<Username, String> {
    Username::new(text).map_err(|error| error.to_string())
}

/// A number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let number = number.parse::<u32>().unwrap_or(0);
    let ttl = Duration::from_secs(u64::from(number) * seconds);
    let usage = "give a number and its unit, such as 30s, 15m, 1h or 7d";
    (!ttl.is_zero()).then_some(ttl).ok_or_else(|| usage.into())
}
