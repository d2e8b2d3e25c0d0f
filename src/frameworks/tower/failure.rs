//! What can fail in a layer: loading, a handler's call, saving.

use std::error::Error;
use std::fmt;

use crate::error::{LoadError, SaveError, SessionError, WithCauses};

/// Why a [`SessionLayer`](super::SessionLayer) answers in place of the handler.
///
/// `{failure}` prints the error, and `{failure:#}` the error with its causes in one line, for your
/// log. Neither shows a key, a token or a value, but do not send them to visitors either.
///
/// ```
/// # use sealed_session::{Session, frameworks::tower::Failure};
/// # let session = Session::new();
/// # session.insert("user_id", 42)?;
/// let error = session.get::<String>("user_id").unwrap_err(); // in a handler
/// let failure = Failure::Call(error); // for `on_error`
/// assert!(format!("{failure:#}").contains("user_id"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// An extractor or a guard could not load the session.
    Load(LoadError),
    /// The handler returned an error of its session.
    Call(SessionError),
    /// The layer had to answer a browser itself, for a device-bound session, and cannot make a body
    /// of the service's type: see
    /// [`SessionLayer::answer_devices_with`](super::SessionLayer::answer_devices_with).
    #[cfg(feature = "device-bound")]
    DeviceBody,
    /// The session could not be saved.
    Save(SaveError),
}

impl Failure {
    fn error(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Load(error) => Some(error),
            Self::Call(error) => Some(error),
            #[cfg(feature = "device-bound")]
            Self::DeviceBody => None,
            Self::Save(error) => Some(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(error) if f.alternate() => WithCauses(error).fmt(f),
            Some(error) => write!(f, "{error}"),
            None => f.write_str(
                "the layer cannot make a body of the service's type, for its answer to a browser \
                 with a device-bound session; say how with `SessionLayer::answer_devices_with`",
            ),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error()?.source()
    }
}
