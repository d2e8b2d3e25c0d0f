//! Key rings: one key that seals, and older or newer ones that only open.

use std::fmt;

use super::key::{AppKey, KeyError, KeyId, Problem, text_from_env};
#[cfg(feature = "managed-keys")]
use super::source::Guard;

const SEALING: &str = "APP_KEY";
const ACCEPTED: &str = "APP_PREVIOUS_KEYS";

/// The keys of an application: one seals, the others only open.
///
/// To rotate the key of a fleet without logging anyone out, in three deploys: accept the new
/// key everywhere; make it the sealing key and accept the old one; when the longest lifetime
/// has passed, drop the old one.
///
/// A ring is valid by construction: whatever takes one takes it without an error.
///
/// ```
/// use sealed_session::{AppKey, KeyRing};
///
/// let (old, new) = (AppKey::generate()?, AppKey::generate()?);
/// let ring = KeyRing::new(new.clone()).accept(old)?;
/// assert_eq!(ring.ids().next(), Some(new.id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    sealing: AppKey,
    accepted: Vec<AppKey>,
    #[cfg(feature = "managed-keys")]
    guard: Option<Guard>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(sealing: AppKey) -> Self {
        Self {
            sealing,
            accepted: Vec::new(),
            #[cfg(feature = "managed-keys")]
            guard: None,
        }
    }

    /// Adds a key that opens and never seals. A key that is in the ring already is counted
    /// once, in the role it has.
    ///
    /// # Errors
    ///
    /// If a different key of the ring has the same key id, which happens to one pair of random
    /// keys in four thousand million.
    pub fn accept(mut self, key: AppKey) -> Result<Self, KeyError> {
        let same_id = self.keys().find(|known| known.id() == key.id());
        match same_id.map(|known| known.is_same_as(&key)) {
            Some(true) => {}
            Some(false) => return Err(Problem::SameId(key.id()).into()),
            None => self.accepted.push(key),
        }
        Ok(self)
    }

    /// The ring in the environment: `APP_KEY` seals; `APP_PREVIOUS_KEYS`, a list with commas,
    /// may be absent or empty.
    ///
    /// # Errors
    ///
    /// If `APP_KEY` is absent or a key is refused; the error names the variable and the item.
    pub fn from_env() -> Result<Self, KeyError> {
        let mut ring = Self::new(AppKey::from_env(SEALING)?);
        if let Some(list) = text_from_env(ACCEPTED)? {
            for (item, key) in parse_list(&list).enumerate() {
                let at = |error: KeyError| error.at(ACCEPTED, Some(item + 1));
                ring = ring.accept(key.map_err(at)?).map_err(at)?;
            }
        }
        Ok(ring)
    }

    /// The ids of all keys, the sealing key's first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys().map(AppKey::id)
    }

    /// The same ring, of keys that look after themselves.
    #[cfg(feature = "managed-keys")]
    pub(crate) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    #[cfg(feature = "managed-keys")]
    pub(super) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    pub(super) fn sealing(&self) -> &AppKey {
        &self.sealing
    }

    pub(super) fn accepted(&self) -> &[AppKey] {
        &self.accepted
    }

    /// All keys, the sealing key first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &AppKey> {
        std::iter::once(&self.sealing).chain(&self.accepted)
    }
}

fn parse_list(list: &str) -> impl Iterator<Item = Result<AppKey, KeyError>> + '_ {
    let items = if list.trim().is_empty() {
        None
    } else {
        Some(list.split(','))
    };
    items.into_iter().flatten().map(|item| {
        if item.trim().is_empty() {
            Err(Problem::EmptyItem.into())
        } else {
            item.parse()
        }
    })
}

impl From<AppKey> for KeyRing {
    fn from(sealing: AppKey) -> Self {
        Self::new(sealing)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_at_commas_and_an_empty_item_is_refused() {
        let key = AppKey::generate().unwrap().to_base64();
        let count = |list: &str| {
            parse_list(list)
                .collect::<Result<Vec<_>, _>>()
                .map(|k| k.len())
        };
        assert_eq!(count(""), Ok(0));
        assert_eq!(count("  "), Ok(0));
        assert_eq!(count(&format!("{0} , {0}", *key)), Ok(2));
        for list in [
            ",",
            &format!("{},", *key),
            &format!(",{}", *key),
            &format!("{0},,{0}", *key),
        ] {
            assert_eq!(
                count(list),
                Err(Problem::EmptyItem.into()),
                "{}",
                list.len()
            );
        }
    }

    #[test]
    fn debug_shows_ids_only() {
        let key = AppKey::generate().unwrap();
        assert_eq!(
            format!("{:?}", KeyRing::new(key.clone())),
            format!("[{}]", key.id())
        );
    }
}
