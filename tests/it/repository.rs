//! The repository itself: ARCHITECTURE.md, `Invariant` and the tests name the same invariants, and
//! README.md names everything that a client may meet, and what monitoring does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use parlor_core::decode::decode;
use parlor_core::{CloseReason, ErrorCode, Invariant, Limits};
use parlor_tests::action::REQUESTS;
use parlor_tests::client::Client;
use parlor_tests::metrics;
use parlor_tests::script::SERVER_MESSAGES;
use parlor_tests::server::TestServer;

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
    let readme = read("README.md");
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(REQUESTS.map(String::from));
    names.extend(SERVER_MESSAGES.map(String::from));
    names.extend(ErrorCode::ALL.iter().map(ToString::to_string));
    names.extend(CloseReason::ALL.iter().map(|r| r.code().to_string()));
    names.retain(|name| !readme.contains(&format!("`{name}`")));
    assert!(names.is_empty(), "README.md does not name {names:?}");
}

#[test]
fn the_readme_the_alerts_and_the_dashboard_name_the_metrics_that_there_are() {
    let server = TestServer::start(Limits::default());
    let mut client = Client::dial(server.admin_address());
    client.write(b"GET /metrics HTTP/1.1\r\nHost: parlor\r\n\r\n");
    let answer = client.response();
    let (_, exposition) = answer.split_once("\r\n\r\n").expect("it has a body");
    let samples = metrics::samples(exposition);
    let there = metrics::names(&samples);

    let mut wrong = Vec::new();
    for file in [
        "deploy/alerts.yml",
        "deploy/alerts.test.yml",
        "deploy/grafana.json",
    ] {
        let named = named_metrics(&read(file));
        assert!(named.len() > 10, "{file} names {named:?}");
        let missing = named.iter().filter(|name| !there.contains(name.as_str()));
        wrong.extend(missing.map(|name| format!("{file} names {name}, which there is not")));
    }
    let readme = named_metrics(&read("README.md"));
    let help = metrics::help(exposition);
    let family = |name: &str, suffixes: &[&str]| {
        let bare = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        bare.unwrap_or(name).to_string()
    };
    let of_histogram = ["_bucket", "_sum", "_count"];
    let families: BTreeSet<String> = there
        .iter()
        .map(|name| family(name, &of_histogram))
        .collect();
    for name in readme.symmetric_difference(&families) {
        wrong.push(format!("{name} is either not in README.md, or there alone"));
    }
    for name in &families {
        let told = help.get(&*family(name, &["_total", "_info"]));
        if told.is_none_or(|told| told.len() < 5) {
            wrong.push(format!("{name} has no help"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_error_about_an_unknown_type_names_every_request() {
    let message = ErrorCode::UnknownMessage.message();
    assert!(message.ends_with(&format!(" {}.", REQUESTS.join(", "))));
    for request in REQUESTS {
        let bare = format!(r#"{{"type":"{request}"}}"#);
        let unknown = decode(&bare).is_err_and(|refusal| refusal.code == ErrorCode::UnknownMessage);
        assert!(!unknown, "{request}");
    }
}

#[test]
fn people_are_told_the_oldest_rust() {
    let manifest = read("Cargo.toml");
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let oldest = line.expect("the manifest has it").trim_matches('"');
    for (document, words) in [
        ("README.md", "the oldest Rust that builds it: "),
        ("core/src/lib.rs", "is `rust-version` in their manifests, "),
    ] {
        let said = read(document);
        assert!(
            said.contains(&format!("{words}{oldest}.")),
            "{document}: {oldest}"
        );
    }
}

#[test]
fn the_javascript_client_has_the_version_of_the_server() {
    let package: serde_json::Value =
        serde_json::from_str(&read("adapters/smol/page/package.json")).expect("it is JSON");
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
}

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the root")
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_default()
}

/// The words in a document that are names of metrics.
fn named_metrics(document: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = document.split(|c| !is_of_name(c));
    // Elsewhere the server knows nothing of its process.
    let has_process = cfg!(target_os = "linux");
    let is_metric =
        |word: &&str| word.starts_with("parlor_") || has_process && word.starts_with("process_");
    let crates = [
        "parlor_client",
        "parlor_client_async",
        "parlor_core",
        "parlor_hub",
        "parlor_smol",
        "parlor_sqlite",
        "parlor_token",
        "parlor_tokio",
    ];
    words
        .filter(is_metric)
        // `parlor_*.deb` is no metric either.
        .filter(|word| !crates.contains(word) && !word.ends_with('_'))
        .map(String::from)
        .collect()
}

/// The numbers in the first column of the tables of "Invariants", and how often each stands there.
fn documented() -> BTreeMap<String, u32> {
    let document = read("ARCHITECTURE.md");
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
        if let Some(number) = first.filter(|cell| is_number(cell)) {
            *numbers.entry(number.to_string()).or_default() += 1;
        }
    }
    numbers
}

/// The numbers that functions in the repository's sources are named after, each with one of them.
fn tested() -> BTreeMap<String, String> {
    let mut tests = BTreeMap::new();
    for folder in ["core", "client", "adapters", "tests"] {
        each_source(&root().join(folder), &mut |source| {
            tests.extend(source.lines().filter_map(named_after));
        });
    }
    tests
}

/// The number that the function declared in `line` is named after, and its name: `i_6_…` is named
/// after I-6.
fn named_after(line: &str) -> Option<(String, String)> {
    let name = line.trim_start().strip_prefix("fn ")?.split('(').next()?;
    let (end, _) = name.match_indices('_').nth(1)?;
    let number = name[..end].to_uppercase().replace('_', "-");
    is_number(&number).then(|| (number, name.to_string()))
}

/// One letter of the four kinds, a dash, digits.
fn is_number(text: &str) -> bool {
    text.split_once('-').is_some_and(|(kind, digits)| {
        ["I", "T", "D", "A"].contains(&kind)
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn each_source(folder: &Path, read: &mut impl FnMut(String)) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            each_source(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(fs::read_to_string(&path).expect("sources are UTF-8"));
        }
    }
}
