//! What a client is made with.

use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// How a [`Client`](crate::Client) behaves. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// The guest's name, on servers without tokens. Fixed for the life of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Of a guest who is there already: this client becomes another connection of that guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<Secret>,
    /// Whether other clients may be connections of the same guest, and learn its resume token
    /// from [`Output::Remember`](crate::Output::Remember), as this one does from
    /// [`Input::Remembered`](crate::Input::Remembered). A name that is taken is then asked for
    /// once more before it is given up: the other client may be about to tell its token.
    #[serde(default)]
    pub shares: bool,
    /// Between two looks whether a silent server is alive, at most; the server's own interval if
    /// that is smaller. A server that is silent for two of them is given up. 0 counts as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_interval_ms: Option<u32>,
    /// From dialling to the server's `hello`.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// The delays between attempts.
    #[serde(default)]
    pub backoff: Backoff,
    /// Messages that may wait to be stored, questions that may wait to be asked, and rooms: so
    /// many of each.
    #[serde(default = "max_pending")]
    pub max_pending: u32,
    /// What the ids of messages begin with that the application gives none: at most 43 printable
    /// ASCII characters, unlike those of any other client of the same user. 64 are allowed in an
    /// id, and a dash and a number follow.
    pub id_prefix: String,
    /// Where the randomness of the delays begins. Clients that lose one server at one moment
    /// should have different ones.
    pub seed: u32,
}

impl Options {
    /// The defaults, and 128 random bits, from which the ids of messages and the delays come.
    /// Ids need not be secret, but they must never be the same twice.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        let [a, b, c, d, ..] = bits.to_le_bytes();
        Self {
            username: None,
            resume_token: None,
            shares: false,
            ping_interval_ms: None,
            connect_timeout_ms: connect_timeout_ms(),
            backoff: Backoff::default(),
            max_pending: max_pending(),
            id_prefix: format!("{bits:032x}"),
            seed: u32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// 10 s, as the server gives a handshake.
const fn connect_timeout_ms() -> u32 {
    10_000
}

const fn max_pending() -> u32 {
    1000
}

/// The delay before an attempt is random, below `min(cap_ms, base_ms * 2^attempt)`: exponential
/// with full jitter, so that those who lost one server together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The first delay is below this, ms.
    pub base_ms: u32,
    /// Every delay is below this, ms.
    pub cap_ms: u32,
}

impl Backoff {
    /// What a delay is below. `attempt` counts from 0.
    pub(crate) const fn bound_ms(self, attempt: u32) -> u32 {
        // Beyond 31 a shift has no meaning, and any base is beyond any cap.
        let Some(factor) = 1_u32.checked_shl(attempt) else {
            return if self.base_ms == 0 { 0 } else { self.cap_ms };
        };
        let bound = self.base_ms.saturating_mul(factor);
        if bound < self.cap_ms {
            bound
        } else {
            self.cap_ms
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_ms: 500,
            cap_ms: 30_000,
        }
    }
}

/// A token. [`fmt::Debug`] prints nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(token: &str) -> Self {
        Self(token.into())
    }
}
