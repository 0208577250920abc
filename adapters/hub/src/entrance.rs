//! The door for WebSockets: a page of another origin stays outside, and so does whoever finds no
//! place. Whom it turns away it logs, at most one line a second for each reason.

mod admission;
mod forwarded;
mod handshake;
mod origin;
mod seldom;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use ipnet::IpNet;
use tracing::warn;

pub use admission::{Admission, Full, Permit};
pub use forwarded::client_address;
pub use handshake::is_upgrade;
pub use origin::{AllowedOrigin, BadOrigin};

use crate::metrics::{Metrics, TurnedAway};
use seldom::Seldom;

/// Whom a server lets in.
#[derive(Debug)]
pub struct Entrance {
    admission: Arc<Admission>,
    origins: Vec<AllowedOrigin>,
    proxies: Vec<IpNet>,
    metrics: Metrics,
    foreign: Seldom,
    full: Seldom,
    crowded: Seldom,
    handshakes: Seldom,
}

/// Who was let in: a place, which is kept as long as this lives.
#[derive(Debug)]
pub struct Entered {
    _permit: Permit,
    /// Where the client is, if that is known.
    pub(crate) address: Option<IpAddr>,
    /// Through which trusted proxy it came.
    pub(crate) proxy: Option<IpAddr>,
}

/// Why somebody stays outside.
#[derive(Debug)]
enum Refusal {
    Origin(origin::Refusal),
    Full(Full),
}

impl Refusal {
    const fn why(&self) -> TurnedAway {
        match self {
            Self::Origin(_) => TurnedAway::Origin,
            Self::Full(Full::Server) => TurnedAway::Full,
            Self::Full(Full::Address) => TurnedAway::Address,
        }
    }
}

impl Entrance {
    /// A door in front of so many places: for pages of the server's own host and of these origins,
    /// behind these proxies, which are believed when they say where a client is from.
    #[must_use]
    pub fn new(
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
    #[must_use]
    pub fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        (!forwarded::is_trusted(peer, &self.proxies)).then_some(peer)
    }

    /// Lets in who asks with these headers, if they may come and there is a place.
    fn enter(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Entered, Refusal> {
        let address = peer.map(|peer| client_address(peer, headers, &self.proxies));
        let entered = origin::check(headers, &self.origins)
            .map_err(Refusal::Origin)
            .and_then(|()| self.admission.admit(address).map_err(Refusal::Full));
        let refused = |refusal: &Refusal| {
            self.metrics.turned_away(refusal.why());
            self.log(address, refusal);
        };
        let permit = entered.inspect_err(refused)?;
        let peer = peer.map(|peer| peer.to_canonical());
        Ok(Entered {
            _permit: permit,
            address,
            proxy: peer.filter(|_| peer != address),
        })
    }

    /// There are too many handshakes already, of this address or at all.
    pub fn too_many_handshakes(&self, address: IpAddr) {
        self.metrics.turned_away(TurnedAway::Handshakes);
        if let Some(unlogged) = self.handshakes.line(Instant::now()) {
            warn!(%address, unlogged, "refused: too many connections that are no WebSockets yet, of this address or of all; if it is a proxy's, see --trust-proxy");
        }
    }

    fn log(&self, address: Option<IpAddr>, refusal: &Refusal) {
        let line = match refusal {
            Refusal::Origin(_) => &self.foreign,
            Refusal::Full(Full::Server) => &self.full,
            Refusal::Full(Full::Address) => &self.crowded,
        };
        let Some(unlogged) = line.line(Instant::now()) else {
            return;
        };
        let address = address.map(tracing::field::display);
        match refusal {
            Refusal::Origin(origin::Refusal::Foreign(origin)) => {
                warn!(
                    address,
                    unlogged,
                    "refused: a page of another origin than the Host; allow it with --origin {origin}, or let your proxy pass the Host on"
                );
            }
            Refusal::Origin(refusal) => {
                warn!(
                    address,
                    unlogged,
                    ?refusal,
                    "refused: not one readable origin and host, see --origin"
                );
            }
            Refusal::Full(Full::Server) => {
                warn!(
                    address,
                    unlogged, "refused: the server is full, see --max-connections"
                );
            }
            Refusal::Full(Full::Address) => {
                warn!(
                    address,
                    unlogged,
                    "refused: this address alone has as many connections as --max-connections-per-address allows; if it is a proxy's, see --trust-proxy"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderValue, ORIGIN};
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const CLIENT: &str = "192.0.2.1";

    /// Two places, one for each address, behind the proxies in 10.0.0.0/8.
    fn entrance(metrics: &Metrics) -> Entrance {
        let proxies = vec!["10.0.0.0/8".parse().unwrap()];
        Entrance::new(Admission::new(2, 1), Vec::new(), proxies, metrics.clone())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn told(client: &'static str) -> HeaderMap {
        let told = HeaderValue::from_static(client);
        [(http::HeaderName::from_static("x-forwarded-for"), told)]
            .into_iter()
            .collect()
    }

    #[test]
    fn who_comes_through_a_trusted_proxy_is_known_with_it() {
        for (peer, headers, expected) in [
            (Some(PROXY), told(CLIENT), (Some(CLIENT), Some(PROXY))),
            (
                Some("::ffff:10.0.0.1"),
                told(CLIENT),
                (Some(CLIENT), Some(PROXY)),
            ),
            // It says nothing, so it is the client itself.
            (Some(PROXY), HeaderMap::new(), (Some(PROXY), None)),
            (Some(CLIENT), told("203.0.113.9"), (Some(CLIENT), None)),
            (
                Some("::ffff:192.0.2.1"),
                HeaderMap::new(),
                (Some(CLIENT), None),
            ),
            (None, told(CLIENT), (None, None)),
        ] {
            let entrance = entrance(&Metrics::default());
            let entered = entrance.enter(peer.map(ip), &headers).unwrap();
            let expected = (expected.0.map(ip), expected.1.map(ip));
            assert_eq!((entered.address, entered.proxy), expected, "{peer:?}");
        }
    }

    #[test]
    fn the_handshakes_of_a_trusted_proxy_are_not_counted() {
        let entrance = entrance(&Metrics::default());
        assert_eq!(entrance.counted(ip(CLIENT)), Some(ip(CLIENT)));
        assert_eq!(entrance.counted(ip(PROXY)), None);
    }

    #[test]
    fn whoever_is_turned_away_is_counted_and_logged() {
        let (metrics, before) = (Metrics::default(), Instant::now());
        let entrance = entrance(&metrics);
        let nothing = HeaderMap::new();
        let evil = HeaderValue::from_static("https://evil.example");
        let evil = HeaderMap::from_iter([(ORIGIN, evil)]);
        let knock = |peer: &str, headers| entrance.enter(Some(ip(peer)), headers);
        // Behind a line that was written there is no room for one of a moment before it.
        let is_written = |lines: &Seldom| lines.line(before).is_none();

        let _first = knock(CLIENT, &nothing).unwrap();
        knock(CLIENT, &nothing).unwrap_err();
        assert!(is_written(&entrance.crowded));
        let _second = knock("192.0.2.2", &nothing).unwrap();
        for _ in 0..2 {
            knock("192.0.2.3", &nothing).unwrap_err();
        }
        assert!(is_written(&entrance.full));
        for _ in 0..3 {
            knock("192.0.2.4", &evil).unwrap_err();
        }
        assert!(is_written(&entrance.foreign));
        for _ in 0..4 {
            entrance.too_many_handshakes(ip("192.0.2.5"));
        }
        assert!(is_written(&entrance.handshakes));

        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for (count, reason) in (1..).zip(["address", "full", "origin", "handshakes"]) {
            let line = format!("refused_connections_total{{reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
