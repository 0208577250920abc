//! What has to hold of all connections, and of the hub, now and when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use super::process::check_trace;
use super::world::World;
use super::{Checked, rule};

/// What is at the server is done in fewer.
const MOST_ROUNDS: u64 = 10_000;

impl World {
    pub(super) fn outbox_bytes(&self) -> u64 {
        let server = self.server.as_ref();
        server.map_or(0, |server| server.hub.outbox_bytes())
    }

    /// memory stays within its bounds, and whoever reads gets everything at once.
    pub(super) fn check_bounds(&self) -> Checked {
        let bytes = self.outbox_bytes();
        // A close frame is queued in any case.
        let most = self.plan.limits.outbox_total_bytes + 1000;
        rule("A-2", bytes <= most, || format!("{bytes} bytes wait"))?;
        for (number, link) in &self.links {
            let Some(door) = &link.door else { continue };
            let reads = link.slow.is_none() && !link.silent.1;
            let socket = &door.client.socket;
            let is_fine = !reads || socket.last_word().is_some() || !socket.is_mid_frame();
            rule("A-2", is_fine, || {
                format!("{number} reads and got half a frame")
            })?;
        }
        Ok(())
    }

    /// What is at the server is done, without waiting for anything more.
    pub(super) fn rest(&mut self) -> Checked {
        self.time();
        for _ in 0..MOST_ROUNDS {
            let Some(server) = &mut self.server else {
                break;
            };
            server.hub.settle();
            let is_stored = !server.hub.step_store();
            self.read()?;
            let links: Vec<u64> = self.links.keys().copied().collect();
            let scheduled = self.scheduled;
            for link in links {
                self.pump(link)?;
            }
            if is_stored && self.scheduled == scheduled {
                break;
            }
        }
        Ok(())
    }

    /// T-6: when nothing is on its way, everybody in a room sees everybody in it.
    pub(super) fn check_presence(&mut self) -> Checked {
        let rests = self.server.as_ref().is_some_and(|server| {
            !server.hub_is_due && !server.store_is_busy && server.hub.outbox_bytes() == 0
        });
        if !rests {
            return Ok(());
        }
        let inside = self.inside();
        for (number, link) in &self.links {
            let Some(door) = link.door.as_ref().filter(|door| !door.witness.is_closed()) else {
                continue;
            };
            for (room, view) in door.witness.rooms() {
                let users = inside.get(room);
                rule("T-6", users == Some(&view.users), || {
                    format!("{number} sees {:?} in {room}, not {users:?}", view.users)
                })?;
            }
        }
        self.ledger.note("presence compared");
        Ok(())
    }

    /// Who is in which room, as the server told each of them.
    pub(super) fn inside(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut inside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let doors = self.links.values().filter_map(|link| link.door.as_ref());
        for door in doors.filter(|door| !door.witness.is_closed() && door.client.is_open()) {
            for room in door.witness.rooms().keys() {
                let users = inside.entry(room.clone()).or_default();
                users.extend(door.witness.name.clone());
            }
        }
        inside
    }

    /// At the end of the calm: everybody is where it wants to be, and nothing is left over.
    pub(super) fn check_settled(&self) -> Checked {
        let panics = self.ledger.reached.get("unplanned panic").copied();
        rule("panic", panics.is_none(), || {
            "the hub panicked by itself".into()
        })?;
        self.check_bounds()?;
        self.check_heard()?;
        let inside = self.inside();
        let inside_of_clients = |room: &String| {
            let people = self
                .people
                .iter()
                .filter(|person| person.rooms().any(|own| own == room));
            people
                .map(|person| person.name.clone())
                .collect::<BTreeSet<String>>()
        };
        for (room, users) in &inside {
            let own = inside_of_clients(room);
            rule("converges", *users == own, || {
                format!("{users:?} are in {room}, not {own:?}")
            })?;
        }
        for person in &self.people {
            person.check_settled(&self.plan, &self.ledger, &inside)?;
        }
        for (number, link) in &self.links {
            let Some(door) = &link.door else { continue };
            door.witness.check_answered()?;
            let listens = link.is_listening && link.silent == (false, false);
            rule("leak", listens, || format!("{number} is still there"))?;
        }
        Ok(())
    }

    /// everybody goes, and the hub has forgotten everybody.
    pub(super) fn leave_all(&mut self) -> Checked {
        let Some(server) = &self.server else {
            return rule("converges", false, || "there is no server".into());
        };
        let opened = f64::from(server.opened);
        self.ask_to_stop();
        self.rest()?;
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        let ended = server.hub.settle();
        rule("A-3", ended == Some(Ok(())), || {
            format!("the hub ends as {ended:?}")
        })?;
        check_trace(server)?;
        let metrics = server.hub.metrics();
        let closed: f64 = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("parlor_closed_connections_total{"))
            .map(|(_, count)| count)
            .sum();
        rule("A-3", closed == opened, || {
            format!("{opened} were opened, {closed} closed")
        })?;
        for left in ["connections", "rooms", "members", "outbox_bytes"] {
            let count = metrics[&format!("parlor_{left}")];
            rule("leak", count == 0.0, || format!("{count} {left} are left"))?;
        }
        Ok(())
    }
}
