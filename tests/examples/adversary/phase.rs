//! What is seen of people and server while time goes by.

use std::ops::Range;
use std::time::{Duration, Instant};

use smol::Timer;

use crate::people::People;
use crate::process::Server;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// A part of the run.
pub(crate) struct Phase {
    /// Its whole seconds, by the clock of the people.
    seconds: Range<usize>,
    /// The server's memory at its end, and the most that it took during it.
    pub(crate) memory_kib: u64,
    pub(crate) peak_kib: u64,
}

/// How long people waited for what they and others said, µs.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// The 99th percentile of each second, and of these the lower quartile: on a machine that others
    /// use, the other seconds tell as much about them. The load is the same in all of them.
    pub(crate) typical_p99_us: u32,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
    pub(crate) most_us: u32,
}

/// Lets time go by until it is over, or people find fault with the server.
#[allow(clippy::print_stdout, reason = "what is seen")]
pub(crate) async fn watch(
    name: &str,
    time: Duration,
    people: &People,
    server: &Server,
) -> Result<Phase, String> {
    let begun = Instant::now();
    let cpu_before = server.cpu()?;
    let from = people.second() + 1;
    let mut peak_kib = 0;
    while begun.elapsed() < time {
        Timer::after(LOOK).await;
        people.fault()?;
        peak_kib = server.memory_kib()?.max(peak_kib);
    }
    let phase = Phase {
        seconds: from..people.second(),
        memory_kib: server.memory_kib()?,
        peak_kib,
    };
    let cpu = (server.cpu()? - cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let waits = phase.waits(people);
    let mut visits = people.take_visits();
    println!(
        "{name}, {:.0} s: {waits}; newcomers {:.0} ms at most; memory {} MiB, at most {}; {:.0} % of a core",
        begun.elapsed().as_secs_f64(),
        f64::from(quantile(&mut visits, 100)) / 1e3,
        phase.memory_kib >> 10,
        peak_kib >> 10,
        100.0 * cpu
    );
    Ok(phase)
}

/// Lets time go by until the server's memory is down to this.
#[allow(clippy::print_stdout, reason = "what is seen")]
pub(crate) async fn recover(
    to_kib: u64,
    time: Duration,
    people: &People,
    server: &Server,
) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        Timer::after(LOOK).await;
        people.fault()?;
        let memory_kib = server.memory_kib()?;
        let [mib, to_mib] = [memory_kib, to_kib].map(|kib| kib >> 10);
        let elapsed = begun.elapsed();
        if memory_kib <= to_kib {
            println!(
                "recovery, {:.1} s: memory {mib} MiB, of {to_mib}",
                elapsed.as_secs_f64()
            );
            return Ok(());
        }
        if elapsed > time {
            return Err(format!("the server kept {mib} MiB, more than {to_mib}"));
        }
    }
}

impl Phase {
    /// Both, one behind the other.
    pub(crate) fn and(&self, next: &Self) -> Self {
        Self {
            seconds: self.seconds.start..next.seconds.end,
            memory_kib: next.memory_kib,
            peak_kib: self.peak_kib.max(next.peak_kib),
        }
    }

    pub(crate) fn waits(&self, people: &People) -> Waits {
        let mut seconds = people.waits(self.seconds.clone());
        let mut all = seconds.concat();
        let p99s = seconds.iter_mut().map(|waits| quantile(waits, 99));
        Waits {
            typical_p99_us: quantile(&mut p99s.collect::<Vec<_>>(), 25),
            p50_us: quantile(&mut all, 50),
            p99_us: quantile(&mut all, 99),
            most_us: quantile(&mut all, 100),
        }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, most, typical] =
            [self.p50_us, self.p99_us, self.most_us, self.typical_p99_us]
                .map(|us| f64::from(us) / 1e3);
        write!(
            f,
            "{p50:.1} ms (p50), {p99:.1} (p99), {most:.1} (most), {typical:.1} (p99, lower quartile of the seconds)"
        )
    }
}

/// The value that so many of a hundred do not exceed; 0 of none.
fn quantile(values: &mut [u32], percent: usize) -> u32 {
    let Some(last) = values.len().checked_sub(1) else {
        return 0;
    };
    *values.select_nth_unstable(last * percent / 100).1
}
