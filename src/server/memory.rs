//! A backend in this process's memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backend::{
    Backend, BackendError, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value, When,
};

/// Sessions in this process's memory: for one process, and gone with it.
pub struct Memory {
    slots: Mutex<HashMap<StoreKey, Slot>>,
}

struct Slot {
    value: Value,
    expires: Instant,
    tag: Option<Tag>,
}

impl Memory {
    /// An empty backend.
    pub fn new() -> Self {
        Self {
            slots: Mutex::default(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<StoreKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Memory {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let now = Instant::now();
        let slots = self.slots();
        let slot = slots.get(key).filter(|slot| slot.expires > now);
        Ok(slot.map(|slot| Stored {
            value: slot.value.clone(),
            ttl: slot.expires.saturating_duration_since(now),
        }))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let now = Instant::now();
        let mut slots = self.slots();
        let there = slots.get(key).filter(|slot| slot.expires > now);
        match (&entry.when, there) {
            (When::Absent, None) => {}
            (When::Absent, Some(_)) => return Ok(Outcome::Conflict),
            (When::Unchanged(_), None) => return Ok(Outcome::Absent),
            (When::Unchanged(version), Some(slot)) => {
                if slot.value.version() != *version {
                    return Ok(Outcome::Conflict);
                }
            }
        }
        let slot = Slot {
            value: entry.value.clone(),
            expires: now + entry.ttl,
            tag: entry.tag,
        };
        slots.insert(*key, slot);
        Ok(Outcome::Stored)
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let now = Instant::now();
        if let Some(slot) = self.slots().get_mut(key).filter(|slot| slot.expires > now) {
            slot.expires = now + ttl;
        }
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<(), BackendError> {
        self.slots().remove(key);
        Ok(())
    }

    async fn scan(
        &self,
        _: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        Ok((self.slots().keys().copied().collect(), None))
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let slots = self.slots();
        let tagged = slots
            .iter()
            .filter(|(_, slot)| slot.tag.as_ref() == Some(tag));
        Ok(tagged.map(|(key, _)| *key).collect())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("len", &self.slots().len())
            .finish()
    }
}
