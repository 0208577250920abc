//! The core against the model on random actions, and a test for each invariant that can be seen
//! from outside. A failure prints its seed: `PARLOR_SEED=… cargo test` repeats it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use parlor_core::Invariant;
use parlor_tests::action::{ACTION_BYTES, Action};
use parlor_tests::observe::{Failure, Reached};
use parlor_tests::run::{SETUPS, Setup, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};

const CASES: u64 = 3000;
const ACTIONS: usize = 120;

/// From the environment, or drawn; printed in any case.
#[allow(clippy::print_stdout, reason = "a test that fails shows its seed")]
pub(super) fn seed() -> u64 {
    let given = std::env::var("PARLOR_SEED").ok();
    let seed = given.map_or_else(
        || RandomState::new().build_hasher().finish(),
        |seed| seed.parse().expect("PARLOR_SEED is a whole number"),
    );
    println!("PARLOR_SEED={seed}");
    seed
}

#[test]
fn the_core_does_what_the_model_does() {
    let regressions = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/proptest-regressions/properties.txt"
    );
    let mut runner = TestRunner::new(Config {
        cases: 2048,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    });
    let action = any::<[u8; ACTION_BYTES]>().prop_map(Action::from_bytes);
    let case = (0..SETUPS, prop::collection::vec(action, 0..150));
    let outcome = runner.run(&case, |(setup, actions)| {
        match run(&Setup::small(setup), &actions) {
            Ok(_) => Ok(()),
            Err(failure) => Err(TestCaseError::fail(format!("{failure:?}"))),
        }
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// What one seeded sweep came by, and every rule that it found broken. Each test below looks for
/// its own, so it is the name of the test that tells what broke.
fn sweep() -> &'static (Reached, Vec<Failure>) {
    static SWEEP: OnceLock<(Reached, Vec<Failure>)> = OnceLock::new();
    let seed = seed();
    SWEEP.get_or_init(|| {
        let (mut reached, mut failures) = (Reached::default(), Vec::new());
        for case in 0..CASES {
            let setup = Setup::small(case.to_le_bytes()[0] % SETUPS);
            let actions = Action::random(seed.wrapping_add(case), ACTIONS);
            match run(&setup, &actions) {
                Ok(more) => reached.merge(more),
                Err(failure) => failures.push(failure),
            }
        }
        (reached, failures)
    })
}

/// The rule was checked, and held.
fn holds(rule: &str) {
    let (reached, failures) = sweep();
    let broken = failures.iter().find(|failure| failure.rule == rule);
    assert!(broken.is_none(), "{broken:?}");
    let is_of_state = Invariant::ALL.iter().any(|i| i.number() == rule);
    let checked = reached.checked.get(rule).copied().unwrap_or_default();
    assert!(is_of_state || checked > 0, "{rule} had nothing to check");
}

#[test]
fn i_1_time_does_not_go_back() {
    holds("I-1");
}

#[test]
fn i_2_presence_agrees_in_both_directions() {
    holds("I-2");
}

#[test]
fn i_3_a_room_has_a_member_or_something_waits_for_it() {
    holds("I-3");
}

#[test]
fn i_4_every_limit_holds() {
    holds("I-4");
}

#[test]
fn i_5_the_shared_member_list_is_the_members() {
    holds("I-5");
}

#[test]
fn i_6_seqs_run_without_a_gap_and_survive_the_room() {
    holds("I-6");
}

#[test]
fn i_7_memory_holds_the_tail_within_its_bounds() {
    holds("I-7");
}

#[test]
fn i_8_a_name_has_one_holder() {
    holds("I-8");
}

#[test]
fn t_1_nothing_of_a_room_reaches_a_connection_outside_its_stay() {
    holds("T-1");
}

#[test]
fn t_2_all_members_see_the_same_entries_in_the_same_order() {
    holds("T-2");
}

#[test]
fn t_3_the_sender_sees_its_own_once() {
    holds("T-3");
}

#[test]
fn t_4_a_refused_request_changes_nothing() {
    holds("T-4");
}

#[test]
fn t_5_an_entry_is_appended_before_it_is_sent() {
    holds("T-5");
}

#[test]
fn t_6_joined_users_patched_with_what_follows_are_the_members() {
    holds("T-6");
}

#[test]
fn t_7_nothing_follows_a_close() {
    holds("T-7");
}

#[test]
fn t_8_every_request_and_publication_is_answered_once_and_in_order() {
    holds("T-8");
}

#[test]
fn t_9_no_effect_is_addressed_to_nobody() {
    holds("T-9");
}

#[test]
fn t_10_an_answer_stays_within_its_bound() {
    holds("T-10");
}

#[test]
fn t_11_who_keeps_a_list_of_comings_and_goings_knows_who_is_where() {
    holds("T-11");
}

#[test]
fn has_more_is_the_truth() {
    holds("hasMore");
}

#[test]
fn d_1_equal_state_and_event_give_equal_results() {
    holds("D-1");
}

#[test]
fn d_2_step_equals_apply() {
    holds("D-2");
}

#[test]
fn d_3_a_state_that_went_through_serde_behaves_the_same() {
    holds("D-3");
}

#[test]
fn d_4_a_replayed_trace_gives_the_same_effects() {
    holds("D-4");
}

#[test]
fn d_5_what_only_asks_changes_nothing() {
    holds("D-5");
}

#[test]
fn d_6_a_trace_without_its_secrets_leads_to_the_same() {
    holds("D-6");
}
