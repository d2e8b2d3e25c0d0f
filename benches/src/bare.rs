//! The primitives of a token, one after the other with nothing around them: as docs/format.md
//! has them, with published crates, called in the manner of the library.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::engine::{self, Engine, general_purpose};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::AeadInOut;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: std::sync::LazyLock<engine::simd::Simd> =
    std::sync::LazyLock::new(|| engine::simd::Simd::url_safe(general_purpose::NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64: engine::GeneralPurpose = general_purpose::URL_SAFE_NO_PAD;

pub struct Bare {
    /// Version and key id.
    head: [u8; 5],
    enc: Xaes256Gcm,
    mac: Hmac<Sha256>,
    tag: Aes256,
}

impl Bare {
    /// The keys of one cookie, without a context.
    pub fn new(app_key: &[u8], cookie: &str) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(b"sealed-session/v1"), app_key);
        let expand = |parts: &[&str], out: &mut [u8]| {
            let mut info = Vec::new();
            for part in parts {
                info.extend((part.len() as u16).to_be_bytes());
                info.extend(part.as_bytes());
            }
            hkdf.expand(&info, out).unwrap();
        };
        let subkey = |label| {
            let mut subkey = [0; 32];
            expand(&[label, "cookie", cookie, ""], &mut subkey);
            subkey
        };
        let mut head = [1; 5];
        expand(&["kid"], &mut head[1..]);
        Self {
            head,
            enc: Xaes256Gcm::new(&Array(subkey("enc"))),
            mac: Hmac::new_from_slice(&subkey("mac")).unwrap(),
            tag: Aes256::new(&Array(subkey("tag"))),
        }
    }

    /// The plaintext alone, if mac and tag are right.
    pub fn plaintext(&self, token: &[u8]) -> Option<Vec<u8>> {
        let bytes = self.open(token)?;
        Some(bytes[29..bytes.len() - 48].to_vec())
    }

    /// The token's bytes with the plaintext where the ciphertext was.
    pub fn open(&self, token: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = decode(token)?;
        let (head, rest) = bytes.split_first_chunk_mut::<5>()?;
        let (nonce, rest) = rest.split_first_chunk_mut::<24>()?;
        let (rest, mac) = rest.split_last_chunk_mut::<32>()?;
        let (ciphertext, tag) = rest.split_last_chunk_mut::<16>()?;
        self.mac_of(head, nonce, tag).verify_slice(mac).ok()?;
        let mut tag = Array(*tag);
        self.tag.decrypt_block(&mut tag);
        self.enc
            .decrypt_inout_detached(&Array(*nonce), head, ciphertext.into(), &tag)
            .ok()?;
        Some(bytes)
    }

    /// The token's characters.
    pub fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).unwrap();
        let mut bytes = Vec::with_capacity(plaintext.len() + 77);
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        let mut tag = self
            .enc
            .encrypt_inout_detached(&Array(nonce), &self.head, (&mut bytes[29..]).into())
            .unwrap();
        self.tag.encrypt_block(&mut tag);
        bytes.extend_from_slice(&tag);
        let mac = self.mac_of(&self.head, &nonce, &tag).finalize();
        bytes.extend_from_slice(&mac.into_bytes());
        let mut token = vec![0; base64::encoded_len(bytes.len(), false).unwrap()];
        BASE64.encode_slice(&bytes, &mut token).unwrap();
        token
    }

    /// Whether the mac is right, told by a comparison that stops at the first wrong byte: what
    /// an implementation must not do, and what a timing test must be able to see.
    pub fn stops_at_the_first_wrong(&self, token: &[u8]) -> bool {
        let bytes = decode(token).unwrap();
        let (rest, mac) = bytes.split_last_chunk::<32>().unwrap();
        let (rest, tag) = rest.split_last_chunk::<16>().unwrap();
        let right = self.mac_of(&rest[..5], &rest[5..29], tag).finalize();
        let mut pairs = right.as_bytes().iter().zip(mac);
        pairs.all(|(right, found)| std::hint::black_box(right == found))
    }

    fn mac_of(&self, head: &[u8], nonce: &[u8], tag: &[u8]) -> Hmac<Sha256> {
        self.mac
            .clone()
            .chain_update(head)
            .chain_update(nonce)
            .chain_update(tag)
    }
}

pub(crate) fn decode(token: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(base64::decoded_len_estimate(token.len()));
    BASE64.decode_vec(token, &mut bytes).ok()?;
    Some(bytes)
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}
