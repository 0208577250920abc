//! The server that is to be put under load.

use std::net::{SocketAddr, ToSocketAddrs};

use hyper::Uri;

use super::failure::Failure;
use crate::health::host_and_port;

/// A server, by its addresses.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Uri,
    /// At least one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where its operator's port is, if that is to be asked.
    pub(super) admin: Option<SocketAddr>,
}

impl Target {
    pub(super) fn find(url: &Uri, admin: Option<SocketAddr>) -> Result<Self, Failure> {
        let addresses: Vec<SocketAddr> = match host_and_port(url).to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(error) => return Err(Failure::Unknown(url.clone(), error.to_string())),
        };
        if addresses.is_empty() {
            return Err(Failure::Unknown(url.clone(), "it has no address".into()));
        }
        Ok(Self {
            url: url.clone(),
            addresses,
            admin,
        })
    }

    /// Whoever else it is might not want to be put under load.
    pub(super) fn require_loopback(&self) -> Result<(), Failure> {
        let mut all = self.addresses.iter().chain(&self.admin);
        let elsewhere = all.find(|address| !address.ip().is_loopback());
        match elsewhere {
            Some(address) => Err(Failure::Elsewhere(self.url.clone(), address.ip())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_the_loopback() {
        for (url, here) in [
            ("ws://127.0.0.1:8080/ws", true),
            ("ws://[::1]:8080/ws", true),
            ("ws://127.3.2.1/ws", true),
            ("ws://192.0.2.1:8080/ws", false),
            ("ws://0.0.0.0:8080/ws", false),
            ("ws://[2001:db8::1]/ws", false),
        ] {
            let target = Target::find(&url.parse().unwrap(), None).unwrap();
            assert_eq!(target.require_loopback().is_ok(), here, "{url}");
        }
        let elsewhere = Some("192.0.2.1:9090".parse().unwrap());
        let target = Target::find(&"ws://127.0.0.1/ws".parse().unwrap(), elsewhere).unwrap();
        assert!(target.require_loopback().is_err());
    }
}
