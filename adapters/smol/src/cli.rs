//! The command line: flags, their environment variables and their defaults.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use parlor_core::types::RoomPattern;
use parlor_core::{Identity, Limits, Username};
use parlor_smol::{AllowedOrigin, Config, IpNet, KeyError, Retention, Storage, Verifier};
use tracing_subscriber::filter::LevelFilter;

/// A real-time chat server: rooms, presence, broadcast and history over WebSocket.
///
/// Start it without any option, open http://127.0.0.1:8080 and follow the page. Every option has
/// an environment variable; an option on the command line beats its variable, which beats the
/// default.
#[derive(Debug, Parser)]
#[command(name = "parlor", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the same as no command at all.
    Serve(Serve),
    /// Copy the database to a file, while a server may be using it.
    Backup(Backup),
    /// Make the database of a backup, while no server uses it.
    ///
    /// Rooms go on where they were, in a new epoch: what was said after the backup is not there,
    /// and its numbers are given again.
    Restore(Restore),
    /// Print a token for trying out a server that has --token-secret-file.
    Token(Token),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task<'a> {
    /// Run the server.
    Serve,
    /// Copy the database.
    Backup(&'a Backup),
    /// Make the database of a copy.
    Restore(&'a Restore),
    /// Make a token.
    Token(&'a Token),
}

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

/// A file with a key that is of no use.
#[derive(Debug)]
pub(crate) enum KeyFileError {
    Unreadable(PathBuf, io::Error),
    Unusable(PathBuf, KeyError),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::Unusable(file, error) => write!(f, "{}: {error}", file.display()),
        }
    }
}

impl std::error::Error for KeyFileError {}

/// What `make` makes of the key in a file.
pub(crate) fn with_key<T>(
    file: &Path,
    make: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, KeyFileError> {
    let key = fs::read(file).map_err(|error| KeyFileError::Unreadable(file.into(), error))?;
    make(&key).map_err(|error| KeyFileError::Unusable(file.into(), error))
}

#[derive(Args, Clone, Debug)]
struct Serve {
    /// Address to listen on; port 0 picks a free one. PORT in the environment replaces the port.
    #[arg(long, value_name = "ADDR", env = "PARLOR_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,

    /// Port that replaces the one of --listen, as hosting platforms set it.
    #[arg(long, hide = true, env = "PORT", hide_env_values = true)]
    port: Option<u16>,

    #[command(flatten)]
    data: Data,

    /// Keep everything in memory instead: it is gone when the server stops.
    #[arg(long, env = "PARLOR_MEMORY", value_parser = BoolishValueParser::new())]
    memory: bool,

    /// File with the secret, 32 bytes or more, that tokens are signed with (HS256); nobody gets in
    /// without one.
    #[arg(
        long,
        value_name = "FILE",
        env = "PARLOR_TOKEN_SECRET_FILE",
        conflicts_with = "token_public_key"
    )]
    token_secret_file: Option<PathBuf>,

    /// File with the public key, PEM or JWKS, of whoever signs tokens (RS256, ES256, EdDSA); nobody
    /// gets in without one.
    #[arg(long, value_name = "FILE", env = "PARLOR_TOKEN_PUBLIC_KEY")]
    token_public_key: Option<PathBuf>,

    /// Messages to keep of each room, at least the 300 that are in memory. 0: all.
    #[arg(
        long,
        value_name = "N",
        env = "PARLOR_RETAIN_MESSAGES",
        default_value_t = 0
    )]
    retain_messages: u32,

    /// Days to keep messages for. 0: for ever.
    #[arg(
        long,
        value_name = "D",
        env = "PARLOR_RETAIN_DAYS",
        default_value_t = 0
    )]
    retain_days: u32,

    /// WebSocket connections at once; the next gets 503. 0: no limit.
    #[arg(long, value_name = "N", env = "PARLOR_MAX_CONNECTIONS", default_value_t = Limits::default().connections)]
    max_connections: u32,

    /// WebSocket connections from one address, or one /64 of IPv6; the next gets 429. 0: no limit.
    #[arg(long, value_name = "N", env = "PARLOR_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = Limits::default().connections_per_address)]
    max_connections_per_address: u32,

    /// Whose pages may connect besides the server's own: an origin (a URL without a path), null
    /// for pages without one, or * for all. May be repeated.
    #[arg(
        long = "origin",
        value_name = "ORIGIN",
        env = "PARLOR_ORIGIN",
        value_delimiter = ','
    )]
    origins: Vec<AllowedOrigin>,

    /// Proxies whose Forwarded or X-Forwarded-For tells the address of a client, such as
    /// 10.0.0.0/8. May be repeated.
    #[arg(long = "trust-proxy", value_name = "CIDR", env = "PARLOR_TRUST_PROXY", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,

    /// Connections in one room; the next join gets ROOM_FULL.
    #[arg(long, value_name = "N", env = "PARLOR_MEMBERS_PER_ROOM", default_value_t = Limits::default().members_per_room, value_parser = clap::value_parser!(u32).range(1..))]
    members_per_room: u32,

    /// Messages per second and connection; the next gets RATE_LIMITED. 0: no flood control.
    #[arg(long, value_name = "N", env = "PARLOR_RATE", default_value_t = Limits::default().messages_per_second)]
    rate: u32,

    /// Messages at once after a silence.
    #[arg(long, value_name = "N", env = "PARLOR_BURST", default_value_t = Limits::default().burst, value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,

    /// Bytes that may wait for all slow connections together; beyond it the slowest is cut.
    #[arg(long, value_name = "BYTES", env = "PARLOR_MAX_OUTBOX_TOTAL", default_value_t = Limits::default().outbox_total_bytes)]
    max_outbox_total: u64,

    /// What to log, on standard error.
    #[arg(long, value_name = "LEVEL", env = "PARLOR_LOG", value_enum, default_value_t = Level::Info)]
    log: Level,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    /// Nothing.
    Off,
    /// What stops something.
    Error,
    /// And what to look at tomorrow.
    Warn,
    /// And connections and the server's own life.
    Info,
    /// And decisions.
    Debug,
    /// And every frame, without its text.
    Trace,
}

impl Cli {
    pub(crate) fn task(&self) -> Task<'_> {
        match &self.command {
            Some(Command::Serve(_)) | None => Task::Serve,
            Some(Command::Backup(backup)) => Task::Backup(backup),
            Some(Command::Restore(restore)) => Task::Restore(restore),
            Some(Command::Token(token)) => Task::Token(token),
        }
    }

    fn serve(&self) -> &Serve {
        match &self.command {
            Some(Command::Serve(serve)) => serve,
            Some(Command::Backup(_) | Command::Restore(_) | Command::Token(_)) | None => {
                &self.serve
            }
        }
    }

    pub(crate) fn log_level(&self) -> LevelFilter {
        match self.serve().log {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    pub(crate) fn config(&self) -> Result<Config, KeyFileError> {
        let serve = self.serve();
        let mut listen = serve.listen;
        if let Some(port) = serve.port {
            listen.set_port(port);
        }
        let limits = Limits {
            connections: serve.max_connections,
            connections_per_address: serve.max_connections_per_address,
            members_per_room: serve.members_per_room,
            messages_per_second: serve.rate,
            burst: serve.burst,
            outbox_total_bytes: serve.max_outbox_total,
            history_age_ms: u64::from(serve.retain_days) * DAY_MS,
            ..Limits::default()
        };
        let dir = serve.data.dir.clone();
        let (storage, crash_dir) = if serve.memory {
            (Storage::Memory, std::env::temp_dir())
        } else {
            let crash_dir = dir.clone();
            let retention = Retention {
                messages: NonZeroU32::new(serve.retain_messages),
                days: NonZeroU32::new(serve.retain_days),
            };
            (Storage::Directory { dir, retention }, crash_dir)
        };
        Ok(Config {
            listen,
            limits,
            verifier: serve.verifier()?.map(Arc::new),
            storage,
            crash_dir,
            origins: serve.origins.clone(),
            trusted_proxies: serve.trusted_proxies.clone(),
        })
    }
}

impl Serve {
    fn verifier(&self) -> Result<Option<Verifier>, KeyFileError> {
        let secret = self.token_secret_file.as_deref();
        let public = self.token_public_key.as_deref();
        match (secret, public) {
            (Some(file), _) => with_key(file, Verifier::from_secret).map(Some),
            (None, Some(file)) => with_key(file, Verifier::from_public_key).map(Some),
            (None, None) => Ok(None),
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

/// An address with its port, by number or by name.
fn address(text: &str) -> Result<SocketAddr, String> {
    let usage = "give an address and a port, such as 127.0.0.1:8080 or [::]:8080";
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; {usage}"))?;
    found.next().ok_or_else(|| usage.into())
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse().map(|address: IpAddr| address.into());
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "give a network or an address, such as 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32")
}
