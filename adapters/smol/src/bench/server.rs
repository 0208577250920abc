//! What the load costs the server, as its operator's port tells.

use std::net::SocketAddr;

use hyper::Uri;

use super::failure::Failure;
use crate::health;

/// All metrics, of which there are some 30 KB.
const MOST_BYTES: usize = 1 << 20;

/// What the server's process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
}

impl Usage {
    /// Asks a server whose `--admin` address this is.
    pub(super) async fn of(admin: SocketAddr) -> Result<Self, Failure> {
        let url = Uri::builder().scheme("http").path_and_query("/metrics");
        let url = url.authority(admin.to_string()).build();
        let url = url.map_err(|error| Failure::Metrics(error.to_string()))?;
        let answer = health::get(&url, MOST_BYTES).await;
        let (_, body) = answer.map_err(|error| Failure::Metrics(error.to_string()))?;
        let usage = Self::parse(&String::from_utf8_lossy(&body));
        usage.ok_or_else(|| Failure::Metrics(format!("{url} does not tell what its process uses")))
    }

    fn parse(metrics: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = metrics.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        };
        Some(Self {
            cpu_seconds: value("process_cpu_seconds_total")?,
            resident_bytes: value("process_resident_memory_bytes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_stands_among_the_metrics() {
        let metrics = "# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 1.5\n\
                       process_resident_memory_bytes 4096\n# EOF\n";
        let expected = Usage {
            cpu_seconds: 1.5,
            resident_bytes: 4096.0,
        };
        assert_eq!(Usage::parse(metrics), Some(expected));
        assert_eq!(Usage::parse("process_cpu_seconds_total 1.5\n"), None);
        assert_eq!(Usage::parse(""), None);
    }
}
