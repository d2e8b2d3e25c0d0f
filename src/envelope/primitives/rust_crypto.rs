//! The primitives in Rust, by the crates of RustCrypto.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::AeadInOut;
use zeroize::Zeroizing;

use super::{KEY, NONCE, TAG, Wrong};

/// XAES-256-GCM under one key (<https://c2sp.org/XAES-256-GCM>).
pub(in crate::envelope) struct Xaes(Xaes256Gcm);

impl Xaes {
    pub(in crate::envelope) fn new(key: &[u8; KEY]) -> Self {
        Self(Xaes256Gcm::new(key.into()))
    }

    /// Encrypts in place and returns the tag.
    #[expect(
        clippy::expect_used,
        reason = "GCM refuses only plaintexts of 64 GiB and more"
    )]
    pub(in crate::envelope) fn encrypt(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        plaintext: &mut [u8],
    ) -> [u8; TAG] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, plaintext.into())
            .expect("a token far below GCM's limit")
            .into()
    }

    /// Decrypts in place if the tag is right. It compares the tag in constant time.
    ///
    /// # Errors
    ///
    /// If the tag is wrong.
    pub(in crate::envelope) fn decrypt(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        ciphertext: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Wrong> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, ciphertext.into(), tag.into())
            .map_err(|_| Wrong)
    }
}

/// AES-256 of single blocks under one key.
pub(in crate::envelope) struct Block(Aes256);

impl Block {
    pub(in crate::envelope) fn new(key: &[u8; KEY]) -> Self {
        Self(Aes256::new(key.into()))
    }

    pub(in crate::envelope) fn encrypt(&self, block: &[u8; TAG]) -> [u8; TAG] {
        let mut block = Array(*block);
        self.0.encrypt_block(&mut block);
        block.into()
    }

    pub(in crate::envelope) fn decrypt(&self, block: &[u8; TAG]) -> [u8; TAG] {
        let mut block = Array(*block);
        self.0.decrypt_block(&mut block);
        block.into()
    }
}

/// HMAC-SHA256 under one key.
pub(in crate::envelope) struct Mac(Hmac<Sha256>);

impl Mac {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(in crate::envelope) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("a key of any length"))
    }

    /// The mac of all parts, one after the other.
    pub(in crate::envelope) fn sign(&self, parts: &[&[u8]]) -> [u8; KEY] {
        self.over(parts).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    ///
    /// # Errors
    ///
    /// If `mac` is not the mac of all parts, one after the other.
    pub(in crate::envelope) fn verify(
        &self,
        parts: &[&[u8]],
        mac: &[u8; KEY],
    ) -> Result<(), Wrong> {
        self.over(parts).verify_slice(mac).map_err(|_| Wrong)
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

/// HKDF-Extract.
pub(in crate::envelope) fn extract(salt: &[u8], ikm: &[u8]) -> Zeroizing<[u8; KEY]> {
    let (prk, _) = Hkdf::<Sha256>::extract(Some(salt), ikm);
    Zeroizing::new(prk.into())
}

/// HKDF-Expand, for `out` of at most 255 times 32 bytes.
#[expect(clippy::expect_used, reason = "keys and ids have at most 32 bytes")]
pub(in crate::envelope) fn expand(prk: &[u8; KEY], info: &[u8], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(prk)
        .expect("a PRK of SHA-256's length")
        .expand(info, out)
        .expect("few bytes");
}
