//! The tokens that name a guest to the server.

use crate::options::Secret;

/// Which tokens may bring our guest back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Names our guest, or may do so: a join may be accepted unheard.
    own: Option<Secret>,
    /// What this connection was given, until it has a name.
    offered: Option<Secret>,
    /// What the last hello was said with.
    greeted_with: Option<Secret>,
    /// Whether others knew that one by then. They may know a newer one since.
    was_known: bool,
    /// Nobody answers to it: a guest that has ended does not come back.
    dead: Option<Secret>,
    /// The last one that others were told.
    told: Option<Secret>,
    /// What clients of this guest keep in common.
    remembered: Option<Secret>,
    /// Whether the name was ever ours.
    was_named: bool,
}

impl Guest {
    pub(crate) fn new(own: Option<Secret>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    pub(crate) const fn was_named(&self) -> bool {
        self.was_named
    }

    pub(crate) fn remember(&mut self, token: Option<Secret>) {
        self.remembered = token;
    }

    /// Another connection: it was given nothing yet.
    pub(crate) fn begin(&mut self) {
        self.offered = None;
    }

    /// A token under which our guest may live.
    pub(crate) fn candidate(&self) -> Option<&Secret> {
        let is_untried = |token: &&Secret| {
            Some(*token) != self.offered.as_ref() && Some(*token) != self.dead.as_ref()
        };
        let tokens = [&self.own, &self.remembered];
        tokens.into_iter().flatten().find(is_untried)
    }

    /// The token to say hello with.
    pub(crate) fn greet(&mut self) -> Option<&Secret> {
        let token = self.candidate().cloned();
        self.was_known = token.is_some() && [&self.told, &self.remembered].contains(&&token);
        self.greeted_with = token;
        self.greeted_with.as_ref()
    }

    pub(crate) fn offer(&mut self, token: Option<Secret>) {
        self.offered = token;
    }

    /// Nobody was found under the token of the last hello: another may be tried.
    pub(crate) fn is_not_found(&mut self) -> bool {
        if self.greeted_with.is_none() {
            return false;
        }
        self.dead.clone_from(&self.greeted_with);
        if self.own == self.dead {
            self.own = None;
        }
        self.candidate().is_some()
    }

    /// What the connection was given is our guest's from here on.
    pub(crate) fn settle(&mut self) {
        self.own.clone_from(&self.offered);
    }

    /// The name is ours on this connection, so its token is good for others, too: it is returned
    /// when they do not know it.
    pub(crate) fn named(&mut self) -> Option<Secret> {
        self.was_named = true;
        let is_known = self.was_known && self.offered == self.greeted_with;
        if self.offered.is_none() || self.offered == self.told || is_known {
            return None;
        }
        self.told.clone_from(&self.offered);
        self.told.clone()
    }
}
