//! The application that the server is in: now and then it publishes something, and does so again
//! until it knows what became of it.

use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{ErrorCode, Published, RoomId, Username};
use parlor_hub::{Handle, PublishError};

use super::world::World;
use super::{Checked, rule};
use crate::dice::Dice;
use crate::driven_hub::Task;

const NAME: &str = "application";

/// An application.
#[derive(Debug)]
pub(super) struct Application {
    /// Its own, so that worlds without one are as they would be if there were none anywhere.
    dice: Dice,
    is_there: bool,
    said: u64,
    unanswered: Vec<Publication>,
}

#[derive(Debug)]
struct Publication {
    room: String,
    text: String,
    id: String,
    /// Until it is answered; none if it has to be published again.
    task: Option<Task<Result<Published, PublishError>>>,
}

impl Application {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(!seed);
        Self {
            is_there: dice.one_in(2),
            dice,
            said: 0,
            unanswered: Vec::new(),
        }
    }

    fn think_of_something(&mut self, rooms: u64) {
        self.said += 1;
        let (said, room) = (self.said, self.dice.roll(rooms));
        self.unanswered.push(Publication {
            room: format!("room {room}"),
            text: format!("{said} of the {NAME} in room {room}"),
            id: format!("{NAME}-{said}"),
            task: None,
        });
    }
}

impl Publication {
    fn publish(&mut self, handle: &Handle) {
        let handle = handle.clone();
        let room = RoomId::new(&self.room).expect("it is a good room");
        let from = Username::new(NAME).expect("it is a good name");
        let text = MessageText::new(&self.text).expect("it is a good text");
        let id = ClientMsgId::new(&self.id).ok();
        let mut task = Task::new(async move { handle.publish(room, from, text, id).await });
        task.run();
        self.task = Some(task);
    }
}

impl World {
    /// Something new now and then, and again what has no answer.
    pub(super) fn publish(&mut self) {
        let Self {
            application,
            server,
            ledger,
            ..
        } = self;
        let Some(server) = server else { return };
        let speaks = application.is_there && !self.is_calm && application.dice.one_in(2);
        if speaks {
            application.think_of_something(self.plan.rooms);
        }
        let mut is_due = false;
        for publication in &mut application.unanswered {
            if publication.task.is_none() {
                ledger.say(&publication.text);
                publication.publish(server.hub.handle());
                is_due = true;
            }
        }
        if is_due {
            self.wake_hub();
        }
    }

    /// What became of what it published.
    pub(super) fn hear(&mut self) -> Checked {
        for mut publication in std::mem::take(&mut self.application.unanswered) {
            let outcome = publication
                .task
                .as_mut()
                .and_then(|task| task.run().cloned());
            match outcome {
                None => self.application.unanswered.push(publication),
                Some(Err(PublishError::HubGone)) => {
                    self.ledger.note("publication again");
                    publication.task = None;
                    self.application.unanswered.push(publication);
                }
                Some(Err(PublishError::Refused(code))) => {
                    rule("refused", code != ErrorCode::DuplicateId, || {
                        format!("{publication:?} is refused: {code}")
                    })?;
                    self.ledger.refuse(&publication.text);
                    self.ledger.note(format!("publication {code}"));
                }
                Some(Ok(Published {
                    epoch,
                    seq,
                    duplicate,
                })) => {
                    let Publication { room, id, .. } = publication;
                    let place = (room, epoch.as_str().to_string(), seq.0);
                    self.ledger.acknowledge((NAME.into(), id), place)?;
                    self.ledger.note(if duplicate {
                        "published before"
                    } else {
                        "published"
                    });
                }
            }
        }
        Ok(())
    }

    /// At rest: everything is answered.
    pub(super) fn check_heard(&self) -> Checked {
        let unanswered = &self.application.unanswered;
        rule("settled", unanswered.is_empty(), || {
            format!("no answer to {unanswered:?}")
        })
    }
}
