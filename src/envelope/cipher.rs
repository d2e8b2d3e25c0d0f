//! The cipher under the keys of one use: XAES-256-GCM, the enciphered tag and the mac.

use std::fmt;

use super::derive::{ENC, MAC, TAG, Use, subkey};
#[cfg(feature = "server")]
use super::derive::{Kind, SID, SUBJECT};
use super::key::{AppKey, KeyId};
use super::primitives::{Block, Mac, Wrong, Xaes};
use super::token;
use crate::error::Refusal;

/// The keys of one use, ready for work: AES key schedules and HMAC pads.
pub(super) struct UseKeys {
    pub(super) id: KeyId,
    enc: Xaes,
    mac: Mac,
    tag: Block,
    /// Hides names from a backend that finds sessions by them. Only the kind `store` has it.
    #[cfg(feature = "server")]
    hiding: Option<Box<Hiding>>,
}

/// The keys that hide names from a backend, one for each kind of name.
#[cfg(feature = "server")]
struct Hiding {
    subject: Mac,
    sid: Mac,
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
            mac: Mac::new(subkey(MAC).as_ref()),
            tag: Block::new(&subkey(TAG)),
            #[cfg(feature = "server")]
            hiding: (used_for.kind == Kind::Store).then(|| {
                Box::new(Hiding {
                    subject: Mac::new(subkey(SUBJECT).as_ref()),
                    sid: Mac::new(subkey(SID).as_ref()),
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
        let plaintext = buffer.get_mut(token::CIPHERTEXT_AT..).unwrap_or_default();
        let tag = self.tag.encrypt(&self.enc.encrypt(nonce, aad, plaintext));
        buffer.extend_from_slice(&tag);
        buffer.extend_from_slice(&self.mac.sign(&[&front, &tag]));
        buffer
    }

    /// Checks the mac, then decrypts a token's ciphertext in place. The mac covers everything that
    /// decides how a ciphertext decrypts, but not the ciphertext itself: GCM checks that.
    pub(super) fn open(&self, token: &mut [u8]) -> Result<(), Refusal> {
        let parts = token::Parts::of(token).ok_or(Refusal::Malformed)?;
        self.mac
            .verify(&[parts.front, parts.tag], parts.mac)
            .map_err(|Wrong| Refusal::Forged)?;
        let tag = self.tag.decrypt(parts.tag);
        self.enc
            .decrypt(parts.nonce, parts.head, parts.ciphertext, &tag)
            .map_err(|Wrong| Refusal::Corrupt)
    }

    #[cfg(feature = "server")]
    pub(super) fn hide(&self, kind: Hidden, name: &str) -> Option<[u8; 32]> {
        let keys = self.hiding.as_ref()?;
        let mac = match kind {
            Hidden::Subject => &keys.subject,
            Hidden::Sid => &keys.sid,
        };
        Some(mac.sign(&[name.as_bytes()]))
    }
}

impl fmt::Debug for UseKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UseKeys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
