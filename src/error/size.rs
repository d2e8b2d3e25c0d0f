//! The error of a session that is too large.

use std::fmt;

/// A size above its limit, and what it measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) size: usize,
    pub(crate) limit: usize,
    pub(crate) of: Measure,
}

/// The thing that a size measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes of a cookie's name and value together.
    Cookie,
    /// Bytes of the record that a backend would keep.
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
