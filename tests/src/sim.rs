//! The simulator: a whole conversation with all its faults from one number.
//!
//! The real sessions, hub, core, stores and clients in a world without threads, sockets or clocks:
//! [`plan`] says what a seed means, `world` plays it, and everything that anybody is told is
//! compared with what everybody else was told ([`witness`], [`ledger`], [`person`]). The same seed
//! gives the same transcript, byte for byte, on every machine.

mod application;
mod checks;
mod clients;
pub mod disk;
pub mod door;
mod faults;
pub mod ledger;
pub mod link;
mod network;
pub mod person;
pub mod plan;
mod process;
pub mod stranger;
pub mod transcript;
pub mod witness;
mod world;

use std::collections::BTreeMap;

use serde_json::Value;

use self::disk::Disk;
use self::plan::Plan;
use self::transcript::Transcript;
use self::world::World;
use crate::observe::Failure;

/// Whether what was seen may be.
type Checked = Result<(), Failure>;

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub transcript: Transcript,
    /// How often each kind of thing happened.
    pub reached: BTreeMap<String, u64>,
    /// The first thing that may not be.
    pub failed: Option<Failure>,
}

/// Plays what `seed` means. Whether the whole transcript is kept, or only its end.
#[must_use]
pub fn simulate(seed: u64, keeps: bool) -> Outcome {
    play(World::new(seed, None, keeps))
}

/// The same with a store of one's own where what is said outlives the process.
#[must_use]
pub fn simulate_on(seed: u64, disk: &dyn Fn(&Plan) -> Disk, keeps: bool) -> Outcome {
    play(World::new(seed, Some(disk), keeps))
}

fn play(mut world: World) -> Outcome {
    let failed = world.play().err();
    Outcome {
        transcript: world.transcript,
        reached: world.ledger.reached,
        failed,
    }
}

fn rule(rule: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    let detail = detail();
    Err(Failure { rule, detail })
}

fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().unwrap_or_default()
}

fn number(message: &Value, field: &str) -> u64 {
    message[field].as_u64().unwrap_or_default()
}
