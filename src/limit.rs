//! How large a session may be: what fits a cookie, or what a backend's store allows.

use std::fmt;

use crate::cookie::MAX_NAME_AND_VALUE;
use crate::envelope::encoded_len;

/// What bounds a session's plaintext.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// A browser's limit, with the bytes of the cookie's or header's name.
    Cookie { name: usize },
    /// A backend's, in bytes of plaintext.
    #[cfg(feature = "server")]
    Plaintext(usize),
}

/// Bytes that a session has, and how many may be: of a cookie's name and value together, or of
/// what a backend gets to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) size: usize,
    pub(crate) limit: usize,
    in_cookie: bool,
}

impl Limit {
    /// Whether `plaintext` bytes fit once they are sealed.
    pub(crate) fn check(self, plaintext: usize) -> Result<(), TooLarge> {
        let (size, limit, in_cookie) = match self {
            Self::Cookie { name } => {
                let size = encoded_len(plaintext).saturating_add(name);
                (size, MAX_NAME_AND_VALUE, true)
            }
            #[cfg(feature = "server")]
            Self::Plaintext(limit) => (plaintext, limit, false),
        };
        if size <= limit {
            Ok(())
        } else {
            Err(TooLarge {
                size,
                limit,
                in_cookie,
            })
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.in_cookie {
            "the cookie's or header's name and value"
        } else {
            "the session"
        };
        let Self { size, limit, .. } = self;
        write!(
            f,
            "{what} would be {size} bytes, the limit is {limit}; \
             keep large or growing data elsewhere and its key in the session"
        )
    }
}
