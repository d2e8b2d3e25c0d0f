//! Each implementation against the published vectors and against each other. With default features
//! there is one.

use proptest::prelude::*;
use xaes_256_gcm::aes_gcm::Aes256Gcm;

use super::*;
use crate::envelope::tests::Sealed;
use crate::vectors::{self, Hex, vectors};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Primitives {
    #[serde(rename = "comment")]
    _comment: String,
    aes_256: Vec<AesVector>,
    hmac_sha256: Vec<HmacVector>,
    hkdf_sha256: Vec<HkdfVector>,
    xaes_256_gcm: Vec<vectors::Xaes>,
}

#[derive(serde::Deserialize)]
struct AesVector {
    key: Hex,
    plaintext: Hex,
    ciphertext: Hex,
}

#[derive(serde::Deserialize)]
struct HmacVector {
    name: String,
    key: Hex,
    data: Hex,
    mac: Hex,
}

#[derive(serde::Deserialize)]
struct HkdfVector {
    name: String,
    ikm: Hex,
    salt: Hex,
    info: Hex,
    prk: Hex,
    okm: Hex,
}

/// All functions of an implementation.
macro_rules! of {
    ($implementation:ident) => {{
        use super::$implementation as it;
        Functions {
            seal: |key, nonce, aad, text| it::Xaes::new(key).encrypt(nonce, aad, text),
            open: |key, nonce, aad, text, tag| {
                it::Xaes::new(key).decrypt(nonce, aad, text, tag).is_ok()
            },
            encrypt: |key, block| it::Block::new(key).encrypt(block),
            decrypt: |key, block| it::Block::new(key).decrypt(block),
            mac: |key, parts| it::Mac::new(key).sign(parts),
            verify: |key, parts, mac| it::Mac::new(key).verify(parts, mac).is_ok(),
            extract: |salt, ikm| *it::extract(salt, ikm),
            expand: |prk, info, out| it::expand(prk, info, out),
        }
    }};
}

#[expect(
    clippy::type_complexity,
    reason = "each type is the function's signature"
)]
#[derive(Clone, Copy)]
struct Functions {
    seal: fn(&[u8; KEY], &[u8; NONCE], &[u8], &mut [u8]) -> [u8; TAG],
    open: fn(&[u8; KEY], &[u8; NONCE], &[u8], &mut [u8], &[u8; TAG]) -> bool,
    encrypt: fn(&[u8; KEY], &[u8; TAG]) -> [u8; TAG],
    decrypt: fn(&[u8; KEY], &[u8; TAG]) -> [u8; TAG],
    mac: fn(&[u8], &[&[u8]]) -> [u8; KEY],
    verify: fn(&[u8], &[&[u8]], &[u8; KEY]) -> bool,
    extract: fn(&[u8], &[u8]) -> [u8; KEY],
    expand: fn(&[u8; KEY], &[u8], &mut [u8]),
}

/// All implementations that are compiled.
fn all() -> Vec<Functions> {
    vec![
        of!(rust_crypto),
        #[cfg(feature = "aws-lc-rs")]
        of!(aws_lc),
    ]
}

/// All pairs of implementations, also of one with itself.
fn pairs() -> impl Iterator<Item = (Functions, Functions)> {
    let all = all();
    all.clone()
        .into_iter()
        .flat_map(move |one| all.clone().into_iter().map(move |other| (one, other)))
}

#[test]
fn the_published_vectors_hold_for_each_implementation() {
    let Primitives {
        aes_256,
        hmac_sha256,
        hkdf_sha256,
        xaes_256_gcm,
        ..
    } = vectors!("primitives.json");
    let counts = [
        aes_256.len(),
        hmac_sha256.len(),
        hkdf_sha256.len(),
        xaes_256_gcm.len(),
    ];
    assert_eq!(counts, [1, 7, 3, 2]);
    for it in all() {
        for vector in &aes_256 {
            let [key, plaintext, ciphertext] = [&vector.key, &vector.plaintext, &vector.ciphertext];
            let (key, plaintext) = (
                key[..].try_into().unwrap(),
                plaintext[..].try_into().unwrap(),
            );
            let block = (it.encrypt)(key, plaintext);
            assert_eq!(block[..], **ciphertext);
            assert_eq!((it.decrypt)(key, &block), *plaintext);
        }
        for vector in &hmac_sha256 {
            let mac = (it.mac)(&vector.key, &[&vector.data]);
            assert!(vector.mac.len() >= 16);
            assert_eq!(mac[..vector.mac.len()], *vector.mac, "{}", vector.name);
        }
        for vector in &hkdf_sha256 {
            let prk = (it.extract)(&vector.salt, &vector.ikm);
            assert_eq!(prk[..], *vector.prk, "{}", vector.name);
            let mut okm = vec![0; vector.okm.len()];
            (it.expand)(&prk, &vector.info, &mut okm);
            assert_eq!(okm, *vector.okm, "{}", vector.name);
        }
        for vector in &xaes_256_gcm {
            let name = &vector.name;
            let key = vector.key[..].try_into().unwrap();
            let nonce = vector.nonce[..].try_into().unwrap();
            let mut text = vector.plaintext.to_vec();
            let tag = (it.seal)(key, nonce, &vector.aad, &mut text);
            assert_eq!(
                (&text[..], &tag[..]),
                (&*vector.ciphertext, &*vector.gcm_tag),
                "{name}"
            );
            assert!(
                (it.open)(key, nonce, &vector.aad, &mut text, &tag),
                "{name}"
            );
            assert_eq!(text, *vector.plaintext, "{name}");
        }
    }
    for vector in xaes_256_gcm {
        let half = &vector.nonce[NONCE / 2..];
        let sealed =
            Sealed::seal::<Aes256Gcm>(&vector.xaes_key, half, &vector.aad, &vector.plaintext);
        assert_eq!(sealed.ciphertext, *vector.ciphertext, "{}", vector.name);
        assert_eq!(sealed.tag[..], *vector.gcm_tag, "{}", vector.name);
    }
}

proptest! {
    #[test]
    fn what_one_implementation_seals_another_opens_and_nothing_else(
        key in any::<[u8; KEY]>(),
        nonce in any::<[u8; NONCE]>(),
        aad in proptest::collection::vec(any::<u8>(), 0..20),
        message in proptest::collection::vec(any::<u8>(), 0..5_000),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        for (one, other) in pairs() {
            let mut text = message.clone();
            let tag = (one.seal)(&key, &nonce, &aad, &mut text);
            let mut wrong = tag;
            wrong[at.index(TAG)] ^= 1 << bit;
            let sealed = text.clone();
            prop_assert!(!(other.open)(&key, &nonce, &aad, &mut text, &wrong));
            text.clone_from(&sealed);
            let mut other_nonce = nonce;
            other_nonce[at.index(NONCE)] ^= 1 << bit;
            prop_assert!(!(other.open)(&key, &other_nonce, &aad, &mut text, &tag));
            text.clone_from(&sealed);
            if !text.is_empty() {
                text[at.index(message.len())] ^= 1 << bit;
                prop_assert!(!(other.open)(&key, &nonce, &aad, &mut text, &tag));
                text.clone_from(&sealed);
            }
            prop_assert!((other.open)(&key, &nonce, &aad, &mut text, &tag));
            prop_assert_eq!(&text, &message);
        }
    }

    #[test]
    fn macs_blocks_and_derived_keys_are_the_same_in_every_implementation(
        key in any::<[u8; KEY]>(),
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..150), 0..4),
        block in any::<[u8; TAG]>(),
        length in 0..300_usize,
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let joined = parts.concat();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for (one, other) in pairs() {
            let mac = (one.mac)(&joined, &parts);
            prop_assert!((other.verify)(&joined, &[&joined], &mac));
            let mut wrong = mac;
            wrong[at.index(KEY)] ^= 1 << bit;
            prop_assert!(!(other.verify)(&joined, &parts, &wrong));
            prop_assert_eq!((other.decrypt)(&key, &(one.encrypt)(&key, &block)), block);
            prop_assert_eq!((one.extract)(&joined, &key), (other.extract)(&joined, &key));
            let expanded = [one, other].map(|it| {
                let mut out = vec![0; length];
                (it.expand)(&key, &joined, &mut out);
                out
            });
            prop_assert_eq!(&expanded[0], &expanded[1]);
        }
    }
}
