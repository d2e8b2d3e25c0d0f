//! Sealed bytes through the whole of a load, and back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealed_session_fuzz::load(data));
