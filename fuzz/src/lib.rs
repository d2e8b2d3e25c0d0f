//! What the fuzzers run: one function for each target, from bytes to nothing, which panics if
//! the library does something that it must not.
//!
//! The files in `fuzz_targets/` hand these to libFuzzer, `tests/replay.rs` gives them the
//! committed corpus on stable Rust.

#[cfg(not(fuzzing))]
compile_error!(
    "the targets need `--cfg fuzzing`: use `cargo fuzz`, or run cargo inside of `fuzz/` with \
     RUSTFLAGS unset"
);

mod app_key;
mod cookie_header;
mod device;
mod keys;
mod load;
mod measure;
mod record;
mod reference;
mod response;
mod session;
mod settings;
mod store;
mod terms;
mod token;
mod value;

pub use app_key::app_key;
pub use cookie_header::cookie_header;
pub use device::device;
pub use keys::keys;
pub use load::load;
pub use record::record;
pub use response::response;
pub use session::session;
pub use settings::settings;
pub use store::store;
pub use token::token;
pub use value::value;

/// A target: its name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, in the order of their names.
pub const TARGETS: [Target; 12] = [
    ("app_key", app_key),
    ("cookie_header", cookie_header),
    ("device", device),
    ("keys", keys),
    ("load", load),
    ("record", record),
    ("response", response),
    ("session", session),
    ("settings", settings),
    ("store", store),
    ("token", token),
    ("value", value),
];

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
