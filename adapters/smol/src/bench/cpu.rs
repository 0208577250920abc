//! What the load itself costs: if it keeps a core busy, it is not the server that one sees.

use std::time::Duration;

/// The time that all threads of this process took of all cores, where the system tells.
#[cfg(target_os = "linux")]
pub(super) fn used() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(super) const fn used() -> Option<Duration> {
    None
}
