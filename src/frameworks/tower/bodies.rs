//! Makes the bodies of a layer's own answers, in whatever type the service has.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Makes bodies of a type that the layer does not know, if the application has said how.
#[derive(Clone, Default)]
pub(super) struct Bodies(Option<Arc<dyn Any + Send + Sync>>);

struct Maker<B>(Box<dyn Fn(String) -> B + Send + Sync>);

impl Bodies {
    pub(super) fn of<B: 'static>(make: impl Fn(String) -> B + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Maker(Box::new(make)))))
    }

    /// `None` if the type is not known.
    pub(super) fn make<B: 'static>(&self, text: String) -> Option<B> {
        let maker = self.0.as_deref();
        if let Some(Maker(make)) = maker.and_then(|maker| maker.downcast_ref::<Maker<B>>()) {
            return Some(make(text));
        }
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
}

/// The same value, if it has the type that is asked for.
fn cast<T: 'static, B: 'static>(value: T) -> Option<B> {
    let mut value = Some(value);
    let value: &mut dyn Any = &mut value;
    value.downcast_mut::<Option<B>>()?.take()
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bodies").finish_non_exhaustive()
    }
}
