//! The log of the binary, on standard error. A thread of its own writes it, so that whoever reads it
//! slowly does not hold up the chat: lines that it cannot take are lost, and counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};

use tracing::error;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;

/// Lines that may wait to be written: some 3 MB. What is behind them is lost.
const LINES: usize = 16 << 10;
/// The crates whose lines are written, by how their names begin. What other libraries tell is not
/// ours to vouch for: it might be what was said.
const OURS: &str = "parlor";

/// The log, as long as this lives.
pub(crate) struct Log {
    writer: NonBlocking,
    _guard: WorkerGuard,
}

impl Log {
    /// Begins to log.
    pub(crate) fn begin(level: LevelFilter, format: LogFormat) -> Self {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES);
        let (writer, guard) = builder.thread_name("parlor-log").finish(stderr);
        let ours = Targets::new().with_target(OURS, level);
        let log = tracing_subscriber::registry().with(ours);
        let lines = fmt::layer().with_writer(writer.clone());
        match format {
            LogFormat::Text => log.with(lines.with_ansi(is_terminal)).init(),
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true);
                let lines = lines.with_current_span(false).with_span_list(false);
                log.with(lines).init();
            }
        }
        panic::set_hook(Box::new(panicked));
        Self {
            writer,
            _guard: guard,
        }
    }

    /// Who counts the lines that are lost.
    pub(crate) fn lost_lines(&self) -> ErrorCounter {
        self.writer.error_counter()
    }

    /// Writes a last line behind all others. To write it to standard error itself might take for
    /// ever.
    pub(crate) fn end(mut self, line: &str) {
        // Nobody is left to tell if this fails.
        let _ = writeln!(self.writer, "{line}");
    }
}

/// A panic is a line like any other: the usual hook would wait until somebody reads it.
fn panicked(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("unknown");
    let place = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_captured.then(|| tracing::field::display(&backtrace));
    error!(panic = message, place, backtrace, "panicked");
}
