//! What is said outlives the server, and an operator decides how much of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{ANY_PORT, Chat, PATIENCE, Running, durable, output, text};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room")
}

fn start(dir: &Path, args: &[&str]) -> Running {
    let args = [&ANY_PORT[..], &["--rate", "0"], args].concat();
    Running::start(&mut durable(dir, &args))
}

/// Ends a server as an operator does.
fn stop(mut running: Running) {
    running.signal("TERM");
    let (status, stderr) = running.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// Runs to its end; the one line that it says.
fn line(command: &mut Command, code: i32) -> String {
    let done = output(command);
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(code), "{out}{err}");
    let (said, silent) = if code == 0 { (out, err) } else { (err, out) };
    assert_eq!((said.lines().count(), silent), (1, ""), "{said}");
    said.trim_end().to_string()
}

/// Says so many things in the room `r`; its epoch.
fn say(running: &Running, from: u64, to: u64) -> String {
    let mut chat = Chat::join(running, "r", "alice", None);
    for number in from..=to {
        let said = chat.say("r", &format!("text {number}"), &format!("id {number}"));
        assert_eq!(said["seq"], number, "{said}");
    }
    chat.epoch
}

/// The texts before a seq, page by page, from the last to the first.
fn history(chat: &mut Chat, mut before: u64) -> Vec<Value> {
    let mut entries = Vec::new();
    loop {
        let ask = json!({"type": "get_history", "roomId": "r", "before": before, "limit": 100});
        let mut page = chat.ask_all(&ask, "history");
        let end = page.pop().expect("it ends with its end");
        assert_eq!(end["count"], page.len());
        page.reverse();
        before = page
            .last()
            .map_or(0, |oldest| oldest["seq"].as_u64().unwrap_or(0));
        entries.extend(page);
        if end["hasMore"] == false {
            return entries;
        }
        assert!(before > 1, "there is more: {end}");
    }
}

#[test]
fn what_was_said_is_there_when_the_server_is_started_again() {
    let dir = temporary();
    let running = start(dir.path(), &[]);
    let epoch = say(&running, 1, 350);
    stop(running);

    let data = dir.path().join("parlor-data");
    let files = fs::read_dir(&data).expect("it was made");
    let mut files: Vec<_> = files
        .map(|file| file.expect("it can be read").file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["parlor.db", "parlor.lock"], "the log is closed");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&data) & 0o777, 0o700);
        assert_eq!(mode(&data.join("parlor.db")) & 0o777, 0o600);
    }

    let running = start(dir.path(), &[]);
    let mut chat = Chat::join(&running, "r", "alice", Some((&epoch, 340)));
    assert_eq!(chat.joined["recovered"], true);
    assert_eq!((&chat.epoch, chat.replay.len()), (&epoch, 10));
    let again = chat.say("r", "text 350", "id 350");
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(350), &json!(true))
    );
    let entries = history(&mut chat, 351);
    let seqs: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=350).rev().collect::<Vec<u64>>());
    for entry in &entries {
        let seq = entry["seq"].as_u64().unwrap_or(0);
        assert_eq!(
            (&entry["from"], &entry["text"]),
            (&json!("alice"), &json!(format!("text {seq}")))
        );
    }
    assert_eq!(chat.say("r", "more", "id 351")["seq"], 351);
    stop(running);
}

#[test]
fn in_memory_nothing_is_written() {
    let dir = temporary();
    let running = start(dir.path(), &["--memory"]);
    say(&running, 1, 1);
    stop(running);
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
}

#[test]
fn a_second_server_does_not_take_the_data_of_the_first() {
    let dir = temporary();
    let running = start(dir.path(), &["--data", "here"]);
    let epoch = say(&running, 1, 1);
    let args = [&ANY_PORT[..], &["--data", "here"]].concat();
    let refused = line(&mut durable(dir.path(), &args), 1);
    assert_eq!(
        refused,
        "parlor: another server uses here: stop it, or give this one a directory of its own"
    );
    let chat = Chat::join(&running, "r", "bob", Some((&epoch, 0)));
    assert_eq!(
        (&chat.joined["recovered"], chat.replay.len()),
        (&json!(true), 1)
    );
    // Somebody reads it with SQLite's own shell meanwhile.
    let database = Connection::open(dir.path().join("here/parlor.db")).expect("it is readable");
    let shown = database.query_row("SELECT username || ': ' || text FROM history", [], |row| {
        row.get::<_, String>(0)
    });
    assert_eq!(shown.expect("it has one"), "alice: text 1");
}

#[test]
fn a_bad_database_is_one_line_and_left_as_it_is() {
    let dir = temporary();
    stop(start(dir.path(), &["--data", "newer"]));
    let newer = dir.path().join("newer/parlor.db");
    let database = Connection::open(&newer).expect("it is there");
    let version = database.pragma_update(None, "user_version", 99);
    version.expect("it can be written");
    drop(database);
    fs::create_dir(dir.path().join("garbage")).expect("it is new");
    let garbage = dir.path().join("garbage/parlor.db");
    fs::write(&garbage, "no database ".repeat(100)).expect("there is room");
    fs::write(dir.path().join("file"), "").expect("there is room");
    for (data, file, expected) in [
        ("newer", &newer, "was written by a newer parlor (layout 99)"),
        ("garbage", &garbage, "is no SQLite database"),
        (
            "file",
            &dir.path().join("file"),
            "the directory file cannot be used",
        ),
    ] {
        let before = fs::read(file).expect("it is there");
        let args = [&ANY_PORT[..], &["--data", data]].concat();
        let refused = line(&mut durable(dir.path(), &args), 1);
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(fs::read(file).expect("it is there"), before);
    }
}

#[test]
fn an_address_in_use_makes_no_database() {
    let dir = temporary();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    line(&mut durable(dir.path(), &["--listen", &address]), 1);
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
}

#[test]
fn a_backup_of_a_running_server_is_restored_in_another_epoch() {
    let dir = temporary();
    let running = start(dir.path(), &[]);
    let epoch = say(&running, 1, 20);
    let parlor = |args: &[&str]| durable(dir.path(), args);
    assert_eq!(
        line(&mut parlor(&["backup", "copy.db"]), 0),
        "parlor wrote copy.db"
    );
    let again = line(&mut parlor(&["backup", "copy.db"]), 1);
    assert_eq!(
        again,
        "parlor: copy.db is there already: it is not overwritten"
    );
    say(&running, 21, 25);
    let refused = line(&mut parlor(&["restore", "copy.db", "--replace"]), 1);
    assert!(
        refused.contains("another server uses ./parlor-data"),
        "{refused}"
    );
    stop(running);

    let refused = line(&mut parlor(&["restore", "copy.db"]), 1);
    assert!(refused.contains("--replace"), "{refused}");
    let restored = line(&mut parlor(&["restore", "copy.db", "--replace"]), 0);
    assert_eq!(restored, "parlor restored copy.db to ./parlor-data");
    assert!(dir.path().join("parlor-data/parlor.db.replaced").exists());
    let running = start(dir.path(), &[]);
    let mut chat = Chat::join(&running, "r", "alice", Some((&epoch, 20)));
    assert_eq!(
        (&chat.joined["recovered"], &chat.joined["seq"]),
        (&json!(false), &json!(20))
    );
    assert_ne!(chat.epoch, epoch, "21 is given a second time");
    assert_eq!(chat.say("r", "text 21", "id 21")["seq"], 21);

    let elsewhere = line(&mut parlor(&["restore", "copy.db", "--data", "new"]), 0);
    assert_eq!(elsewhere, "parlor restored copy.db to new");
    let nothing = line(&mut parlor(&["backup", "b.db", "--data", "none"]), 1);
    assert!(
        nothing.contains("there is no database at none"),
        "{nothing}"
    );
}

#[test]
fn no_more_is_kept_of_a_room_than_was_asked_for() {
    let dir = temporary();
    let running = start(dir.path(), &[]);
    let epoch = say(&running, 1, 450);
    stop(running);
    let running = start(dir.path(), &["--retain-messages", "400"]);
    let mut chat = Chat::join(&running, "r", "alice", Some((&epoch, 449)));
    assert_eq!(chat.joined["recovered"], true);
    // It is done behind the first second, in its own time.
    let begin = Instant::now();
    let kept = loop {
        assert!(begin.elapsed() < PATIENCE, "nothing is deleted");
        let entries = history(&mut chat, 451);
        if entries.len() < 450 {
            break entries;
        }
    };
    assert_eq!(kept.len(), 400);
    assert_eq!(kept.last().expect("there are some")["seq"], 51);
    assert_eq!(chat.say("r", "text 451", "id 451")["seq"], 451);
    stop(running);
}

#[test]
fn what_is_too_old_is_neither_shown_nor_kept() {
    let dir = temporary();
    let running = start(dir.path(), &[]);
    let epoch = say(&running, 1, 30);
    stop(running);
    let path = dir.path().join("parlor-data/parlor.db");
    let database = Connection::open(&path).expect("it is there");
    let aged = database.execute(
        "UPDATE messages SET at = at - 3 * 86400000 WHERE seq <= 20",
        [],
    );
    assert_eq!(aged.expect("it can be written"), 20);
    drop(database);
    let running = start(dir.path(), &["--retain-days", "2"]);
    let mut chat = Chat::join(&running, "r", "alice", Some((&epoch, 10)));
    assert_eq!(
        (&chat.joined["recovered"], &chat.joined["seq"]),
        (&json!(false), &json!(30))
    );
    assert_eq!(chat.replay.len(), 10);
    assert_eq!(history(&mut chat, 31).len(), 10);
    let database = Connection::open(&path).expect("it is there");
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "nothing is deleted");
        let left = database.query_row("SELECT count(*) FROM messages", [], |row| row.get(0));
        match left.expect("it can be read") {
            10 => break,
            left => assert_eq!(left, 30, "in one step"),
        }
        // The server's time goes by.
        chat.ask(&json!({"type": "ping"}));
    }
    assert_eq!(chat.say("r", "text 31", "id 31")["seq"], 31);
    stop(running);
}
