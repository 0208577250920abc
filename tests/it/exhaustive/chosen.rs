//! A few actions in one room, where time or tokens would make too many states with all actions.

use parlor_tests::action::{Action, Ask};
use parlor_tests::run::{Setup, World};

use super::{A, ANN, B, BOB, DEPTH, END, Exploration, NEAR, NONE, NOWHERE, ask, join};

/// The operands that mean the first and the second connection that stand.
const FIRST: u8 = 0;
const SECOND: u8 = 2;

const fn say(conn: u8, room: u8, text: u8, id: u8) -> Action {
    ask(conn, Ask::Message { room, text, id })
}

const fn leave(conn: u8, room: u8) -> Action {
    ask(conn, Ask::Leave { room })
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

/// How many sequences of `more` and what is common to all lead to how many states. Who is first and
/// who is second makes a difference here, so worlds under other names are other worlds.
fn explore(setup: Setup, start: Vec<Action>, more: &[Action]) -> (usize, usize) {
    let exploration = Exploration {
        setup,
        start,
        actions: |_: &World| [COMMON, more].concat(),
        key: World::key,
    };
    let found = exploration.explore(DEPTH);
    (found.sequences, found.paths.len())
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
    let found = explore(Setup::small(0), start, &more);
    assert_eq!(found, (34_629, 5_848));
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
    let found = explore(setup, start, &more);
    assert_eq!(found, (85_833, 16_722));
}

#[test]
fn two_clients_and_the_application() {
    let publish = |text, id| Action::Publish {
        room: A,
        name: ANN,
        text,
        id,
    };
    let more = [
        publish(0, 0),
        publish(0, 1),
        publish(3, 1),
        answer_load(7),
        Action::StoreFailed,
        Action::Shutdown,
    ];
    let start = [Action::Connect, Action::Connect];
    let found = explore(Setup::small(0), start.to_vec(), &more);
    assert_eq!(found, (80_580, 15_219));
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
    let found = explore(Setup::small(1), start.to_vec(), &more);
    assert_eq!(found, (9_888, 1_419));
}
