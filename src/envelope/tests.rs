use xaes_256_gcm::aead::{AeadInOut, KeyInit};

use super::*;
use crate::vectors::given;

mod attacks;
mod repeated_nonce;
mod same_mac;
mod vectors;

/// A ciphertext and its tag, of GCM or XAES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; 16],
}

impl Sealed {
    pub(super) fn seal<C: AeadInOut + KeyInit>(
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Self {
        let mut ciphertext = plaintext.to_vec();
        let tag = C::new_from_slice(key)
            .unwrap()
            .encrypt_inout_detached(
                &nonce.try_into().unwrap(),
                aad,
                ciphertext.as_mut_slice().into(),
            )
            .unwrap();
        let tag = tag[..].try_into().unwrap();
        Self { ciphertext, tag }
    }

    /// The plaintext, if the tag is right.
    fn open<C: AeadInOut + KeyInit>(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Option<Vec<u8>> {
        let mut plaintext = self.ciphertext.clone();
        let opened = C::new_from_slice(key).unwrap().decrypt_inout_detached(
            &nonce.try_into().unwrap(),
            aad,
            plaintext.as_mut_slice().into(),
            &self.tag[..].try_into().unwrap(),
        );
        opened.is_ok().then_some(plaintext)
    }
}

/// `plaintext` in a token under the ring's sealing key and this nonce.
fn seal(envelope: &Envelope, plaintext: &[u8], nonce: &[u8]) -> String {
    let mut token = String::new();
    let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(plaintext);
    envelope
        .seal_into(&mut token, plaintext.len(), write, &mut given([nonce]))
        .unwrap();
    token
}

#[test]
fn debug_and_lengths_tell_things_apart_and_show_nothing_else() {
    let key = AppKey::generate().unwrap();
    let id = key.id();
    let sealer = Sealer::new(key.clone(), "export").unwrap();
    let token = sealer.seal(b"secret").unwrap();
    let used_for = Use {
        kind: Kind::Token,
        name: "export".to_owned(),
        context: String::new(),
    };
    let keys = UseKeys::derive(&key, &used_for);
    let plaintext = sealer.open(&token).unwrap();
    let token = Token::parse(&token).unwrap();
    assert_eq!((token.len(), token.plaintext_len()), (83, 6));
    for (shown, expected) in [
        (format!("{key:?}"), format!("AppKey {{ id: {id}, .. }}")),
        (format!("{keys:?}"), format!("UseKeys {{ id: {id}, .. }}")),
        (
            format!("{sealer:?}"),
            "Sealer { purpose: \"export\", .. }".to_owned(),
        ),
        (
            format!("{token:?}"),
            format!("Token {{ version: 1, key_id: {id}, plaintext_len: 6, .. }}"),
        ),
        (format!("{plaintext:?}"), "Plaintext(6 bytes)".to_owned()),
    ] {
        assert_eq!(shown, expected);
    }
}

#[test]
fn opened_bytes_are_the_same_in_every_view() {
    let opened = Plaintext::from_vec(b"42".to_vec());
    let view: &[u8] = opened.as_ref();
    assert_eq!((view, &*opened), (&b"42"[..], &b"42"[..]));
}
