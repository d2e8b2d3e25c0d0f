//! Keys and tokens against the vectors, in both directions.

use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aes_gcm::Aes256Gcm;

use super::derive::{extract, key_id, subkey};
use super::token::Parts;
use super::*;
use crate::vectors::{File, Vector, vectors};

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

/// Checks the key that XAES derives for a nonce by encrypting with plain GCM under it.
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
