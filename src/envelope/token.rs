//! An untrusted token: its layout and its strict base64url. Nothing here needs a key.

use std::fmt;

use base64::engine::{self, Engine, general_purpose};

use super::key::KeyId;
use super::plaintext::Plaintext;
pub(super) use super::primitives::{NONCE, TAG};
use crate::error::{OpenError, Refusal};

pub(super) const VERSION: u8 = 1;

/// Versions that this build opens.
const ACCEPTED: [u8; 1] = [VERSION];

pub(super) const NONCE_AT: usize = 5;
pub(super) const CIPHERTEXT_AT: usize = NONCE_AT + NONCE;
pub(super) const MAC: usize = 32;

/// The bytes that an envelope adds to its plaintext, before base64.
pub(super) const OVERHEAD: usize = CIPHERTEXT_AT + TAG + MAC;

/// Strict in both directions: no padding, no other alphabet, no loose bits at the end. It uses
/// vector instructions where it can. Without them, a large session spends as long here as in the
/// cipher.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) static BASE64: std::sync::LazyLock<engine::simd::Simd> =
    std::sync::LazyLock::new(|| engine::simd::Simd::url_safe(general_purpose::NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) static BASE64: engine::GeneralPurpose = general_purpose::URL_SAFE_NO_PAD;

/// The most bytes that a `Sealer` seals.
pub(super) const MAX_SEALED: usize = 65_536;

/// The bytes of an expiry, which comes before the sealed bytes.
pub(super) const EXPIRY: usize = 6;

/// The number of characters of a token with `plaintext` bytes in it.
pub(crate) const fn encoded_len(plaintext: usize) -> usize {
    (plaintext + OVERHEAD) * 4 / 3
        + if (plaintext + OVERHEAD).is_multiple_of(3) {
            0
        } else {
            1
        }
}

/// A token as it came in: split into its parts, but not opened. You cannot trust anything in it.
/// Use it to see which key a token needs.
///
/// ```
/// use sealed_session::{AppKey, Sealer, Token};
///
/// let key = AppKey::generate()?;
/// let id = key.id();
/// let token = Sealer::new(key, "invitation")?.seal(b"42")?;
/// let token = Token::parse(&token)?;
/// assert_eq!((token.version(), token.key_id()), (1, id));
/// assert_eq!(token.plaintext_len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Token {
    bytes: Vec<u8>,
}

impl Token {
    /// Splits a token into its parts, without any key.
    ///
    /// # Errors
    ///
    /// If the token is too long or malformed, or if its version is unknown. The reason is
    /// [`Refusal::TooLong`], [`Refusal::Malformed`] or [`Refusal::UnknownVersion`].
    pub fn parse(token: &str) -> Result<Self, OpenError> {
        Ok(Self::parse_bytes(
            token.as_bytes(),
            encoded_len(MAX_SEALED + EXPIRY),
        )?)
    }

    pub(crate) fn parse_bytes(token: &[u8], max_length: usize) -> Result<Self, Refusal> {
        if token.len() > max_length {
            return Err(Refusal::TooLong);
        }
        if token.len() < encoded_len(0) {
            return Err(Refusal::Malformed);
        }
        // Not `decode`: it asks for zeroed memory, which glibc never takes from its fast lists.
        let mut bytes = Vec::with_capacity(base64::decoded_len_estimate(token.len()));
        BASE64
            .decode_vec(token, &mut bytes)
            .map_err(|_| Refusal::Malformed)?;
        if !bytes
            .first()
            .is_some_and(|version| ACCEPTED.contains(version))
        {
            return Err(Refusal::UnknownVersion);
        }
        Ok(Self { bytes })
    }

    /// The version of the wire format.
    pub fn version(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    /// The id of the app key under which the token claims to be sealed.
    pub fn key_id(&self) -> KeyId {
        let id = self.bytes.get(1..).and_then(|rest| rest.first_chunk());
        KeyId::from_bytes(id.copied().unwrap_or_default())
    }

    /// The token's length in bytes, before base64.
    #[expect(clippy::len_without_is_empty, reason = "a token is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The length of the sealed content in bytes: 77 less than [`len`](Self::len).
    pub fn plaintext_len(&self) -> usize {
        self.bytes.len().saturating_sub(OVERHEAD)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns the plaintext of a token whose ciphertext has been decrypted in place.
    pub(super) fn into_plaintext(self) -> Plaintext {
        let end = self.bytes.len().saturating_sub(TAG + MAC);
        Plaintext::within(self.bytes, CIPHERTEXT_AT, end)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("version", &self.version())
            .field("key_id", &self.key_id())
            .field("plaintext_len", &self.plaintext_len())
            .finish_non_exhaustive()
    }
}

/// A token, split into its fields.
pub(super) struct Parts<'a> {
    /// Everything before the ciphertext. The mac covers this and the tag.
    pub(super) front: &'a [u8; CIPHERTEXT_AT],
    /// Version and key id: GCM's associated data.
    pub(super) head: &'a [u8; NONCE_AT],
    pub(super) nonce: &'a [u8; NONCE],
    pub(super) ciphertext: &'a mut [u8],
    pub(super) tag: &'a [u8; TAG],
    pub(super) mac: &'a [u8; MAC],
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a mut [u8]) -> Option<Self> {
        let (front, rest) = token.split_first_chunk_mut::<CIPHERTEXT_AT>()?;
        let (head, nonce) = front.split_first_chunk()?;
        let (rest, mac) = rest.split_last_chunk_mut()?;
        let (ciphertext, tag) = rest.split_last_chunk_mut()?;
        Some(Self {
            front,
            head,
            nonce: nonce.first_chunk()?,
            ciphertext,
            tag,
            mac,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around the blocks of the vector code, with every remainder.
    const LENGTHS: std::ops::RangeInclusive<usize> = 60..=140;

    fn assert_alike(text: &[u8]) {
        let plain = general_purpose::URL_SAFE_NO_PAD.decode(text);
        assert_eq!(BASE64.decode(text).ok(), plain.ok(), "{text:?}");
    }

    #[test]
    fn base64_by_vectors_takes_and_makes_what_base64_by_characters_does() {
        for length in LENGTHS {
            let bytes: Vec<u8> = (0..=255).cycle().step_by(41).take(length * 2).collect();
            let mut text = general_purpose::URL_SAFE_NO_PAD.encode(&bytes).into_bytes();
            assert_eq!(BASE64.encode(&bytes).into_bytes(), text);
            text.truncate(length);
            for at in 0..length {
                let right = text[at];
                for wrong in *b"+/=-_\0 \"%;\x7f\x80\xff" {
                    text[at] = wrong;
                    assert_alike(&text);
                }
                text[at] = right;
            }
        }
        let mut text = [b'A'; 128];
        for at in 0..text.len() {
            for byte in 0..=255 {
                text[at] = byte;
                assert_alike(&text);
            }
            text[at] = b'_';
        }
    }
}
