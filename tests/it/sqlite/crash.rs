//! A process that ends in the middle of it, and a disk that does not take more.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use parlor_hub::{Append, Store};

use super::{counters, epoch_of, open, page, room, said};

const DIR: &str = "PARLOR_TESTS_SQLITE_DIR";
const ROOMS: u64 = 3;
const BATCH: u64 = 7;

/// What the other tests start in a process of its own: it says one thing after another, and after
/// every batch that is stored how many they are, until it is killed or the store fails.
#[test]
fn goes_on_until_it_ends() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let mut store = open(Path::new(&dir));
    let mut logs = Vec::new();
    for number in 0..ROOMS {
        let name = format!("room {number}");
        let log = store.load(&room(&name), 1).unwrap();
        let (epoch, last_seq, last_at) = counters(&log);
        logs.push((name, epoch, last_seq, last_at));
    }
    loop {
        let mut batch: Vec<Append> = Vec::new();
        for number in 0..BATCH {
            let index = usize::try_from(number % ROOMS).unwrap();
            let (name, epoch, last_seq, last_at) = &mut logs[index];
            *last_seq += 1;
            *last_at += 1;
            batch.push(said(name, epoch, *last_seq, *last_at, &"text ".repeat(100)));
        }
        let stored = store.append(&batch);
        let line = match &stored {
            Ok(()) => {
                let total: u64 = logs.iter().map(|log| log.2).sum();
                format!("stored {total}\n")
            }
            Err(error) => format!("failed {error}\n"),
        };
        // Its own standard output, since what is printed in a test is kept back.
        let _ = std::io::stdout().write_all(line.as_bytes());
        if stored.is_err() {
            store.load(&room("room 0"), 1).unwrap_err();
            return;
        }
    }
}

/// Starts that process, with `shell` in front of its command.
fn start(dir: &Path, shell: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("{shell} exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "sqlite::crash::goes_on_until_it_ends",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// The number in a line that says how much is stored.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("stored ")?.parse().ok()
}

/// How many are stored, all of them without a gap; more than `stored` only by a whole batch. Every
/// room is in the epoch in which it began, like one in which nothing was said.
fn check(dir: &Path, stored: u64) -> u64 {
    let mut store = open(dir);
    let mut total = 0;
    for number in 0..ROOMS {
        let name = format!("room {number}");
        let log = store.load(&room(&name), 300).unwrap();
        let (epoch, last_seq, _) = counters(&log);
        assert_eq!(epoch, epoch_of(&mut store, "silent"));
        total += last_seq;
        let mut before = last_seq + 1;
        loop {
            let page = page(&mut store, &name, &epoch, before, 100);
            for entry in page.entries.iter().rev() {
                before -= 1;
                assert_eq!(entry.seq.0, before);
            }
            if !page.has_more {
                break;
            }
        }
        assert_eq!(before, 1, "from the first on");
    }
    assert_eq!(total % BATCH, 0, "whole batches");
    assert!(
        total == stored || total == stored + BATCH,
        "{total} {stored}"
    );
    total
}

#[test]
fn what_was_stored_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored = 0;
    for round in 0..6 {
        let (mut child, lines) = start(dir.path(), "");
        let mut lines = lines.lines().map(Result::unwrap);
        // Later in each round; where exactly it is then, nobody knows.
        let mut wait_for = 1 + 37 * round;
        for line in lines.by_ref() {
            if let Some(number) = number(&line) {
                stored = number;
                wait_for -= 1;
            }
            if wait_for == 0 {
                break;
            }
        }
        assert_eq!(wait_for, 0, "it ended by itself");
        child.kill().unwrap();
        stored = lines
            .filter_map(|line| number(&line))
            .last()
            .unwrap_or(stored);
        child.wait().unwrap();
        stored = check(dir.path(), stored);
    }
}

#[test]
fn what_was_stored_survives_a_disk_that_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    // The log may not become larger than that, in units of 512 bytes or of 1024.
    let (mut child, lines) = start(dir.path(), "trap '' XFSZ; ulimit -f 300;");
    let lines: Vec<String> = lines.lines().map(Result::unwrap).collect();
    child.wait().unwrap();
    let failed = lines
        .iter()
        .any(|line| line.contains("failed the store failed"));
    assert!(failed, "{lines:?}");
    let stored = lines.iter().filter_map(|line| number(line)).next_back();
    let stored = stored.expect("some of it is stored");
    check(dir.path(), stored);
}
