//! In the place of TLS without the feature for it.

use std::io;

use crate::error::ConnectError;
use crate::options::Options;

/// There is none.
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn new(_: &str, _: &Options) -> Result<Self, ConnectError> {
        Err(ConnectError::Url(
            "wss:// needs the feature `tls` of parlor-client-async",
        ))
    }

    pub(crate) async fn connect<S>(&self, _: S) -> io::Result<S> {
        match *self {}
    }
}
