//! The primitives by aws-lc-rs, which are C and assembler. It has no XAES-256-GCM, so its key
//! derivation is here, on top of AES-256 and GCM (<https://c2sp.org/XAES-256-GCM>):
//!
//! ```text
//! nonce   = N ‖ n, of 12 bytes each
//! K1      = x · AES-256(K, 0) in GF(2^128)
//! K_nonce = AES-256(K, 00 01 'X' 00 ‖ N  ⊕  K1)  ‖  AES-256(K, 00 02 'X' 00 ‖ N  ⊕  K1)
//! result  = AES-256-GCM(K_nonce, n)
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use zeroize::Zeroizing;

use super::{KEY, NONCE, TAG, Wrong};

/// The reason why no call in this file can fail.
const LENGTHS: &str = "keys, nonces and blocks of the right length, texts far below the limits";

/// XAES-256-GCM under one key.
pub(in crate::envelope) struct Xaes {
    aes: EncryptingKey,
    k1: Zeroizing<u128>,
}

impl Xaes {
    pub(in crate::envelope) fn new(key: &[u8; KEY]) -> Self {
        let aes = encrypting(key);
        let mut l = Zeroizing::new([0; 16]);
        encrypt_blocks(&aes, l.as_mut());
        let l = Zeroizing::new(u128::from_be_bytes(*l));
        // x^128 = x^7 + x^2 + x + 1, without a branch on a secret bit.
        let k1 = Zeroizing::new((*l << 1) ^ ((*l >> 127) * 0b1000_0111));
        Self { aes, k1 }
    }

    /// Encrypts in place and returns the tag.
    #[expect(clippy::expect_used, reason = "LENGTHS")]
    pub(in crate::envelope) fn encrypt(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        plaintext: &mut [u8],
    ) -> [u8; TAG] {
        let (gcm, nonce) = self.of_nonce(nonce);
        let tag = gcm.seal_in_place_separate_tag(nonce, Aad::from(aad), plaintext);
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.expect(LENGTHS).as_ref());
        bytes
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
        let (gcm, nonce) = self.of_nonce(nonce);
        gcm.open_in_place_separate_tag(nonce, Aad::from(aad), tag, ciphertext)
            .map(drop)
            .map_err(|Unspecified| Wrong)
    }

    /// GCM under the nonce's key, and the half of the nonce that GCM takes.
    #[expect(clippy::expect_used, reason = "LENGTHS")]
    fn of_nonce(&self, nonce: &[u8; NONCE]) -> (LessSafeKey, Nonce) {
        let mut key = Zeroizing::new([0; KEY]);
        let (left, right) = key.split_at_mut(KEY / 2);
        left.copy_from_slice(&self.block(1, nonce));
        right.copy_from_slice(&self.block(2, nonce));
        encrypt_blocks(&self.aes, key.as_mut());
        let gcm = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect(LENGTHS);
        let mut half = [0; NONCE_LEN];
        half.copy_from_slice(&nonce[NONCE - NONCE_LEN..]);
        (LessSafeKey::new(gcm), Nonce::assume_unique_for_key(half))
    }

    /// The block that is encrypted into half of a nonce's key.
    fn block(&self, counter: u128, nonce: &[u8; NONCE]) -> [u8; 16] {
        let mut start = [0; 16];
        start.copy_from_slice(&nonce[..16]);
        let n = u128::from_be_bytes(start) >> 32;
        let prefix = (counter << 16) | (u128::from(b'X') << 8);
        (((prefix << 96) | n) ^ *self.k1).to_be_bytes()
    }
}

/// AES-256 of single blocks under one key.
pub(in crate::envelope) struct Block {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl Block {
    #[expect(clippy::expect_used, reason = "LENGTHS")]
    pub(in crate::envelope) fn new(key: &[u8; KEY]) -> Self {
        let unbound = UnboundCipherKey::new(&AES_256, key);
        Self {
            encrypting: encrypting(key),
            decrypting: unbound.and_then(DecryptingKey::ecb).expect(LENGTHS),
        }
    }

    pub(in crate::envelope) fn encrypt(&self, block: &[u8; TAG]) -> [u8; TAG] {
        let mut block = *block;
        encrypt_blocks(&self.encrypting, &mut block);
        block
    }

    #[expect(clippy::expect_used, reason = "LENGTHS")]
    pub(in crate::envelope) fn decrypt(&self, block: &[u8; TAG]) -> [u8; TAG] {
        let mut block = *block;
        let decrypted = self.decrypting.decrypt(&mut block, DecryptionContext::None);
        decrypted.map(drop).expect(LENGTHS);
        block
    }
}

#[expect(clippy::expect_used, reason = "LENGTHS")]
fn encrypting(key: &[u8; KEY]) -> EncryptingKey {
    let unbound = UnboundCipherKey::new(&AES_256, key);
    unbound.and_then(EncryptingKey::ecb).expect(LENGTHS)
}

#[expect(clippy::expect_used, reason = "LENGTHS")]
fn encrypt_blocks(key: &EncryptingKey, blocks: &mut [u8]) {
    let encrypted = key.less_safe_encrypt(blocks, EncryptionContext::None);
    encrypted.map(drop).expect(LENGTHS);
}

/// HMAC-SHA256 under one key.
pub(in crate::envelope) struct Mac(Key);

impl Mac {
    pub(in crate::envelope) fn new(key: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, key))
    }

    /// The mac of all parts, one after the other.
    pub(in crate::envelope) fn sign(&self, parts: &[&[u8]]) -> [u8; KEY] {
        let mut context = Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut mac = [0; KEY];
        mac.copy_from_slice(context.sign().as_ref());
        mac
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
        verify_slices_are_equal(&self.sign(parts), mac).map_err(|Unspecified| Wrong)
    }
}

/// HKDF-Extract. aws-lc-rs does not hand out what it extracts, so this is its definition: an HMAC
/// under the salt.
pub(in crate::envelope) fn extract(salt: &[u8], ikm: &[u8]) -> Zeroizing<[u8; KEY]> {
    Zeroizing::new(Mac::new(salt).sign(&[ikm]))
}

/// HKDF-Expand, for `out` of at most 255 times 32 bytes.
#[expect(clippy::expect_used, reason = "keys and ids have at most 32 bytes")]
pub(in crate::envelope) fn expand(prk: &[u8; KEY], info: &[u8], out: &mut [u8]) {
    Prk::new_less_safe(HKDF_SHA256, prk)
        .expand(&[info], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("few bytes");
}

/// How many bytes to expand to.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
