//! How far everything is at a moment: two of them tell what came of the time between.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::run::Run;
use super::server::Usage;

#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    delivered: u64,
    /// CPU time of this process, where the system tells.
    own: Option<Duration>,
    /// If it is to be asked.
    server: Option<Usage>,
}

impl Moment {
    pub(super) async fn now(run: &Run<'_>) -> Result<Self, Failure> {
        let server = match run.target.admin {
            Some(admin) => Some(Usage::of(admin).await?),
            None => None,
        };
        Ok(Self {
            at: Instant::now(),
            delivered: run.delivered(),
            own: own_cpu(),
            server,
        })
    }

    pub(super) fn since(&self, before: &Self) -> Duration {
        self.at - before.at
    }

    /// Of one core, what this process itself took: near 1, and it is not the server that one sees.
    pub(super) fn own_cores_since(&self, before: &Self) -> Option<f64> {
        let used = self.own?.saturating_sub(before.own?);
        Some(used.as_secs_f64() / self.since(before).as_secs_f64())
    }

    /// CPU time of the server for each delivery, µs.
    pub(super) fn server_us_since(&self, before: &Self) -> Option<f64> {
        let seconds = self.server?.cpu_seconds - before.server?.cpu_seconds;
        let deliveries = self.delivered - before.delivered;
        (deliveries > 0).then(|| seconds * 1e6 / deliveries as f64)
    }

    /// Memory that the server took for each of some connections.
    pub(super) fn server_bytes_since(&self, before: &Self, connections: u32) -> Option<f64> {
        let bytes = self.server?.resident_bytes - before.server?.resident_bytes;
        Some(bytes / f64::from(connections))
    }
}

#[cfg(target_os = "linux")]
fn own_cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
const fn own_cpu() -> Option<Duration> {
    None
}
