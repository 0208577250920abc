//! Any text through the decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| parlor_tests::fuzz::decoding(text));
