//! Any tokens, and any claims that are signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| parlor_tests::fuzz::token(text));
