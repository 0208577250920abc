//! The server as a process: it starts, its tasks and threads have their turns, and it ends.

use std::time::Duration;

use parlor_core::Timestamp;
use parlor_hub::{Clock, HubError};

use super::Checked;
use super::world::{Next, World};
use crate::driven_hub::{DrivenHub, START};
use crate::observe::Failure;
use crate::taped;

/// Between two ticks of the hub.
pub(super) const TICK_MS: u64 = 1000;
/// Between two looks at who is in which room.
const LOOK_MS: u64 = 5 * TICK_MS;

/// A process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) hub: DrivenHub,
    clock: Clock,
    pub(super) hub_is_due: bool,
    pub(super) store_is_due: bool,
    /// Whether its store was asked something that it did not do yet.
    pub(super) store_is_busy: bool,
    pub(super) store_hangs: bool,
    pub(super) stopping: bool,
    /// Connections so far.
    pub(super) opened: u32,
}

impl World {
    pub(super) fn time(&mut self) -> Timestamp {
        let monotonic = Duration::from_millis(self.now_ms);
        let wall_ms = (START + self.now_ms).saturating_add_signed(self.wall_ms);
        let wall = Duration::from_millis(wall_ms);
        let now = self.server.as_mut().map(|server| {
            let now = server.clock.now(wall, monotonic);
            server.hub.set_time(now);
            now
        });
        now.unwrap_or(Timestamp(wall_ms))
    }

    pub(super) fn start(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.processes += 1;
        self.tell(format_args!("the server starts"));
        let wall_ms = (START + self.now_ms).saturating_add_signed(self.wall_ms);
        let clock = Clock::new(
            Duration::from_millis(wall_ms),
            Duration::from_millis(self.now_ms),
        );
        let (limits, store) = (&self.plan.limits, self.ledger.disk.open());
        let hub = if self.plan.store_lag_ms == 0 {
            DrivenHub::with_inner_store(limits, store)
        } else {
            DrivenHub::with_store_thread(limits, store)
        };
        self.server = Some(Server {
            hub,
            clock,
            hub_is_due: false,
            store_is_due: false,
            store_is_busy: false,
            store_hangs: false,
            stopping: false,
            opened: 0,
        });
        self.time();
    }

    /// Something may have come for the hub.
    pub(super) fn wake_hub(&mut self) {
        if let Some(server) = &mut self.server
            && !server.hub_is_due
        {
            server.hub_is_due = true;
            let lag_ms = self.dice.roll(self.plan.hub_lag_ms + 1);
            self.soon(lag_ms, Next::Hub);
        }
    }

    /// Something may have come for the store.
    pub(super) fn wake_store(&mut self) {
        let slow_ms = self.store_slow_until_ms.saturating_sub(self.now_ms);
        if let Some(server) = &mut self.server
            && !server.store_is_due
            && !server.store_hangs
        {
            server.store_is_due = true;
            let lag_ms = self.dice.roll(self.plan.store_lag_ms + 1).max(slow_ms);
            self.soon(lag_ms, Next::Store);
        }
    }

    pub(super) fn store(&mut self) -> Checked {
        let Some(server) = self.server.as_mut().filter(|server| server.store_is_due) else {
            return Ok(());
        };
        server.store_is_due = false;
        server.store_is_busy = server.hub.step_store();
        if server.store_is_busy {
            self.wake_store();
            self.wake_hub();
        }
        Ok(())
    }

    pub(super) fn turn(&mut self) -> Checked {
        self.time();
        let Some(server) = self.server.as_mut().filter(|server| server.hub_is_due) else {
            return Ok(());
        };
        server.hub_is_due = false;
        server.store_is_busy = true;
        let ended = server.hub.settle();
        self.crashes();
        if let Some(broken) = self.ledger.disk.broken_rule() {
            return Err(broken);
        }
        self.read()?;
        self.hear()?;
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.pump(link)?;
        }
        self.wake_store();
        if let Some(ended) = ended {
            self.ended(ended)?;
        }
        self.turns += 1;
        if self.turns.is_multiple_of(16) {
            self.check_bounds()?;
        }
        Ok(())
    }

    /// Panics that nobody planned are bugs.
    pub(super) fn crashes(&mut self) {
        let Some(server) = &self.server else { return };
        for crash in server.hub.take_crashes() {
            let panic = crash.panic;
            self.ledger.note(if panic.starts_with("planned") {
                "hub panic"
            } else {
                "unplanned panic"
            });
            self.tell(format_args!("the hub panics: {panic}"));
        }
    }

    pub(super) fn ended(&mut self, ended: Result<(), HubError>) -> Checked {
        self.tell(format_args!("the hub ends: {ended:?}"));
        self.ledger.note(format!("hub ended: {ended:?}"));
        self.die()
    }

    /// The process is gone, and with it all its connections.
    pub(super) fn die(&mut self) -> Checked {
        if let Some(server) = self.server.take() {
            check_trace(&server)?;
        }
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            if let Some(link) = self.links.get_mut(&link) {
                link.door = None;
            }
            let tells = !self.dice.one_in(4);
            self.break_link(link, tells);
        }
        let pause_ms = 100 + self.dice.roll(5000);
        self.soon(pause_ms, Next::Start);
        Ok(())
    }

    pub(super) fn exit(&mut self, process: u64) -> Checked {
        if self.server.is_some() && process == self.processes {
            self.tell(format_args!("the server exits"));
            return self.die();
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Checked {
        self.time();
        if self.now_ms.is_multiple_of(LOOK_MS) {
            self.check_presence()?;
        }
        if let Some(server) = &self.server {
            server.hub.handle().tick();
            self.wake_hub();
        }
        self.hear()?;
        self.publish();
        self.soon(TICK_MS, Next::Tick);
        Ok(())
    }
}

/// D-4: what the core was fed, recorded without texts and tokens, leads to the same effects again.
pub(super) fn check_trace(server: &Server) -> Checked {
    let broken = |detail| Failure {
        rule: "D-4",
        detail,
    };
    taped::check(&server.hub.trace()).map_err(broken)
}
