//! A ring of keys from a store that returns anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealed_session_fuzz::keys(data));
