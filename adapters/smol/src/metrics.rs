//! What monitoring may know of the server around the hub.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_appender::non_blocking::ErrorCounter;

/// Why somebody is turned away at the door.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    /// A page of another origin.
    Origin,
    /// There are too many connections.
    Full,
    /// There are too many of this address.
    Address,
    /// There are too many handshakes under way.
    Handshakes,
}

impl Refused {
    const ALL: [Self; 4] = [Self::Origin, Self::Full, Self::Address, Self::Handshakes];

    const fn label(self) -> [(&'static str, &'static str); 1] {
        let reason = match self {
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Address => "address",
            Self::Handshakes => "handshakes",
        };
        [("reason", reason)]
    }
}

/// The metrics of a server; its clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) hub: parlor_hub::Metrics,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    pub(crate) fn refused(&self, refused: Refused) {
        self.refused.get_or_create(&refused.label()).inc();
    }

    /// A registry that knows all of them.
    pub(crate) fn registry(&self, lost_log_lines: Option<ErrorCounter>) -> Registry {
        let mut registry = Registry::default();
        self.hub.register(&mut registry);
        self.register(registry.sub_registry_with_prefix("parlor"));
        registry.register_collector(Box::new(LostLogLines(lost_log_lines)));
        registry
    }

    fn register(&self, registry: &mut Registry) {
        for refused in Refused::ALL {
            // All of them are there from the start.
            drop(self.refused.get_or_create(&refused.label()));
        }
        registry.register(
            "refused_connections",
            "Connections that were turned away: a page of another origin, no place on the server, for the address, or for one more handshake",
            self.refused.clone(),
        );
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The server that runs", version);
    }
}

/// Lines of the log that nobody took in time.
#[derive(Debug)]
struct LostLogLines(Option<ErrorCounter>);

impl Collector for LostLogLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = self.0.as_ref().map_or(0, ErrorCounter::dropped_lines);
        let counter = ConstCounter::new(lost);
        let encoder = encoder.encode_descriptor(
            "parlor_log_lines_lost",
            "Lines of the log that were lost because standard error was read too slowly.",
            None,
            counter.metric_type(),
        )?;
        counter.encode(encoder)
    }
}
