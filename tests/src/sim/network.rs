//! What becomes of packets between clients and the server, and what both ends do with them.

use parlor_core::ResumeToken;

use super::Checked;
use super::door::{Door, Up};
use super::ledger::found;
use super::link::{Down, Link, Owner};
use super::world::{Next, World};
use crate::virtual_socket::{Received, VirtualSocket};

/// What the operating system takes for a peer that takes nothing any more.
const KERNEL_BYTES: usize = 64 << 10;

impl World {
    pub(super) fn send_up(&mut self, link: u64, up: Up) {
        let lag_ms = self.dice.roll(self.plan.lag_ms + 1);
        if let Some(open) = self.links.get_mut(&link) {
            let at_ms = open.up_at(self.now_ms + lag_ms);
            self.at(at_ms, Next::Up(link, up));
        }
    }

    pub(super) fn send_down(&mut self, link: u64, down: Down) {
        let lag_ms = self.dice.roll(self.plan.lag_ms + 1);
        if let Some(open) = self.links.get_mut(&link) {
            let at_ms = open.down_at(self.now_ms + lag_ms);
            self.at(at_ms, Next::Down(link, down));
        }
    }

    /// Nothing comes through any more; both ends are told, or only who asks.
    pub(super) fn break_link(&mut self, link: u64, tells: bool) {
        if let Some(open) = self.links.get_mut(&link) {
            if tells {
                open.broken = true;
                self.send_up(link, Up::Gone);
                self.send_down(link, Down::Gone);
            } else {
                open.silent = (true, true);
                self.silence(link);
            }
        }
    }

    /// What the server still writes goes no farther than the operating system.
    pub(super) fn silence(&self, link: u64) {
        if let Some(door) = self.links.get(&link).and_then(|link| link.door.as_ref()) {
            door.client.socket.take(KERNEL_BYTES);
        }
    }

    pub(super) fn connect(&mut self, owner: Owner) -> u64 {
        self.linked += 1;
        self.links.insert(self.linked, Link::new(owner));
        self.send_up(self.linked, Up::Open);
        self.linked
    }

    pub(super) fn arrive(&mut self, link: u64, up: Up) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        if open.silent.0 || (open.broken && up != Up::Gone) {
            return Ok(());
        }
        if let Some(door) = &mut open.door {
            door.arrived(up);
            return self.pump(link);
        }
        if up != Up::Open {
            return Ok(());
        }
        let token = u128::from(self.dice.roll(u64::MAX)) << 64 | u128::from(self.linked);
        let at = self.time();
        match &mut self.server {
            Some(server) if !server.stopping => {
                let (socket, outlet) = VirtualSocket::pair();
                let client = server
                    .hub
                    .open_as(ResumeToken::from_random(token), socket, outlet);
                server.opened += 1;
                let door = Door::new(client, &self.plan.limits, at, self.now_ms);
                self.tell(format_args!("{link} is open"));
                if let Some(open) = self.links.get_mut(&link) {
                    open.door = Some(door);
                }
                self.send_down(link, Down::Opened);
                self.wake_hub();
                self.pump(link)
            }
            Some(_) | None => {
                self.send_down(link, Down::Gone);
                Ok(())
            }
        }
    }

    pub(super) fn due(&mut self, link: u64) -> Checked {
        let due_ms = self.links.get(&link).map(|link| link.due_ms);
        if due_ms.is_none_or(|due_ms| due_ms > self.now_ms) {
            return Ok(());
        }
        self.pump(link)
    }

    /// The server's end of a connection does what it can do.
    pub(super) fn pump(&mut self, link: u64) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        let Some(door) = &mut open.door else {
            return Ok(());
        };
        let has_acted = door.pump(self.now_ms, &mut self.ledger);
        let is_open = door.client.is_open();
        if !is_open && door.client.socket.last_word().is_some() {
            open.door = None;
            self.send_down(link, Down::Gone);
        } else if is_open && !door.client.is_held() {
            let due_ms = door.deadline_ms().max(self.now_ms + 1);
            if open.due_ms != due_ms {
                open.due_ms = due_ms;
                self.at(due_ms, Next::Due(link));
            }
        }
        if has_acted {
            self.wake_hub();
        }
        Ok(())
    }

    /// Takes what the hub wrote, and compares it.
    pub(super) fn read(&mut self) -> Checked {
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            let Some(door) = self
                .links
                .get_mut(&link)
                .and_then(|link| link.door.as_mut())
            else {
                continue;
            };
            let socket = door.client.socket.clone();
            for (frame, bytes) in socket.read_sized() {
                self.got(link, frame, bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn got(&mut self, link: u64, frame: Received, bytes: usize) -> Checked {
        let door = self
            .links
            .get_mut(&link)
            .and_then(|link| link.door.as_mut());
        let witness = &mut found("A-1", door, || "nobody is there".into())?.witness;
        match frame {
            Received::Message(message) => {
                witness.got(&message, bytes, &self.plan.limits, &mut self.ledger)?;
                let text = message.to_string();
                self.tell(format_args!("{link} < {text}"));
                self.send_down(link, Down::Text(text));
            }
            Received::Control(_) => {
                self.tell(format_args!("{link} < ping"));
                self.send_down(link, Down::Ping);
            }
            Received::Close(code) => {
                witness.closed()?;
                self.ledger.note(format!("close {code}"));
                self.tell(format_args!("{link} < close {code}"));
                self.send_down(link, Down::Close(code));
            }
        }
        Ok(())
    }
}
