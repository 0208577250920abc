//! The simulator itself: that it repeats, that it comes by everything, and that the stores are alike
//! in it. `cargo sim` plays more seeds than a test has time for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use parlor_tests::sim::{Outcome, simulate};

/// Seeds that a test plays.
const SEEDS: u64 = 60;

fn check(seed: u64, outcome: &Outcome) {
    if let Some(failure) = &outcome.failed {
        panic!(
            "cargo sim {seed}: {failure:?}\n{}",
            outcome.transcript.text()
        );
    }
}

#[test]
fn a_seed_has_one_transcript() {
    for seed in 1..=5 {
        let (first, second) = (simulate(seed, true), simulate(seed, true));
        check(seed, &first);
        assert!(
            first.transcript.len() > 100,
            "seed {seed} is no conversation"
        );
        assert_eq!(first.transcript.text(), second.transcript.text());
        let brief = simulate(seed, false).transcript;
        assert_eq!(first.transcript.digest(), brief.digest(), "kept or not");
    }
}

/// The same on every machine: a transcript of another time and place.
#[test]
fn d_4_a_seed_means_the_same_everywhere() {
    let digests = (1..=20).map(|seed| {
        let outcome = simulate(seed, false);
        check(seed, &outcome);
        let (lines, digest) = (outcome.transcript.len(), outcome.transcript.digest());
        format!("{seed}: {lines} lines, {digest:016x}")
    });
    insta::assert_snapshot!(digests.collect::<Vec<_>>().join("\n"));
}

/// Without these the simulator would show nothing.
#[test]
fn seeds_come_by_everything() {
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 1..=SEEDS {
        let outcome = simulate(seed, false);
        check(seed, &outcome);
        for (what, times) in outcome.reached {
            *reached.entry(what).or_default() += times;
        }
    }
    for what in [
        "Cancelled",
        "Cut",
        "HalfOpen",
        "HubPanic",
        "SlowReader",
        "StoppedReader",
        "acknowledged",
        "client recovered",
        "clock set",
        "close 1000",
        "close 1001",
        "close 1012",
        "close 4000",
        "close 4001",
        "close 4002",
        "close 4502",
        "crash",
        "duplicate",
        "error ALREADY_IN_ROOM",
        "error HISTORY_FETCH_FAILED",
        "error INVALID_JSON",
        "error NOT_IN_ROOM",
        "error RATE_LIMITED",
        "error ROOM_FULL",
        "error SERVER_FULL",
        "error SERVER_SHUTDOWN",
        "error STORE_UNAVAILABLE",
        "error TOO_MANY_ROOMS",
        "error USERNAME_MISMATCH",
        "error USERNAME_TAKEN",
        "gap",
        "history",
        "hub ended: Err(StoreHangs)",
        "hub ended: Ok(())",
        "hub panic",
        "left: timeout",
        "left: slow",
        "presence compared",
        "publication STORE_UNAVAILABLE",
        "publication again",
        "published",
        "recovered",
        "rejected OUTCOME_UNKNOWN",
        "shutdown",
        "store fault",
        "store hangs",
        "typing",
    ] {
        assert!(
            reached.contains_key(what),
            "no seed comes by {what}: {reached:?}"
        );
    }
}

/// The store on a real disk in the place of the modelled one: nobody notices.
#[cfg(feature = "server")]
#[test]
fn the_store_on_disk_makes_no_difference() {
    use parlor_core::Epoch;
    use parlor_sqlite::SqliteStore;
    use parlor_tests::sim::disk::{Disk, ONE_EPOCH};
    use parlor_tests::sim::simulate_on;

    for seed in 1..=8 {
        let modelled = simulate_on(seed, &|_| Disk::modelled(true), false);
        check(seed, &modelled);
        let dir = tempfile::tempdir().unwrap();
        let on_disk = simulate_on(
            seed,
            &|plan| {
                let (path, limits) = (dir.path().join("data"), plan.limits.clone());
                let epoch = || Epoch::new(ONE_EPOCH).unwrap();
                let open = move || -> Box<dyn parlor_hub::Store> {
                    Box::new(SqliteStore::open(&path, &limits, epoch).unwrap())
                };
                Disk::new(true, Box::new(open))
            },
            false,
        );
        check(seed, &on_disk);
        assert_eq!(
            modelled.transcript.digest(),
            on_disk.transcript.digest(),
            "seed {seed}"
        );
    }
}
