//! The client against applications and servers that do anything. A failure prints its seed:
//! `PARLOR_SEED=… cargo test` repeats it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use parlor_client::ClientError;
use parlor_tests::dice::Dice;
use parlor_tests::fuzz;

const CASES: u64 = 3000;
const BYTES: usize = 1500;

#[test]
#[allow(clippy::print_stdout, reason = "a test that fails shows its seed")]
fn whatever_a_server_says_and_an_application_wants_every_promise_is_kept() {
    let given = std::env::var("PARLOR_SEED").ok();
    let first = given.as_ref().map_or_else(
        || RandomState::new().build_hasher().finish(),
        |seed| seed.parse().expect("PARLOR_SEED is a whole number"),
    );
    let mut seen = BTreeSet::new();
    for case in 0..CASES {
        let seed = first.wrapping_add(case);
        println!("PARLOR_SEED={seed}");
        let mut dice = Dice::new(seed);
        let bytes: Vec<u8> = (0..BYTES)
            .map(|_| dice.roll(256).to_le_bytes()[0])
            .collect();
        seen.extend(fuzz::client(&bytes));
    }
    let own = ClientError::ALL.iter().map(|error| error.as_str());
    for what in WHATEVER.iter().copied().chain(own) {
        assert!(seen.contains(what), "it never came to {what}: {seen:?}");
    }
}

const WHATEVER: &[&str] = &[
    "remember", "Join", "Leave", "Send", "History", "Rooms", "Users", "joined", "rejoined", "left",
    "message", "gap", "presence", "typing", "error",
];
