//! Any frames at any time through a session.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| parlor_tests::fuzz::session(text));
