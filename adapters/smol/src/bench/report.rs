//! What is told at the end.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::moment::Moment;
use super::run::Run;
use crate::cli::Pace;

/// More of a core than this, and the load may have waited for itself.
const BUSY: f64 = 0.9;

/// What came of a run. As JSON it has these names in camel case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    version: &'static str,
    url: String,
    /// `open` or `closed`.
    #[serde(rename = "loop")]
    pace: &'static str,
    /// Of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    /// Of a closed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u32>,
    connections: u32,
    rooms: u32,
    senders: u32,
    text_bytes: u32,
    seconds: f64,
    /// From the first packet until everybody was in their room.
    connect_seconds: f64,
    /// In the whole run, with what came before and behind the time that was measured.
    messages: u64,
    /// As many there should have been, of all messages.
    deliveries_expected: u64,
    /// As many there were.
    deliveries: u64,
    /// In the time that was measured.
    deliveries_per_second: f64,
    /// From when a message was due to its delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Latency>,
    /// The load's own, of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    bench_cpu_cores: Option<f64>,
    /// The server's CPU time for each delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_delivery: Option<f64>,
    /// Memory that the server took while everybody came, for each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_per_connection: Option<f64>,
    missing: u64,
    duplicates: u64,
    strange: u64,
    other_order: u64,
    /// Why it ended before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// `ok` or `bad`.
    verdict: &'static str,
}

/// Percentiles, µs, three digits of each.
#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Latency {
    /// Nothing, if nothing came.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Some(Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        })
    }
}

impl Latency {
    const fn lines(&self) -> [(&'static str, u64); 5] {
        [
            ("latency 50 %", self.p50),
            ("latency 90 %", self.p90),
            ("latency 99 %", self.p99),
            ("latency 99.9 %", self.p999),
            ("latency at most", self.max),
        ]
    }
}

impl Report {
    pub(super) fn of(
        run: &Run<'_>,
        [begun, arrived]: [Moment; 2],
        measured: Option<[Moment; 2]>,
    ) -> Self {
        let task = run.task;
        let (pace, rate, window) = match task.pace() {
            Pace::Open(rate) => ("open", Some(rate), None),
            Pace::Closed(window) => ("closed", None, Some(window)),
        };
        let seconds = task.measured().as_secs_f64();
        let failure = run.take_failure().map(|failure| failure.to_string());
        let verdict = run.verdict();
        // A run in which nobody heard anything has shown nothing.
        let good = failure.is_none() && verdict.is_good() && run.measured_deliveries() > 0;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            url: task.url.to_string(),
            pace,
            rate,
            window,
            connections: task.connections,
            rooms: task.room_count(),
            senders: task.sender_count(),
            text_bytes: task.text_bytes,
            seconds,
            connect_seconds: arrived.since(&begun).as_secs_f64(),
            messages: run.said(),
            deliveries_expected: run.expected(),
            deliveries: run.delivered(),
            deliveries_per_second: run.measured_deliveries() as f64 / seconds,
            latency_us: Latency::of(&run.latency()),
            bench_cpu_cores: measured.and_then(|[from, to]| to.own_cores_since(&from)),
            server_cpu_us_per_delivery: measured.and_then(|[from, to]| to.server_us_since(&from)),
            server_bytes_per_connection: arrived.server_bytes_since(&begun, task.connections),
            missing: verdict.missing,
            duplicates: verdict.duplicates,
            strange: verdict.strange,
            other_order: verdict.other_order,
            failure,
            verdict: if good { "ok" } else { "bad" },
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict == "ok"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            rooms,
            senders,
            ..
        } = self;
        writeln!(
            f,
            "{}: {connections} users in {rooms} rooms, {senders} of them talk",
            self.url
        )?;
        match (self.rate, self.window) {
            (Some(rate), _) => writeln!(
                f,
                "open loop, {rate} messages/s of {} bytes",
                self.text_bytes
            )?,
            (_, Some(window)) => writeln!(
                f,
                "closed loop, {window} messages of {} bytes on their way for each",
                self.text_bytes
            )?,
            (None, None) => {}
        }
        writeln!(f)?;
        writeln!(f, "connected and joined  {:>10.2} s", self.connect_seconds)?;
        writeln!(
            f,
            "deliveries            {:>10.0} /s",
            self.deliveries_per_second
        )?;
        for (name, us) in self.latency_us.iter().flat_map(Latency::lines) {
            writeln!(f, "{name:<21} {:>10.3} ms", us as f64 / 1000.0)?;
        }
        if let Some(us) = self.server_cpu_us_per_delivery {
            writeln!(f, "server's CPU          {us:>10.3} µs for each delivery")?;
        }
        if let Some(bytes) = self.server_bytes_per_connection {
            let kib = bytes / 1024.0;
            writeln!(
                f,
                "server's memory       {kib:>10.1} KiB for each connection"
            )?;
        }
        if let Some(cores) = self.bench_cpu_cores {
            writeln!(f, "this load itself      {cores:>10.2} of a core")?;
            if cores > BUSY {
                writeln!(
                    f,
                    "  which is all of one: the server may be faster than this shows"
                )?;
            }
        }
        writeln!(f)?;
        if let Some(failure) = &self.failure {
            writeln!(f, "It ended before its time: {failure}.")?;
        }
        let Self {
            deliveries,
            deliveries_expected,
            ..
        } = self;
        if self.is_good() {
            return writeln!(
                f,
                "ok: all {deliveries} deliveries came, once and in one order for each room"
            );
        }
        writeln!(
            f,
            "BAD: {deliveries} of {deliveries_expected} deliveries; {} missing, {} twice, {} that nobody said, \
             {} connections with another order",
            self.missing, self.duplicates, self.strange, self.other_order
        )
    }
}
