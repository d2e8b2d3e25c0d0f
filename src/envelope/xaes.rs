//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>): AES-256-GCM with a separate key for each nonce,
//! so that nonces may be random.
//!
//! ```text
//! nonce   = N ‖ n, of 12 bytes each
//! K1      = x · AES-256(K, 0) in GF(2^128)
//! K_nonce = AES-256(K, 00 01 'X' 00 ‖ N  ⊕  K1)  ‖  AES-256(K, 00 02 'X' 00 ‖ N  ⊕  K1)
//! result  = AES-256-GCM(K_nonce, n)
//! ```

use std::mem::ManuallyDrop;

use aes::Aes256Enc;
use aes::cipher::consts::{U12, U16};
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::AesGcm;
use aes_gcm::aead::{AeadInOut, Error};
use zeroize::Zeroizing;

use super::token::{NONCE, TAG};

type Gcm = AesGcm<Aes256Enc, U12>;

/// Half of the nonce. GCM takes one half, and the key's derivation the other.
const HALF: usize = NONCE / 2;

/// A key, ready for work.
pub(super) struct Xaes {
    aes: Aes256Enc,
    k1: Zeroizing<u128>,
    /// GCM under the key of zeros.
    blank: Gcm,
}

impl Xaes {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let aes = Aes256Enc::new(key.into());
        let mut l = Array([0; 16]);
        aes.encrypt_block(&mut l);
        let l = u128::from_be_bytes(l.into());
        // x^128 = x^7 + x^2 + x + 1, without a branch on a secret bit.
        let k1 = Zeroizing::new((l << 1) ^ ((l >> 127) * 0b1000_0111));
        let blank = Gcm::new(&Array([0; 32]));
        Self { aes, k1, blank }
    }

    /// Encrypts in place and returns the tag.
    ///
    /// # Errors
    ///
    /// If the plaintext is beyond GCM's limit of 64 GiB.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        plaintext: &mut [u8],
    ) -> Result<[u8; TAG], Error> {
        let OfNonce { gcm, .. } = &self.of_nonce(nonce);
        let tag = gcm.encrypt_inout_detached(&second_half(nonce), aad, plaintext.into());
        tag.map(Into::into)
    }

    /// Decrypts in place if the tag is right. It compares the tag in constant time.
    ///
    /// # Errors
    ///
    /// If the tag is wrong. Then nothing has been decrypted.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        ciphertext: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Error> {
        let OfNonce { gcm, .. } = &self.of_nonce(nonce);
        let nonce = second_half(nonce);
        gcm.decrypt_inout_detached(&nonce, aad, ciphertext.into(), &Array(*tag))
    }

    fn of_nonce(&self, nonce: &[u8; NONCE]) -> OfNonce<'_> {
        let mut key = Array([0; 32]);
        let (first, second) = key.split_at_mut(16);
        let mut blocks = [1, 2].map(|counter| self.block(counter, nonce));
        self.aes.encrypt_blocks(&mut blocks);
        let [left, right] = &mut blocks;
        first.copy_from_slice(left);
        second.copy_from_slice(right);
        let gcm = ManuallyDrop::new(Gcm::new(&key));
        for secret in [&mut key[..], left, right] {
            secret.fill(0);
            zeroize::optimization_barrier(secret);
        }
        let blank = &self.blank;
        OfNonce { gcm, blank }
    }

    /// The block that is encrypted into half of a nonce's key.
    fn block(&self, counter: u128, nonce: &[u8; NONCE]) -> Array<u8, U16> {
        let mut start = [0; 16];
        start.copy_from_slice(&nonce[..16]);
        let n = u128::from_be_bytes(start) >> 32;
        let prefix = (counter << 16) | (u128::from(b'X') << 8);
        Array((((prefix << 96) | n) ^ *self.k1).to_be_bytes())
    }
}

/// GCM under the key of one nonce. On drop, GCM under the key of zeros overwrites it.
///
/// GCM's own destructor never runs. It writes its thousand bytes of zeros one by one, which takes
/// longer than encrypting a short session.
struct OfNonce<'a> {
    gcm: ManuallyDrop<Gcm>,
    blank: &'a Gcm,
}

impl OfNonce<'_> {
    fn overwrite(&mut self) {
        self.gcm = ManuallyDrop::new(self.blank.clone());
        zeroize::optimization_barrier(&self.gcm);
    }
}

impl Drop for OfNonce<'_> {
    fn drop(&mut self) {
        self.overwrite();
    }
}

fn second_half(nonce: &[u8; NONCE]) -> Array<u8, U12> {
    let mut half = [0; HALF];
    half.copy_from_slice(&nonce[HALF..]);
    Array(half)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xaes_256_gcm::Xaes256Gcm;

    use super::*;

    proptest! {
        #[test]
        fn any_message_is_sealed_as_by_another_implementation_and_opens_again(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; NONCE]>(),
            aad in any::<[u8; 5]>(),
            message in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut theirs = message.clone();
            let their_tag = Xaes256Gcm::new(&Array(key))
                .encrypt_inout_detached(&Array(nonce), &aad, theirs.as_mut_slice().into())
                .unwrap();
            let xaes = Xaes::new(&key);
            let mut ours = message.clone();
            let tag = xaes.encrypt(&nonce, &aad, &mut ours).unwrap();
            prop_assert_eq!((&ours, tag), (&theirs, their_tag.into()));

            let mut wrong = tag;
            wrong[usize::from(nonce[0] % 16)] ^= 1 << (key[0] % 8);
            prop_assert!(xaes.decrypt(&nonce, &aad, &mut ours, &wrong).is_err());
            prop_assert_eq!(&ours, &theirs);
            xaes.decrypt(&nonce, &aad, &mut ours, &tag).unwrap();
            prop_assert_eq!(ours, message);
        }
    }

    #[test]
    fn nothing_of_a_nonces_key_is_left_when_it_is_overwritten() {
        let xaes = Xaes::new(&[7; 32]);
        let mut of_nonce = xaes.of_nonce(&[9; NONCE]);
        let sealed = |gcm: &Gcm| {
            let mut message = [0; 20];
            let tag = gcm.encrypt_inout_detached(&Array([1; HALF]), &[], (&mut message[..]).into());
            (message, tag)
        };
        let zeros = sealed(&Gcm::new(&Array([0; 32])));
        assert_ne!(sealed(&of_nonce.gcm), zeros);
        of_nonce.overwrite();
        assert_eq!(sealed(&of_nonce.gcm), zeros);
    }
}
