//! What goes wrong, and the end of it.

use super::Checked;
use super::disk::Failing;
use super::door::Up;
use super::plan::Fault;
use super::world::{Next, World};

/// A process that was told to stop is gone by then.
const SHUTDOWN_MS: u64 = 4000;

impl World {
    pub(super) fn fault(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let pause_ms = self.dice.roll(3000);
        self.soon(pause_ms, Next::Fault);
        let faults: Vec<Fault> = self.plan.faults.iter().copied().collect();
        let Some(&fault) = faults.get(self.dice.pick(faults.len().max(1) as u64)) else {
            return Ok(());
        };
        let links: Vec<u64> = self.links.keys().copied().collect();
        let link = links
            .get(self.dice.pick(links.len().max(1) as u64))
            .copied();
        match fault {
            Fault::Crash if self.dice.one_in(4) => {
                self.tell(format_args!("the server is killed"));
                self.ledger.note("crash");
                if self.server.is_some() {
                    self.die()?;
                }
            }
            Fault::Shutdown if self.dice.one_in(4) => self.shutdown(),
            Fault::ClockJump => self.set_clock(),
            Fault::StoreErrors => self.store_fault(),
            Fault::StoreSlow => self.store_slow_until_ms = self.now_ms + self.dice.roll(8000),
            Fault::StoreHangs if self.dice.one_in(8) => {
                if let Some(server) = &mut self.server {
                    server.store_hangs = true;
                    server.store_is_due = false;
                    self.ledger.note("store hangs");
                }
            }
            Fault::Cut
            | Fault::HalfOpen
            | Fault::SlowReader
            | Fault::StoppedReader
            | Fault::HubPanic
            | Fault::Cancelled => {
                if let Some(link) = link {
                    self.link_fault(fault, link)?;
                }
            }
            Fault::Crash
            | Fault::Shutdown
            | Fault::StoreHangs
            | Fault::Duplicate
            | Fault::Malformed
            | Fault::Flood
            | Fault::OldEpoch
            | Fault::StolenToken => {}
        }
        Ok(())
    }

    pub(super) fn shutdown(&mut self) {
        let process = self.processes;
        let Some(server) = self.server.as_mut().filter(|server| !server.stopping) else {
            return;
        };
        server.stopping = true;
        self.ledger.note("shutdown");
        self.tell(format_args!("the server is to stop"));
        self.ask_to_stop();
        self.soon(SHUTDOWN_MS, Next::Exit(process));
    }

    pub(super) fn ask_to_stop(&mut self) {
        if let Some(server) = &mut self.server {
            server.hub.ask_to_stop();
            self.wake_hub();
        }
    }

    pub(super) fn set_clock(&mut self) {
        let most_ms: u64 = [2000, 60_000, 7_200_000][self.dice.pick(3)];
        let jump_ms = i64::try_from(self.dice.roll(2 * most_ms)).expect("it is small");
        self.wall_ms += jump_ms - i64::try_from(most_ms).expect("it is small");
        let wall_ms = self.wall_ms;
        self.tell(format_args!("the clock is {wall_ms} ms ahead"));
        self.ledger.note("clock set");
    }

    pub(super) fn store_fault(&mut self) {
        let (what, fails) = (self.dice.roll(4), self.dice.one_in(2));
        self.ledger.note("store fault");
        self.tell(format_args!("the store fails: {what} {fails}"));
        self.ledger.disk.fail(|failing| match what {
            0 => failing.append = Some(fails),
            1 => failing.load = fails,
            2 => failing.page = fails,
            _ => failing.reopen = fails,
        });
    }

    pub(super) fn link_fault(&mut self, fault: Fault, link: u64) -> Checked {
        let (way, for_ms) = (self.dice.roll(3), self.dice.roll(60_000));
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        self.ledger.note(format!("{fault:?}"));
        self.transcript
            .line(self.now_ms, format_args!("{link} suffers {fault:?}"));
        match fault {
            Fault::Cut => {
                // Now and then the server learns it by writing.
                if way == 0
                    && let Some(door) = &open.door
                {
                    door.client.socket.fail();
                }
                self.break_link(link, true);
            }
            Fault::HalfOpen => {
                open.silent = (open.silent.0 || way != 0, open.silent.1 || way != 1);
                if open.silent.1 {
                    self.silence(link);
                }
            }
            Fault::SlowReader | Fault::StoppedReader => {
                let bytes = if fault == Fault::StoppedReader {
                    0
                } else {
                    50 + self.dice.pick(3000)
                };
                open.slow = Some(bytes);
                if let Some(door) = &open.door {
                    door.client.socket.block();
                }
                self.soon(200, Next::Read(link));
                self.soon(for_ms, Next::ReadAll(link));
            }
            Fault::HubPanic => {
                if let Some(door) = &open.door {
                    door.client.socket.panic();
                }
            }
            Fault::Cancelled => {
                if let Some(door) = &mut open.door
                    && door.client.is_open()
                {
                    door.client.cancel();
                    self.wake_hub();
                }
            }
            Fault::Duplicate
            | Fault::Malformed
            | Fault::Flood
            | Fault::ClockJump
            | Fault::StoreErrors
            | Fault::StoreSlow
            | Fault::StoreHangs
            | Fault::Crash
            | Fault::Shutdown
            | Fault::OldEpoch
            | Fault::StolenToken => {}
        }
        Ok(())
    }

    pub(super) fn read_some(&mut self, link: u64) -> Checked {
        if let Some(open) = self.links.get(&link)
            && let (Some(bytes), Some(door)) = (open.slow, &open.door)
            && !open.silent.1
        {
            door.client.socket.take(bytes);
            self.soon(200, Next::Read(link));
            self.wake_hub();
        }
        Ok(())
    }

    pub(super) fn read_all(&mut self, link: u64) -> Checked {
        if let Some(open) = self.links.get_mut(&link) {
            open.slow = None;
            if let Some(door) = open.door.as_ref().filter(|_| !open.silent.1) {
                door.client.socket.flow();
                self.wake_hub();
            }
        }
        Ok(())
    }

    /// From here on nothing goes wrong, and strangers are gone.
    pub(super) fn calm(&mut self) -> Checked {
        self.tell(format_args!("calm"));
        self.is_calm = true;
        self.ledger
            .disk
            .fail(|failing| *failing = Failing::default());
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.read_all(link)?;
        }
        for stranger in 0..self.strangers.len() {
            if let Some(link) = self.strangers[stranger].link.take() {
                self.hang_up(link, Up::Close);
            }
        }
        // A process that stops or hangs ends first.
        self.soon(0, Next::Start);
        Ok(())
    }
}
