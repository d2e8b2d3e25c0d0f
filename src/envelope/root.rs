//! The root key's envelope: a whole ring of keys in one token.

use super::{Envelope, KeyId, KeyRing, Kind, Plaintext, Token, Use, os_random};
use crate::error::{NotSealed, Refusal};

/// The root keys, each with an envelope of its own. A process that writes a ring keeps the root key
/// that it is sealed under, even if it has another one first.
#[derive(Debug)]
pub(crate) struct Root {
    first: (KeyId, Envelope),
    others: Vec<(KeyId, Envelope)>,
}

impl Root {
    /// `name` is the key ring's name: see `ManagedKeysBuilder::name`.
    pub(crate) fn new(ring: &KeyRing, name: &str, context: &str) -> Self {
        let alone = |key: &super::AppKey| {
            let used_for = Use {
                kind: Kind::Keys,
                name: name.to_owned(),
                context: context.to_owned(),
            };
            (
                key.id(),
                Envelope::new(&KeyRing::new(key.clone()), used_for),
            )
        };
        Self {
            first: alone(ring.sealing()),
            others: ring.accepted().iter().map(alone).collect(),
        }
    }

    /// The key that new rings are sealed under.
    pub(crate) fn first(&self) -> KeyId {
        self.first.0
    }

    fn of(&self, id: KeyId) -> Option<&Envelope> {
        let mut all = std::iter::once(&self.first).chain(&self.others);
        all.find(|(known, _)| *known == id)
            .map(|(_, envelope)| envelope)
    }

    /// Opens a token of at most `max_length` characters. Returns the ring in it, and the key that
    /// sealed it.
    pub(crate) fn open(
        &self,
        token: &[u8],
        max_length: usize,
    ) -> Result<(Plaintext, KeyId), Refusal> {
        let id = Token::parse_bytes(token, max_length)?.key_id();
        let envelope = self.of(id).ok_or(Refusal::UnknownKey)?;
        Ok((envelope.open(token, max_length)?.plaintext, id))
    }

    /// Seals a ring under the key of this id, or under the first one if there is no such key.
    pub(crate) fn seal(&self, ring: &[u8], under: KeyId) -> Result<String, NotSealed> {
        let envelope = self.of(under).unwrap_or(&self.first.1);
        let mut token = String::new();
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(ring);
        envelope.seal_into(&mut token, ring.len(), write, &mut os_random)?;
        Ok(token)
    }
}
