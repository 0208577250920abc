//! The chat protocol on a connection: the pure [`Session`] decides, this hands over.

use std::ops::ControlFlow;
use std::sync::Arc;

use parlor_core::session::{Due, Verdict};
use parlor_core::types::Token;
use parlor_core::{CloseReason, ErrorCode, Limits, Refusal, Request, Session, Timestamp};
use parlor_hub::{Connection, HubGone};
use tracing::debug;

use crate::connection::{ConnectionClock, Flow, Protocol};
use crate::token::Verifier;

/// The protocol of the server.
#[derive(Debug)]
pub struct Chat {
    session: Session,
    verifier: Option<Arc<Verifier>>,
}

impl Chat {
    /// The protocol for a connection that stands since `now`. Without a verifier tokens are
    /// ignored.
    #[must_use]
    pub fn new(limits: &Limits, verifier: Option<Arc<Verifier>>, now: Timestamp) -> Self {
        Self {
            session: Session::new(limits, now),
            verifier,
        }
    }
}

impl Protocol for Chat {
    async fn text(&mut self, connection: &Connection, text: &str, clock: ConnectionClock) -> Flow {
        let handed_over = match self.session.text(text, clock.now()) {
            Verdict::Admit { request, token } => {
                if let Some(token) = token {
                    self.identify(connection, &request, &token, clock.now())
                        .await?;
                }
                let holds = request.kind.holds();
                let handed_over = connection.receive(request).await;
                if holds {
                    self.session.released(clock.now());
                }
                handed_over
            }
            Verdict::Refuse(refusal) => connection.refuse(refusal).await,
            Verdict::Ignore => Ok(()),
            Verdict::Close(reason) => return ControlFlow::Break(Some(reason)),
        };
        flow_of(handed_over)
    }

    async fn binary(&mut self, _: &Connection, _: &[u8]) -> Flow {
        self.flow(self.session.binary())
    }

    fn control(&mut self, now: Timestamp) -> Flow {
        let verdict = self.session.control(now);
        self.flow(verdict)
    }

    fn due(&mut self, now: Timestamp) -> Due {
        self.session.due(now)
    }

    fn deadline(&self) -> Timestamp {
        self.session.deadline()
    }
}

impl Chat {
    /// Verifies the token of a hello, and hands over what it says.
    async fn identify(
        &mut self,
        connection: &Connection,
        hello: &Request,
        token: &Token,
        now: Timestamp,
    ) -> Flow {
        let Some(verifier) = &self.verifier else {
            return ControlFlow::Continue(());
        };
        let handed_over = match verifier.verify(token.reveal(), now) {
            Ok(verified) => {
                self.session.identified(verified.expires_at);
                connection.identify(verified.identity).await
            }
            Err(why) => {
                debug!(conn = %connection.id(), %why, "token refused");
                let mut refusal = Refusal::new(ErrorCode::Unauthorized);
                refusal.reference = hello.reference.clone();
                // Whether it arrives or not, this is the end.
                let _ = connection.refuse(refusal).await;
                return ControlFlow::Break(Some(CloseReason::Unauthorized));
            }
        };
        flow_of(handed_over)
    }

    fn flow(&self, verdict: Verdict) -> Flow {
        match verdict {
            Verdict::Close(reason) => ControlFlow::Break(Some(reason)),
            Verdict::Admit { .. } | Verdict::Refuse(_) | Verdict::Ignore => {
                ControlFlow::Continue(())
            }
        }
    }
}

fn flow_of(handed_over: Result<(), HubGone>) -> Flow {
    match handed_over {
        Ok(()) => ControlFlow::Continue(()),
        Err(HubGone) => ControlFlow::Break(None),
    }
}
