//! `parlor bench`: people who talk to a server, as many and as much as it is told, and what became of
//! everything that they said.

mod failure;
mod ledger;
mod load;
mod moment;
mod report;
mod run;
mod server;
mod target;
mod text;
mod user;

use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressStyle};
use parlor_hub::Clock;
use smol::LocalExecutor;

use crate::cli::Bench;
use failure::Failure;
use moment::Moment;
use report::Report;
use run::Run;
use target::Target;
use user::Tokens;

pub(crate) use text::SHORTEST_TEXT;

/// Files that the process has open besides its connections, at most.
const OTHER_FILES: u64 = 32;

/// Puts load on a server. The exit code says whether everything that was said arrived, once and in
/// one order.
#[allow(clippy::print_stdout, reason = "the report is what was asked for")]
pub(crate) fn bench(task: &Bench) -> Result<ExitCode, Box<dyn Error>> {
    let target = Target::find(&task.url, task.admin)?;
    if !task.yes_load_this_server {
        target.require_loopback()?;
    }
    require_files(task.connections)?;
    let executor = Rc::new(LocalExecutor::new());
    let report = smol::block_on(executor.run(run(task, target, &executor)))?;
    if task.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run<'a>(
    task: &'a Bench,
    target: Target,
    executor: &Rc<LocalExecutor<'a>>,
) -> Result<Report, Failure> {
    let nonce = getrandom::u32().map_err(Failure::Random)?;
    let tokens = Tokens::load(task, Clock::system()())?;
    let run = Rc::new(Run::new(task, target, tokens, nonce, progress(task)));
    let before = Moment::now(&run).await?;
    let writers = user::arrive(&run, executor).await?;
    let arrived = Moment::now(&run).await?;
    let measured = load::run(&run, writers, executor).await?;
    run.progress.finish_and_clear();
    Ok(Report::of(&run, [before, arrived], measured))
}

/// How far it is, on a terminal.
fn progress(task: &Bench) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
    let bar = ProgressBar::new(task.connections.into()).with_message("connections");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A connection is a file.
fn require_files(connections: u32) -> Result<(), Failure> {
    let needed = u64::from(connections) + OTHER_FILES;
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(needed);
    if limit < needed {
        return Err(Failure::Files { limit, needed });
    }
    Ok(())
}
