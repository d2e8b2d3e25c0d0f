//! Sequences of session operations, saves, loads, clock moves and rotations.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealed_session_fuzz::session(data));
