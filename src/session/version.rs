//! Which of a session's records a backend has.

use std::fmt;

/// Which of a session's records a backend has: what its sealed value begins with, and no other's.
#[derive(Clone, PartialEq, Eq)]
pub struct Version(pub(crate) String);

impl Version {
    /// Its characters.
    pub const LEN: usize = 40;

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn in_text(value: &str) -> &str {
        value.get(..value.len().min(Self::LEN)).unwrap_or_default()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Version(..)")
    }
}
