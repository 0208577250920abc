//! What the system knows of this process, under the names that Prometheus' own clients use.

use std::fmt;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo as _};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc` whenever it is asked; what cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessCollector;

struct Usage {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    open_fds: u64,
    max_fds: Option<u64>,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(usage) = read() else { return Ok(()) };
        let mut put = |name, help, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            let kind = metric.metric_type();
            metric.encode(encoder.encode_descriptor(name, help, unit, kind)?)
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        put(
            "process_cpu",
            "CPU time that was used.",
            seconds,
            &ConstCounter::new(usage.cpu_seconds),
        )?;
        put(
            "process_start_time",
            "When the process began, since 1970.",
            seconds,
            &ConstGauge::new(usage.start_seconds),
        )?;
        put(
            "process_resident_memory",
            "Memory that is in use.",
            bytes,
            &ConstGauge::new(usage.resident_bytes),
        )?;
        put(
            "process_virtual_memory",
            "Address space that is in use.",
            bytes,
            &ConstGauge::new(usage.virtual_bytes),
        )?;
        put(
            "process_threads",
            "Threads.",
            None,
            &ConstGauge::new(usage.threads),
        )?;
        put(
            "process_open_fds",
            "File descriptors that are open.",
            None,
            &ConstGauge::new(usage.open_fds),
        )?;
        if let Some(max_fds) = usage.max_fds {
            put(
                "process_max_fds",
                "File descriptors that may be open.",
                None,
                &ConstGauge::new(max_fds),
            )?;
        }
        Ok(())
    }
}

fn read() -> ProcResult<Usage> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    Ok(Usage {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        start_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
        resident_bytes: stat.rss_bytes().get(),
        virtual_bytes: stat.vsize,
        threads: stat.num_threads,
        open_fds: process.fd_count()? as u64,
        max_fds,
    })
}
