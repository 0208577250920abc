//! A client between an application and a server that do anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parlor_tests::fuzz::client(bytes);
});
