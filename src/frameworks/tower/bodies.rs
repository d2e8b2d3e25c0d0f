//! Makes bodies for the layer's own answers, in the type that the service uses.

use std::any::Any;
#[cfg(feature = "device-bound")]
use std::fmt;
#[cfg(feature = "device-bound")]
use std::sync::Arc;

/// Makes a body of a type that the layer knows.
pub(super) fn known<B: 'static>(text: String) -> Option<B> {
    #[cfg(feature = "axum")]
    let text = match cast(axum_core::body::Body::from(text.clone())) {
        Some(body) => return Some(body),
        None => text,
    };
    #[cfg(feature = "salvo")]
    let text = match cast(salvo_core::http::ResBody::from(text.clone())) {
        Some(body) => return Some(body),
        None => text,
    };
    cast(text.clone()).or_else(|| cast(text.into_bytes()))
}

/// The value, if it is of type `B`.
fn cast<T: 'static, B: 'static>(value: T) -> Option<B> {
    let mut value = Some(value);
    let value: &mut dyn Any = &mut value;
    value.downcast_mut::<Option<B>>()?.take()
}

/// The application's function that makes bodies of a type which the layer does not know.
#[cfg(feature = "device-bound")]
#[derive(Clone, Default)]
pub(super) struct Bodies(Option<Arc<dyn Any + Send + Sync>>);

#[cfg(feature = "device-bound")]
struct Maker<B>(Box<dyn Fn(String) -> B + Send + Sync>);

#[cfg(feature = "device-bound")]
impl Bodies {
    pub(super) fn of<B: 'static>(make: impl Fn(String) -> B + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Maker(Box::new(make)))))
    }

    /// `None` if the type is not known.
    pub(super) fn make<B: 'static>(&self, text: String) -> Option<B> {
        let maker = self.0.as_deref();
        match maker.and_then(|maker| maker.downcast_ref::<Maker<B>>()) {
            Some(Maker(make)) => Some(make(text)),
            None => known(text),
        }
    }
}

#[cfg(feature = "device-bound")]
impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bodies").finish_non_exhaustive()
    }
}
