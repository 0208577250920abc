//! The command line: what can be done, with options, their environment variables and their defaults.

mod bench;
mod health;
mod key_file;
mod listen;
mod replay;
mod serve;
mod tasks;

use clap::{Parser, Subcommand};

pub(crate) use bench::{Bench, Pace};
pub(crate) use health::Health;
pub(crate) use key_file::with_key;
pub(crate) use replay::Replay;
pub(crate) use serve::{LogFormat, Serve};
pub(crate) use tasks::{Backup, Restore, Token};

/// A real-time chat server: rooms, presence, broadcast and history over WebSocket.
///
/// Start it without any option, open http://127.0.0.1:8080 and follow the page. Every option has
/// an environment variable; an option on the command line beats its variable, which beats the
/// default.
#[derive(Debug, Parser)]
#[command(name = "parlor", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the same as no command at all.
    Serve(Serve),
    /// Ask a running server how it is; the exit code is 0 if all is well.
    ///
    /// Asked is the server that the same options and environment would start.
    Health(Health),
    /// Copy the database to a file, while a server may be using it.
    Backup(Backup),
    /// Make the database of a backup, while no server uses it.
    ///
    /// Rooms go on where they were, in a new epoch: what was said after the backup is not there,
    /// and its numbers are given again.
    Restore(Restore),
    /// Print a token for trying out a server that has --token-secret-file.
    Token(Token),
    /// Let what a server recorded happen again, and print each event with what came of it.
    ///
    /// An event has its number, its time, its connection (c7) and what happened; what came of it is
    /// indented: "-> c7:" is a message that goes there, "do" is done by the server.
    /// Nothing is sent or stored.
    Replay(Replay),
    /// Put load on a server, and tell how fast it is and whether everything arrived.
    ///
    /// The exit code is 0 if all that was said was delivered to everybody in its room, once and in
    /// one order. A server's limits are for people: for a load beyond them start one with --rate 0
    /// and --max-connections-per-address 0.
    Bench(Bench),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task<'a> {
    /// Run the server.
    Serve(&'a Serve),
    /// Ask a server how it is.
    Health(&'a Health),
    /// Copy the database.
    Backup(&'a Backup),
    /// Make the database of a copy.
    Restore(&'a Restore),
    /// Make a token.
    Token(&'a Token),
    /// Apply a trace again.
    Replay(&'a Replay),
    /// Put load on a server.
    Bench(&'a Bench),
}

impl Cli {
    pub(crate) fn task(&self) -> Task<'_> {
        match &self.command {
            Some(Command::Serve(serve)) => Task::Serve(serve),
            None => Task::Serve(&self.serve),
            Some(Command::Health(health)) => Task::Health(health),
            Some(Command::Backup(backup)) => Task::Backup(backup),
            Some(Command::Restore(restore)) => Task::Restore(restore),
            Some(Command::Token(token)) => Task::Token(token),
            Some(Command::Replay(replay)) => Task::Replay(replay),
            Some(Command::Bench(bench)) => Task::Bench(bench),
        }
    }
}
