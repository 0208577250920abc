//! Why there is no load, or no more of it, and what to do.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use async_tungstenite::tungstenite;
use hyper::{StatusCode, Uri};
use parlor_hub::trace::show::printable;

/// Why a run ended before its time.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its name means nothing.
    Unknown(Uri, String),
    /// It is not this machine.
    Elsewhere(Uri, IpAddr),
    /// The system gives fewer files than there are connections.
    Files { limit: u64, needed: u64 },
    /// The system gives no random numbers.
    Random(getrandom::Error),
    /// The server does not tell what it uses.
    Metrics(String),
    /// There are no tokens.
    Token(String),
    /// A connection was refused, as many as there are.
    Refused { status: StatusCode, connected: u32 },
    /// A connection could not be made, or broke.
    Broken { error: String, connected: u32 },
    /// Nothing came.
    Silent { connected: u32 },
    /// The server closed a connection, with a code and why.
    Closed(Option<u16>, String),
    /// The server refused a request, with this code.
    Error(String),
}

impl Failure {
    pub(super) fn of_handshake(error: tungstenite::Error, connected: u32) -> Self {
        if let tungstenite::Error::Http(answer) = error {
            let status = answer.status();
            return Self::Refused { status, connected };
        }
        let error = error.to_string();
        Self::Broken { error, connected }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(url, error) => {
                write!(
                    f,
                    "cannot find {url}: {error}; say with --url where the server is"
                )
            }
            Self::Elsewhere(url, address) => write!(
                f,
                "{url} is {address}, which is not this machine: if it is yours to put under load, \
                 give --yes-load-this-server"
            ),
            Self::Files { limit, needed } => write!(
                f,
                "this needs {needed} open files, and the system allows {limit}: raise it (ulimit \
                 -n), or give fewer --connections"
            ),
            Self::Random(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Metrics(error) => {
                write!(
                    f,
                    "{error}; give with --admin what the server has as --admin"
                )
            }
            Self::Token(error) => f.write_str(error),
            Self::Refused { status, connected } => {
                write!(f, "connection {} was refused with {status}", connected + 1)?;
                match *status {
                    StatusCode::TOO_MANY_REQUESTS => f.write_str(
                        ": start the server with --max-connections-per-address 0, for the test",
                    ),
                    StatusCode::SERVICE_UNAVAILABLE => f.write_str(
                        ": start the server with a greater --max-connections, or give fewer here",
                    ),
                    _ => f.write_str("; say with --url where the server's WebSocket is"),
                }
            }
            Self::Broken { error, connected } => write!(
                f,
                "connection {} broke: {error}; is the server there, and has it files for as many?",
                connected + 1
            ),
            Self::Silent { connected } => write!(
                f,
                "the server did not answer connection {} in time",
                connected + 1
            ),
            Self::Closed(code, reason) => {
                f.write_str("the server closed a connection")?;
                if let Some(code) = code {
                    write!(f, " with {code}")?;
                }
                if !reason.is_empty() {
                    write!(f, ": {}", printable(reason))?;
                }
                f.write_str("; its log says why")
            }
            Self::Error(code) => {
                write!(f, "the server refused a request: {}", printable(code))?;
                match code.as_str() {
                    "RATE_LIMITED" => f.write_str(
                        "; start it with --rate 0, for the test, or give a lower --rate here",
                    ),
                    "NOT_IDENTIFIED" | "UNAUTHORIZED" => {
                        f.write_str("; give the --token-secret-file that the server has")
                    }
                    "ROOM_FULL" => f.write_str(
                        "; start it with more --members-per-room, or give more --rooms here",
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do() {
        let url: Uri = "ws://192.0.2.1/ws".parse().unwrap();
        let refused = |status| Failure::Refused {
            status,
            connected: 64,
        };
        for (failure, advice) in [
            (
                Failure::Elsewhere(url, [192, 0, 2, 1].into()),
                "--yes-load-this-server",
            ),
            (
                Failure::Files {
                    limit: 1024,
                    needed: 2000,
                },
                "ulimit",
            ),
            (
                refused(StatusCode::TOO_MANY_REQUESTS),
                "connection 65 was refused with 429",
            ),
            (
                refused(StatusCode::TOO_MANY_REQUESTS),
                "--max-connections-per-address",
            ),
            (
                refused(StatusCode::SERVICE_UNAVAILABLE),
                "--max-connections,",
            ),
            (refused(StatusCode::NOT_FOUND), "--url"),
            (Failure::Error("RATE_LIMITED".into()), "--rate 0"),
            (
                Failure::Error("NOT_IDENTIFIED".into()),
                "--token-secret-file",
            ),
            (Failure::Error("ROOM_FULL".into()), "--members-per-room"),
            (
                Failure::Closed(Some(4000), "slow\u{1b}[2J".into()),
                r"with 4000: slow\u001b[2J; its log says why",
            ),
        ] {
            let said = failure.to_string();
            assert!(said.contains(advice), "{said}");
        }
    }
}
