//! What is done to a ring by hand. Each says whether it has changed anything; done twice it
//! changes nothing.

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
    /// It is gone, so nothing becomes of it any more.
    Gone(KeyId),
    /// It seals, or is the next to.
    Needed(KeyId),
    /// It has sealed, and stopped.
    Stopped(KeyId),
    /// Drop only what nobody misses.
    StillOpens(KeyId),
    Full,
}

/// The keys that a revocation ends, and those that outlive it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) ended: Vec<KeyId>,
    pub(super) left: Vec<KeyId>,
    /// The key that seals from now on, if one was needed.
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

    /// Adds a key that opens; it seals once `rules` have let it spread, or never until it is
    /// promoted. If one is on its way already, nothing happens.
    pub(super) fn add_by_hand(
        &mut self,
        key: AppKey,
        now: Millis,
        rules: &Rules,
        only_opens: bool,
    ) -> Result<Option<KeyId>, Refused> {
        let is_on_its_way = |entry: &Entry| {
            let begins = entry.from > now && !entry.seals_at_once() && entry.stops.is_none();
            begins && (entry.from == NEVER) == only_opens
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

    /// Takes in a key that was in use elsewhere. The one that `seals` is the ring's first; the
    /// others open until all that they may have sealed is over.
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
            // Older than any of the ring's own, so that none of these stops for it.
            let made = self.fence.plus(Duration::from_millis(1));
            self.add(key, made, NEVER);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stops = Some(now);
            }
        }
        Ok(true)
    }

    /// Lets a key seal as soon as all can know it. Tells from when on.
    pub(super) fn promote(&mut self, id: KeyId, now: Millis) -> Result<(Millis, bool), Refused> {
        let spreading = self.bounds.spreading();
        let entry = self.entry(id)?;
        if entry.stops.is_some() {
            return Err(Refused::Stopped(id));
        }
        let soonest = now.max(entry.made.plus(spreading));
        if entry.from <= soonest {
            return Ok((entry.from, false));
        }
        entry.from = soonest;
        self.stop_all_but_last(now);
        Ok((soonest, true))
    }

    /// Lets a key neither seal nor open, until it is enabled again.
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

    /// Removes a key that is disabled, or over, for good.
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

    /// Ends `id` and every key that lay in the store while it was alive, for whoever had the one
    /// may have had the others; `fresh` seals from now on.
    ///
    /// A key that a process knows and the store has lost ends with them when it comes back: what
    /// was made before the fence is revoked whoever brings it.
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

    /// Ends this key alone. Whoever had it may have had those that are left.
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
        // What would seal next goes, or all that has sealed.
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
