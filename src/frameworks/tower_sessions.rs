// The example needs axum, tower-sessions and axum-login, which are not dependencies here: the tests
// of the ecosystem run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/tower-sessions.md"))]

mod layer;
mod twin;

pub use layer::{TowerSessionsFuture, TowerSessionsLayer, TowerSessionsService};
