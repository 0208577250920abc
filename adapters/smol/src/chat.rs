//! The chat protocol on a connection: the pure [`Session`] decides, this hands over.

use std::ops::ControlFlow;

use parlor_core::session::{Due, Verdict};
use parlor_core::{Limits, Session, Timestamp};
use parlor_hub::{Connection, HubGone};

use crate::connection::{ConnectionClock, Flow, Protocol};

/// The protocol of the server.
#[derive(Debug)]
pub struct Chat(Session);

impl Chat {
    /// The protocol for a connection that stands since `now`.
    #[must_use]
    pub fn new(limits: &Limits, now: Timestamp) -> Self {
        Self(Session::new(limits, now))
    }
}

impl Protocol for Chat {
    async fn text(&mut self, connection: &Connection, text: &str, clock: ConnectionClock) -> Flow {
        let handed_over = match self.0.text(text, clock.now()) {
            Verdict::Admit { request, token: _ } => {
                let holds = request.kind.holds();
                let handed_over = connection.receive(request).await;
                if holds {
                    self.0.released(clock.now());
                }
                handed_over
            }
            Verdict::Refuse(refusal) => connection.refuse(refusal).await,
            Verdict::Ignore => Ok(()),
            Verdict::Close(reason) => return ControlFlow::Break(Some(reason)),
        };
        match handed_over {
            Ok(()) => ControlFlow::Continue(()),
            Err(HubGone) => ControlFlow::Break(None),
        }
    }

    async fn binary(&mut self, _: &Connection, _: &[u8]) -> Flow {
        self.flow(self.0.binary())
    }

    fn control(&mut self, now: Timestamp) -> Flow {
        let verdict = self.0.control(now);
        self.flow(verdict)
    }

    fn due(&mut self, now: Timestamp) -> Due {
        self.0.due(now)
    }

    fn deadline(&self) -> Timestamp {
        self.0.deadline()
    }
}

impl Chat {
    fn flow(&self, verdict: Verdict) -> Flow {
        match verdict {
            Verdict::Close(reason) => ControlFlow::Break(Some(reason)),
            Verdict::Admit { .. } | Verdict::Refuse(_) | Verdict::Ignore => {
                ControlFlow::Continue(())
            }
        }
    }
}
