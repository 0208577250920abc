//! The door for WebSockets: a page of another origin stays outside, and so does whoever finds no
//! place. Whom it turns away it logs, at most one line a second for each reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use ipnet::IpNet;
use tracing::warn;

use crate::admission::{Admission, Full, Permit};
use crate::forwarded;
use crate::metrics::{Metrics, Refused};
use crate::origin::{self, AllowedOrigin};
use crate::seldom::Seldom;

#[derive(Debug)]
pub(crate) struct Entrance {
    admission: Arc<Admission>,
    origins: Vec<AllowedOrigin>,
    proxies: Vec<IpNet>,
    metrics: Metrics,
    foreign: Seldom,
    full: Seldom,
    crowded: Seldom,
    handshakes: Seldom,
}

/// Who was let in.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Its place, which it keeps as long as this lives.
    _permit: Permit,
    /// Where the client is.
    pub(crate) address: IpAddr,
    /// Through which trusted proxy it came.
    pub(crate) proxy: Option<IpAddr>,
}

/// Why somebody stays outside.
#[derive(Debug)]
pub(crate) enum Refusal {
    Origin(origin::Refusal),
    Full(Full),
}

impl Refusal {
    const fn label(&self) -> Refused {
        match self {
            Self::Origin(_) => Refused::Origin,
            Self::Full(Full::Server) => Refused::Full,
            Self::Full(Full::Address) => Refused::Address,
        }
    }
}

impl Entrance {
    pub(crate) fn new(
        admission: Arc<Admission>,
        origins: Vec<AllowedOrigin>,
        proxies: Vec<IpNet>,
        metrics: Metrics,
    ) -> Self {
        Self {
            admission,
            origins,
            proxies,
            metrics,
            foreign: Seldom::default(),
            full: Seldom::default(),
            crowded: Seldom::default(),
            handshakes: Seldom::default(),
        }
    }

    /// The address whose handshakes are counted; none for a proxy, through which everybody comes.
    pub(crate) fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        (!forwarded::is_trusted(peer, &self.proxies)).then_some(peer)
    }

    /// Lets in who asks with these headers, if they may come and there is a place.
    pub(crate) fn enter(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Entered, Refusal> {
        let address = forwarded::client_address(peer, headers, &self.proxies);
        let entered = origin::check(headers, &self.origins)
            .map_err(Refusal::Origin)
            .and_then(|()| self.admission.admit(Some(address)).map_err(Refusal::Full));
        let refused = |refusal: &Refusal| {
            self.metrics.refused(refusal.label());
            self.log(address, refusal);
        };
        let permit = entered.inspect_err(refused)?;
        let peer = peer.to_canonical();
        Ok(Entered {
            _permit: permit,
            address,
            proxy: (peer != address).then_some(peer),
        })
    }

    /// There are too many handshakes already, of this address or at all.
    pub(crate) fn log_handshakes(&self, address: IpAddr) {
        if let Some(unlogged) = self.handshakes.line(Instant::now()) {
            warn!(%address, unlogged, "refused: too many connections that are no WebSockets yet, of this address or of all; if it is a proxy's, see --trust-proxy");
        }
    }

    fn log(&self, address: IpAddr, refusal: &Refusal) {
        let line = match refusal {
            Refusal::Origin(_) => &self.foreign,
            Refusal::Full(Full::Server) => &self.full,
            Refusal::Full(Full::Address) => &self.crowded,
        };
        let Some(unlogged) = line.line(Instant::now()) else {
            return;
        };
        match refusal {
            Refusal::Origin(origin::Refusal::Foreign(origin)) => {
                warn!(%address, unlogged, "refused: a page of another origin than the Host; allow it with --origin {origin}, or let your proxy pass the Host on");
            }
            Refusal::Origin(refusal) => {
                warn!(%address, unlogged, ?refusal, "refused: not one readable origin and host, see --origin");
            }
            Refusal::Full(Full::Server) => {
                warn!(%address, unlogged, "refused: the server is full, see --max-connections");
            }
            Refusal::Full(Full::Address) => {
                warn!(%address, unlogged, "refused: this address alone has as many connections as --max-connections-per-address allows; if it is a proxy's, see --trust-proxy");
            }
        }
    }
}
