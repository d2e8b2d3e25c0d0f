//! Keys and tokens against the vectors, in both directions, and the primitives against the
//! vectors that their authors published.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aes_gcm::Aes256Gcm;

use super::derive::{extract, key_id, subkey};
use super::token::Parts;
use super::*;
use crate::vectors::{File, Hex, Vector, Xaes, vectors};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Primitives {
    #[serde(rename = "comment")]
    _comment: String,
    aes_256: Vec<AesVector>,
    hmac_sha256: Vec<HmacVector>,
    hkdf_sha256: Vec<HkdfVector>,
    xaes_256_gcm: Vec<Xaes>,
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

/// Every token of the vectors that opens: sessions, a Sealer's, and those of the collisions.
fn tokens() -> Vec<Vector> {
    let files: Vec<File> = vec![
        vectors!("sessions.json"),
        vectors!("sealer.json"),
        vectors!("collision.json"),
        #[cfg(feature = "redis")]
        vectors!("revocations.json"),
        #[cfg(feature = "managed-keys")]
        vectors!("keys.json"),
        #[cfg(feature = "device-bound")]
        vectors!("device.json"),
    ];
    let of_a_fleet = if cfg!(feature = "redis") { 11 } else { 0 };
    let rings = if cfg!(feature = "managed-keys") { 7 } else { 0 };
    let of_devices = if cfg!(feature = "device-bound") {
        12
    } else {
        0
    };
    let all: Vec<_> = files.into_iter().flat_map(|file| file.vectors).collect();
    assert_eq!(all.len(), 56 + 16 + 4 + of_a_fleet + rings + of_devices);
    all
}

#[test]
fn the_published_vectors_hold_for_what_is_in_use() {
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

    for vector in aes_256 {
        let aes = Aes256::new_from_slice(&vector.key).unwrap();
        let mut block = Array(vector.plaintext[..].try_into().unwrap());
        aes.encrypt_block(&mut block);
        assert_eq!(block[..], *vector.ciphertext);
        aes.decrypt_block(&mut block);
        assert_eq!(block[..], *vector.plaintext);
    }
    for vector in hmac_sha256 {
        let mac = Hmac::<Sha256>::new_from_slice(&vector.key).unwrap();
        let mac = mac.chain_update(&vector.data[..]).finalize().into_bytes();
        assert!(vector.mac.len() >= 16);
        assert_eq!(mac[..vector.mac.len()], *vector.mac, "{}", vector.name);
    }
    for vector in hkdf_sha256 {
        let (prk, hkdf) = Hkdf::<Sha256>::extract(Some(&vector.salt), &vector.ikm);
        let mut okm = vec![0; vector.okm.len()];
        hkdf.expand(&vector.info, &mut okm).unwrap();
        assert_eq!(
            (&prk[..], okm),
            (&*vector.prk, vector.okm.0),
            "{}",
            vector.name
        );
    }
    for vector in xaes_256_gcm {
        let stated = Sealed {
            ciphertext: vector.ciphertext.0,
            tag: vector.gcm_tag[..].try_into().unwrap(),
        };
        let Xaes {
            key,
            nonce,
            aad,
            plaintext,
            xaes_key,
            name,
            ..
        } = vector;
        let sealed = Sealed::seal::<Xaes256Gcm>(&key, &nonce, &aad, &plaintext);
        assert_eq!(sealed, stated, "{name}");
        let ours = xaes::Xaes::new(key[..].try_into().unwrap());
        let mut ciphertext = plaintext.to_vec();
        let tag = ours.encrypt(nonce[..].try_into().unwrap(), &aad, &mut ciphertext);
        let sealed = tag.map(|tag| Sealed { ciphertext, tag });
        assert_eq!(sealed.unwrap(), stated, "{name}");
        let opened = stated.open::<Xaes256Gcm>(&key, &nonce, &aad);
        assert_eq!(opened, Some(plaintext.to_vec()), "{name}");
        let sealed = Sealed::seal::<Aes256Gcm>(&xaes_key, &nonce[12..], &aad, &plaintext);
        assert_eq!(sealed, stated, "{name}");
    }
}

#[test]
fn every_app_key_gives_the_stated_prk_id_and_subkeys() {
    for vector in tokens() {
        let prk = extract(&vector.app_key);
        assert_eq!(prk[..], *vector.prk, "{vector}");
        assert_eq!(key_id(&prk)[..], *vector.key_id, "{vector}");
        let key = vector.app_key();
        assert_eq!(*key.id().as_bytes(), key_id(&prk), "{vector}");
        assert_eq!(vector.subkeys.len(), 3, "{vector}");
        for (label, stated) in &vector.subkeys {
            let subkey = subkey(key.prk(), label, &vector.used_for());
            assert_eq!(subkey[..], **stated, "{vector}, {label}");
        }
    }
}

/// The key that XAES derives for a nonce shows in what plain GCM makes under it.
#[test]
fn every_nonce_gives_the_stated_xaes_key_gcm_tag_and_ciphertext() {
    for vector in tokens() {
        let mut token = Token::parse_bytes(vector.token.as_bytes(), usize::MAX).unwrap();
        let parts = Parts::of(token.bytes_mut()).unwrap();
        let (nonce, plaintext) = (&vector.nonce, &vector.plaintext);
        assert_eq!(parts.nonce[..], **nonce, "{vector}");
        let under_enc =
            Sealed::seal::<Xaes256Gcm>(&vector.subkeys["enc"], nonce, parts.head, plaintext);
        assert_eq!(under_enc.tag[..], *vector.gcm_tag, "{vector}");
        assert_eq!(under_enc.ciphertext, parts.ciphertext, "{vector}");
        let under_xaes_key =
            Sealed::seal::<Aes256Gcm>(&vector.xaes_key, &nonce[12..], parts.head, plaintext);
        assert_eq!(under_xaes_key, under_enc, "{vector}");
    }
}

#[test]
fn every_plaintext_and_nonce_make_the_token_to_the_character() {
    for vector in tokens() {
        let sealing = Envelope::new(&vector.app_key().into(), vector.used_for());
        let token = seal(&sealing, &vector.plaintext, &vector.nonce);
        assert_eq!(token, vector.token, "{vector}");
        assert_eq!(token.len(), encoded_len(vector.plaintext.len()), "{vector}");
    }
}

#[test]
fn every_token_opens_to_its_plaintext_in_the_stated_role() {
    for vector in tokens() {
        let opened = vector.open().unwrap();
        assert_eq!(*opened.plaintext, *vector.plaintext, "{vector}");
        let role = if opened.under_sealing_key {
            "sealing"
        } else {
            "accepted"
        };
        assert_eq!(role, vector.opened_under, "{vector}");
    }
}
