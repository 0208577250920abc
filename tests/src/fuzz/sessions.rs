//! Target `session`.

use parlor_core::protocol::RequestKind;
use parlor_core::session::{Due, Verdict};
use parlor_core::{
    ConnId, Effect, Epoch, Event, Input, Limits, Page, ResumeToken, ServerMessage, Session, State,
    StoredLog, Timestamp,
};

use crate::run::Setup;

/// Each line is a frame behind two characters, which say how much time passes
/// and what else happens. Every frame has one outcome, and no deadline is ever in the past.
pub fn session(text: &str) {
    let limits = Setup::small(0).limits;
    let mut now = Timestamp(1_000_000);
    let mut session = Session::new(&limits, now);
    let mut server = Server::new(limits, now);
    for line in text.lines().take(300) {
        let mut chars = line.chars();
        let (Some(time), Some(what)) = (chars.next(), chars.next()) else {
            continue;
        };
        now = match u64::from(u32::from(time) % 64) {
            63 => Timestamp(now.0 - 1000),
            steps => now.plus_ms(steps * steps * 25),
        };
        match session.due(now) {
            Due::Close(_) => return,
            Due::Ping | Due::Nothing => assert!(session.deadline() > now, "{session:?}"),
        }
        assert_eq!(session.due(now), Due::Nothing);
        let verdict = match u32::from(what) % 8 {
            6 => session.control(now),
            7 => {
                session.released(now);
                continue;
            }
            _ => session.text(chars.as_str(), now),
        };
        assert_eq!(
            session.due(now),
            Due::Nothing,
            "any frame is a sign of life"
        );
        let is_open = match verdict {
            Verdict::Admit { request, .. } => {
                let is_typing = matches!(request.kind, RequestKind::Typing { .. });
                let answers = usize::from(!is_typing)..=1;
                let conn = CONN;
                let (found, is_open) = server.answers(Input::Received { conn, request }, now);
                assert!(answers.contains(&found), "{found} answers to {line}");
                is_open
            }
            Verdict::Refuse(refusal) => {
                let conn = CONN;
                let (found, is_open) = server.answers(Input::Refused { conn, refusal }, now);
                assert_eq!(found, 1, "{line}");
                is_open
            }
            Verdict::Ignore => true,
            Verdict::Close(_) => false,
        };
        if !is_open {
            return;
        }
    }
}

const CONN: ConnId = ConnId(1);

/// A state with one connection, and a store that is empty and at hand.
struct Server(State);

impl Server {
    fn new(limits: Limits, now: Timestamp) -> Self {
        let mut server = Self(State::new(limits));
        let resume_token = ResumeToken::from_random(1);
        let conn = CONN;
        server.answers(Input::Connected { conn, resume_token }, now);
        server
    }

    /// How many answers `input` has, and whether the connection stands.
    fn answers(&mut self, input: Input, at: Timestamp) -> (usize, bool) {
        let (mut inputs, mut answers, mut is_open) = (vec![input], Vec::new(), true);
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.0.apply(Event { at, input }, &mut effects);
            assert_eq!(self.0.check(), Ok(()));
            for effect in effects {
                match effect {
                    Effect::Send { message, .. } => answers.push(message),
                    Effect::LoadRoom { room, load } => {
                        let log = StoredLog::empty(Epoch::new("e").expect("it is short"));
                        inputs.push(Input::RoomLoaded { room, load, log });
                    }
                    Effect::FetchPage(fetch) => {
                        let page = Page::default();
                        inputs.push(Input::PageFetched { fetch, page });
                    }
                    Effect::Close { .. } => is_open = false,
                    Effect::Append { .. }
                    | Effect::Answer { .. }
                    | Effect::Tell(_)
                    | Effect::ReleaseRoom { .. } => {}
                }
            }
        }
        // A replay and a page have one message that says what the others are.
        let whole = |message: &&ServerMessage| {
            matches!(
                message,
                ServerMessage::Joined(_) | ServerMessage::History(_)
            )
        };
        let found = answers.iter().filter(whole).count();
        (if found > 0 { found } else { answers.len() }, is_open)
    }
}
