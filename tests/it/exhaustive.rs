//! Every sequence of a few actions, from a few places to start: two clients, one or two rooms,
//! six steps. Sequences that lead to the same state go on once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use parlor_tests::action::{Action, Ask};
use parlor_tests::run::{Setup, World};

const DEPTH: u32 = 6;

/// The operands that mean the first and the second connection that stand.
const FIRST: u8 = 0;
const SECOND: u8 = 2;
/// Two rooms.
const A: u8 = 0;
const B: u8 = 1;
/// Two names, and none.
const ANN: u8 = 0;
const BOB: u8 = 1;
const NONE: u8 = 7;
/// The end of the log, two entries before it, and no place in it.
const END: u8 = 8;
const NEAR: u8 = 10;
const NOWHERE: u8 = 0;

const fn ask(conn: u8, ask: Ask) -> Action {
    Action::Request {
        conn,
        tagged: false,
        ask,
    }
}

const fn join(conn: u8, room: u8, name: u8, since: u8) -> Action {
    let ask_join = Ask::Join {
        room,
        name,
        since,
        history: 0,
    };
    ask(conn, ask_join)
}

const fn say(conn: u8, room: u8, text: u8, id: u8) -> Action {
    ask(conn, Ask::Message { room, text, id })
}

const fn leave(conn: u8, room: u8) -> Action {
    ask(conn, Ask::Leave { room })
}

const fn resume(conn: u8, token: u8) -> Action {
    let hello = Ask::Hello {
        resume: token * 4 + 2,
        wrong_version: false,
    };
    ask(conn, hello)
}

const fn disconnect(conn: u8) -> Action {
    Action::Disconnect { conn, cause: 0 }
}

const fn answer_load(how: u8) -> Action {
    Action::AnswerLoad { which: 0, how }
}

/// The first asks for a page of three.
const PAGE: Action = ask(
    FIRST,
    Ask::GetHistory {
        room: A,
        limit: 5,
        before: 0,
    },
);
const FETCHED: Action = Action::AnswerFetch {
    which: 0,
    fails: false,
};

const COMMON: &[Action] = &[
    join(FIRST, A, ANN, NOWHERE),
    join(SECOND, A, BOB, NOWHERE),
    join(SECOND, A, ANN, END),
    leave(FIRST, A),
    leave(SECOND, A),
    say(FIRST, A, 0, 0),
    say(SECOND, A, 0, 1),
    say(SECOND, A, 3, 1),
    disconnect(FIRST),
    disconnect(SECOND),
    answer_load(0),
];

/// What may be said of who, where and when: `more` besides what is common to all.
#[allow(clippy::print_stdout, reason = "how much was covered is a result")]
fn explore(name: &str, setup: &Setup, start: &[Action], more: &[Action]) {
    let mut world = World::new(setup).quick();
    for action in start {
        world.act(action).unwrap();
    }
    let mut known = BTreeSet::from([world.key()]);
    let (mut frontier, mut sequences) = (vec![world], 0_u64);
    for _ in 0..DEPTH {
        let mut reached = Vec::new();
        for world in frontier {
            for action in COMMON.iter().chain(more) {
                let mut next = world.clone();
                if let Err(failure) = next.act(action) {
                    panic!("{name}: {action:?}: {failure:?}");
                }
                sequences += 1;
                if known.insert(next.key()) {
                    reached.push(next);
                }
            }
        }
        frontier = reached;
    }
    println!(
        "{name}: {sequences} sequences led to {} states",
        known.len()
    );
}

#[test]
fn two_clients_from_nothing() {
    let more = [
        join(FIRST, B, ANN, NOWHERE),
        join(SECOND, B, NONE, NOWHERE),
        answer_load(7),
        resume(SECOND, 1),
        Action::Connect,
        Action::Shutdown,
    ];
    let start = [Action::Connect, Action::Connect];
    explore("from nothing", &Setup::small(0), &start, &more);
}

#[test]
fn two_clients_with_a_log_longer_than_the_tail() {
    let more = [
        join(FIRST, A, NONE, NEAR),
        PAGE,
        FETCHED,
        Action::StoreFailed,
        Action::StoreRecovered,
        Action::Wait { ms: 500 },
    ];
    let mut start = vec![
        Action::Connect,
        Action::Connect,
        join(FIRST, A, ANN, NOWHERE),
        answer_load(0),
    ];
    start.extend([say(FIRST, A, 0, 0); 4]);
    start.extend([Action::Wait { ms: 2000 }, say(FIRST, A, 0, 1)]);
    explore("with a long log", &Setup::small(0), &start, &more);
}

/// The waits add up to the age at which a message is just shown, and go a millisecond beyond it.
#[test]
fn two_clients_with_messages_that_grow_too_old() {
    let setup = Setup::small(8);
    assert_eq!(setup.limits.history_age_ms, 1500);
    let more = [
        join(FIRST, A, NONE, NEAR),
        PAGE,
        FETCHED,
        Action::Wait { ms: 499 },
        Action::Wait { ms: 1 },
        Action::GoBack { ms: 1 },
    ];
    let mut start = vec![
        Action::Connect,
        Action::Connect,
        join(FIRST, A, ANN, NOWHERE),
        answer_load(0),
    ];
    start.extend([say(FIRST, A, 0, 0); 4]);
    start.extend([Action::Wait { ms: 500 }, say(FIRST, A, 0, 1)]);
    start.extend([Action::Wait { ms: 500 }]);
    explore("with an age", &setup, &start, &more);
}

#[test]
fn two_clients_with_tokens() {
    let identify = |conn, name: u8, rooms| Action::Identify {
        conn,
        name: name * 4,
        rooms,
    };
    let more = [
        identify(FIRST, ANN, 0),
        identify(FIRST, ANN, 3),
        identify(SECOND, ANN, 0),
        identify(SECOND, BOB, 0),
        join(FIRST, B, NONE, NOWHERE),
    ];
    let start = [Action::Connect, Action::Connect];
    explore("with tokens", &Setup::small(1), &start, &more);
}
