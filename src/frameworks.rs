//! The session in web frameworks: a layer for whatever speaks tower, and extractors.
//!
//! They stand in a module of their own, so that `use sealed_session::*` brings no second `axum`
//! or `tower` into scope.

#[cfg(feature = "actix-web")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
pub mod tower;
