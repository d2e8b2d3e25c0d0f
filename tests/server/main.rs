//! Sessions behind their cookies: real Cookie and Set-Cookie headers, a backend whose clock the
//! tests drive and whose calls can be delayed, fail or be overtaken by another request.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod claims;
mod conformance;
mod ending;
mod explorer;
mod failures;
mod hostile;
mod idle;
mod interleaved;
#[cfg(feature = "tower")]
mod layer;
mod lifetimes;
mod meanwhile;
mod moves;
#[path = "../support/now.rs"]
mod now;
mod places;
mod races;
mod saving;
#[cfg(feature = "tower")]
#[path = "../support/service.rs"]
mod service;
mod shelf;
mod site;
mod size;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "some of it is for cookie stores")]
mod support;
mod threads;
mod wander;
