//! The bodies of the fuzz targets. `fuzz/` calls them with whatever libFuzzer thinks of, and a
//! test calls them with the corpus that it left behind. Each panics when something is wrong.

mod clients;
mod decoding;
mod forwarding;
mod object;
mod sessions;
#[cfg(feature = "token")]
mod tokens;
mod tracing;

pub use clients::client;
pub use decoding::decoding;
pub use forwarding::forwarding;
pub use sessions::session;
#[cfg(feature = "token")]
pub use tokens::token;
pub use tracing::tracing;

use crate::action::Action;
use crate::run::{Setup, World};

/// Target `step`: a setup and actions from bytes, core against model.
pub fn steps(bytes: &[u8]) {
    let Some((&setup, bytes)) = bytes.split_first() else {
        return;
    };
    // Longer ones are slower and find nothing that short ones do not.
    let mut actions = Action::all_from_bytes(bytes);
    actions.truncate(200);
    let mut world = World::new(&Setup::small(setup)).quick();
    let done = actions.iter().try_for_each(|action| world.act(action));
    if let Err(failure) = done.and_then(|()| world.finish()) {
        panic!("{failure:?}\nafter {actions:?}");
    }
}
