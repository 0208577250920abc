//! Actions from bytes: the core against the model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlor_tests::fuzz::steps(bytes));
