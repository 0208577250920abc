//! The repository itself: ARCHITECTURE.md, `Invariant` and the tests name the same invariants, and
//! README.md names everything that a client may meet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use parlor_core::{CloseReason, ErrorCode, Invariant};
use parlor_tests::script::SERVER_MESSAGES;

/// The types of all requests.
const REQUESTS: [&str; 9] = [
    "hello",
    "join",
    "leave",
    "message",
    "typing",
    "list_rooms",
    "list_users",
    "get_history",
    "ping",
];

#[test]
fn the_document_the_checks_and_the_tests_name_the_same_invariants() {
    let document = documented();
    let checks: BTreeSet<String> = Invariant::ALL
        .iter()
        .map(|invariant| invariant.number().to_string())
        .collect();
    let tests = tested();

    let mut missing = Vec::new();
    for (number, rows) in &document {
        if *rows > 1 {
            missing.push(format!("{number} stands in ARCHITECTURE.md {rows} times"));
        }
        if number.starts_with('I') && !checks.contains(number) {
            missing.push(format!("{number} is no Invariant of parlor-core"));
        }
        if !tests.contains_key(number) {
            missing.push(format!("{number} has no test that is named after it"));
        }
    }
    for number in checks
        .iter()
        .filter(|&number| !document.contains_key(number))
    {
        missing.push(format!("{number} is not in ARCHITECTURE.md"));
    }
    for (number, test) in &tests {
        if !document.contains_key(number) {
            missing.push(format!(
                "{test} is named after {number}, which is not in ARCHITECTURE.md"
            ));
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_readme_names_every_message_and_code() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let names = (REQUESTS
        .iter()
        .chain(&SERVER_MESSAGES)
        .map(ToString::to_string))
    .chain(ErrorCode::ALL.iter().map(ToString::to_string))
    .chain(
        CloseReason::ALL
            .iter()
            .map(|reason| reason.code().to_string()),
    );
    let missing: BTreeSet<String> = names
        .filter(|name| !readme.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The numbers in the first column of the tables of "Invariants", and how often each stands there.
fn documented() -> BTreeMap<String, u32> {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = document
        .lines()
        .skip_while(|line| *line != "## Invariants")
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let mut numbers = BTreeMap::new();
    for line in section {
        let first = line
            .strip_prefix("| ")
            .and_then(|row| row.split(" |").next());
        if let Some(number) = first.filter(|cell| is_number(cell, '-')) {
            *numbers.entry(number.to_string()).or_default() += 1;
        }
    }
    numbers
}

/// The numbers that functions in the repository's sources are named after, each with one of them:
/// `i_6_…` is named after I-6.
fn tested() -> BTreeMap<String, String> {
    let mut tests = BTreeMap::new();
    for file in ["core", "adapters", "tests"].map(|folder| root().join(folder)) {
        each_source(&file, &mut |source| {
            for line in source.lines() {
                let Some(name) = line.trim_start().strip_prefix("fn ") else {
                    continue;
                };
                let name = name.split('(').next().unwrap_or(name);
                let end = name.match_indices('_').nth(1).map(|(end, _)| end);
                if let Some(number) = end.map(|end| &name[..end])
                    && is_number(&number.to_uppercase(), '_')
                {
                    let number = number.to_uppercase().replace('_', "-");
                    tests.insert(number, name.to_string());
                }
            }
        });
    }
    tests
}

/// One letter of the four kinds, `separator`, digits.
fn is_number(text: &str, separator: char) -> bool {
    text.split_once(separator).is_some_and(|(kind, digits)| {
        ["I", "T", "D", "A"].contains(&kind)
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn each_source(path: &Path, read: &mut impl FnMut(String)) {
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            each_source(&entry, read);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            read(fs::read_to_string(&entry).unwrap());
        }
    }
}
