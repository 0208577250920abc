//! What clients are told, and what they do.

use parlor_client::{Input, Output, Secret};

use super::Checked;
use super::door::Up;
use super::link::{Down, Owner};
use super::stranger::Deed;
use super::world::{Next, World};

impl World {
    pub(super) fn deliver(&mut self, link: u64, down: Down) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        if open.silent.1 || (open.broken && down != Down::Gone) {
            return Ok(());
        }
        let (owner, is_listening) = (open.owner, open.is_listening);
        let is_over = matches!(down, Down::Gone | Down::Close(_));
        if is_over {
            open.is_listening = false;
        }
        if down == Down::Gone {
            if open.door.is_none() {
                self.links.remove(&link);
            }
        } else if is_over {
            self.send_up(link, Up::Close);
        }
        if down == Down::Ping && is_listening {
            self.send_up(link, Up::Pong);
        }
        if !is_listening {
            return Ok(());
        }
        match owner {
            Owner::Person(person) if self.people[person].link == Some(link) => {
                if is_over {
                    self.people[person].link = None;
                }
                let input = match down {
                    Down::Opened => Input::Opened {
                        token: self.people[person].token(&self.plan),
                    },
                    Down::Text(text) => Input::Received { text },
                    Down::Ping => return Ok(()),
                    Down::Close(code) => Input::Closed {
                        code: Some(code),
                        reason: None,
                    },
                    Down::Gone => Input::Closed {
                        code: Some(1006),
                        reason: None,
                    },
                };
                self.hand(person, input)
            }
            Owner::Stranger(stranger) if self.strangers[stranger].link == Some(link) => {
                if is_over {
                    self.strangers[stranger].link = None;
                } else if let Down::Text(frame) = down {
                    self.strangers[stranger].reads(&frame);
                }
                Ok(())
            }
            Owner::Person(_) | Owner::Stranger(_) => Ok(()),
        }
    }

    /// Hands something over to a client, and does what it wants done.
    pub(super) fn hand(&mut self, person: usize, input: Input) -> Checked {
        let outputs = self.people[person].handle(self.now_ms, input, &mut self.ledger)?;
        for output in outputs {
            match output {
                Output::Connect => {
                    let link = self.connect(Owner::Person(person));
                    self.people[person].link = Some(link);
                }
                Output::Transmit { text } => {
                    if let Some(link) = self.people[person].link {
                        self.tell(format_args!("{link} > {text}"));
                        self.send_up(link, Up::Text(text));
                    }
                }
                Output::HangUp => {
                    if let Some(link) = self.people[person].link.take() {
                        self.hang_up(link, Up::Close);
                    }
                }
                Output::Remember { resume_token } => self.remember(person, &resume_token)?,
                Output::Emit(_) | Output::Resolve { .. } | Output::Reject { .. } => {}
            }
        }
        if let Some(deadline_ms) = self.people[person].deadline_ms()
            && deadline_ms != self.people[person].timer_ms
        {
            self.people[person].timer_ms = deadline_ms;
            self.at(deadline_ms.max(self.now_ms + 1), Next::Timer(person));
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, person: usize, token: &Secret) -> Checked {
        let guest = self.people[person].guest;
        self.remembered.insert(guest, token.clone());
        for other in 0..self.people.len() {
            if self.people[other].guest == guest {
                let resume_token = Some(token.clone());
                self.hand(other, Input::Remembered { resume_token })?;
            }
        }
        Ok(())
    }

    pub(super) fn hang_up(&mut self, link: u64, word: Up) {
        self.tell(format_args!("{link} hangs up"));
        if let Some(open) = self.links.get_mut(&link) {
            open.is_listening = false;
            self.send_up(link, word);
        }
    }

    pub(super) fn timer(&mut self, person: usize) -> Checked {
        self.people[person].timer_ms = 0;
        let due = self.people[person].deadline_ms();
        if due.is_some_and(|due| due <= self.now_ms) {
            self.hand(person, Input::Tick)?;
        }
        Ok(())
    }

    pub(super) fn act(&mut self, owner: Owner) -> Checked {
        match owner {
            Owner::Person(person) => {
                let inputs = if self.is_calm {
                    self.people[person].settle_down(&self.plan, &mut self.dice)
                } else {
                    self.people[person].act(&self.plan, &mut self.dice)
                };
                for input in inputs {
                    if input == Input::Connect {
                        let guest = self.people[person].guest;
                        let resume_token = self.remembered.get(&guest).cloned();
                        self.hand(person, Input::Remembered { resume_token })?;
                    }
                    self.hand(person, input)?;
                }
            }
            Owner::Stranger(_) if self.is_calm => return Ok(()),
            Owner::Stranger(stranger) => {
                let deed = self.strangers[stranger].act(&self.plan, &mut self.dice, &self.ledger);
                self.strange(stranger, deed);
            }
        }
        let pause_ms = 1 + self.dice.roll(self.plan.pause_ms);
        self.soon(if self.is_calm { 5000 } else { pause_ms }, Next::Act(owner));
        Ok(())
    }

    pub(super) fn strange(&mut self, stranger: usize, deed: Deed) {
        match (deed, self.strangers[stranger].link) {
            (Deed::Connect, None) => {
                let link = self.connect(Owner::Stranger(stranger));
                self.strangers[stranger].link = Some(link);
            }
            (Deed::Send(frames), Some(link)) => {
                for frame in frames {
                    self.tell(format_args!("{link} > {frame}"));
                    self.send_up(link, Up::Text(frame));
                }
            }
            (Deed::Leave(with_a_word), Some(link)) => {
                self.strangers[stranger].link = None;
                self.hang_up(link, if with_a_word { Up::Close } else { Up::Gone });
            }
            (Deed::Connect, Some(_)) | (Deed::Send(_) | Deed::Leave(_), None) => {}
        }
    }
}
