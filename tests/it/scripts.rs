//! Snapshots of scripted conversations: `scripts/*.txt` in, transcripts in `snapshots/` out. How to
//! write one stands in `parlor_tests::script`; `INSTA_UPDATE=always` accepts what comes out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use parlor_core::ErrorCode;
use parlor_tests::script::{SERVER_MESSAGES, Transcript, transcribe};

#[test]
fn every_script_has_its_transcript() {
    insta::glob!("scripts/*.txt", |path| {
        let script = fs::read_to_string(path).unwrap();
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(transcribe(&script).text);
        });
    });
}

#[test]
fn every_error_code_occurs_in_a_transcript() {
    let seen: BTreeSet<ErrorCode> = transcripts().flat_map(|script| script.codes).collect();
    let all: BTreeSet<ErrorCode> = ErrorCode::ALL.iter().copied().collect();
    assert_eq!(seen, all);
}

#[test]
fn every_server_message_occurs_in_a_transcript() {
    let seen: BTreeSet<&str> = transcripts().flat_map(|script| script.messages).collect();
    assert_eq!(seen, BTreeSet::from(SERVER_MESSAGES));
}

fn transcripts() -> impl Iterator<Item = Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/scripts");
    let files = fs::read_dir(folder).expect("the folder is there");
    files.map(|file| {
        let path = file.expect("the folder can be read").path();
        transcribe(&fs::read_to_string(path).expect("scripts are UTF-8"))
    })
}
