//! The changes that somebody makes to a ring by hand. Each method returns whether it has changed
//! anything. If you call it twice, the second call changes nothing.

use std::fmt;
use std::time::Duration;

use super::ring::{Entry, MAX_KEYS, NEVER, Ring};
use super::schedule::Rules;
use crate::envelope::{AppKey, KeyId};
use crate::time::Millis;

/// Why a change is refused. The ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Unknown(KeyId),
    /// The ring has only the key's dates left, so nothing can be done with it.
    Gone(KeyId),
    /// The key seals, or is the next to seal.
    Needed(KeyId),
    /// The key has stopped sealing.
    Stopped(KeyId),
    /// The key is disabled, so it does not seal.
    Disabled(KeyId),
    /// The key still opens tokens. It must be disabled first, which shows whether anybody misses
    /// it.
    StillOpens(KeyId),
    Full,
}

/// The keys that a revocation ends, and those that outlive it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) ended: Vec<KeyId>,
    pub(super) left: Vec<KeyId>,
    /// The new key that seals from now on, if one was needed.
    pub(super) fresh: Option<KeyId>,
}

impl Ring {
    fn entry(&mut self, id: KeyId) -> Result<&mut Entry, Refused> {
        let entry = self.entries.get_mut(&id).ok_or(Refused::Unknown(id))?;
        if entry.key.is_none() {
            return Err(Refused::Gone(id));
        }
        Ok(entry)
    }

    /// Adds a key that only opens at first. It seals when every process can know it, or, with
    /// `only_opens`, when somebody promotes it. If such a key is already on its way, nothing
    /// happens.
    pub(super) fn add_by_hand(
        &mut self,
        key: AppKey,
        now: Millis,
        rules: &Rules,
        only_opens: bool,
    ) -> Result<Option<KeyId>, Refused> {
        let is_on_its_way = |entry: &Entry| {
            let begins = entry.from > now && !entry.seals_at_once() && entry.stops.is_none();
            begins && !entry.is_disabled() && (entry.from == NEVER) == only_opens
        };
        if self.live().any(|(_, entry, _)| is_on_its_way(entry)) {
            return Ok(None);
        }
        if self.live().count() >= MAX_KEYS {
            return Err(Refused::Full);
        }
        let (id, made) = (key.id(), now.max(self.after_all()));
        let from = if only_opens {
            NEVER
        } else {
            made.plus(self.ahead(rules))
        };
        self.rotate(key, made, from, now);
        Ok(Some(id))
    }

    /// Adds a key that was in use before there was a ring. The key that `seals` becomes the ring's
    /// first. The others only open, until everything that they may have sealed has expired.
    pub(super) fn adopt(&mut self, key: AppKey, now: Millis, seals: bool) -> Result<bool, Refused> {
        if self.entries.contains_key(&key.id()) {
            return Ok(false);
        }
        if self.live().count() >= MAX_KEYS {
            return Err(Refused::Full);
        }
        let id = key.id();
        if seals && self.last().is_none() {
            let made = now.max(self.after_all());
            self.add(key, made, made);
        } else {
            // It counts as older than the ring's own keys, so that none of these stops sealing
            // because of it.
            let made = self.fence.plus(Duration::from_millis(1));
            self.add(key, made, NEVER);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stops = Some(now);
            }
        }
        Ok(true)
    }

    /// Lets a key seal as soon as every process can know it. Returns when that is.
    pub(super) fn promote(&mut self, id: KeyId, now: Millis) -> Result<(Millis, bool), Refused> {
        let spreading = self.bounds.spreading();
        let entry = self.entry(id)?;
        if entry.stops.is_some() {
            return Err(Refused::Stopped(id));
        }
        if entry.is_disabled() {
            return Err(Refused::Disabled(id));
        }
        // A process that has not heard that the key was enabled again refuses its tokens.
        let known_since = if entry.disabled > 0 { now } else { entry.made };
        let soonest = now.max(known_since.plus(spreading));
        if entry.from <= soonest {
            return Ok((entry.from, false));
        }
        entry.from = soonest;
        self.stop_all_but_last(now);
        Ok((soonest, true))
    }

    /// Disables a key: it neither seals nor opens until it is enabled again.
    pub(super) fn disable(
        &mut self,
        id: KeyId,
        is_off: bool,
        now: Millis,
    ) -> Result<bool, Refused> {
        let reach = self.bounds.reach();
        let entry = self.entry(id)?;
        if entry.is_disabled() == is_off {
            return Ok(false);
        }
        let has_stopped = entry.stops.is_some_and(|stops| now >= stops.plus(reach));
        if is_off && !has_stopped && entry.from != NEVER {
            return Err(Refused::Needed(id));
        }
        entry.disabled = entry.disabled.saturating_add(1);
        Ok(true)
    }

    /// Removes a key for good. It must be disabled, or have ended.
    pub(super) fn drop_key(&mut self, id: KeyId, now: Millis) -> Result<bool, Refused> {
        let entry = self.entries.get(&id).ok_or(Refused::Unknown(id))?;
        if entry.dropped.is_some() {
            return Ok(false);
        }
        let is_over = self.end(entry).is_some_and(|end| now >= end);
        if entry.key.is_some() && !entry.is_disabled() && !is_over {
            return Err(Refused::StillOpens(id));
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.dropped = Some(now);
        }
        self.settle();
        Ok(true)
    }

    /// Ends `id`, and every key that was in the store together with it: somebody who got this key
    /// may have got the others too. `fresh` seals from now on.
    ///
    /// The store may have lost a key that some process still knows. When that process brings it
    /// back, it ends too, because every key made before the fence is revoked.
    pub(super) fn revoke(
        &mut self,
        id: KeyId,
        now: Millis,
        rules: &Rules,
        fresh: impl FnOnce() -> Option<AppKey>,
    ) -> Result<Option<Revoked>, Refused> {
        let entry = self.entries.get(&id).ok_or(Refused::Unknown(id))?;
        if self.is_revoked(entry) && entry.made <= self.fence {
            return Ok(None);
        }
        let gone_at = match (&entry.key, self.end(entry)) {
            (None, Some(end)) => Some(end.plus(rules.remove_after)),
            _ => None,
        };
        let soon = now.max(self.newest_made()).plus(self.bounds.tolerance);
        let fence = gone_at.map_or(soon, |gone_at| gone_at.min(soon));
        self.end_keys(now, fresh, |ring| {
            ring.fence = ring.fence.max(fence);
            if let Some(entry) = ring.entries.get_mut(&id) {
                entry.revoked = entry.revoked.or(Some(now));
            }
        })
    }

    /// Ends this key alone. The other keys stay, although the thief of this one may have them too.
    pub(super) fn revoke_only(
        &mut self,
        id: KeyId,
        now: Millis,
        fresh: impl FnOnce() -> Option<AppKey>,
    ) -> Result<Option<Revoked>, Refused> {
        let entry = self.entries.get(&id).ok_or(Refused::Unknown(id))?;
        if self.is_revoked(entry) {
            return Ok(None);
        }
        self.end_keys(now, fresh, |ring| {
            if let Some(entry) = ring.entries.get_mut(&id) {
                entry.revoked = Some(now);
            }
        })
    }

    fn end_keys(
        &mut self,
        now: Millis,
        fresh: impl FnOnce() -> Option<AppKey>,
        end: impl FnOnce(&mut Self),
    ) -> Result<Option<Revoked>, Refused> {
        let ids = |ring: &Self| -> Vec<KeyId> { ring.live().map(|(id, ..)| *id).collect() };
        let (before, last) = (ids(self), self.last().map(|(id, _)| id));
        end(self);
        self.settle();
        let left = ids(self);
        let mut revoked = Revoked {
            ended: before.into_iter().filter(|id| !left.contains(id)).collect(),
            left,
            fresh: None,
        };
        // A new key is needed if the last one in line ends, or if no key is left that seals now.
        let seals = self.live().any(|(_, entry, _)| {
            let has_begun = entry.from <= now || entry.seals_at_once();
            let goes_on = entry.stops.is_none_or(|stops| stops > now);
            has_begun && goes_on && !entry.is_disabled()
        });
        let loses_last = last.is_some_and(|last| revoked.ended.contains(&last));
        if (loses_last || !seals)
            && let Some(key) = fresh()
        {
            revoked.fresh = Some(key.id());
            let made = now.max(self.after_all());
            self.rotate(key, made, made, now);
        }
        Ok(Some(revoked))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "the ring has no key {id}; `keys list` shows its keys"),
            Self::Gone(id) => write!(f, "the key {id} is gone, and cannot be changed"),
            Self::Needed(id) => write!(
                f,
                "the key {id} seals, or is the next to; add another and wait until it seals, or \
                 revoke this one if it has leaked"
            ),
            Self::Stopped(id) => write!(
                f,
                "the key {id} has stopped to seal, and no key seals twice; add a new one"
            ),
            Self::Disabled(id) => write!(
                f,
                "the key {id} is disabled, and would not seal; enable it first"
            ),
            Self::StillOpens(id) => write!(
                f,
                "the key {id} still opens what it has sealed; disable it first, and see whether \
                 anybody misses it"
            ),
            Self::Full => write!(
                f,
                "the ring has {MAX_KEYS} keys, and no more are possible; wait until one is over, \
                 or disable and drop one"
            ),
        }
    }
}
