//! The primitives that tokens are made of: XAES-256-GCM, one block of AES-256, HMAC-SHA256 and
//! HKDF-SHA256. There are two implementations with the same functions. Nothing outside this folder
//! knows which one is in use, because the tokens are the same to the byte.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(any(test, not(feature = "aws-lc-rs")))]
mod rust_crypto;
#[cfg(test)]
mod tests;

#[cfg(feature = "aws-lc-rs")]
pub(super) use aws_lc::{Block, Mac, Xaes, expand, extract};
#[cfg(not(feature = "aws-lc-rs"))]
pub(super) use rust_crypto::{Block, Mac, Xaes, expand, extract};

/// The bytes of a key, of a mac and of HKDF's pseudorandom key.
pub(super) const KEY: usize = 32;
pub(super) const NONCE: usize = 24;
pub(super) const TAG: usize = 16;

/// A tag or mac is wrong.
#[derive(Debug)]
pub(super) struct Wrong;
