//! The promises that a backend breaks.

use std::error::Error;
use std::fmt;

/// The error of a suite: the promises that a backend breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub(super) promises: Vec<String>,
}

impl Broken {
    /// Returns a sentence for each broken promise: the promise, and what happened instead.
    pub fn promises(&self) -> impl Iterator<Item = &str> {
        self.promises.iter().map(String::as_str)
    }
}

/// One line for each promise.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.promises.join("\n"))
    }
}

impl Error for Broken {}
