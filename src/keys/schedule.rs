//! When a key seals, opens and goes: arithmetic on a ring and a moment, and nothing else.
//!
//! ```text
//! made ──── ahead ────▶ from ─── rotate_every ───▶ stops ── R + L + D + 10 s ──▶ end ── a day ──▶ gone
//!
//! D  clocks' tolerance     p  poll          j  jitter, a quarter
//! V  propagation           t  timeout       L  the longest lifetime
//! R = 2p(1 + j) + V + t    how late a process may hear, though one poll fails
//! spreading = 2(D + R)     the least time ahead, each half of it enough to hear
//! ```

use std::time::Duration;

use super::ring::{Bounds, Entry, MAX_KEYS, NEVER, Ring};
use crate::envelope::{AppKey, KeyId};
use crate::time::Millis;

/// Some time more, for delays that no setting covers.
const SLACK: Duration = Duration::from_secs(10);

/// If a rotation is overdue for longer than this, the process's own clock must be wrong.
const OVERDUE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a process does by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// `None` if keys rotate only by hand.
    pub(super) rotate_every: Option<Duration>,
    pub(super) ahead: Duration,
    pub(super) remove_after: Duration,
}

/// The keys that a process uses at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// `None` if the process is cut off from the store, and must not seal.
    pub(super) sealing: Option<KeyId>,
    pub(super) opens: Vec<KeyId>,
    /// The next moment at which one of these may change.
    pub(super) until: Millis,
}

/// Why no key may be added now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoNewKey {
    NotDue,
    /// The ring has no room for another key.
    Full,
}

impl Bounds {
    /// The longest time from one poll to the next.
    pub(super) fn longest_poll(self) -> Duration {
        jittered(self.poll)
    }

    /// How long after a write each process that reaches the store acts by it.
    pub(super) fn promise(self) -> Duration {
        let delay = self.longest_poll().saturating_add(self.timeout);
        delay.saturating_add(self.propagation)
    }

    /// How late a process may hear of a write if one of its polls fails. This is R.
    pub(super) fn reach(self) -> Duration {
        self.promise().saturating_add(self.longest_poll())
    }

    /// How long a key must be in the store before any process seals under it.
    ///
    /// Each half is long enough for every process to find the key, whatever their clocks say. If a
    /// process finds the key in the second half, all others had the whole first half to find it,
    /// even if the store has lost it since.
    pub(super) fn spreading(self) -> Duration {
        self.reach()
            .saturating_add(self.tolerance)
            .saturating_mul(2)
    }

    /// How long a key still opens after it has stopped sealing.
    pub(super) fn opens_for(self) -> Duration {
        let rest = self.longest.saturating_add(self.tolerance);
        self.reach().saturating_add(rest).saturating_add(SLACK)
    }
}

/// The longest that a pause can become by jitter.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.saturating_add(pause / 4)
}

impl Ring {
    /// When a key stops opening. `None` until it is known when it stops sealing.
    pub(super) fn end(&self, entry: &Entry) -> Option<Millis> {
        Some(entry.stops?.plus(self.bounds.opens_for()))
    }

    /// The middle of the time between making and sealing. A process must find the key in the store
    /// after this moment, or it does not seal under it.
    fn second_half(entry: &Entry) -> Millis {
        entry.made.plus(entry.from.since(entry.made) / 2)
    }

    /// The keys that a process uses at `now`. `found` returns when it last found a key in the
    /// store.
    ///
    /// Only the process's own clock counts. Otherwise, one process whose clock is ahead could end
    /// the keys of all others.
    pub(super) fn view(&self, now: Millis, found: impl Fn(&KeyId) -> Option<Millis>) -> View {
        let reach = self.bounds.reach();
        let mut until = Millis::MAX;
        let mut change_at = |moment: Millis| {
            if moment > now {
                until = until.min(moment);
            }
        };
        let mut opens = Vec::new();
        let mut sealing: Option<(Millis, KeyId)> = None;
        for (id, entry, _) in self.live() {
            if entry.is_disabled() {
                continue;
            }
            if let Some(end) = self.end(entry) {
                change_at(end);
                if now >= end {
                    continue;
                }
            }
            opens.push(*id);
            let last = entry.stops.map(|stops| stops.plus(reach));
            if let Some(last) = last {
                change_at(last);
            }
            let is_over = last.is_some_and(|last| now >= last);
            change_at(entry.from);
            let is_known = || found(id).is_some_and(|at| at >= Self::second_half(entry));
            let has_begun = entry.seals_at_once() || (entry.from <= now && is_known());
            if has_begun && !is_over && entry.from != NEVER {
                sealing = sealing.max(Some((entry.from, *id)));
            }
        }
        View {
            sealing: sealing.map(|(_, id)| id),
            opens,
            until,
        }
    }

    /// Whether the ring's dates agree with this process's clock. If not, the process must not write
    /// anything that depends on the time.
    pub(super) fn finds_plausible(&self, now: Millis, rules: &Rules) -> bool {
        let is_behind = self.newest_made() > now.plus(self.bounds.tolerance.saturating_mul(3));
        let due = |every| self.last().map(|(_, last)| last.from.plus(every));
        let due = rules.rotate_every.and_then(due);
        let is_ahead = due.is_some_and(|due| now > due.plus(OVERDUE));
        !is_behind && !is_ahead
    }

    /// If the next key is due, when it counts as made, and when it begins to seal.
    pub(super) fn next_key(
        &self,
        now: Millis,
        rules: &Rules,
    ) -> Result<(Millis, Millis), NoNewKey> {
        let Some((_, last)) = self.last() else {
            let made = now.max(self.after_all());
            return Ok((made, made));
        };
        let every = rules.rotate_every.ok_or(NoNewKey::NotDue)?;
        let ahead = self.ahead(rules);
        let due = last.from.plus(every);
        let newest = self.newest_made();
        if due == NEVER || now.plus(ahead) < due || now < newest.plus(self.bounds.spreading()) {
            return Err(NoNewKey::NotDue);
        }
        if self.live().count() >= MAX_KEYS {
            return Err(NoNewKey::Full);
        }
        Ok((now, due.max(now.plus(ahead))))
    }

    pub(super) fn ahead(&self, rules: &Rules) -> Duration {
        rules.ahead.max(self.bounds.spreading())
    }

    /// The first moment that makes a key newer than all others.
    pub(super) fn after_all(&self) -> Millis {
        self.newest_made().plus(Duration::from_millis(1))
    }

    /// Sets when each key stops sealing, except for the last in line.
    pub(super) fn stop_all_but_last(&mut self, now: Millis) {
        for (id, stops) in self.missing_stops(now) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stops = Some(stops);
            }
        }
    }

    /// The keys whose stop is not set yet although another key follows, each with its stop.
    pub(super) fn missing_stops(&self, now: Millis) -> Vec<(KeyId, Millis)> {
        let Some((last, _)) = self.last() else {
            return Vec::new();
        };
        let needs_one =
            |(id, entry, _): &(&KeyId, &Entry, &AppKey)| entry.stops.is_none() && **id != last;
        let stop = |(id, entry, _): (&KeyId, &Entry, &AppKey)| {
            let here = (entry.from, *id);
            let others = self.live().map(|(id, entry, _)| (entry.from, *id));
            let next = others
                .filter(|other| other.0 != NEVER && *other > here)
                .min();
            next.map(|(from, _)| (*id, now.max(from)))
        };
        self.live().filter(needs_one).filter_map(stop).collect()
    }

    /// The keys that have ended so long ago that they can be removed.
    pub(super) fn over(&self, now: Millis, rules: &Rules) -> Vec<KeyId> {
        let is_over = |entry: &Entry| {
            let end = self.end(entry);
            end.is_some_and(|end| now >= end.plus(rules.remove_after))
        };
        let over = self.live().filter(|(_, entry, _)| is_over(entry));
        over.map(|(id, _, _)| *id).collect()
    }

    pub(super) fn strip(&mut self, id: KeyId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.key = None;
        }
    }

    /// Adds the next key. When it begins to seal, the others stop.
    pub(super) fn rotate(&mut self, key: AppKey, made: Millis, from: Millis, now: Millis) {
        self.add(key, made, from);
        self.stop_all_but_last(now);
    }
}

/// Checks that a ring can follow these rules. The error has the setting, and what is wrong with it.
pub(super) fn check(bounds: Bounds, rules: &Rules) -> Result<(), (&'static str, String)> {
    let Some(every) = rules.rotate_every else {
        return Ok(());
    };
    let spreading = bounds.spreading();
    let needed = spreading.saturating_mul(2);
    if every < needed {
        let problem = format!(
            "a new key must be in the store for {spreading:?} before it seals, with a poll of \
             {:?}, a propagation of {:?} and clocks {:?} apart; rotate no more often than every \
             {needed:?}, or lower one of these",
            bounds.poll, bounds.propagation, bounds.tolerance
        );
        return Err(("rotate_every", problem));
    }
    let kept = bounds.opens_for().saturating_add(rules.remove_after);
    let kept = kept.saturating_add(rules.ahead.max(spreading));
    // One key seals, one is about to, and all that have stopped are still kept.
    let keys = 2 + kept.as_millis().div_ceil(every.as_millis().max(1));
    if keys > MAX_KEYS as u128 {
        let problem = format!(
            "with lifetimes of {:?}, keys made {:?} ahead and removed {:?} late, the ring would have \
             {keys} keys, and {MAX_KEYS} are possible; rotate less often, or lower one of these",
            bounds.longest, rules.ahead, rules.remove_after
        );
        return Err(("rotate_every", problem));
    }
    Ok(())
}
