//! The examples of the library's documentation for frameworks, compiled as they are printed.

#[doc = include_str!("../../../docs/axum.md")]
pub mod axum {}

#[doc = include_str!("../../../docs/actix.md")]
pub mod actix {}

#[doc = include_str!("../../../docs/poem.md")]
pub mod poem {}

#[doc = include_str!("../../../docs/rocket.md")]
pub mod rocket {}

#[doc = include_str!("../../../docs/salvo.md")]
pub mod salvo {}

#[doc = include_str!("../../../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}
