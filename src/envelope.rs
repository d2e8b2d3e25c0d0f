//! The envelope seals bytes into a token and opens them again. Only this folder ever sees key
//! bytes.
//!
//! ```text
//! token = base64url, no padding, of
//!
//!   offset  bytes
//!        0      1  version     0x01
//!        1      4  key_id      which app key sealed it
//!        5     24  nonce       random, fresh for each seal
//!       29      n  ciphertext  XAES-256-GCM, as long as the plaintext
//!     29+n     16  tag         of XAES-256-GCM, enciphered with one block of AES-256
//!     45+n     32  mac         HMAC-SHA256(version ‖ key_id ‖ nonce ‖ tag)
//! ```

mod cipher;
mod derive;
#[cfg(feature = "managed-keys")]
mod guard;
mod key;
mod keyring;
mod plaintext;
mod primitives;
mod random;
#[cfg(feature = "managed-keys")]
mod root;
mod sealer;
mod sharded;
mod source;
mod token;

use base64::Engine;

pub use key::{AppKey, KeyError, KeyId};
pub use keyring::KeyRing;
pub use plaintext::Plaintext;
pub use sealer::Sealer;
pub use source::Keys;
pub use token::Token;

#[cfg(feature = "server")]
pub(crate) use cipher::Hidden;
pub(crate) use derive::{Kind, MAX_LABEL, Use};
#[cfg(feature = "managed-keys")]
pub(crate) use guard::{Guard, Watch};
#[cfg(all(test, feature = "settings"))]
pub(crate) use keyring::KEY_VARIABLES;
pub(crate) use random::{Random, os_random};
#[cfg(feature = "managed-keys")]
pub(crate) use root::Root;
pub(crate) use sealer::check_context;
#[cfg(all(feature = "managed-keys", feature = "server"))]
pub(crate) use source::CatchUp;
#[cfg(feature = "managed-keys")]
pub(crate) use source::KeptKeys;
pub(crate) use source::{Kept, TakesKeys, in_turn};
pub(crate) use token::encoded_len;

use crate::error::{NotSealed, Refusal};
use cipher::UseKeys;
use sharded::Sharded;

/// The keys of one ring, derived for one use. They are made once for each store and ring, not for
/// each request. You can replace the ring while others seal and open.
#[derive(Debug)]
pub(crate) struct Envelope {
    used_for: Use,
    keys: Sharded<RingKeys>,
}

/// The derived keys of a ring.
#[derive(Debug)]
struct RingKeys {
    sealing: UseKeys,
    accepted: Vec<UseKeys>,
    #[cfg(feature = "managed-keys")]
    guard: Option<Guard>,
}

impl RingKeys {
    fn derive(ring: &KeyRing, used_for: &Use) -> Self {
        let derive = |key| UseKeys::derive(key, used_for);
        Self {
            sealing: derive(ring.sealing()),
            accepted: ring.accepted().iter().map(derive).collect(),
            #[cfg(feature = "managed-keys")]
            guard: ring.guard().cloned(),
        }
    }

    fn find(&self, id: KeyId) -> Option<&UseKeys> {
        let mut keys = std::iter::once(&self.sealing).chain(&self.accepted);
        keys.find(|keys| keys.id == id)
    }

    #[cfg(feature = "managed-keys")]
    fn check_sealing(&self) -> Result<(), NotSealed> {
        match &self.guard {
            Some(guard) if !guard.may_seal() => Err(NotSealed::NoKey),
            _ => Ok(()),
        }
    }

    #[cfg(feature = "managed-keys")]
    fn check_opening(&self) -> Result<(), Refusal> {
        match &self.guard {
            Some(guard) if !guard.may_open() => Err(Refusal::StaleKeys),
            _ => Ok(()),
        }
    }

    /// Reports that a token came under a key that is not in the ring.
    fn misses(&self, _id: KeyId) -> Refusal {
        #[cfg(feature = "managed-keys")]
        if let Some(guard) = &self.guard {
            guard.misses(_id);
        }
        Refusal::UnknownKey
    }
}

/// An opened token, which key sealed it, and whether that is the sealing key.
pub(crate) struct Opened {
    pub(crate) plaintext: Plaintext,
    pub(crate) key: KeyId,
    pub(crate) under_sealing_key: bool,
}

impl Envelope {
    pub(crate) fn new(ring: &KeyRing, used_for: Use) -> Self {
        let keys = Sharded::new(RingKeys::derive(ring, &used_for));
        Self { used_for, keys }
    }

    pub(crate) fn replace_keys(&self, ring: &KeyRing) {
        self.keys.replace(RingKeys::derive(ring, &self.used_for));
    }

    /// Appends a token to `out`. `write` appends its `length` bytes of plaintext to the given
    /// buffer.
    pub(crate) fn seal_into(
        &self,
        out: &mut String,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
        random: Random<'_>,
    ) -> Result<(), NotSealed> {
        token::BASE64.encode_string(self.seal(length, write, random)?, out);
        Ok(())
    }

    /// Appends the token as bytes, which saves the check that they are text.
    pub(crate) fn seal_into_bytes(
        &self,
        out: &mut Vec<u8>,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
        random: Random<'_>,
    ) -> Result<(), NotSealed> {
        let token = self.seal(length, write, random)?;
        let start = out.len();
        out.resize(start + encoded_len(length), 0);
        let place = out.get_mut(start..).unwrap_or_default();
        // This does not fail, because `place` has the length of the text.
        let _ = token::BASE64.encode_slice(token, place);
        Ok(())
    }

    fn seal(
        &self,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
        random: Random<'_>,
    ) -> Result<Vec<u8>, NotSealed> {
        let mut nonce = [0; token::NONCE];
        random(&mut nonce)?;
        let keys = self.keys.read();
        #[cfg(feature = "managed-keys")]
        keys.check_sealing()?;
        Ok(keys.sealing.seal(length, write, &nonce))
    }

    /// A keyed hash of a name, which a backend may see, under the sealing key. `None` unless the
    /// envelope is for a backend.
    #[cfg(feature = "server")]
    pub(crate) fn hidden(&self, kind: Hidden, name: &str) -> Option<[u8; 32]> {
        self.keys.read().sealing.hide(kind, name)
    }

    /// The same hash under each key of the ring.
    #[cfg(feature = "server")]
    pub(crate) fn hidden_under_all(&self, kind: Hidden, name: &str) -> Vec<[u8; 32]> {
        let keys = self.keys.read();
        let keys = std::iter::once(&keys.sealing).chain(&keys.accepted);
        keys.filter_map(|keys| keys.hide(kind, name)).collect()
    }

    /// Whether the ring has each of these keys.
    pub(crate) fn has_all(&self, keys: &[Option<KeyId>]) -> bool {
        let mut keys = keys.iter().flatten().peekable();
        if keys.peek().is_none() {
            return true;
        }
        let ring = self.keys.read();
        keys.all(|key| ring.find(*key).is_some())
    }

    /// The key that seals.
    #[cfg(feature = "server")]
    pub(crate) fn sealing_key(&self) -> KeyId {
        self.keys.read().sealing.id
    }

    /// Opens `token` if it has at most `max_length` characters.
    pub(crate) fn open(&self, token: &[u8], max_length: usize) -> Result<Opened, Refusal> {
        let mut token = Token::parse_bytes(token, max_length)?;
        let id = token.key_id();
        let ring = self.keys.read();
        #[cfg(feature = "managed-keys")]
        ring.check_opening()?;
        let under_sealing_key = ring.sealing.id == id;
        let keys = ring.find(id).ok_or_else(|| ring.misses(id))?;
        keys.open(token.bytes_mut())?;
        Ok(Opened {
            plaintext: token.into_plaintext(),
            key: id,
            under_sealing_key,
        })
    }
}

#[cfg(test)]
mod tests;
