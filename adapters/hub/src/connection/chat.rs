//! The chat protocol on a connection: the pure [`Session`] decides, this hands over.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use parlor_core::session::{Due, Verdict};
use parlor_core::types::Token;
use parlor_core::{CloseReason, ErrorCode, Identity, Limits, Refusal, Request, Session, Timestamp};
use tracing::debug;

use crate::connection::{ConnectionClock, Flow, Protocol};
use crate::handle::{Connection, HubGone};

/// Whose connections these are. With [`Limits::token_required`] the core lets in whom it was told
/// the identity of, without it guests.
#[derive(Clone)]
pub enum Access {
    /// Guests, who choose their names. Tokens are ignored.
    Guests,
    /// Whoever sends a token that this verifies.
    Tokens(Arc<dyn Verify>),
    /// Somebody whom whoever runs the server knows already.
    Known(Verified),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guests => "Guests",
            Self::Tokens(_) => "Tokens",
            Self::Known(_) => "Known",
        })
    }
}

/// Verifies the tokens of `hello`.
pub trait Verify: Send + Sync {
    /// What a token says at this time.
    ///
    /// # Errors
    /// When it is not good, with a reason for the log, in which nothing of the token may stand.
    fn verify(&self, token: &str, now: Timestamp)
    -> Result<Verified, Box<dyn Error + Send + Sync>>;
}

/// What is known of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it is.
    pub identity: Identity,
    /// From then on that is over, and the connection is closed with 4500; without, it lasts as long
    /// as the connection.
    pub expires_at: Option<Timestamp>,
}

impl From<Identity> for Verified {
    fn from(identity: Identity) -> Self {
        Self {
            identity,
            expires_at: None,
        }
    }
}

/// The protocol of the server.
#[derive(Debug)]
pub struct Chat {
    session: Session,
    access: Access,
}

impl Chat {
    /// The protocol for a connection that stands since `now`.
    #[must_use]
    pub fn new(limits: &Limits, access: Access, now: Timestamp) -> Self {
        Self {
            session: Session::new(limits, now),
            access,
        }
    }
}

impl Protocol for Chat {
    async fn begin(&mut self, connection: &Connection, _: Timestamp) -> Flow {
        match &self.access {
            Access::Known(known) => self.identified(connection, known.clone()).await,
            Access::Guests | Access::Tokens(_) => ControlFlow::Continue(()),
        }
    }

    async fn text(&mut self, connection: &Connection, text: &str, clock: ConnectionClock) -> Flow {
        match self.session.text(text, clock.now()) {
            Verdict::Admit {
                request,
                token: None,
            } => self.admit(connection, request, clock).await,
            // Boxed, as it happens once or twice in the life of a connection.
            Verdict::Admit {
                request,
                token: Some(token),
            } => Box::pin(self.hello(connection, request, token, clock)).await,
            Verdict::Refuse(refusal) => flow_of(connection.refuse(refusal).await),
            Verdict::Ignore => ControlFlow::Continue(()),
            Verdict::Close(reason) => ControlFlow::Break(Some(reason)),
        }
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
    // No async fn: that would have space for the request as long as the connection lives.
    fn admit(
        &mut self,
        connection: &Connection,
        request: Request,
        clock: ConnectionClock,
    ) -> impl Future<Output = Flow> + Send {
        let holds = request.kind.holds();
        let handed_over = connection.receive(request);
        async move {
            let handed_over = handed_over.await;
            if holds {
                self.session.released(clock.now());
            }
            flow_of(handed_over)
        }
    }

    async fn hello(
        &mut self,
        connection: &Connection,
        hello: Request,
        token: Token,
        clock: ConnectionClock,
    ) -> Flow {
        self.identify(connection, &hello, &token, clock.now())
            .await?;
        self.admit(connection, hello, clock).await
    }

    /// Verifies the token of a hello, and hands over what it says.
    async fn identify(
        &mut self,
        connection: &Connection,
        hello: &Request,
        token: &Token,
        now: Timestamp,
    ) -> Flow {
        let Access::Tokens(verifier) = &self.access else {
            return ControlFlow::Continue(());
        };
        match verifier.verify(token.reveal(), now) {
            Ok(verified) => self.identified(connection, verified).await,
            Err(why) => {
                debug!(conn = %connection.id(), %why, "token refused");
                let mut refusal = Refusal::new(ErrorCode::Unauthorized);
                refusal.reference = hello.reference.clone();
                // Whether it arrives or not, this is the end.
                let _ = connection.refuse(refusal).await;
                ControlFlow::Break(Some(CloseReason::Unauthorized))
            }
        }
    }

    fn identified(
        &mut self,
        connection: &Connection,
        verified: Verified,
    ) -> impl Future<Output = Flow> + Send {
        self.session.identified(verified.expires_at);
        let handed_over = connection.identify(verified.identity);
        async { flow_of(handed_over.await) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_before_the_deadline() {
        let start = Timestamp(1_700_000_000_000);
        let mut chat = Chat::new(&Limits::default(), Access::Guests, start);
        let deadline = chat.deadline();
        assert_eq!(chat.due(Timestamp(deadline.0 - 1)), Due::Nothing);
        assert_eq!(chat.deadline(), deadline);
        assert_ne!(chat.due(deadline), Due::Nothing);
        assert!(chat.deadline() > deadline, "it is for the next time");
    }
}
