//! What a mac commits to: with the rest of its token, to one key, use, nonce and plaintext; by
//! itself, to no plaintext.
//!
//! It is computed over the tag and not over the ciphertext, and GCM's tag is a polynomial of the
//! ciphertext, `C₁·H³ + C₂·H² + L·H + A`. Whoever has the key has H, and can change one block by
//! `d` if the next one changes by `d·H`.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use base64::Engine;

use super::derive::subkey;
use super::repeated_nonce::{block, multiply};
use super::seal;
use super::token::{BASE64, Parts};
use crate::envelope::{AppKey, Envelope, Kind, Use};
use crate::error::Refusal;

const NONCE: [u8; 24] = [0x2a; 24];
const FIRST: &[u8; 32] = b"user 1, no admin; and what else?";
const WANTED: &[u8; 16] = b"user 1, an admin";

fn used_for(name: &str) -> Use {
    Use {
        kind: Kind::Token,
        name: name.to_owned(),
        context: String::new(),
    }
}

fn encrypt(key: &[u8; 32], mut block: [u8; 16]) -> [u8; 16] {
    let mut encrypted = Array(block);
    Aes256::new(&Array(*key)).encrypt_block(&mut encrypted);
    block.copy_from_slice(&encrypted);
    block
}

/// GCM's authentication key: zeros under the key that XAES derives from the nonce's first half.
fn hash_key(enc: &[u8; 32]) -> u128 {
    let l = u128::from_be_bytes(encrypt(enc, [0; 16]));
    let k1 = (l << 1) ^ if l >> 127 == 1 { 0x87 } else { 0 };
    let half = |counter: u8| {
        let mut input = [0, counter, 0x58, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        input[4..].copy_from_slice(&NONCE[..12]);
        encrypt(enc, (u128::from_be_bytes(input) ^ k1).to_be_bytes())
    };
    let derived = [half(1), half(2)].concat();
    u128::from_be_bytes(encrypt(&derived.try_into().unwrap(), [0; 16]))
}

/// Nonce, tag and mac of a token.
fn ends(token: &str) -> ([u8; 24], [u8; 16], [u8; 32]) {
    let mut bytes = BASE64.decode(token).unwrap();
    let parts = Parts::of(&mut bytes).unwrap();
    (*parts.nonce, *parts.tag, *parts.mac)
}

#[test]
fn two_tokens_by_somebody_with_the_key_share_nonce_tag_and_mac_and_each_opens_to_one_plaintext() {
    let key = AppKey::generate().unwrap();
    let envelope = Envelope::new(&key.clone().into(), used_for("rights"));
    let first = seal(&envelope, FIRST, &NONCE);

    let mut bytes = BASE64.decode(&first).unwrap();
    let parts = Parts::of(&mut bytes).unwrap();
    let change = block(WANTED) ^ block(&FIRST[..16]);
    let next = multiply(
        change,
        hash_key(&subkey(key.prk(), "enc", &used_for("rights"))),
    );
    let changes = [change.to_be_bytes(), next.to_be_bytes()].concat();
    for (byte, change) in parts.ciphertext.iter_mut().zip(&changes) {
        *byte ^= change;
    }
    let second = BASE64.encode(&bytes);

    // Two different tokens have the same mac, so it is no fingerprint.
    assert_ne!(first, second);
    assert_eq!(ends(&first), ends(&second));
    let open = |envelope: &Envelope, token: &str| {
        let opened = envelope.open(token.as_bytes(), token.len());
        opened.map(|opened| opened.plaintext.to_vec())
    };
    assert_eq!(open(&envelope, &first), Ok(FIRST.to_vec()));
    assert_eq!(open(&envelope, &second).unwrap()[..16], *WANTED);

    // Each token opens under one key and for one use.
    let others = [
        (AppKey::generate().unwrap(), "rights", Refusal::UnknownKey),
        (key, "invitation", Refusal::Forged),
    ];
    for (key, name, refusal) in others {
        let envelope = Envelope::new(&key.into(), used_for(name));
        for token in [&first, &second] {
            assert_eq!(open(&envelope, token), Err(refusal));
        }
    }
}
