//! Keys for one use, from one app key (HKDF-SHA256, RFC 5869), and the cipher under them.
//!
//! ```text
//! PRK     = HKDF-Extract(salt = "sealed-session/v1", ikm = app key)
//! key_id  = HKDF-Expand(PRK, LP("kid"), 4)
//! K_label = HKDF-Expand(PRK, LP(label) ‖ LP(kind) ‖ LP(name) ‖ LP(context), 32)
//! LP(x)   = u16 big-endian length of x ‖ x
//! ```

use std::fmt;

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key::{AppKey, KeyId};
use super::token;
use super::xaes::Xaes;
use crate::error::Refusal;

pub(super) const SALT: &[u8] = b"sealed-session/v1";

const KID: &str = "kid";
const ENC: &str = "enc";
const MAC: &str = "mac";
const TAG: &str = "tag";
#[cfg(feature = "server")]
const SUBJECT: &str = "subject";

/// The longest name or context, in bytes.
pub(crate) const MAX_LABEL: usize = 255;

/// What a token is for. A token of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cookie,
    Header,
    #[cfg_attr(
        not(any(test, feature = "server")),
        expect(dead_code, reason = "of the format, and for backends")
    )]
    Store,
    Token,
    Timed,
    #[cfg(feature = "redis")]
    Revocation,
    /// The ring of a key store, sealed as a whole.
    #[cfg(feature = "managed-keys")]
    Keys,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Store => "store",
            Self::Token => "token",
            Self::Timed => "timed",
            #[cfg(feature = "redis")]
            Self::Revocation => "revocation",
            #[cfg(feature = "managed-keys")]
            Self::Keys => "keys",
        }
    }
}

/// A kind, the cookie's or header's name or the sealer's purpose, and the application's context.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) context: String,
}

/// The derivation's input: parts behind their lengths, so that no two lists of parts are alike.
pub(super) fn info(parts: &[&str]) -> Vec<u8> {
    let mut info = Vec::new();
    for part in parts {
        // Names and contexts are at most MAX_LABEL bytes, which their builders check.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        info.extend_from_slice(&length.to_be_bytes());
        info.extend_from_slice(part.as_bytes());
    }
    info
}

pub(super) fn extract(ikm: &[u8]) -> Zeroizing<[u8; 32]> {
    let (prk, _) = Hkdf::<Sha256>::extract(Some(SALT), ikm);
    Zeroizing::new(prk.into())
}

pub(super) fn key_id(prk: &[u8; 32]) -> KeyId {
    let mut id = [0; 4];
    expand(prk, &[KID], &mut id);
    KeyId::from_bytes(id)
}

#[expect(
    clippy::expect_used,
    reason = "both lengths are constants of this file"
)]
fn expand(prk: &[u8; 32], parts: &[&str], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(prk)
        .expect("a PRK of SHA-256's length")
        .expand(&info(parts), out)
        .expect("at most 32 bytes");
}

/// The keys of one use, set up: AES key schedules and HMAC pads.
pub(super) struct UseKeys {
    pub(super) id: KeyId,
    enc: Xaes,
    mac: Hmac<Sha256>,
    tag: Aes256,
    /// Hides subjects from a backend that finds sessions by them; only for the kind `store`.
    #[cfg(feature = "server")]
    subject: Option<Hmac<Sha256>>,
}

impl UseKeys {
    pub(super) fn derive(key: &AppKey, used_for: &Use) -> Self {
        let subkey = |label| subkey(key, label, used_for);
        Self {
            id: key.id(),
            enc: Xaes::new(&subkey(ENC)),
            mac: new_hmac(&subkey(MAC)),
            tag: Aes256::new((&*subkey(TAG)).into()),
            #[cfg(feature = "server")]
            subject: (used_for.kind == Kind::Store).then(|| new_hmac(&subkey(SUBJECT))),
        }
    }

    /// A token's bytes.
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

    /// Encrypts what follows the nonce in place; returns the tag as it stands on the wire.
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

    /// Decrypts a token's ciphertext in place. The mac is checked before that; it covers everything
    /// that decides how the ciphertext decrypts, and through the tag the ciphertext.
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
    pub(super) fn hide_subject(&self, subject: &str) -> Option<[u8; 32]> {
        let mut mac = self.subject.clone()?;
        mac.update(subject.as_bytes());
        Some(mac.finalize().into_bytes().into())
    }

    fn mac(&self, front: &[u8], tag: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(front);
        mac.update(tag);
        mac
    }
}

pub(super) fn subkey(key: &AppKey, label: &str, used_for: &Use) -> Zeroizing<[u8; 32]> {
    let mut subkey = Zeroizing::new([0; 32]);
    let parts = [
        label,
        used_for.kind.label(),
        &used_for.name,
        &used_for.context,
    ];
    expand(key.prk(), &parts, subkey.as_mut());
    subkey
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
