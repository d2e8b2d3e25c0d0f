//! A nonce that repeats: it gives away GCM's authentication key, and with it forgeries, but not
//! where the tag is enciphered.
//!
//! The tag of one block of ciphertext is `T = A·H³ + C·H² + L·H + mask` in GF(2^128), where H is
//! the authentication key. Two messages of one nonce share A, L, H and the mask, so that
//! `T₁ + T₂ = (C₁ + C₂)·H²`, and every element has one square root. (Joux, *Authentication
//! failures in NIST version of GCM*, 2006.)

use base64::Engine;
use xaes_256_gcm::Xaes256Gcm;

use super::derive::subkey;
use super::token::{BASE64, Parts};
use super::{Sealed, seal};
use crate::envelope::{AppKey, Envelope, Kind, Token, Use};
use crate::error::Refusal;

const SEEN: [&[u8; 16]; 2] = [b"user 1, no admin", b"user 2, no admin"];
const WANTED: &[u8; 16] = b"user 1, an admin";

/// In GF(2^128), with GCM's order of bits: the highest is the coefficient of 1.
pub(super) fn multiply(a: u128, mut b: u128) -> u128 {
    let mut product = 0;
    for bit in (0..128).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        let carry = b & 1;
        b >>= 1;
        if carry == 1 {
            b ^= 0xe1 << 120;
        }
    }
    product
}

fn square(a: u128) -> u128 {
    multiply(a, a)
}

/// The 127th square: squaring it once more gives `a` back.
fn square_root(a: u128) -> u128 {
    (0..127).fold(a, |a, _| square(a))
}

/// `a` to the power of 2^128 - 2.
fn inverse(a: u128) -> u128 {
    let ones = (0..126).fold(a, |power, _| multiply(square(power), a));
    square(ones)
}

pub(super) fn block(bytes: &[u8]) -> u128 {
    let mut block = [0; 16];
    block[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(block)
}

fn ghash(key: u128, aad: &[u8], ciphertext: &[u8]) -> u128 {
    let bits = |bytes: &[u8]| u128::try_from(bytes.len() * 8).unwrap();
    let lengths = bits(aad) << 64 | bits(ciphertext);
    aad.chunks(16)
        .chain(ciphertext.chunks(16))
        .map(block)
        .chain([lengths])
        .fold(0, |hash, block| multiply(hash ^ block, key))
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// The knowledge of an attacker who has seen two messages of one block each, under the same nonce.
#[derive(PartialEq, Debug)]
struct Attacker<'a> {
    aad: &'a [u8],
    hash_key: u128,
    mask: u128,
    keystream: Vec<u8>,
}

impl<'a> Attacker<'a> {
    fn who_saw(seen: &[Sealed; 2], aad: &'a [u8]) -> Self {
        let [first, second] = seen;
        let tags = block(&first.tag) ^ block(&second.tag);
        let ciphertexts = block(&first.ciphertext) ^ block(&second.ciphertext);
        let hash_key = square_root(multiply(tags, inverse(ciphertexts)));
        Self {
            aad,
            hash_key,
            mask: block(&first.tag) ^ ghash(hash_key, aad, &first.ciphertext),
            keystream: xor(&first.ciphertext, SEEN[0]),
        }
    }

    fn tag_of(&self, ciphertext: &[u8]) -> u128 {
        ghash(self.hash_key, self.aad, ciphertext) ^ self.mask
    }

    /// The wanted text, under a tag of its own.
    fn with_a_new_tag(&self) -> Sealed {
        let ciphertext = xor(WANTED, &self.keystream);
        let tag = self.tag_of(&ciphertext).to_be_bytes();
        Sealed { ciphertext, tag }
    }

    /// The wanted text and a block that makes the tag come out as `tag`.
    fn under_the_tag(&self, tag: [u8; 16]) -> Sealed {
        let mut ciphertext = xor(WANTED, &self.keystream);
        ciphertext.extend_from_slice(&[0; 16]);
        let gap = self.tag_of(&ciphertext) ^ block(&tag);
        let last = multiply(gap, inverse(square(self.hash_key)));
        ciphertext[16..].copy_from_slice(&last.to_be_bytes());
        Sealed { ciphertext, tag }
    }
}

/// The token with another ciphertext and tag between its nonce and its mac.
fn spliced(token: &str, forged: &Sealed) -> String {
    let mut bytes = BASE64.decode(token).unwrap();
    let Parts {
        head, nonce, mac, ..
    } = Parts::of(&mut bytes).unwrap();
    BASE64.encode([&head[..], nonce, &forged.ciphertext, &forged.tag, mac].concat())
}

#[test]
fn a_nonce_that_repeats_gives_forgeries_against_plain_gcm_and_none_against_ours() {
    let key = AppKey::generate().unwrap();
    let used_for = Use {
        kind: Kind::Token,
        name: "rights".to_owned(),
        context: String::new(),
    };
    let nonce = [0x2a; 24];
    let enc = subkey(key.prk(), "enc", &used_for);
    let aad = [&[1], &key.id().as_bytes()[..]].concat();
    let envelope = Envelope::new(&key.into(), used_for);

    let ours = SEEN.map(|message| seal(&envelope, message, &nonce));
    let on_the_wire = ours.each_ref().map(|token| {
        let mut token = Token::parse(token).unwrap();
        let parts = Parts::of(token.bytes_mut()).unwrap();
        Sealed {
            ciphertext: parts.ciphertext.to_vec(),
            tag: *parts.tag,
        }
    });
    let twins = SEEN.map(|message| Sealed::seal::<Xaes256Gcm>(&enc[..], &nonce, &aad, message));
    assert!((0..2).all(|n| twins[n].ciphertext == on_the_wire[n].ciphertext));

    // The attack of the textbooks works against plain GCM, the twin: it finds the key, and every
    // forgery opens.
    let attacker = Attacker::who_saw(&twins, &aad);
    for forged in [
        attacker.with_a_new_tag(),
        attacker.under_the_tag(twins[0].tag),
    ] {
        let opened = forged.open::<Xaes256Gcm>(&enc[..], &nonce, &aad).unwrap();
        assert_eq!(opened[..16], *WANTED);
        assert!(!twins.contains(&forged));
    }

    // The same attack fails against our tokens: it finds something else than the key, and no
    // forgery opens.
    let misled = Attacker::who_saw(&on_the_wire, &aad);
    assert_ne!(misled.hash_key, attacker.hash_key);
    let kept = misled.under_the_tag(on_the_wire[0].tag);
    for (forged, reason) in [
        (misled.with_a_new_tag(), Refusal::Forged),
        (kept, Refusal::Corrupt),
    ] {
        let token = spliced(&ours[0], &forged);
        let opened = envelope.open(token.as_bytes(), token.len());
        assert_eq!(opened.map(drop), Err(reason));
    }

    // The enciphered tag alone prevents it. With the twin's key, which nobody can find without the
    // twin's tags, a forged ciphertext under a genuine tag and mac would open.
    let mut informed = attacker.under_the_tag(twins[0].tag);
    informed.tag = on_the_wire[0].tag;
    let token = spliced(&ours[0], &informed);
    let opened = envelope.open(token.as_bytes(), token.len()).unwrap();
    assert_eq!(opened.plaintext[..16], *WANTED);
}
