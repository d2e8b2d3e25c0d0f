//! The keys that seal and open at this moment, for the stores and sealers of this process.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::event::KeyEvent;
use super::process::{Inner, Present, Work};
use super::ring::Bounds;
use super::schedule::check;
#[cfg(feature = "redis")]
use super::signals::Sought;
use super::signals::locked;
use super::store::KeyStoreErrorKind;
#[cfg(feature = "redis")]
use crate::envelope::KeyId;
use crate::envelope::{Guard, KeyRing, TakesKeys};
use crate::error::ConfigError;

impl Inner {
    /// Gives the keys of this moment to the process's stores and sealers.
    pub(super) fn install(&self, work: &mut Work) {
        let Some(ring) = &work.ring else { return };
        let view = ring.view(self.signals.now(), |id| work.found.get(id).copied());
        let may_seal = view.sealing.is_some() && ring.bounds.allow(work.wanted);
        let before = work.view.replace((view.clone(), may_seal));
        let bounds = ring.bounds;
        #[cfg(feature = "redis")]
        let known: Vec<_> = ring.entries.keys().copied().collect();
        let is_new = before.as_ref().is_none_or(|(before, could)| {
            before.sealing != view.sealing || before.opens != view.opens || *could != may_seal
        });
        if is_new {
            let guard = Guard::new(
                Arc::clone(&self.signals) as _,
                may_seal,
                self.signals.is_limited(),
            );
            let sealing = view.sealing.or(view.opens.first().copied());
            let key = |id| ring.entries.get(&id).and_then(|entry| entry.key.as_deref());
            let first = sealing.and_then(key).unwrap_or(&self.nobody);
            let mut keys = KeyRing::new(first.clone());
            for key in view.opens.iter().filter_map(|id| key(*id)) {
                // This does not fail: the keys come from one map, so no id comes twice.
                keys = match keys.clone().accept(key.clone()) {
                    Ok(more) => more,
                    Err(_) => keys,
                };
            }
            let was_open = before.as_ref().map(|(view, _)| view.opens.as_slice());
            let mut was_open = was_open.unwrap_or_default().iter();
            let loses_keys = was_open.any(|id| !view.opens.contains(id));
            let present = Present {
                ring: keys.guarded(guard),
                #[cfg(feature = "redis")]
                known,
                view: view.clone(),
                may_seal,
                bounds,
            };
            self.give(present, loses_keys);
        } else {
            let mut present = self
                .present
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            #[cfg(feature = "redis")]
            {
                present.known = known;
            }
            present.view = view.clone();
            present.bounds = bounds;
        }
        let (was_sealing, was_open, could) = match &before {
            Some((view, could)) => (view.sealing, view.opens.as_slice(), *could),
            None => (None, [].as_slice(), true),
        };
        let closed: Vec<_> = was_open
            .iter()
            .filter(|id| !view.opens.contains(id))
            .copied()
            .collect();
        for id in closed {
            work.tell(KeyEvent::Closed(id));
        }
        match view.sealing {
            Some(id) if was_sealing != Some(id) => work.tell(KeyEvent::Seals(id)),
            _ => {}
        }
        if !may_seal && could {
            work.tell(KeyEvent::NoKey);
        }
    }

    fn give(&self, present: Present, loses_keys: bool) {
        let mut takers = locked(&self.takers);
        let ring = present.ring.clone();
        *self
            .present
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = present;
        takers.retain(|taker| {
            let taker = taker.upgrade();
            if let Some(taker) = &taker {
                taker.take_keys(&ring);
                if loses_keys {
                    taker.loses_keys();
                }
            }
            taker.is_some()
        });
    }

    /// How long to wait until the next poll.
    pub(super) fn pause(&self) -> Duration {
        let now = self.signals.now();
        let (poll, until) = {
            let work = locked(&self.work);
            let until = work.view.as_ref().map(|(view, _)| view.until);
            (work.wanted.poll, until)
        };
        let mut byte = [128];
        // If this fails, the pause has no jitter, which does no harm.
        let _ = getrandom::fill(&mut byte);
        let share = u32::from(byte[0]);
        let jittered = poll - poll / 4 + (poll / 2).saturating_mul(share) / 255;
        let until = until.map_or(Duration::MAX, |until| until.since(now));
        jittered.min(until.max(poll.min(Duration::from_secs(1))))
    }

    pub(super) fn ring(&self) -> KeyRing {
        self.present(|present| present.ring.clone())
    }

    pub(super) fn tell(&self, who: Weak<dyn TakesKeys>) {
        let mut takers = locked(&self.takers);
        if let Some(taker) = who.upgrade() {
            taker.take_keys(&self.ring());
        }
        if takers.len() == takers.capacity() {
            // Keys change seldom, and until then what is gone would keep its memory.
            takers.retain(|taker| taker.strong_count() > 0);
        }
        takers.push(who);
    }

    /// Raises the longest lifetime. If the ring cannot allow it, everything stays as it was.
    pub(super) fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        let (wanted, known) = {
            let work = locked(&self.work);
            let known = work.ring.as_ref().map(|ring| ring.bounds);
            (work.wanted.for_lifetimes_of(longest), known)
        };
        if !known.is_some_and(|bounds| bounds.allow(wanted)) {
            let bounds = known.map_or(wanted, |known| known.raised_to(wanted));
            check(bounds, &self.rules)
                .map_err(|(setting, problem)| ConfigError::new(setting, problem))?;
            self.raise_to(wanted)?;
        }
        let mut work = locked(&self.work);
        work.wanted = work.wanted.join(wanted);
        Ok(())
    }

    /// Raises the longest lifetime for something that exists whether the ring can allow it or not.
    /// Nothing is sealed until it can.
    pub(super) fn insist(&self, longest: Duration) {
        let events = {
            let mut work = locked(&self.work);
            work.wanted = work.wanted.for_lifetimes_of(longest);
            self.install(&mut work);
            std::mem::take(&mut work.events)
        };
        self.report(events);
    }

    fn raise_to(&self, wanted: Bounds) -> Result<(), ConfigError> {
        let refused = |problem: String| ConfigError::new("lifetime", problem);
        let raised = self.act(Some(&mut |ring, _| {
            ring.bounds = ring.bounds.raised_to(wanted);
            Ok(())
        }));
        let raised = match raised {
            // Somebody else may have raised the limits of a ring that this process cannot write.
            Err(error) if error.kind() == KeyStoreErrorKind::Refused => self.poll(),
            raised => raised,
        };
        raised.map_err(|error| refused(error.to_string()))?;
        let bounds = self.present(|present| present.bounds);
        if bounds.allow(wanted) {
            return Ok(());
        }
        Err(refused(format!(
            "{}: the ring allows lifetimes of {:?}, and cannot be changed here; allow more with \
             `sealed-session keys allow` where it is kept",
            self.store.describe(),
            bounds.longest
        )))
    }

    pub(super) fn longest(&self) -> Duration {
        self.present(|present| present.bounds.longest)
    }

    #[cfg(feature = "redis")]
    pub(super) fn seek(&self, id: KeyId) -> bool {
        // Not `look`, which waits for a poll: this is called in async code.
        let is_known = self.present(|present| present.known.binary_search(&id).is_ok());
        !is_known && matches!(self.signals.seek(id), Sought::Asked | Sought::UnderWay)
    }

    /// Checks that the ring's limits allow this process's settings.
    pub(super) fn check_bounds(&self) -> Result<(), ConfigError> {
        let (wanted, ring) = {
            let work = locked(&self.work);
            (work.wanted, work.ring.as_ref().map(|ring| ring.bounds))
        };
        let ring = ring.unwrap_or(wanted);
        if wanted.poll > ring.poll {
            let problem = format!(
                "it is {:?}, and the ring is for processes that ask every {:?}; poll as often, or \
                 allow more with `sealed-session keys allow --poll`",
                wanted.poll, ring.poll
            );
            return Err(ConfigError::new("poll", problem));
        }
        check(ring.join(wanted), &self.rules)
            .map_err(|(setting, problem)| ConfigError::new(setting, problem))?;
        if ring.allow(wanted) {
            return Ok(());
        }
        let problem = format!(
            "the ring is for lifetimes of {:?}, a propagation of {:?} and clocks {:?} apart, and \
             cannot be changed here; allow more with `sealed-session keys allow` where it is kept",
            ring.longest, ring.propagation, ring.tolerance
        );
        Err(ConfigError::new(self.store.describe(), problem))
    }
}
