//! What the store can do on this machine: `measure append`, `measure open`, `measure retain`, in a
//! directory of its own under the one for temporary files, or in the one named behind it.

#![allow(clippy::print_stdout, reason = "what it is for")]

use std::error::Error;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{Entry, Epoch, Limits, RoomId, Seq, Timestamp, Username};
use parlor_hub::{Append, Store};
use parlor_sqlite::{Retention, SqliteStore, backup};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROOMS: usize = 10_000;
const TEXT_CHARS: usize = 200;
const EACH: Duration = Duration::from_secs(10);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(parent)?;
    match what.as_deref() {
        Some("append") => [1, 10, 100, 1000]
            .into_iter()
            .try_for_each(|batch| measure_append(&dir.path().join(batch.to_string()), batch)),
        Some("open") => measure_open(dir.path()),
        Some("retain") => measure_retain(dir.path()),
        _ => Err("append, open or retain?".into()),
    }
}

/// Rooms that are spoken in at random.
struct Rooms {
    logs: Vec<(RoomId, u64)>,
    epoch: Epoch,
    from: Username,
    text: MessageText,
    at: u64,
    random: u64,
}

impl Rooms {
    fn new() -> Outcome<Self> {
        let names = (0..ROOMS).map(|number| RoomId::new(&format!("room-number-{number}")));
        Ok(Self {
            logs: names.map(|name| Ok((name?, 0))).collect::<Outcome<_>>()?,
            epoch: Epoch::new("5ebe6fd9d6d4a34a-1")?,
            from: Username::new("somebody")?,
            text: MessageText::new(&"x".repeat(TEXT_CHARS))?,
            at: 1_700_000_000_000,
            random: 1,
        })
    }

    fn batch(&mut self, length: usize) -> Outcome<Vec<Append>> {
        let mut batch = Vec::with_capacity(length);
        for _ in 0..length {
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let index = usize::try_from(self.random >> 33)? % ROOMS;
            let (room, last_seq) = &mut self.logs[index];
            *last_seq += 1;
            self.at += 1;
            batch.push(Append {
                room: room.clone(),
                epoch: self.epoch.clone(),
                entry: Arc::new(Entry {
                    seq: Seq(*last_seq),
                    at: Timestamp(self.at),
                    from: self.from.clone(),
                    text: self.text.clone(),
                    client_msg_id: Some(ClientMsgId::new(&format!("abcdefgh-{last_seq}"))?),
                }),
            });
        }
        Ok(batch)
    }
}

fn open(dir: &Path) -> Outcome<SqliteStore> {
    let epoch = Epoch::new("new")?;
    Ok(SqliteStore::open(dir, &Limits::default(), || epoch)?)
}

fn fill(store: &mut SqliteStore, rooms: &mut Rooms, messages: usize) -> Outcome<()> {
    for _ in 0..messages / 10_000 {
        store.append(&rooms.batch(10_000)?)?;
    }
    Ok(())
}

/// What some of many durations are at least, and the longest.
fn quantiles(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |part: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = (took.len() as f64 * part) as usize;
        took[index.min(took.len() - 1)]
    };
    format!(
        "median {:?}, 99 % {:?}, 99.9 % {:?}, longest {:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

fn megabytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len() >> 20)
}

fn measure_append(dir: &Path, length: usize) -> Outcome<()> {
    let mut store = open(dir)?;
    let mut rooms = Rooms::new()?;
    fill(&mut store, &mut rooms, 300_000)?;
    let (begun, mut took, mut largest) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < EACH {
        let batch = rooms.batch(length)?;
        let asked = Instant::now();
        store.append(&batch)?;
        took.push(asked.elapsed());
        largest = megabytes(&dir.join("parlor.db-wal")).max(largest);
    }
    let rate = (took.len() * length) as u128 * 1000 / begun.elapsed().as_millis();
    println!(
        "batches of {length}: {rate} messages/s; {}; log at most {largest} MiB",
        quantiles(took)
    );
    Ok(())
}

fn measure_open(dir: &Path) -> Outcome<()> {
    let mut store = open(dir)?;
    let mut rooms = Rooms::new()?;
    fill(&mut store, &mut rooms, 1_000_000)?;
    let begun = Instant::now();
    drop(store);
    println!("closed in {:?}", begun.elapsed());
    println!("{} MiB", megabytes(&dir.join("parlor.db")));
    let begun = Instant::now();
    let mut store = open(dir)?;
    println!(
        "1,000,000 messages in {ROOMS} rooms opened in {:?}",
        begun.elapsed()
    );
    let mut took = Vec::new();
    for (room, _) in &rooms.logs {
        let begun = Instant::now();
        store.load(room, 300)?;
        took.push(begun.elapsed());
    }
    println!("a tail of some 100 loaded: {}", quantiles(took));

    // As after a kill, with a large log.
    store.append(&rooms.batch(20_000)?)?;
    let killed = dir.join("killed");
    fs::create_dir(&killed)?;
    for name in ["parlor.db", "parlor.db-wal"] {
        fs::copy(dir.join(name), killed.join(name))?;
    }
    println!("{} MiB of log", megabytes(&killed.join("parlor.db-wal")));
    let begun = Instant::now();
    open(&killed)?;
    println!("opened after a kill in {:?}", begun.elapsed());

    let begun = Instant::now();
    let file = dir.join("backup");
    std::thread::scope(|scope| {
        let copy = scope.spawn(|| backup(dir, &file));
        let mut took = Vec::new();
        while !copy.is_finished() {
            let batch = rooms.batch(1)?;
            let asked = Instant::now();
            store.append(&batch)?;
            took.push(asked.elapsed());
        }
        println!(
            "backup in {:?}; commits meanwhile: {}",
            begun.elapsed(),
            quantiles(took)
        );
        Ok(())
    })
}

fn measure_retain(dir: &Path) -> Outcome<()> {
    let mut store = open(dir)?;
    let mut rooms = Rooms::new()?;
    fill(&mut store, &mut rooms, 1_000_000)?;
    let mut store = store.with_retention(Retention {
        messages: None,
        days: NonZeroU32::new(1),
    });
    // As long ago as the last third of them.
    let day_ms = 24 * 60 * 60 * 1000;
    let at = rooms.at - 333_333 + day_ms;
    measure_walk("two thirds are too old", &mut store, at);
    let mut store = store.with_retention(Retention {
        messages: NonZeroU32::new(1_000_000),
        days: None,
    });
    measure_walk("nothing is too old", &mut store, at + 60_000);
    Ok(())
}

fn measure_walk(what: &str, store: &mut SqliteStore, at: u64) {
    let (begun, mut took) = (Instant::now(), Vec::new());
    let mut more = true;
    while more {
        let asked = Instant::now();
        more = store.maintain(Timestamp(at));
        took.push(asked.elapsed());
    }
    let steps = took.len();
    let elapsed = begun.elapsed();
    println!("{what}: {steps} steps in {elapsed:?}; {}", quantiles(took));
}
