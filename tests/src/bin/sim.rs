//! `cargo sim`: plays seeds, and says whether everything was as it should be.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use parlor_tests::sim::{Outcome, simulate};

const USAGE: &str = "\
cargo sim SEED           plays one seed and prints all that happens
cargo sim --seeds N      plays N seeds, from one that is another each day
cargo sim --from SEED    where --seeds or --forever begin instead
cargo sim --forever      plays seeds until one fails";

/// Between two lines of progress.
const REPORT_SEEDS: u64 = 10_000;

fn main() -> ExitCode {
    let Some(task) = Task::read(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    // What is planned to panic need not be read.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if !message.starts_with("planned") {
            usual(panic);
        }
    }));
    match task {
        Task::One(seed) => one(seed),
        Task::Many(seeds) => many(seeds),
    }
}

enum Task {
    One(u64),
    Many(Range<u64>),
}

impl Task {
    fn read(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (mut from, mut seeds) = (None, None);
        while let Some(arg) = args.next() {
            let mut number = || args.next()?.parse().ok();
            match &arg[..] {
                "--seeds" => seeds = Some(number()?),
                "--from" => from = Some(number()?),
                "--forever" => seeds = Some(u64::MAX),
                seed => return seed.parse().ok().map(Self::One),
            }
        }
        let from = from.unwrap_or_else(today);
        Some(Self::Many(from..from.saturating_add(seeds?)))
    }
}

/// A base for the seeds of a day: days since the Unix epoch, a million apart.
fn today() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / 86_400 * 1_000_000)
}

fn one(seed: u64) -> ExitCode {
    println!("seed {seed}");
    let outcome = simulate(seed, true);
    print!("{}", outcome.transcript.text());
    println!("digest {:016x}", outcome.transcript.digest());
    verdict(seed, &outcome)
}

fn verdict(seed: u64, outcome: &Outcome) -> ExitCode {
    if let Some(failure) = &outcome.failed {
        println!("seed {seed} fails: {failure:?}\nsee all of it: cargo sim {seed}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What all seeds came to.
#[derive(Default)]
struct Total {
    reached: BTreeMap<String, u64>,
    lines: u64,
    failed: Option<(u64, String)>,
}

fn many(seeds: Range<u64>) -> ExitCode {
    println!("seeds from {}", seeds.start);
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::<Total>::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || lock(&total).failed.is_some() {
                        return;
                    }
                    play(seed, &total);
                    let done = seed - seeds.start + 1;
                    if done.is_multiple_of(REPORT_SEEDS) {
                        println!("{done} seeds in {} s", began.elapsed().as_secs());
                    }
                }
            });
        }
    });
    let total = lock(&total);
    let done = next.load(Ordering::Relaxed).min(seeds.end) - seeds.start;
    println!(
        "{done} seeds in {:.1} s, {} lines",
        began.elapsed().as_secs_f64(),
        total.lines
    );
    for (what, times) in &total.reached {
        println!("{times:10} {what}");
    }
    match &total.failed {
        None => ExitCode::SUCCESS,
        Some((seed, why)) => {
            println!("seed {seed} fails: {why}\nsee all of it: cargo sim {seed}");
            ExitCode::FAILURE
        }
    }
}

fn play(seed: u64, total: &Mutex<Total>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(seed, false)));
    let mut total = lock(total);
    let failed = match outcome {
        Err(panic) => Some(format!("panic: {:?}", panic.downcast_ref::<String>())),
        Ok(outcome) => {
            for (what, times) in outcome.reached {
                *total.reached.entry(what).or_default() += times;
            }
            total.lines += outcome.transcript.len();
            outcome.failed.map(|failure| format!("{failure:?}"))
        }
    };
    // The first of those that fail, whoever plays faster.
    if let Some(why) = failed
        && total.failed.as_ref().is_none_or(|(first, _)| seed < *first)
    {
        total.failed = Some((seed, why));
    }
}

fn lock(total: &Mutex<Total>) -> std::sync::MutexGuard<'_, Total> {
    total.lock().expect("nothing panics while it is locked")
}
