//! Attacks a server while people talk on it. They are to lose nothing, to see one order, and to wait
//! not much longer than without attackers; the server's memory is to stay below a bound and to come
//! back to what it was; and attackers are to be ended as the README says.
//!
//! `cargo run --release -p parlor-tests --example adversary -- target/release/parlor`
//!
//! Kinds of attackers named behind the server attack alone. `PARLOR_SEED=…` has everybody do the
//! same again, as far as that does not depend on the server.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use parlor_tests::dice::Dice;
use smol::LocalExecutor;

use crate::attack::{ALL_KINDS, Attack, Kind};
use crate::people::People;
use crate::phase::{Phase, recover, watch};
use crate::process::Server;

mod archive;
mod attack;
mod kinds;
mod people;
mod phase;
mod process;
mod visitor;
mod wire;

/// Until the rooms' tails are full, and the rest is as it stays.
const WARM_UP: Duration = Duration::from_secs(15);
const CALM: Duration = Duration::from_secs(25);
/// Until the queues are full, and until nobody has been silent for too long: 35 s.
const QUEUES_FILL: Duration = Duration::from_secs(25);
const ATTACK_GOES_ON: Duration = Duration::from_secs(25);
/// For closing connections and the allocator to give memory back.
const RECOVERY: Duration = Duration::from_secs(30);

/// What may wait for all connections together. The default, a GiB, is more than all of the attackers
/// can have waiting for them.
const OUTBOX_TOTAL: u64 = 64 << 20;
/// Queues cut for that bound while they were between a quarter and nine tenths of their own, in the
/// first part of the attack.
const LEAST_CUT: usize = 50;

/// The most that the server may take in memory, from what its limits allow.
const MOST_MEMORY: u64 = {
    /// Its code, and whatever it has without connections.
    const ITSELF: u64 = 16 << 20;
    /// The pages that the store keeps (`CACHE_KIB` of parlor-sqlite).
    const PAGES: u64 = 32 << 20;
    /// A task, its buffers, and an HTTP head of up to 16 KiB for each connection.
    const CONNECTIONS: u64 = 1500 * (20 << 10);
    /// Messages of up to 64 KiB that come in pieces, in vectors with as much space again.
    const UNFINISHED: u64 = 200 * (128 << 10);
    /// The last 256 KiB of each room: 20 of people, 24 of attackers.
    const TAILS: u64 = 44 * (256 << 10);
    /// One batch that is being stored, and one that is being built.
    const BATCHES: u64 = 2 * (16 << 20);
    ITSELF + PAGES + OUTBOX_TOTAL + CONNECTIONS + UNFINISHED + TAILS + BATCHES
};
/// Afterwards it may take so many hundredths of what it took before.
const MOST_RETAINED_PERCENT: u64 = 120;
/// People may wait so many times as long as before.
const MOST_TIMES: f64 = 5.0;
/// A wait that is shorter counts as this long, µs. What is below it is the disk's and the scheduler's
/// more than the server's: on a quiet machine half of it, and in the next run twice as much.
const LEAST_WAIT_US: u32 = 2000;

#[allow(clippy::print_stderr, reason = "the line that says why it failed")]
fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match &args[..] {
        [command, rest @ ..] if command == attack::COMMAND => attack::run(rest),
        [server, kinds @ ..] => rehearse(Path::new(server), kinds),
        [] => Err("say which server: target/release/parlor".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("adversary: {why}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the seed repeats a failure")]
fn rehearse(server: &Path, kinds: &[String]) -> Result<(), String> {
    let seed = match env::var("PARLOR_SEED") {
        Ok(seed) => seed
            .parse()
            .map_err(|error| format!("PARLOR_SEED: {error}"))?,
        Err(_) => u64::from(std::process::id()),
    };
    println!("PARLOR_SEED={seed}");
    let kinds: Result<Vec<Kind>, String> = kinds.iter().map(|kind| kind.parse()).collect();
    let kinds = Some(kinds?).filter(|kinds| !kinds.is_empty());
    let kinds = kinds.unwrap_or_else(|| ALL_KINDS.into());
    let server = Server::start(server, &["--max-outbox-total", &OUTBOX_TOTAL.to_string()])?;
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(run(&executor, &server, &kinds, seed)))
}

async fn run(
    executor: &LocalExecutor<'_>,
    server: &Server,
    kinds: &[Kind],
    seed: u64,
) -> Result<(), String> {
    archive::fill(executor, server.address).await?;
    let people = People::come(executor, server.address, &mut Dice::new(seed)).await?;
    executor
        .spawn(visitor::come_and_go(server.address, people.clone()))
        .detach();
    watch("warm-up", WARM_UP, &people, server).await?;
    let calm = watch("calm", CALM, &people, server).await?;
    let attack = Attack::begin(server.address, kinds, seed)?;
    let begin = watch("attack", QUEUES_FILL, &people, server).await?;
    let cut = server.cut_for_others()?;
    let rest = watch("attack goes on", ATTACK_GOES_ON, &people, server).await?;
    let tally = attack.end()?;
    recover(
        calm.memory_kib * MOST_RETAINED_PERCENT / 100,
        RECOVERY,
        &people,
        server,
    )
    .await?;
    people.hush().await?;
    tally.judge(kinds)?;
    if kinds.contains(&Kind::Mute) && cut < LEAST_CUT {
        return Err(format!(
            "only {cut} were cut since all queues together were too long"
        ));
    }
    judge(&calm, &begin.and(&rest), &people)
}

/// What the attack may have changed for people, and what it may have cost.
#[allow(clippy::print_stdout, reason = "the verdict")]
fn judge(calm: &Phase, attack: &Phase, people: &People) -> Result<(), String> {
    let [before, during] = [calm, attack].map(|phase| phase.waits(people));
    let before_us = before.typical_p99_us.max(LEAST_WAIT_US);
    let times = f64::from(during.typical_p99_us) / f64::from(before_us);
    println!(
        "people waited {times:.1} times as long ({:.1} and {:.1} ms, where less than {LEAST_WAIT_US} µs count as these); at most {MOST_TIMES}",
        f64::from(during.typical_p99_us) / 1e3,
        f64::from(before.typical_p99_us) / 1e3,
    );
    println!(
        "the server took {} MiB at most; it may take {}",
        attack.peak_kib >> 10,
        MOST_MEMORY >> 20
    );
    if times > MOST_TIMES {
        return Err("people waited too long".into());
    }
    if attack.peak_kib > MOST_MEMORY >> 10 {
        return Err("the server took too much memory".into());
    }
    Ok(())
}
