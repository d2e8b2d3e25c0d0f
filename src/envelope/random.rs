//! Randomness: an argument of whatever needs some, so that a test can supply it.

use crate::error::RandomError;

/// What fills ids and nonces: the operating system's source, or a test's.
pub(crate) type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), RandomError>;

/// The operating system's random source.
pub(crate) fn os_random(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(|_| RandomError(()))
}
