//! Anything in front of what a proxy says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlor_tests::fuzz::forwarding(bytes));
