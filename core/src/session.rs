//! The pure half of one connection: what may pass to the core, whether the peer still lives, and
//! when to look again. Both runtimes drive the same one; it reads no clock and no socket.

use crate::decode::decode;
use crate::error::{CloseReason, ErrorCode};
use crate::limits::Limits;
use crate::protocol::{Refusal, Request, RequestKind};
use crate::rate::{Bucket, Rate};
use crate::types::{Timestamp, Token};

/// The state of one connection that does not concern the others.
#[derive(Clone, Debug)]
pub struct Session {
    messages: Rate,
    frames: Bucket,
    frame_rate: Rate,
    typing: Bucket,
    refusals_in_a_row: u32,
    most_refusals: u32,
    ping_interval_ms: u64,
    pong_timeout_ms: u64,
    ping_at: Timestamp,
    pong_by: Option<Timestamp>,
    hello_by: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes to the core as `Received`; a `hello` with a token once the token is verified.
    Admit {
        /// What it asks.
        request: Request,
        /// The token of a `hello`.
        token: Option<Token>,
    },
    /// It passes to the core as `Refused`.
    Refuse(Refusal),
    /// Nothing.
    Ignore,
    /// The connection is to be closed.
    Close(CloseReason),
}

/// What the time brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before [`Session::deadline`].
    Nothing,
    /// A ping.
    Ping,
    /// The end of the connection.
    Close(CloseReason),
}

impl Session {
    /// The session of a connection that stands since `now`.
    #[must_use]
    pub fn new(limits: &Limits, now: Timestamp) -> Self {
        let limits = limits.clone().clamped();
        let messages = Rate {
            per_second: limits.messages_per_second,
            burst: limits.burst,
        };
        Self {
            messages,
            frames: Bucket::default(),
            frame_rate: messages.times(limits.frames_per_message),
            typing: Bucket::default(),
            refusals_in_a_row: 0,
            most_refusals: limits.refusals_in_a_row,
            ping_interval_ms: limits.ping_interval_ms.into(),
            pong_timeout_ms: limits.pong_timeout_ms.into(),
            ping_at: now.plus_ms(limits.ping_interval_ms.into()),
            pong_by: None,
            hello_by: limits
                .token_required
                .then(|| now.plus_ms(limits.hello_timeout_ms.into())),
            expires_at: None,
        }
    }

    /// A text frame came.
    pub fn text(&mut self, text: &str, now: Timestamp) -> Verdict {
        if let Err(verdict) = self.frame(now) {
            return verdict;
        }
        match decode(text) {
            Ok(decoded) if self.is_excess_typing(&decoded.request, now) => Verdict::Ignore,
            Ok(decoded) => Verdict::Admit {
                request: decoded.request,
                token: decoded.token,
            },
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// A ping or pong came: a sign of life, and a frame like any other for flood control, except
    /// that there is no error for one too many.
    pub fn control(&mut self, now: Timestamp) -> Verdict {
        match self.frame(now) {
            Ok(()) | Err(Verdict::Refuse(_)) => Verdict::Ignore,
            Err(verdict) => verdict,
        }
    }

    /// A binary frame came: the protocol has none.
    #[must_use]
    pub const fn binary(&self) -> Verdict {
        Verdict::Close(CloseReason::UnsupportedData)
    }

    /// The token of this connection was verified and is good until `expires_at`.
    pub fn identified(&mut self, expires_at: Option<Timestamp>) {
        self.hello_by = None;
        self.expires_at = expires_at;
    }

    /// The answer that held the connection back is on its way, so its frames are read again. While
    /// they were not, no pong could be seen.
    pub fn released(&mut self, now: Timestamp) {
        if self.pong_by.is_some() {
            self.pong_by = Some(now.plus_ms(self.pong_timeout_ms));
        }
    }

    /// What `now` brings. A ping is due once for each interval.
    pub fn due(&mut self, now: Timestamp) -> Due {
        let passed = |limit: Option<Timestamp>| limit.is_some_and(|limit| limit <= now);
        if passed(self.pong_by) {
            return Due::Close(CloseReason::NoPong);
        }
        if passed(self.hello_by) {
            return Due::Close(CloseReason::NoHello);
        }
        if passed(self.expires_at) {
            return Due::Close(CloseReason::Unauthorized);
        }
        if self.ping_at <= now {
            self.ping_at = now.plus_ms(self.ping_interval_ms);
            self.pong_by = self
                .pong_by
                .or_else(|| Some(now.plus_ms(self.pong_timeout_ms)));
            return Due::Ping;
        }
        Due::Nothing
    }

    /// When to ask [`Session::due`] again at the latest.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        let others = [self.pong_by, self.hello_by, self.expires_at];
        others
            .into_iter()
            .flatten()
            .fold(self.ping_at, Timestamp::min)
    }

    /// Any frame is a sign of life, and counts.
    fn frame(&mut self, now: Timestamp) -> Result<(), Verdict> {
        self.pong_by = None;
        let Err(retry_after_ms) = self.frames.take(self.frame_rate, now) else {
            self.refusals_in_a_row = 0;
            return Ok(());
        };
        self.refusals_in_a_row += 1;
        if self.refusals_in_a_row >= self.most_refusals {
            return Err(Verdict::Close(CloseReason::Flooding));
        }
        let mut refusal = Refusal::new(ErrorCode::RateLimited);
        refusal.retry_after_ms = Some(retry_after_ms);
        Err(Verdict::Refuse(refusal))
    }

    /// Typing is the first thing to go: it is dropped without a word beyond the rate of messages.
    fn is_excess_typing(&mut self, request: &Request, now: Timestamp) -> bool {
        matches!(request.kind, RequestKind::Typing { .. })
            && self.typing.take(self.messages, now).is_err()
    }
}
