//! Every sequence of six actions, from a few places to start. Sequences that lead to the same state
//! go on once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use parlor_tests::action::{Action, Ask};
use parlor_tests::observe::Reached;
use parlor_tests::run::{Setup, World};

mod chosen;
mod everything;

const DEPTH: usize = 6;

/// Two rooms, as a join names them.
const A: u8 = 0;
const B: u8 = 1;
/// Two names, and none.
const ANN: u8 = 0;
const BOB: u8 = 1;
const NONE: u8 = 7;
/// The end of the log, one and two entries before it, and no place in it.
const END: u8 = 8;
const BEFORE_LAST: u8 = 9;
const NEAR: u8 = 10;
const NOWHERE: u8 = 0;

/// Where to begin, what may happen next, and which worlds are the same.
struct Exploration<A, K> {
    setup: Setup,
    start: Vec<Action>,
    actions: A,
    key: K,
}

/// What an exploration found.
#[derive(Default)]
struct Found {
    /// How many sequences were tried: those of which all but the last action are in `paths`.
    sequences: usize,
    /// A shortest way to each state.
    paths: Vec<Vec<Action>>,
    reached: Reached,
}

impl<A, K, T> Exploration<A, K>
where
    A: Fn(&World) -> Vec<Action>,
    K: Fn(&World) -> T,
    T: Ord,
{
    fn after(&self, path: &[Action]) -> World {
        let mut world = World::new(&self.setup).quick();
        for action in self.start.iter().chain(path) {
            world.act(action).unwrap();
        }
        world.take_reached();
        world
    }

    /// Keeps the ways and not the worlds, which are a hundred times as big and soon made again.
    fn explore(&self, depth: usize) -> Found {
        let mut found = Found::default();
        let mut known = BTreeSet::from([(self.key)(&self.after(&[]))]);
        let mut frontier = vec![Vec::new()];
        for _ in 0..depth {
            let mut further = Vec::new();
            for path in &frontier {
                let world = self.after(path);
                for action in (self.actions)(&world) {
                    let next = found.go_on(path, &world, action);
                    if !next.is_like(&world) && known.insert((self.key)(&next)) {
                        further.push([path, &[action][..]].concat());
                    }
                }
            }
            found.paths.append(&mut frontier);
            frontier = further;
        }
        found.paths.append(&mut frontier);
        found
    }
}

impl Found {
    fn go_on(&mut self, path: &[Action], world: &World, action: Action) -> World {
        let mut next = world.clone();
        if let Err(failure) = next.act(&action) {
            panic!("after {path:?}, {action:?}: {failure:?}");
        }
        self.sequences += 1;
        self.reached.merge(next.take_reached());
        next
    }
}

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
