//! Two clients, each of whom may come a second time, and two rooms: all that they, the store and
//! the operator can do, in one exploration. Worlds that differ in names alone are the same.
//!
//! Time stands still: `chosen` has what passes with it, and what tokens bring.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::Limits;
use parlor_tests::action::{Action, Ask};
use parlor_tests::canonical::Pair;
use parlor_tests::observe::Client;
use parlor_tests::run::{Setup, World};

use super::{
    A, ANN, B, BEFORE_LAST, BOB, DEPTH, END, Exploration, Found, NEAR, NONE, NOWHERE, ask, join,
};

/// Two clients, each with a second connection; whose a connection is, its requests decide.
const MOST_CONNECTIONS: usize = 4;
/// The two rooms are alike, and so are the two users.
const ROOMS: Pair = ("a", "b");
const NAMES: Pair = ("ann", "bob");
/// Text and id: without an id, with one, and something else under the same.
const SAYINGS: [(u8, u8); 3] = [(0, 0), (0, 1), (3, 1)];
/// With what there is, without a tail, and not at all.
const LOADS: [u8; 3] = [0, 6, 7];

/// So small that two messages are more than a tail holds, and three are a burst.
fn setup() -> Setup {
    let Setup { limits, polite } = Setup::small(0);
    let limits = Limits {
        tail_entries: 1,
        burst: 3,
        ..limits
    };
    Setup { limits, polite }
}

/// Everything that may happen next. Left out is what changes nothing, whatever the state (D-5):
/// typing, lists, pings and frames that are refused. Pages change nothing either, but the store may
/// answer them late. Actions without an effect stay: that they are refused is checked.
fn actions(world: &World) -> Vec<Action> {
    let observer = world.observer();
    let clients = (0..).step_by(2).zip(&observer.clients);
    let mut all = vec![
        Action::StoreFailed,
        Action::StoreRecovered,
        Action::Shutdown,
    ];
    if observer.clients.len() < MOST_CONNECTIONS {
        all.push(Action::Connect);
    }
    for (conn, client) in clients.clone() {
        let others = clients.clone().filter(|&(other, _)| other != conn);
        all.push(Action::Disconnect { conn, cause: 0 });
        all.extend(others.map(|(other, _)| resume(conn, other)));
        all.extend(in_room(client, conn, A, ROOMS.0));
        all.extend(in_room(client, conn, B, ROOMS.1));
    }
    for (which, _) in (0..).zip(&observer.loads) {
        all.extend(LOADS.map(|how| Action::AnswerLoad { which, how }));
    }
    for (which, _) in (0..).zip(&observer.fetches) {
        all.extend([false, true].map(|fails| Action::AnswerFetch { which, fails }));
    }
    all
}

/// Whoever `other` is, `conn` would be, too.
fn resume(conn: u8, other: u8) -> Action {
    let hello = Ask::Hello {
        resume: other * 2 + 3,
        wrong_version: false,
    };
    ask(conn, hello)
}

/// What `conn` may ask of a room. Outside of it all messages are refused alike.
fn in_room(client: &Client, conn: u8, room: u8, name: &str) -> Vec<Action> {
    // This very room, not the first or the second that it is in.
    let exact = room * 4 + 3;
    let page = Ask::GetHistory {
        room: exact,
        limit: 3,
        before: 0,
    };
    let is_in = client.rooms().iter().any(|room| room.as_str() == name);
    let sayings = if is_in { &SAYINGS[..] } else { &SAYINGS[..1] };
    let said = sayings.iter().map(|&(text, id)| Ask::Message {
        room: exact,
        text,
        id,
    });
    let mut all = vec![ask(conn, Ask::Leave { room: exact }), ask(conn, page)];
    all.extend(said.map(|said| ask(conn, said)));
    all.push(join(conn, room, NONE, NOWHERE));
    for name in [ANN, BOB] {
        all.extend([NOWHERE, END, BEFORE_LAST, NEAR].map(|since| join(conn, room, name, since)));
    }
    all
}

/// Two clients who did nothing yet.
fn from_nothing() -> Vec<Action> {
    vec![Action::Connect; 2]
}

/// Ann and Bob in one room, in which more was said than its tail holds.
fn from_a_log() -> Vec<Action> {
    let said = Ask::Message {
        room: 3,
        text: 0,
        id: 0,
    };
    vec![
        Action::Connect,
        Action::Connect,
        join(0, A, ANN, NOWHERE),
        join(2, A, BOB, NOWHERE),
        Action::AnswerLoad { which: 0, how: 0 },
        ask(0, said),
        ask(0, said),
    ]
}

fn key(world: &World) -> u128 {
    world.canonical_key(&[ROOMS, NAMES])
}

#[allow(clippy::print_stdout, reason = "how much was covered is a result")]
fn explore(start: Vec<Action>, depth: usize) -> Found {
    let exploration = Exploration {
        setup: setup(),
        start,
        actions,
        key,
    };
    let found = exploration.explore(depth);
    let (sequences, states) = (found.sequences, found.paths.len());
    println!("{sequences} sequences led to {states} states");
    found
}

/// What must have happened on the way.
const SITUATIONS: &[&str] = &[
    "a guest has two connections",
    "a join did not recover",
    "a join recovered",
    "a join waited for a load that failed",
    "a load came that nobody waited for",
    "a member caught up",
    "a page came from the store",
    "a page came from the tail",
    "a retry was recognised",
    "a room came back",
    "a user left a room with one of two connections",
    "several joins waited for one room",
];

fn check_reached(found: &Found, more: &[&str]) {
    let mut all = SITUATIONS.iter().chain(more);
    let missed = all.find(|&situation| !found.reached.situations.contains(situation));
    assert_eq!(missed, None);
}

/// 182,686 sequences lead to 9,669 states.
///
/// They change with the actions above, with what the state keeps, and with what the server does. If
/// that is what was meant, write down the new numbers, here and in ARCHITECTURE.md. Far fewer states
/// than before mean that something is reached no more.
#[test]
fn six_actions_from_nothing() {
    let found = explore(from_nothing(), DEPTH);
    assert_eq!((found.sequences, found.paths.len()), (182_686, 9_669));
    check_reached(&found, &[]);
}

/// 130,506 sequences lead to 15,936 states: as deep as time allows where so much can be said.
#[test]
fn four_actions_from_a_log() {
    let found = explore(from_a_log(), 4);
    assert_eq!((found.sequences, found.paths.len()), (130_506, 15_936));
    check_reached(&found, &["a page came after its room was left"]);
}

/// What lets sequences go on once: worlds with one key lead to worlds with the same keys, each as
/// often; and no key is missed for it.
fn check_key(start: Vec<Action>, depth: usize) {
    let under_all_names = Exploration {
        setup: setup(),
        start: start.clone(),
        actions,
        key: World::key,
    };
    let mut successors: BTreeMap<u128, Vec<u128>> = BTreeMap::new();
    for path in under_all_names.explore(depth).paths {
        let world = under_all_names.after(&path);
        let own = key(&world);
        let next = actions(&world).into_iter().map(|action| {
            let mut next = world.clone();
            next.act(&action).unwrap();
            if next.is_like(&world) {
                own
            } else {
                key(&next)
            }
        });
        let mut next: Vec<u128> = next.collect();
        next.sort_unstable();
        let first = successors.entry(own).or_insert_with(|| next.clone());
        assert!(*first == next, "after {path:?}");
    }
    let found = explore(start, depth).paths;
    let keys = found.iter().map(|path| key(&under_all_names.after(path)));
    let all_keys: BTreeSet<u128> = successors.into_keys().collect();
    assert!(keys.collect::<BTreeSet<_>>() == all_keys);
}

#[test]
fn names_decide_nothing() {
    check_key(from_nothing(), 3);
    check_key(from_a_log(), 2);
}
