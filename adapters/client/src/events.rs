//! What the application is told.

use std::fmt;

use async_channel::{Receiver, Sender};
use parlor_client::Event;

/// What the application is told, in order. Take it in a task of its own, or drop it: a client whose
/// events nobody takes stops reading in the end. See the [crate](crate#bounds).
pub struct Events {
    pub(crate) events: Receiver<Event>,
    /// Tells the driver that there is room.
    pub(crate) taken: Sender<()>,
}

impl Events {
    /// The next one; none once the client is closed for ever and everything was told. Whoever drops
    /// this future misses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.events.recv().await.ok();
        self.told();
        event
    }

    /// The next one, if it is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok();
        self.told();
        event
    }

    fn told(&self) {
        // One word that waits to be read says it all.
        let _ = self.taken.try_send(());
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.events.len();
        f.debug_struct("Events").field("waiting", &waiting).finish()
    }
}
