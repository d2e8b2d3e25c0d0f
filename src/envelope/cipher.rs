//! The cipher under the keys of one use: XAES-256-GCM, the enciphered tag and the mac.

use std::fmt;

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::derive::{ENC, MAC, TAG, Use, subkey};
#[cfg(feature = "server")]
use super::derive::{Kind, SID, SUBJECT};
use super::key::{AppKey, KeyId};
use super::token;
use super::xaes::Xaes;
use crate::error::Refusal;

/// The keys of one use, ready for work: AES key schedules and HMAC pads.
pub(super) struct UseKeys {
    pub(super) id: KeyId,
    enc: Xaes,
    mac: Hmac<Sha256>,
    tag: Aes256,
    /// Hides names from a backend that finds sessions by them. Only the kind `store` has it.
    #[cfg(feature = "server")]
    hiding: Option<Box<Hiding>>,
}

/// The keys that hide names from a backend, one for each kind of name.
#[cfg(feature = "server")]
struct Hiding {
    subject: Hmac<Sha256>,
    sid: Hmac<Sha256>,
}

/// A kind of name that a backend finds sessions by.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    Subject,
    Sid,
}

impl UseKeys {
    pub(super) fn derive(key: &AppKey, used_for: &Use) -> Self {
        let subkey = |label| subkey(key.prk(), label, used_for);
        Self {
            id: key.id(),
            enc: Xaes::new(&subkey(ENC)),
            mac: new_hmac(&subkey(MAC)),
            tag: Aes256::new((&*subkey(TAG)).into()),
            #[cfg(feature = "server")]
            hiding: (used_for.kind == Kind::Store).then(|| {
                Box::new(Hiding {
                    subject: new_hmac(&subkey(SUBJECT)),
                    sid: new_hmac(&subkey(SID)),
                })
            }),
        }
    }

    /// Seals the bytes that `write` appends, and returns the token's bytes.
    pub(super) fn seal(
        &self,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
        nonce: &[u8; token::NONCE],
    ) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(token::OVERHEAD + length);
        let mut front = [token::VERSION; token::CIPHERTEXT_AT];
        front[1..token::NONCE_AT].copy_from_slice(self.id.as_bytes());
        front[token::NONCE_AT..].copy_from_slice(nonce);
        buffer.extend_from_slice(&front);
        let aad = &front[..token::NONCE_AT];
        write(&mut buffer);
        let tag = self.encrypt(&mut buffer, nonce, aad);
        buffer.extend_from_slice(&tag);
        let mac = self.mac(&front, &tag).finalize().into_bytes();
        buffer.extend_from_slice(&mac);
        buffer
    }

    /// Encrypts everything after the nonce in place, and returns the tag as it is on the wire.
    #[expect(
        clippy::expect_used,
        reason = "GCM refuses only plaintexts of 64 GiB and more"
    )]
    fn encrypt(&self, buffer: &mut [u8], nonce: &[u8; token::NONCE], aad: &[u8]) -> [u8; 16] {
        let plaintext = buffer.get_mut(token::CIPHERTEXT_AT..).unwrap_or_default();
        let tag = self
            .enc
            .encrypt(nonce, aad, plaintext)
            .expect("a token far below GCM's limit");
        let mut tag = Array(tag);
        self.tag.encrypt_block(&mut tag);
        tag.into()
    }

    /// Checks the mac, then decrypts a token's ciphertext in place. The mac covers everything that
    /// decides how a ciphertext decrypts, but not the ciphertext itself: GCM checks that.
    pub(super) fn open(&self, token: &mut [u8]) -> Result<(), Refusal> {
        let parts = token::Parts::of(token).ok_or(Refusal::Malformed)?;
        self.mac(parts.front, parts.tag)
            .verify_slice(parts.mac)
            .map_err(|_| Refusal::Forged)?;
        let mut tag = Array(*parts.tag);
        self.tag.decrypt_block(&mut tag);
        self.enc
            .decrypt(parts.nonce, parts.head, parts.ciphertext, &tag.into())
            .map_err(|_| Refusal::Corrupt)
    }

    #[cfg(feature = "server")]
    pub(super) fn hide(&self, kind: Hidden, name: &str) -> Option<[u8; 32]> {
        let keys = self.hiding.as_ref()?;
        let mut mac = match kind {
            Hidden::Subject => keys.subject.clone(),
            Hidden::Sid => keys.sid.clone(),
        };
        mac.update(name.as_bytes());
        Some(mac.finalize().into_bytes().into())
    }

    fn mac(&self, front: &[u8], tag: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(front);
        mac.update(tag);
        mac
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn new_hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

impl fmt::Debug for UseKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UseKeys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
