//! What a backend returns, through a load and through a save that catches up.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealed_session_fuzz::store(data));
