//! What is larger than it may be.

use std::fmt;

/// What a session has too many of, and how many may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) size: usize,
    pub(crate) limit: usize,
    pub(crate) of: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes of a cookie's name and value together.
    Cookie,
    /// Bytes of what a backend gets to keep.
    #[cfg(feature = "server")]
    Plaintext,
    /// Values, or flashes.
    Entries,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, unit) = match self.of {
            Measure::Cookie => ("the cookie's or header's name and value", "bytes"),
            #[cfg(feature = "server")]
            Measure::Plaintext => ("the session", "bytes"),
            Measure::Entries => ("its values or its flashes", "entries"),
        };
        let Self { size, limit, .. } = self;
        write!(
            f,
            "{what} would be {size} {unit}, the limit is {limit}; \
             keep large or growing data elsewhere and its key in the session"
        )
    }
}
