//! Why there is no client.

use std::error::Error;
use std::fmt;

/// Why a client cannot even begin. That a server is away is no such reason: the client then tries
/// again and again, and says so in its states.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none that can be connected to; the sentence says what to change.
    Url(&'static str),
    /// There is no certificate that the system trusts.
    NoCertificates,
    /// There is no runtime here to run the client in.
    NoRuntime,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(problem) => problem,
            Self::NoCertificates => {
                "this system has no certificates to trust; install them (ca-certificates), or say \
                 whom to trust with Options::tls"
            }
            Self::NoRuntime => "there is no tokio runtime here; call this within one",
        })
    }
}

impl Error for ConnectError {}
