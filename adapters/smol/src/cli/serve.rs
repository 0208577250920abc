//! The options of the server.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use parlor_core::Limits;
use parlor_hub::trace::Texts;
use parlor_smol::{
    AllowedOrigin, Config, IpNet, Listen, Recording, Retention, Storage, Tls, TlsError, Verifier,
};
use tracing_subscriber::filter::LevelFilter;

use super::key_file::{KeyFileError, with_key};
use super::listen::{ListenAddress, address};
use super::tasks::Data;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    listen: ListenAddress,

    /// Address of a port for operators: /healthz, /readyz and /metrics. Not for the public.
    #[arg(long, value_name = "ADDR", env = "PARLOR_ADMIN", value_parser = address)]
    admin: Option<SocketAddr>,

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

    /// File with the certificate chain, PEM, the server's own first: TLS alone is spoken then.
    #[arg(
        long,
        value_name = "FILE",
        env = "PARLOR_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// File with the private key, PEM, of the certificate.
    #[arg(
        long,
        value_name = "FILE",
        env = "PARLOR_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

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

    /// Record what happens to a file that parlor replay reads, without texts and tokens.
    #[arg(long, value_name = "FILE", env = "PARLOR_RECORD")]
    record: Option<PathBuf>,

    /// Bytes after which a new file is begun; the one before is kept as FILE.1.
    #[arg(
        long,
        value_name = "BYTES",
        env = "PARLOR_RECORD_BYTES",
        default_value_t = 64 << 20
    )]
    record_bytes: u64,

    /// Record texts as well. Tokens are never recorded.
    #[arg(long, env = "PARLOR_RECORD_TEXTS", value_parser = BoolishValueParser::new())]
    record_texts: bool,

    /// What to log, on standard error.
    #[arg(long, value_name = "LEVEL", env = "PARLOR_LOG", value_enum, default_value_t = Level::Info)]
    log: Level,

    /// How to write it.
    #[arg(long, value_name = "FORMAT", env = "PARLOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of words for each event.
    Text,
    /// A line of JSON for each event.
    Json,
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

impl Serve {
    pub(crate) fn log_level(&self) -> LevelFilter {
        match self.log {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    pub(crate) const fn log_format(&self) -> LogFormat {
        self.log_format
    }

    pub(crate) fn config(&self) -> Result<Config, Box<dyn Error>> {
        let limits = Limits {
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            members_per_room: self.members_per_room,
            messages_per_second: self.rate,
            burst: self.burst,
            outbox_total_bytes: self.max_outbox_total,
            history_age_ms: u64::from(self.retain_days) * DAY_MS,
            ..Limits::default()
        };
        let dir = self.data.dir.clone();
        let (storage, crash_dir) = if self.memory {
            (Storage::Memory, std::env::temp_dir())
        } else {
            let crash_dir = dir.clone();
            let retention = Retention {
                messages: NonZeroU32::new(self.retain_messages),
                days: NonZeroU32::new(self.retain_days),
            };
            (Storage::Directory { dir, retention }, crash_dir)
        };
        Ok(Config {
            listen: Listen::Address(self.listen.socket_addr()),
            admin: self.admin,
            limits,
            verifier: self.verifier()?.map(Arc::new),
            tls: self.tls()?.map(Arc::new),
            storage,
            crash_dir,
            recording: self.recording(),
            origins: self.origins.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            lost_log_lines: None,
        })
    }

    fn recording(&self) -> Option<Recording> {
        Some(Recording {
            file: self.record.clone()?,
            bytes: self.record_bytes,
            texts: if self.record_texts {
                Texts::Plain
            } else {
                Texts::Redacted
            },
        })
    }

    fn tls(&self) -> Result<Option<Tls>, TlsError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files.map(|(cert, key)| Tls::load(cert, key)).transpose()
    }

    /// What verifies tokens, with the keys as they stand in their file at the moment.
    pub(crate) fn verifier(&self) -> Result<Option<Verifier>, KeyFileError> {
        let secret = self.token_secret_file.as_deref();
        let public = self.token_public_key.as_deref();
        match (secret, public) {
            (Some(file), _) => with_key(file, Verifier::from_secret).map(Some),
            (None, Some(file)) => with_key(file, Verifier::from_public_key).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse().map(|address: IpAddr| address.into());
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "give a network or an address, such as 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32")
}
