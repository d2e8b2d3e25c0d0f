//! Keys that look after themselves: fleets of processes with clocks of their own over one key
//! store, which fails, forgets and lags as stores do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod bad_days;
mod by_hand;
#[cfg(feature = "conformance")]
mod conformance;
#[cfg(unix)]
mod file;
mod follows;
#[cfg(unix)]
mod recipes;
#[cfg(feature = "server")]
mod records;
mod root;
mod shelf;
mod simulation;
