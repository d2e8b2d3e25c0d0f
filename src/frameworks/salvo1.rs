// The example needs salvo's layers for tower, which are not a dependency here: the tests of the
// frameworks run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/salvo.md"))]

use std::fmt::Debug;

use http::{HeaderValue, StatusCode};
use salvo_core::extract::{Extractible, Metadata};
use salvo_core::http::ResBody;
use salvo_core::writing::Scribe;
use salvo_core::{Depot, Request, Response, Writer};

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

use crate::error::{LoadError, SessionError};
use crate::frameworks::tower::{LoadFuture, REASON_HEADERS, reason};
use crate::session::{Session, TypedSession};

async fn load<N: 'static>(request: &Request) -> Result<Session, LoadError> {
    LoadFuture::of(request.extensions().get::<PendingSession<N>>()).await
}

fn metadata() -> &'static Metadata {
    static METADATA: Metadata = Metadata::new("");
    &METADATA
}

/// The session of the layer without a name.
impl<'ex> Extractible<'ex> for Session {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<()>(request).await
    }
}

impl<'ex, N: 'static> Extractible<'ex> for SessionOf<N> {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<N>(request).await.map(Self::from)
    }
}

/// The session of the layer without a name.
impl<'ex, T> Extractible<'ex> for TypedSession<T> {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<()>(request).await.map(Self::from)
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl Scribe for LoadError {
    fn render(self, response: &mut Response) {
        fail(response, Failure::Load(self));
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl Scribe for SessionError {
    fn render(self, response: &mut Response) {
        fail(response, Failure::Call(self));
    }
}

/// Makes a 500 that carries the failure for the layer. In debug builds its body is the reason;
/// otherwise it has none, and salvo's catcher makes one.
fn fail(response: &mut Response, failure: Failure) {
    response.status_code = Some(StatusCode::INTERNAL_SERVER_ERROR);
    response.body = match reason(&failure) {
        Some(text) => {
            for (name, value) in REASON_HEADERS {
                let headers = response.headers_mut();
                headers.insert(name, HeaderValue::from_static(value));
            }
            text.into()
        }
        None => ResBody::None,
    };
    response.extensions.insert(failure);
}
