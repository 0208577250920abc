//! The binary `parlor`.

mod bench;
mod cli;
mod health;
mod log;
mod reload;
mod replay;
mod service;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_signal::{Signal, Signals};
use clap::Parser;
use clap::error::ErrorKind;
use futures_lite::StreamExt;
use parlor_hub::Clock;
use parlor_smol::{Config, Listen, Server, ServerError};
use parlor_sqlite::DatabaseError;
use smol::Executor;
use tracing::{info, warn};

use crate::cli::{Backup, Cli, Health, Restore, Serve, Task, Token};
use crate::log::Log;
use crate::reload::Reload;

/// Every message is a handful of short-lived allocations, and a few that live for long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `parlor` returns when it cannot go on.
const FAILED: u8 = 1;

#[allow(
    clippy::print_stderr,
    reason = "the one line that says why it did not start"
)]
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = error.print();
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(2)
            };
        }
    };
    let done = match cli.task() {
        Task::Serve(options) => serve(options),
        Task::Health(task) => ask_health(task).map(succeeded),
        Task::Backup(task) => back_up(task).map(succeeded),
        Task::Restore(task) => restore(task).map(succeeded),
        Task::Token(task) => token(task).map(succeeded),
        Task::Replay(task) => replay::replay(task).map(succeeded),
        Task::Bench(task) => bench::bench(task),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("parlor: {error}");
            ExitCode::from(FAILED)
        }
    }
}

const fn succeeded((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "the server's answer")]
fn ask_health(task: &Health) -> Result<(), Box<dyn Error>> {
    println!("{}", health::ask(&task.url()?)?);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the line that says what was done")]
fn back_up(Backup { file, data }: &Backup) -> Result<(), Box<dyn Error>> {
    parlor_sqlite::backup(&data.dir, file)?;
    println!("parlor wrote {}", file.display());
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the line that says what was done")]
fn restore(task: &Restore) -> Result<(), Box<dyn Error>> {
    let Restore {
        file,
        data,
        replace,
    } = task;
    let epochs = parlor_hub::epochs()?;
    match parlor_sqlite::restore(file, &data.dir, *replace, epochs) {
        Err(error @ DatabaseError::InTheWay { .. }) => {
            return Err(format!("{error}; to set it aside, give --replace").into());
        }
        restored => restored?,
    }
    println!(
        "parlor restored {} to {}",
        file.display(),
        data.dir.display()
    );
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the token")]
fn token(task: &Token) -> Result<(), Box<dyn Error>> {
    let ttl = u64::try_from(task.ttl.as_millis()).unwrap_or(u64::MAX);
    let expires_at = Clock::system()().plus_ms(ttl);
    let identity = task.identity();
    let sign = |secret: &[u8]| parlor_smol::sign(secret, &identity, expires_at);
    println!("{}", cli::with_key(&task.token_secret_file, sign)?);
    Ok(())
}

fn serve(options: &Serve) -> Result<ExitCode, Box<dyn Error>> {
    let listener = service::listener()?;
    let mut config = options.config()?;
    let reload = Reload::new(options, &config);
    let log = Log::begin(options.log_level(), options.log_format());
    config.lost_log_lines = Some(log.lost_lines());
    if let Some(listener) = listener {
        info!("a listening socket was handed over: --listen and PORT do not count");
        config.listen = Listen::Socket(Arc::new(listener));
    }
    // One connection is one file descriptor, and the usual soft limit is 1024.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "cannot raise the limit of open files");
    }
    let executor = Arc::new(Executor::new());
    executor.spawn(reload.at_each_hangup()).detach();
    let serving = listen_and_serve(config, executor.clone());
    match smol::block_on(executor.run(serving)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            log.end(&error);
            Ok(ExitCode::from(FAILED))
        }
    }
}

#[allow(clippy::print_stdout, reason = "the lines that say where it listens")]
async fn listen_and_serve(
    config: Config,
    executor: Arc<Executor<'static>>,
) -> Result<(), ServerError> {
    let stop = stop_signal();
    let stop = async {
        stop.await;
        service::stopping();
    };
    let server = Server::bind(config, executor.clone()).await?;
    println!("parlor listening on {}", server.url());
    if let Some(address) = server.admin_address() {
        println!("parlor admin on http://{address}");
    }
    service::ready(server.address());
    executor.spawn(service::keep_alive()).detach();
    // A task like any other: the future given to block_on costs a look at the reactor each time it
    // is woken.
    executor.spawn(server.run(stop)).await
}

/// Resolves with the first SIGINT or SIGTERM since this was called, not only since it is awaited;
/// the second one ends the process at once, even if nothing else runs any more.
fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: on the first signal the flag is not set yet.
        let armed = signal_hook::flag::register_conditional_shutdown(
            signal,
            FAILED.into(),
            stopping.clone(),
        )
        .and_then(|_| signal_hook::flag::register(signal, stopping.clone()));
        if let Err(error) = armed {
            warn!(%error, "a second signal will not end the server at once");
        }
    }
    let signals = Signals::new([Signal::Int, Signal::Term]);
    async {
        match signals {
            Ok(mut signals) => {
                signals.next().await;
            }
            Err(error) => {
                warn!(%error, "signals cannot be received: stop the server with SIGKILL");
                std::future::pending::<()>().await;
            }
        }
    }
}
