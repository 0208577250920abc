//! The *sometimes* test: everything that a property speaks of is reached, or it would hold of
//! nothing.

use parlor_core::ErrorCode;
use parlor_tests::action::Action;
use parlor_tests::observe::Reached;
use parlor_tests::run::{SETUPS, Setup, run};
use parlor_tests::script::SERVER_MESSAGES;

/// Any other would do; one that is fixed cannot fail for bad luck.
const SEED: u64 = 1;

const SITUATIONS: &[&str] = &[
    "a guest has two connections",
    "a join did not recover",
    "a join missed something too old",
    "a join missed more than an answer holds",
    "a join recovered",
    "a join waited for a load that failed",
    "a load came that nobody waited for",
    "a member caught up",
    "a page came after its room was left",
    "a page came from the store",
    "a page came from the tail",
    "a page from the store began with something too old",
    "a page from the tail ended at something too old",
    "a page was cut to the bound of an answer",
    "a publication found nobody in its room",
    "a publication that waited was known by its id alone",
    "a publication waited behind a join",
    "a publication waited for a load that failed",
    "a publication waited when the server went away",
    "a publication was a retry",
    "a publication was said to those in a room",
    "a replay was cut to the bound of an answer",
    "a replay left out something too old",
    "a retry of something too old was recognised",
    "a retry was recognised",
    "a room came back",
    "a room was taken away",
    "a user left a room with one of two connections",
    "a waiting join was forbidden",
    "several joins waited for one room",
    "the clock went back",
    "too many publications waited for a room",
    "user_left: disconnected",
    "user_left: flooding",
    "user_left: forbidden",
    "user_left: left",
    "user_left: slow",
    "user_left: timeout",
];

#[test]
#[allow(clippy::print_stdout, reason = "a test that fails shows its seed")]
fn everything_is_reached() {
    println!("seed {SEED}");
    let mut reached = Reached::default();
    for case in 0..4000_u64 {
        let actions = Action::random(SEED + case, 120);
        match run(&Setup::small(case.to_le_bytes()[0] % SETUPS), &actions) {
            Ok(more) => reached.merge(more),
            Err(failure) => panic!("case {case}: {failure:?}"),
        }
    }
    let missed = |all: &[&'static str], found: &std::collections::BTreeSet<&str>| {
        let missed = all.iter().filter(|&item| !found.contains(item));
        missed.copied().collect::<Vec<_>>()
    };
    let codes = ErrorCode::ALL
        .iter()
        .filter(|&code| !reached.codes.contains(code));
    assert_eq!(codes.collect::<Vec<_>>(), Vec::<&ErrorCode>::new(), "codes");
    assert_eq!(
        missed(&SERVER_MESSAGES, &reached.messages),
        Vec::<&str>::new(),
        "messages"
    );
    assert_eq!(
        missed(SITUATIONS, &reached.situations),
        Vec::<&str>::new(),
        "situations"
    );
}
