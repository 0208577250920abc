//! What a seed means: how large the world is, how strict its limits are, and which faults happen in
//! it. Each run has some of the faults only, so that those which hide others are absent in half of
//! them ("swarm testing", Groce et al., 2012).

use std::collections::BTreeSet;

use parlor_core::Limits;

use crate::dice::Dice;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A connection breaks, and both ends are told.
    Cut,
    /// A connection carries nothing any more in one direction or both, and nobody is told.
    HalfOpen,
    /// A client reads slowly.
    SlowReader,
    /// A client stops reading for a while, or for ever.
    StoppedReader,
    /// A frame comes twice.
    Duplicate,
    /// Frames that are no requests.
    Malformed,
    /// Somebody sends as fast as it can.
    Flood,
    /// The clock of the server's machine is set.
    ClockJump,
    /// The store fails, and fails to be reopened.
    StoreErrors,
    /// The store takes seconds.
    StoreSlow,
    /// The store does not answer any more, until the process ends.
    StoreHangs,
    /// The process is killed; what was not synced is lost.
    Crash,
    /// The process is told to stop.
    Shutdown,
    /// The hub panics.
    HubPanic,
    /// Somebody asks for what came behind a place in a log that is no more, or never was.
    OldEpoch,
    /// Somebody uses the resume token of somebody else.
    StolenToken,
    /// A task of a connection is cancelled.
    Cancelled,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Cut,
        Self::HalfOpen,
        Self::SlowReader,
        Self::StoppedReader,
        Self::Duplicate,
        Self::Malformed,
        Self::Flood,
        Self::ClockJump,
        Self::StoreErrors,
        Self::StoreSlow,
        Self::StoreHangs,
        Self::Crash,
        Self::Shutdown,
        Self::HubPanic,
        Self::OldEpoch,
        Self::StolenToken,
        Self::Cancelled,
    ];
}

/// What a seed means.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The limits of the server.
    pub limits: Limits,
    /// Whether what is stored outlives the process.
    pub durable: bool,
    /// Whether names need tokens.
    pub tokens: bool,
    /// Clients that keep the rules.
    pub people: u64,
    /// Clients that need not.
    pub strangers: u64,
    /// Rooms to talk in.
    pub rooms: u64,
    /// How long faults happen, ms.
    pub faulty_ms: u64,
    /// Most that one packet takes, ms.
    pub lag_ms: u64,
    /// Most that the hub waits for its turn, ms.
    pub hub_lag_ms: u64,
    /// Most that the store takes, ms.
    pub store_lag_ms: u64,
    /// Most between two deeds of one client, ms.
    pub pause_ms: u64,
    /// What goes wrong.
    pub faults: BTreeSet<Fault>,
}

impl Plan {
    /// What the dice say.
    pub fn draw(dice: &mut Dice) -> Self {
        let mut faults = BTreeSet::new();
        for fault in Fault::ALL {
            if dice.one_in(2) {
                faults.insert(fault);
            }
        }
        let tokens = dice.one_in(4);
        Self {
            limits: limits(tokens, dice),
            durable: !dice.one_in(3),
            tokens,
            people: 2 + dice.roll(4),
            strangers: dice.roll(3),
            rooms: 1 + dice.roll(3),
            faulty_ms: 20_000 + dice.roll(60_000),
            lag_ms: [1, 20, 400][dice.pick(3)],
            hub_lag_ms: [0, 2, 20][dice.pick(3)],
            store_lag_ms: [0, 5, 100][dice.pick(3)],
            pause_ms: [200, 1000, 4000][dice.pick(3)],
            faults,
        }
    }
}

/// Now and then as narrow as they can be, since much happens only where something is full.
fn limits(token_required: bool, dice: &mut Dice) -> Limits {
    let mut limits = Limits {
        token_required,
        ..Limits::default()
    };
    if dice.one_in(2) {
        limits.tail_entries = [1, 5, 20][dice.pick(3)];
    }
    if dice.one_in(4) {
        limits.tail_bytes = 2000;
    }
    if dice.one_in(3) {
        // The smallest queues that there are: an answer of 16 KiB, 64 KiB in all.
        (limits.answer_bytes, limits.outbox_bytes) = (0, 0);
    }
    if dice.one_in(4) {
        limits.outbox_total_bytes = 100_000;
    }
    if dice.one_in(4) {
        (limits.messages_per_second, limits.burst) = (1, 3);
    } else if dice.one_in(4) {
        limits.messages_per_second = 0;
    }
    if dice.one_in(4) {
        limits.members_per_room = 2 + u32::try_from(dice.roll(4)).expect("it is small");
    }
    if dice.one_in(6) {
        limits.open_rooms = 1;
    }
    if dice.one_in(6) {
        limits.rooms_per_connection = 1;
    }
    if dice.one_in(4) {
        limits.history_page = 3;
    }
    if dice.one_in(6) {
        limits.history_age_ms = 10_000;
    }
    limits.clamped()
}
