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

const fn untagged(conn: u8, ask: Ask) -> Action {
    Action::Request {
        conn,
        tagged: false,
        ask,
    }
}

/// Its harness took the error for the answer to the join.
#[test]
fn a_page_comes_too_late_for_whoever_left_and_comes_back() {
    let rejoin = |name| Ask::Join {
        room: 74,
        name,
        since: 0,
        history: 0,
    };
    let hello = Ask::Hello {
        resume: 0,
        wrong_version: false,
    };
    let say = |room, text| Ask::Message { room, text, id: 0 };
    let actions = [
        Action::Connect,
        Action::Identify {
            conn: 0,
            name: 0,
            rooms: 39,
        },
        Action::Connect,
        untagged(84, rejoin(23)),
        Action::AnswerLoad { which: 0, how: 0 },
        Action::Connect,
        Action::Connect,
        untagged(34, hello),
        untagged(26, hello),
        untagged(44, say(4, 86)),
        untagged(24, say(8, 87)),
        untagged(
            12,
            Ask::GetHistory {
                room: 36,
                limit: 0,
                before: 4,
            },
        ),
        Action::Disconnect { conn: 10, cause: 0 },
        untagged(0, Ask::Leave { room: 60 }),
        untagged(44, rejoin(149)),
        Action::AnswerFetch {
            which: 0,
            fails: false,
        },
    ];
    run(&Setup::small(WITH_TOKENS), &actions).unwrap();
}
