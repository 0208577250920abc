//! What the random tests share: seeds, dice, and what a test must have reached.

use std::collections::BTreeSet;

pub(super) use parlor_tests::dice::Dice;

/// Runs a test with the seeds from 1 to `most`, or with the one in `PARLOR_SEED`. Each is printed
/// first.
pub(super) fn each_seed(most: u64, run: impl Fn(u64) -> BTreeSet<String>) -> Reached {
    let seed = std::env::var("PARLOR_SEED").ok();
    let seed = seed.map(|seed| seed.parse().expect("PARLOR_SEED is a number"));
    let seeds = seed.map_or(1..=most, |seed| seed..=seed);
    let kinds = seeds.flat_map(|seed| {
        print(seed);
        run(seed)
    });
    Reached {
        kinds: kinds.collect(),
        by_all: seed.is_none(),
    }
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure")]
fn print(seed: u64) {
    eprintln!("PARLOR_SEED={seed}");
}

/// What the seeds led to.
pub(super) struct Reached {
    kinds: BTreeSet<String>,
    by_all: bool,
}

impl Reached {
    /// Without these the test shows nothing; a single seed need not reach them all.
    pub(super) fn has<const N: usize>(&self, kinds: [&str; N]) {
        for kind in kinds.into_iter().filter(|_| self.by_all) {
            let all = &self.kinds;
            assert!(all.contains(kind), "no seed reaches {kind}: {all:?}");
        }
    }
}
