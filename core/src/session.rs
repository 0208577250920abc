//! The pure half of one connection: what may pass to the core, whether the peer still lives, and
//! when to look again. Both runtimes drive the same one; it reads no clock and no socket.

use crate::decode::decode;
use crate::error::{CloseReason, ErrorCode};
use crate::limits::Limits;
use crate::protocol::{Refusal, Request, RequestKind};
use crate::rate::{Bucket, Rate};
use crate::types::{Timestamp, Token};

/// As how many frames a token counts in flood control: a signature takes up to a millisecond to
/// verify, of the one thread that serves everybody.
const TOKEN_FRAMES: u32 = 50;

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
        if let Some(verdict) = self.frame(now) {
            return verdict;
        }
        let decoded = match decode(text) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                self.refusals_in_a_row = 0;
                return Verdict::Refuse(refusal);
            }
        };
        let (request, token) = (decoded.request, decoded.token);
        // Itself is counted already, and what a burst is too small for passes after a silence.
        let frames = if token.is_some() {
            TOKEN_FRAMES
        } else {
            request.kind.frames()
        };
        let frames = frames.min(self.frame_rate.burst).max(1);
        let taken = self.frames.take_many(frames - 1, self.frame_rate, now);
        if taken.is_err() {
            // The next attempt counts itself, too.
            let retry_after_ms = self.frames.wait_ms(frames, self.frame_rate, now);
            let refusal = Refusal {
                room: request.kind.room().cloned(),
                reference: request.reference,
                ..Refusal::new(ErrorCode::RateLimited)
            };
            return self.too_fast(retry_after_ms, refusal);
        }
        self.refusals_in_a_row = 0;
        if self.is_excess_typing(&request, now) {
            return Verdict::Ignore;
        }
        Verdict::Admit { request, token }
    }

    /// A ping or pong came: a sign of life, and a frame like any other for flood control, except
    /// that there is no error for one too many.
    pub fn control(&mut self, now: Timestamp) -> Verdict {
        match self.frame(now) {
            None => {
                self.refusals_in_a_row = 0;
                Verdict::Ignore
            }
            Some(Verdict::Refuse(_)) => Verdict::Ignore,
            Some(verdict) => verdict,
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
            return Due::Close(CloseReason::TokenExpired);
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

    /// Any frame is a sign of life, and counts. What becomes of it is settled if it is one too many.
    fn frame(&mut self, now: Timestamp) -> Option<Verdict> {
        self.pong_by = None;
        let retry_after_ms = self.frames.take(self.frame_rate, now).err()?;
        let refusal = Refusal::new(ErrorCode::RateLimited);
        Some(self.too_fast(retry_after_ms, refusal))
    }

    fn too_fast(&mut self, retry_after_ms: u64, mut refusal: Refusal) -> Verdict {
        self.refusals_in_a_row += 1;
        if self.refusals_in_a_row >= self.most_refusals {
            return Verdict::Close(CloseReason::Flooding);
        }
        refusal.retry_after_ms = Some(retry_after_ms);
        Verdict::Refuse(refusal)
    }

    /// Typing is the first thing to go: it is dropped without a word beyond the rate of messages.
    fn is_excess_typing(&mut self, request: &Request, now: Timestamp) -> bool {
        matches!(request.kind, RequestKind::Typing { .. })
            && self.typing.take(self.messages, now).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Ref;

    const PING: &str = r#"{"type":"ping"}"#;
    const TYPING: &str = r#"{"type":"typing","roomId":"r","active":true}"#;
    const PING_MS: u64 = 25_000;
    const PONG_MS: u64 = 10_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    fn session() -> Session {
        Session::new(&Limits::default(), at(0))
    }

    /// 1 message a second and 2 at once; 2 frames a second and 4 at once; 3 refusals in a row.
    fn strict() -> Session {
        let limits = Limits {
            messages_per_second: 1,
            burst: 2,
            frames_per_message: 2,
            refusals_in_a_row: 3,
            ..Limits::default()
        };
        Session::new(&limits, at(0))
    }

    fn with_token() -> Session {
        let limits = Limits {
            token_required: true,
            ..Limits::default()
        };
        Session::new(&limits, at(0))
    }

    fn is_admitted(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Admit { .. })
    }

    fn refused_for_ms(verdict: Verdict) -> Option<u64> {
        match verdict {
            Verdict::Refuse(refusal) if refusal.code == ErrorCode::RateLimited => {
                refusal.retry_after_ms
            }
            Verdict::Refuse(_) | Verdict::Admit { .. } | Verdict::Ignore | Verdict::Close(_) => {
                None
            }
        }
    }

    #[test]
    fn a_ping_is_due_each_interval_even_while_the_client_talks() {
        let mut session = session();
        for round in 1..=3 {
            let due = round * PING_MS;
            assert_eq!(session.deadline(), at(due));
            assert_eq!(session.due(at(due - 1)), Due::Nothing);
            assert!(is_admitted(&session.text(PING, at(due - 1))));
            assert_eq!(session.due(at(due)), Due::Ping);
            assert_eq!(session.due(at(due)), Due::Nothing);
            assert_eq!(session.control(at(due + 5)), Verdict::Ignore);
        }
    }

    #[test]
    fn any_frame_is_a_sign_of_life() {
        let signs: [fn(&mut Session, Timestamp) -> Verdict; 3] = [
            |session, now| session.text(PING, now),
            |session, now| session.text("gibberish", now),
            Session::control,
        ];
        for sign in signs {
            let mut session = session();
            assert_eq!(session.due(at(PING_MS)), Due::Ping);
            assert_eq!(session.deadline(), at(PING_MS + PONG_MS));
            sign(&mut session, at(PING_MS + PONG_MS - 1));
            assert_eq!(session.deadline(), at(2 * PING_MS));
            assert_eq!(session.due(at(PING_MS + PONG_MS)), Due::Nothing);
        }
    }

    #[test]
    fn even_a_refused_frame_is_a_sign_of_life() {
        let mut session = strict();
        assert_eq!(session.due(at(PING_MS)), Due::Ping);
        let verdicts = [(); 5].map(|()| session.text(PING, at(PING_MS)));
        assert!(!verdicts.iter().all(is_admitted));
        assert_eq!(session.due(at(PING_MS + PONG_MS)), Due::Nothing);
    }

    #[test]
    fn a_missed_pong_closes() {
        let mut session = session();
        assert_eq!(session.due(at(PING_MS)), Due::Ping);
        assert_eq!(session.due(at(PING_MS + PONG_MS - 1)), Due::Nothing);
        let end = session.due(at(PING_MS + PONG_MS));
        assert_eq!(end, Due::Close(CloseReason::NoPong));
    }

    #[test]
    fn a_second_ping_does_not_prolong_the_wait_for_the_first_pong() {
        let limits = Limits {
            ping_interval_ms: 1000,
            pong_timeout_ms: 1500,
            ..Limits::default()
        };
        let mut session = Session::new(&limits, at(0));
        assert_eq!(session.due(at(1000)), Due::Ping);
        assert_eq!(session.due(at(2000)), Due::Ping);
        assert_eq!(session.due(at(2500)), Due::Close(CloseReason::NoPong));
    }

    #[test]
    fn the_wait_for_a_pong_begins_anew_when_the_connection_is_read_again() {
        let mut session = session();
        assert_eq!(session.due(at(PING_MS)), Due::Ping);
        let released = PING_MS + PONG_MS - 1;
        session.released(at(released));
        assert_eq!(session.due(at(PING_MS + PONG_MS)), Due::Nothing);
        assert_eq!(session.deadline(), at(released + PONG_MS));
        let end = session.due(at(released + PONG_MS));
        assert_eq!(end, Due::Close(CloseReason::NoPong));
    }

    #[test]
    fn a_connection_that_owes_no_pong_owes_none_after_it_is_read_again() {
        let mut session = session();
        session.released(at(1000));
        assert_eq!(session.deadline(), at(PING_MS));
    }

    #[test]
    fn without_hello_in_time_a_connection_is_closed_when_a_token_is_required() {
        let mut session = with_token();
        assert_eq!(session.deadline(), at(10_000));
        assert_eq!(session.due(at(9_999)), Due::Nothing);
        assert_eq!(session.due(at(10_000)), Due::Close(CloseReason::NoHello));
    }

    #[test]
    fn talking_does_not_replace_hello() {
        let mut session = with_token();
        assert!(is_admitted(&session.text(PING, at(9_999))));
        assert_eq!(session.due(at(10_000)), Due::Close(CloseReason::NoHello));
    }

    #[test]
    fn without_a_required_token_nobody_waits_for_hello() {
        assert_eq!(session().due(at(10_000)), Due::Nothing);
    }

    #[test]
    fn a_token_that_expires_ends_the_connection_unless_another_came() {
        let mut session = with_token();
        session.identified(Some(at(5_000)));
        assert_eq!(session.deadline(), at(5_000));
        session.identified(Some(at(8_000)));
        assert_eq!(session.due(at(5_000)), Due::Nothing);
        assert_eq!(
            session.due(at(8_000)),
            Due::Close(CloseReason::TokenExpired)
        );
    }

    #[test]
    fn a_token_that_never_expires_leaves_only_the_heartbeat() {
        let mut session = with_token();
        session.identified(None);
        assert_eq!(session.deadline(), at(PING_MS));
    }

    #[test]
    fn the_token_of_a_hello_stands_apart_from_the_request() {
        let hello = r#"{"type":"hello","protocol":1,"token":"secret"}"#;
        let Verdict::Admit { token, .. } = session().text(hello, at(0)) else {
            panic!("a good hello is admitted");
        };
        assert_eq!(token.as_ref().map(Token::reveal), Some("secret"));
        assert_eq!(std::format!("{token:?}"), "Some(Token(…))");
    }

    #[test]
    fn too_many_frames_are_refused_until_the_time_they_are_told() {
        let mut session = strict();
        for _ in 0..4 {
            assert!(is_admitted(&session.text(PING, at(0))));
        }
        assert_eq!(refused_for_ms(session.text(PING, at(0))), Some(500));
        assert_eq!(refused_for_ms(session.text("gibberish", at(499))), Some(1));
        assert!(is_admitted(&session.text(PING, at(500))));
    }

    #[test]
    fn a_hundred_refused_in_a_row_are_flooding() {
        let mut session = session();
        for _ in 0..200 {
            assert!(is_admitted(&session.text(PING, at(0))));
        }
        for _ in 1..100 {
            assert!(refused_for_ms(session.text(PING, at(0))).is_some());
        }
        assert_eq!(
            session.text(PING, at(0)),
            Verdict::Close(CloseReason::Flooding)
        );
    }

    #[test]
    fn what_asks_for_much_counts_as_many_frames() {
        const PAGE: &str = r#"{"type":"get_history","roomId":"r","ref":"p"}"#;
        const JOIN: &str = r#"{"type":"join","roomId":"r"}"#;
        for (text, at_once) in [
            (PAGE, 20),
            (r#"{"type":"list_rooms"}"#, 20),
            (r#"{"type":"list_users","roomId":"r"}"#, 20),
            (JOIN, 40),
            (r#"{"type":"leave","roomId":"r"}"#, 40),
            (r#"{"type":"hello","protocol":1,"token":"t"}"#, 4),
            (r#"{"type":"hello","protocol":1}"#, 200),
            (PING, 200),
        ] {
            let mut session = session();
            for _ in 0..at_once {
                assert!(is_admitted(&session.text(text, at(0))), "{text}");
            }
            assert!(refused_for_ms(session.text(text, at(0))).is_some());
            assert!(is_admitted(&session.text(PING, at(1000))));
        }
    }

    /// It may be told twice: what is refused unread is told the wait for a frame, not for what it
    /// asks.
    #[test]
    fn who_waits_for_as_long_as_it_is_told_is_admitted() {
        for text in [
            r#"{"type":"join","roomId":"r"}"#,
            r#"{"type":"get_history","roomId":"r"}"#,
            r#"{"type":"hello","protocol":1,"token":"t"}"#,
            PING,
        ] {
            for mut session in [session(), strict()] {
                let mut now = at(10_000);
                while is_admitted(&session.text(PING, now)) {}
                let mut refusals = 0;
                while let Some(wait_ms) = refused_for_ms(session.text(text, now)) {
                    refusals += 1;
                    now = now.plus_ms(wait_ms);
                }
                assert!((1..=2).contains(&refusals), "{text}: {refusals}");
            }
        }
    }

    #[test]
    fn who_goes_on_asking_for_much_is_flooding() {
        let page = r#"{"type":"get_history","roomId":"r","ref":"p"}"#;
        let mut session = strict();
        assert!(is_admitted(&session.text(page, at(0))));
        // A frame passes each half second, and the rest of the four that it counts as does not.
        for round in 1..3 {
            let Verdict::Refuse(refusal) = session.text(page, at(500 * round)) else {
                panic!("it is refused in round {round}");
            };
            assert_eq!(refusal.code, ErrorCode::RateLimited);
            assert_eq!(refusal.retry_after_ms, Some(2000));
            assert_eq!(refusal.reference.as_ref().map(Ref::as_str), Some("p"));
        }
        let end = session.text(page, at(1500));
        assert_eq!(end, Verdict::Close(CloseReason::Flooding));
    }

    #[test]
    fn one_frame_that_passes_begins_the_count_anew() {
        let mut session = strict();
        for round in 0..10 {
            let now = at(10_000 + round * 500);
            while is_admitted(&session.text(PING, now)) {}
            assert!(refused_for_ms(session.text(PING, now)).is_some());
        }
    }

    #[test]
    fn control_frames_count_but_get_no_error() {
        let mut session = strict();
        for _ in 0..4 {
            assert_eq!(session.control(at(0)), Verdict::Ignore);
        }
        assert_eq!(refused_for_ms(session.text(PING, at(0))), Some(500));
        assert_eq!(session.control(at(0)), Verdict::Ignore);
        assert_eq!(
            session.control(at(0)),
            Verdict::Close(CloseReason::Flooding)
        );
    }

    #[test]
    fn typing_beyond_the_rate_of_messages_is_ignored() {
        let mut session = strict();
        assert!(is_admitted(&session.text(TYPING, at(0))));
        assert!(is_admitted(&session.text(TYPING, at(0))));
        assert_eq!(session.text(TYPING, at(0)), Verdict::Ignore);
        assert!(is_admitted(&session.text(PING, at(0))));
        assert!(is_admitted(&session.text(TYPING, at(1000))));
    }

    #[test]
    fn rate_zero_turns_flood_control_off() {
        let limits = Limits {
            messages_per_second: 0,
            burst: 1,
            frames_per_message: 1,
            ..Limits::default()
        };
        let mut session = Session::new(&limits, at(0));
        for _ in 0..1000 {
            assert!(is_admitted(&session.text(TYPING, at(0))));
        }
    }

    #[test]
    fn a_bad_frame_is_refused_with_its_code() {
        let Verdict::Refuse(refusal) = session().text("[]", at(0)) else {
            panic!("an array is refused");
        };
        assert_eq!(refusal, Refusal::new(ErrorCode::InvalidJson));
    }

    #[test]
    fn a_binary_frame_closes() {
        assert_eq!(
            session().binary(),
            Verdict::Close(CloseReason::UnsupportedData)
        );
    }
}
