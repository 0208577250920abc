//! What the fuzz targets found worth keeping, run again with every `cargo test`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use parlor_tests::fuzz;

/// Every file of a target's corpus, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {target} is empty");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn step() {
    for bytes in corpus("step") {
        fuzz::steps(&bytes);
    }
}

#[test]
fn decode() {
    for text in corpus("decode")
        .iter()
        .filter_map(|bytes| str::from_utf8(bytes).ok())
    {
        fuzz::decoding(text);
    }
}

#[test]
fn session() {
    for text in corpus("session")
        .iter()
        .filter_map(|bytes| str::from_utf8(bytes).ok())
    {
        fuzz::session(text);
    }
}

#[cfg(feature = "token")]
#[test]
fn token() {
    for text in corpus("token")
        .iter()
        .filter_map(|bytes| str::from_utf8(bytes).ok())
    {
        fuzz::token(text);
    }
}

#[test]
fn trace() {
    for bytes in corpus("trace") {
        fuzz::tracing(&bytes);
    }
}

#[test]
fn forwarded() {
    for bytes in corpus("forwarded") {
        fuzz::forwarding(&bytes);
    }
}

#[test]
fn client() {
    for bytes in corpus("client") {
        fuzz::client(&bytes);
    }
}
