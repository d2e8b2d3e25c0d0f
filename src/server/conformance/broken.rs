//! What a backend does not keep of what it promises.

use std::error::Error;
use std::fmt;

/// Promises that a backend does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub(super) promises: Vec<String>,
}

impl Broken {
    /// What was promised, and what came instead: a sentence for each.
    pub fn promises(&self) -> impl Iterator<Item = &str> {
        self.promises.iter().map(String::as_str)
    }
}

/// A line for each promise.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.promises.join("\n"))
    }
}

impl Error for Broken {}
