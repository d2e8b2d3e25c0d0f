//! Sessions in web frameworks: a layer for every framework on tower, and extractors.
//!
//! They are in a module of their own, so that `use sealed_session::*` does not bring a second
//! `axum` or `tower` into scope.

#[cfg(feature = "actix-web")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
pub mod tower;
