//! The version of a session's record in a backend.

use std::fmt;

/// Identifies one written value in a backend: the beginning of the sealed value, which no other
/// has.
#[derive(Clone, PartialEq, Eq)]
pub struct Version(pub(crate) String);

impl Version {
    /// How many characters a version has.
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
