//! Sequences that once went wrong, one test each.

use parlor_tests::action::{Action, Ask};
use parlor_tests::run::{Setup, run};

/// With tokens, small limits, and clients that do not wait for answers.
const WITH_TOKENS: u8 = 1;

const fn join(room: u8) -> Action {
    Action::Request {
        conn: 0,
        tagged: true,
        ask: Ask::Join {
            room,
            name: 7,
            since: 0,
            history: 0,
        },
    }
}

const fn identify(rooms: u8) -> Action {
    Action::Identify {
        conn: 0,
        name: 1,
        rooms,
    }
}

#[test]
fn a_join_that_waits_is_refused_when_its_room_is_forbidden() {
    let actions = [Action::Connect, identify(0), join(1), identify(2)];
    let reached = run(&Setup::small(WITH_TOKENS), &actions).unwrap();
    assert!(reached.situations.contains("a waiting join was forbidden"));
}
