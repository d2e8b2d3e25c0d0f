//! What goes wrong in a backend.

use std::error::Error;
use std::fmt;

/// A backend could not do what it was asked to.
///
/// The message is for the operator, in whose logs it ends. It holds no key and no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    kind: BackendErrorKind,
    message: String,
}

/// What kind of thing a [`BackendError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// It cannot be reached, or not now.
    Unavailable,
    /// It did not answer in time. Nobody knows what it did.
    Timeout,
    /// It is full.
    Full,
    /// It cannot do such a thing at all.
    Unsupported,
    /// Anything else.
    Other,
}

impl BackendErrorKind {
    /// A short constant name in snake case, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

impl BackendError {
    /// An error that says what was wrong, and neither a key nor a value.
    pub fn new(kind: BackendErrorKind, what: impl fmt::Display) -> Self {
        Self {
            kind,
            message: what.to_string(),
        }
    }

    pub(crate) fn unsupported(what: &str) -> Self {
        let kind = BackendErrorKind::Unsupported;
        Self::new(kind, format_args!("this backend has no way {what}"))
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BackendError {}
