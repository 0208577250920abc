//! The server's end of one connection: what an adapter is in earnest, with a real session and a
//! real connection of the hub, and without a socket or a clock of its own.

use std::collections::VecDeque;

use parlor_core::session::{Due, Verdict};
use parlor_core::{
    CloseReason, ErrorCode, Identity, Limits, Refusal, Request, Session, Timestamp, Username,
};
use parlor_hub::{Opcode, frame};

use super::ledger::Ledger;
use super::witness::Witness;
use crate::driven_hub::Client;

/// What comes from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// It connects.
    Open,
    /// A text frame.
    Text(String),
    /// A pong.
    Pong,
    /// It closes.
    Close,
    /// It is gone.
    Gone,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Door {
    /// What the hub has of it.
    pub client: Client,
    /// What it was asked and told.
    pub witness: Witness,
    session: Session,
    /// The hub's time when it began, and ours.
    began: (Timestamp, u64),
    waiting: VecDeque<Up>,
    holding: bool,
    takes_tokens: bool,
}

impl Door {
    /// A connection that stands since `began_ms`, when it was `at` for the hub.
    #[must_use]
    pub fn new(client: Client, limits: &Limits, at: Timestamp, began_ms: u64) -> Self {
        Self {
            client,
            witness: Witness::default(),
            session: Session::new(limits, at),
            began: (at, began_ms),
            waiting: VecDeque::new(),
            holding: false,
            takes_tokens: limits.token_required,
        }
    }

    /// Something came.
    pub fn arrived(&mut self, up: Up) {
        self.waiting.push_back(up);
    }

    /// When to [`Door::pump`] at the latest, ms.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.session.deadline().ms_since(self.began.0) + self.began.1
    }

    /// Hands over what may be handed over, and does what the time brings. False if that is nothing.
    pub fn pump(&mut self, now_ms: u64, ledger: &mut Ledger) -> bool {
        let now = self.began.0.plus_ms(now_ms - self.began.1);
        let mut has_acted = false;
        while self.client.is_open() && !self.client.is_held() {
            if std::mem::take(&mut self.holding) {
                self.session.released(now);
            }
            let is_over = self
                .client
                .outcome()
                .is_some_and(|outcome| outcome.is_err());
            if is_over || self.client.socket.last_word().is_some() {
                self.client.end(None);
                return true;
            }
            if self.session.deadline() <= now {
                match self.session.due(now) {
                    Due::Nothing => {}
                    Due::Ping => self.client.perform(async |connection| {
                        connection.control(frame(Opcode::Ping, &[])).await
                    }),
                    Due::Close(reason) => self.client.end(Some(reason)),
                }
                has_acted = true;
                continue;
            }
            let Some(up) = self.waiting.pop_front() else {
                break;
            };
            has_acted = true;
            match up {
                Up::Open => {}
                Up::Text(text) => self.text(&text, now, ledger),
                Up::Pong => {
                    if let Verdict::Close(reason) = self.session.control(now) {
                        self.client.end(Some(reason));
                    }
                }
                Up::Close => self.client.end(Some(CloseReason::Normal)),
                Up::Gone => self.client.end(None),
            }
        }
        has_acted
    }

    fn text(&mut self, text: &str, now: Timestamp, ledger: &mut Ledger) {
        self.witness.asked(text, ledger);
        match self.session.text(text, now) {
            Verdict::Admit { request, token } => {
                self.holding = request.kind.holds();
                let token = token.filter(|_| self.takes_tokens);
                match token.map(|token| Username::new(token.reveal())) {
                    None => self
                        .client
                        .perform(async move |connection| connection.receive(request).await),
                    Some(Ok(subject)) => self.identify(subject, request),
                    Some(Err(_)) => self.refuse_token(&request),
                }
            }
            Verdict::Refuse(refusal) => {
                self.client
                    .perform(async move |connection| connection.refuse(refusal).await);
            }
            Verdict::Ignore => {}
            Verdict::Close(reason) => self.client.end(Some(reason)),
        }
    }

    /// The token of a simulated user is its name.
    fn identify(&mut self, subject: Username, hello: Request) {
        self.session.identified(None);
        let identity = Identity {
            subject,
            rooms: None,
        };
        self.client.perform(async move |connection| {
            connection.identify(identity).await?;
            connection.receive(hello).await
        });
    }

    fn refuse_token(&mut self, hello: &Request) {
        let mut refusal = Refusal::new(ErrorCode::Unauthorized);
        refusal.reference = hello.reference.clone();
        self.client
            .perform(async move |connection| connection.refuse(refusal).await);
        self.client.end(Some(CloseReason::Unauthorized));
    }
}
