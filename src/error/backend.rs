//! Errors of a backend.

use std::error::Error;
use std::fmt;

/// The error of a backend that could not do its work.
///
/// The message goes to the operator's logs. It holds no key and no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    kind: BackendErrorKind,
    message: String,
}

/// The kind of a [`BackendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// The backend cannot be reached, or not now.
    Unavailable,
    /// It did not answer in time, and may or may not have done the work.
    Timeout,
    /// It is full.
    Full,
    /// It has no way to do this.
    Unsupported,
    /// Anything else.
    Other,
}

impl BackendErrorKind {
    /// A short, constant name in snake case, fit for a metric's label.
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
    /// An error whose message says what went wrong, without any key or value.
    ///
    /// ```
    /// use sealed_session::server::{BackendError, BackendErrorKind};
    ///
    /// let error = BackendError::new(BackendErrorKind::Timeout, "postgres: no answer in 2 s");
    /// assert_eq!(error.kind().as_str(), "timeout"); // for a metric
    /// assert_eq!(error.to_string(), "postgres: no answer in 2 s"); // for the log
    /// ```
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

    /// The kind of error.
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
