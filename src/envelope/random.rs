//! Randomness, as an argument of each function that needs some, so that tests can supply it.

use crate::error::RandomError;

/// A source that fills ids and nonces: the operating system's, or a test's.
pub(crate) type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), RandomError>;

/// The operating system's random source.
pub(crate) fn os_random(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(|_| RandomError(()))
}
