//! Device-bound sessions, with a client that does what a browser does, and what none does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod configuration;
mod endpoint;
mod foreign_links;
mod hosts;
mod keys;
mod layer;
mod life;
#[path = "../support/now.rs"]
mod now;
mod rollout;
#[path = "../support/service.rs"]
mod service;
#[path = "../keys/shelf.rs"]
#[expect(dead_code, reason = "the tests of keys use the rest")]
mod shelf;
mod stores;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod threats_jwt;
mod threats_thief;
mod unproven;
