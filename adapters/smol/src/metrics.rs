//! What monitoring may know of the server around the hub.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_appender::non_blocking::ErrorCounter;

/// The metrics of a server; its clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) hub: parlor_hub::Metrics,
}

impl Metrics {
    /// A registry that knows all of them.
    pub(crate) fn registry(&self, lost_log_lines: Option<ErrorCounter>) -> Registry {
        let mut registry = Registry::default();
        self.hub.register(&mut registry);
        register(registry.sub_registry_with_prefix("parlor"));
        registry.register_collector(Box::new(LostLogLines(lost_log_lines)));
        registry
    }
}

fn register(registry: &mut Registry) {
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The server that runs", version);
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
