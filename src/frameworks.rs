//! Sessions in web frameworks: a layer for every framework, and extractors.
//!
//! They are in a module of their own, so that `use sealed_session::*` does not bring a second
//! `axum` or `tower` into scope. The macros of poem and salvo name their crate as your code would,
//! so a module named `poem` or `salvo` in scope would break them. That is why these two are named
//! `poem3` and `salvo1`, with the version.

#[cfg(feature = "actix-web")]
pub mod actix;
#[cfg(feature = "aide")]
mod aide;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "poem")]
pub mod poem3;
#[cfg(feature = "rocket")]
pub mod rocket;
#[cfg(feature = "salvo")]
pub mod salvo1;
pub mod tower;
#[cfg(feature = "tower-sessions")]
pub mod tower_sessions;
