//! Snapshots of the tables that clients rely on: every change of one is visible in review.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use parlor_core::log::DamagedLog;
use parlor_core::types::InvalidText;
use parlor_core::{CloseReason, ErrorCode, Invariant, Limits, Violation};
use parlor_hub::trace::{TooLong, TraceError};
use parlor_hub::{HubError, HubGone, StoreError};

#[test]
fn error_codes() {
    let mut table = String::new();
    for code in ErrorCode::ALL {
        writeln!(table, "{code}: {}", code.message()).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn close_codes() {
    let mut table = String::new();
    for reason in CloseReason::ALL {
        let (code, text) = (reason.code(), reason.text());
        writeln!(table, "{code} {reason:?}: {text}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn limits() {
    insta::assert_snapshot!(pretty(&Limits::default()));
}

#[test]
fn announced_limits() {
    insta::assert_snapshot!(pretty(&Limits::default().announced()));
}

/// What operators and embedders read of what goes wrong, each with its source.
#[test]
fn errors() {
    let disk = || io::Error::other("the disk is gone");
    let violation = Violation {
        invariant: Invariant::Seqs,
        detail: "seq 3 follows 1".into(),
    };
    let errors: [&dyn Error; 16] = [
        &InvalidText::Empty,
        &InvalidText::TooLong(64),
        &InvalidText::ForbiddenCharacter,
        &InvalidText::OuterWhiteSpace,
        &DamagedLog,
        &violation,
        &HubGone,
        &HubError::PanicsTooOften,
        &HubError::StoreHangs,
        &StoreError::new(disk()),
        &TooLong,
        &TraceError::Io(disk()),
        &TraceError::NoTrace,
        &TraceError::Format(2),
        &TraceError::Line(7, "no JSON \u{1b}[2J".into()),
        &TraceError::TooLong(8),
    ];
    let mut table = String::new();
    for error in errors {
        write!(table, "{error}").unwrap();
        if let Some(source) = error.source() {
            write!(table, " <- {source}").unwrap();
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

#[test]
fn close_texts_fit_into_a_control_frame() {
    let fits = |reason: &CloseReason| reason.text().len() <= 123;
    assert!(CloseReason::ALL.iter().all(fits));
}

fn pretty(limits: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(limits).expect("limits are plain numbers")
}
