//! Snapshots of the tables that clients rely on: every change of one is visible in review.

use std::fmt::Write as _;

use parlor_core::{CloseReason, ErrorCode, Limits};

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

#[test]
fn close_texts_fit_into_a_control_frame() {
    let fits = |reason: &CloseReason| reason.text().len() <= 123;
    assert!(CloseReason::ALL.iter().all(fits));
}

fn pretty(limits: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(limits).expect("limits are plain numbers")
}
