// The page's links lead to other pages of the repository. In the API's documentation, where these are
// missing, they lead to what is there: of two definitions, the first counts.
//! [docs/errors.md]: crate::LoadError
//! [docs/recipes.md]: crate::guide::login
//! [docs/stores.md]: crate::guide::stores
//! [docs/testing.md]: crate::guide::testing
//!
// The example needs axum itself, which is not a dependency here: the tests of the frameworks run
// it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/axum.md"))]

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

use crate::error::{LoadError, SessionError};
use crate::frameworks::tower::{LoadFuture, failed};
use crate::session::{Session, TypedSession};

async fn load<N: 'static>(parts: &Parts) -> Result<Session, LoadError> {
    match parts.extensions.get::<PendingSession<N>>() {
        Some(pending) => pending.session().await,
        None => LoadFuture::of::<N>(None).await,
    }
}

async fn load_if_layered<N: 'static>(parts: &Parts) -> Result<Option<Session>, LoadError> {
    if parts.extensions.get::<PendingSession<N>>().is_none() {
        return Ok(None);
    }
    load::<N>(parts).await.map(Some)
}

/// The session of the layer without a name.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LoadError> {
        load::<()>(parts).await
    }
}

/// Gives `None` if there is no layer. Every other error stays an error.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, LoadError> {
        load_if_layered::<()>(parts).await
    }
}

/// Gives `None` if there is no layer of this name. Every other error stays an error.
impl<S: Sync, N: 'static> OptionalFromRequestParts<S> for SessionOf<N> {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, LoadError> {
        Ok(load_if_layered::<N>(parts).await?.map(Self::from))
    }
}

/// Gives `None` if there is no layer. Every other error stays an error.
impl<S: Sync, T> OptionalFromRequestParts<S> for TypedSession<T> {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, LoadError> {
        Ok(load_if_layered::<()>(parts).await?.map(Self::from))
    }
}

impl<S: Sync, N: 'static> FromRequestParts<S> for SessionOf<N> {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LoadError> {
        load::<N>(parts).await.map(Self::from)
    }
}

/// The session of the layer without a name.
impl<S: Sync, T> FromRequestParts<S> for TypedSession<T> {
    type Rejection = LoadError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LoadError> {
        load::<()>(parts).await.map(Self::from)
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl IntoResponse for LoadError {
    fn into_response(self) -> Response {
        failed(Failure::Load(self))
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        failed(Failure::Call(self))
    }
}
