//! Polls the key store: reads the ring, makes the changes that are due, and writes them back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use zeroize::Zeroizing;

use super::change::Refused;
use super::event::KeyEvent;
use super::process::{Inner, Stored, Work};
use super::ring::{MAX_KEYS, Ring};
use super::schedule::{NoNewKey, check};
use super::signals::locked;
use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};
use super::text;
use crate::envelope::{AppKey, KeyId, Token};
use crate::time::Millis;

/// How often to try a write again after another process has written first.
const ATTEMPTS: usize = 16;

/// A change by hand.
type Change<'a> = &'a mut dyn FnMut(&mut Ring, Millis) -> Result<(), Refused>;

/// A ring to be written, and how it differs from the one before.
struct Due {
    next: Arc<Ring>,
    made: Option<KeyId>,
    removed: Vec<KeyId>,
}

impl Inner {
    /// Reads the store, and makes the changes that are due.
    pub(super) fn poll(&self) -> Result<(), KeyStoreError> {
        self.act(None)
    }

    /// Like [`poll`](Self::poll), and also makes a change by hand.
    pub(super) fn act(&self, change: Option<Change<'_>>) -> Result<(), KeyStoreError> {
        let (outcome, events) = {
            let mut work = locked(&self.work);
            let outcome = self.step(&mut work, change);
            work.note(outcome.as_ref().err());
            // Keys begin and stop at their dates, whether the store answers or not.
            self.install(&mut work);
            (outcome, std::mem::take(&mut work.events))
        };
        self.report(events);
        outcome
    }

    pub(super) fn report(&self, events: Vec<(KeyEvent, Option<KeyStoreError>)>) {
        for (event, error) in events {
            let error = error.as_ref().map(|error| error as _);
            self.events.report(event, error);
        }
    }

    fn step(&self, work: &mut Work, mut change: Option<Change<'_>>) -> Result<(), KeyStoreError> {
        for _ in 0..ATTEMPTS {
            let (began, ticks) = (self.signals.now(), Instant::now());
            let is_there = self.load(work)?;
            let now = self.signals.now();
            let base = self.know(work, is_there, began, now)?;
            if is_there {
                // Even if nothing can be written: what the store says counts from now on.
                self.learn(work, Arc::clone(&base), began, ticks);
            }
            if base.is_newer() || !self.store.is_writable() {
                if change.is_some() {
                    return Err(self.cannot_write(&base));
                }
                if base.is_newer() && !std::mem::replace(&mut work.trouble.is_newer, true) {
                    work.tell(KeyEvent::NewerFormat);
                }
                // What this process knows it cannot put back.
                return if is_there {
                    Ok(())
                } else {
                    Err(self.missing())
                };
            }
            let there = work.stored.as_ref().filter(|_| is_there);
            let is_restored = there.is_none_or(|there| !there.ring.is_same_as(&base));
            let Due {
                mut next,
                made,
                removed,
            } = self.due(work, base, now)?;
            if let Some(change) = &mut change {
                let next = Arc::make_mut(&mut next);
                change(next, now)
                    .map_err(|refused| KeyStoreError::new(KeyStoreErrorKind::Refused, refused))?;
                next.settle();
            }
            let stored = work.stored.as_ref().filter(|_| is_there);
            if let Some(stored) = stored.filter(|stored| stored.ring.is_same_as(&next)) {
                let ring = Arc::clone(&stored.ring);
                self.learn(work, ring, began, ticks);
                return Ok(());
            }
            let is_first = stored.is_none() && work.ring.is_none();
            if !self.write(work, &next, is_there)? {
                continue;
            }
            if is_restored && !is_first {
                work.tell(KeyEvent::Restored);
            }
            if let Some(id) = made {
                work.candidate = None;
                work.tell(if is_first {
                    KeyEvent::Created(id)
                } else {
                    KeyEvent::Made(id)
                });
            }
            for id in removed {
                work.removed.insert(id);
                work.tell(KeyEvent::Removed(id));
            }
            self.learn(work, next, began, ticks);
            return Ok(());
        }
        Err(self.failed(
            KeyStoreErrorKind::Conflict,
            "other processes write it all the time; try again",
        ))
    }

    /// Calls the store, whose code may be the application's. Without this, a panic there would end
    /// the thread that polls.
    fn ask<T>(
        &self,
        call: impl FnOnce(&dyn KeyStore) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        let answer = catch_unwind(AssertUnwindSafe(|| call(&*self.store)));
        answer.unwrap_or_else(|_| {
            let problem = "its code has panicked; see what the panic said, and mend the code";
            Err(self.failed(KeyStoreErrorKind::Other, problem))
        })
    }

    /// Reads the store, and returns whether it holds anything.
    fn load(&self, work: &mut Work) -> Result<bool, KeyStoreError> {
        let Some(bytes) = self.ask(KeyStore::load)? else {
            return Ok(false);
        };
        let known = work.stored.as_ref();
        if known.is_some_and(|known| *known.bytes == *bytes) {
            return Ok(true);
        }
        if bytes.len() > MAX_STORED {
            return Err(self.damaged(1, "it is longer than a ring of keys can be"));
        }
        let read =
            |text: &[u8]| text::read(text).map_err(|bad| self.damaged(bad.line, bad.problem));
        let (ring, under) = match &self.root {
            None if is_token(&bytes) => {
                return Err(self.failed(
                    KeyStoreErrorKind::NotOpened,
                    "it is sealed under a root key; give the managed keys the same one",
                ));
            }
            None => (read(&bytes)?, None),
            Some(root) => {
                let token = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let (opened, under) = root.open(token, MAX_STORED).map_err(|refusal| {
                    let problem = format!(
                        "it does not open under the root key ({refusal}); give the root key, name \
                         and context that it was sealed with"
                    );
                    self.failed(KeyStoreErrorKind::NotOpened, problem)
                })?;
                (read(&opened)?, Some(under))
            }
        };
        let ring = Arc::new(ring);
        work.stored = Some(Stored { bytes, ring, under });
        Ok(true)
    }

    /// Joins what this process knows with what the store holds.
    fn know(
        &self,
        work: &mut Work,
        is_there: bool,
        began: Millis,
        now: Millis,
    ) -> Result<Arc<Ring>, KeyStoreError> {
        let stored = work.stored.as_ref().filter(|_| is_there);
        if let Some(stored) = stored {
            let live = stored.ring.live().map(|(id, ..)| (*id, began));
            work.found.extend(live);
        }
        match (&work.ring, stored) {
            (Some(known), Some(stored)) if Arc::ptr_eq(known, &stored.ring) => {
                Ok(Arc::clone(known))
            }
            (Some(known), Some(stored)) => self.union(known, &stored.ring, now).map(Arc::new),
            (None, Some(stored)) => Ok(Arc::clone(&stored.ring)),
            (Some(known), None) => Ok(Arc::clone(known)),
            (None, None) => {
                if self.must_exist || !self.store.is_writable() {
                    return Err(self.missing());
                }
                Ok(Arc::new(Ring::new(work.wanted)))
            }
        }
    }

    fn union(&self, known: &Ring, stored: &Ring, now: Millis) -> Result<Ring, KeyStoreError> {
        let mut base = known.clone().join(stored).map_err(|_| {
            let problem = format!(
                "with the keys that this process knows it has more than {MAX_KEYS}; the ring of \
                 another application is in its place"
            );
            self.failed(KeyStoreErrorKind::Damaged, problem)
        })?;
        // If a key has ended and the store says that it was removed, it stays removed. If the store
        // has lost a key altogether, the key comes back, whatever this process's clock says.
        let is_removed = |id| {
            let there = stored.entries.get(id);
            there.is_some_and(|there| there.key.is_none())
        };
        let over: Vec<_> = base
            .live()
            .filter(|(id, entry, _)| {
                base.end(entry).is_some_and(|end| now >= end) && is_removed(id)
            })
            .map(|(id, ..)| *id)
            .collect();
        for id in over {
            base.strip(id);
        }
        Ok(base)
    }

    /// Makes the changes that the time, this process's settings and the rest of the fleet ask for.
    fn due(&self, work: &mut Work, base: Arc<Ring>, now: Millis) -> Result<Due, KeyStoreError> {
        let mut due = Due {
            next: base,
            made: None,
            removed: Vec::new(),
        };
        let ring = &mut due.next;
        let bounds = ring.bounds.raised_to(work.wanted);
        if bounds != ring.bounds && check(bounds, &self.rules).is_ok() {
            Arc::make_mut(ring).bounds = bounds;
        }
        if let Some(adopted) = &self.adopted {
            for (key, seals) in adopted
                .keys()
                .zip(std::iter::once(true).chain(std::iter::repeat(false)))
            {
                if !ring.entries.contains_key(&key.id()) {
                    Arc::make_mut(ring)
                        .adopt(key.clone(), now, seals)
                        .map_err(|refused| {
                            KeyStoreError::new(KeyStoreErrorKind::Refused, refused)
                        })?;
                }
            }
        }
        if !self.is_plausible(ring, now)? {
            if !std::mem::replace(&mut work.trouble.is_implausible, true) {
                work.tell(KeyEvent::ClockImplausible);
            }
            return Ok(due);
        }
        work.trouble.is_implausible = false;
        if !ring.missing_stops(now).is_empty() {
            Arc::make_mut(ring).stop_all_but_last(now);
        }
        for id in ring.over(now, &self.rules) {
            if !work.removed.contains(&id) {
                Arc::make_mut(ring).strip(id);
                due.removed.push(id);
            }
        }
        match ring.next_key(now, &self.rules) {
            Ok((made, from)) => {
                let key = work.candidate(self, ring)?;
                due.made = Some(key.id());
                Arc::make_mut(ring).rotate(key, made, from, now);
                work.trouble.is_full = false;
            }
            Err(NoNewKey::Full) => {
                if !std::mem::replace(&mut work.trouble.is_full, true) {
                    work.tell(KeyEvent::RingFull);
                }
            }
            Err(NoNewKey::NotDue) => {}
        }
        Ok(due)
    }

    fn is_plausible(&self, ring: &Ring, now: Millis) -> Result<bool, KeyStoreError> {
        if !ring.finds_plausible(now, &self.rules) {
            return Ok(false);
        }
        let Some(time) = self.ask(KeyStore::time)? else {
            return Ok(true);
        };
        let (time, now) = (Millis::from(time), self.signals.now());
        let differs_by = time.since(now).max(now.since(time));
        let call = self.store.timeout();
        Ok(differs_by <= ring.bounds.tolerance.saturating_add(call))
    }

    /// Writes the ring. Returns `false` if another process has written in between.
    fn write(
        &self,
        work: &mut Work,
        next: &Arc<Ring>,
        is_there: bool,
    ) -> Result<bool, KeyStoreError> {
        if next.live().count() > MAX_KEYS {
            return Err(KeyStoreError::new(
                KeyStoreErrorKind::Refused,
                Refused::Full,
            ));
        }
        let stored = work.stored.as_ref().filter(|_| is_there);
        let under = stored.and_then(|stored| stored.under);
        let text = text::write(next);
        let (bytes, under) = self.sealed(&text, under)?;
        let there = stored.map(|stored| stored.bytes.as_slice());
        if !self.ask(|store| store.replace(there, &bytes))? {
            return Ok(false);
        }
        work.stored = Some(Stored {
            bytes,
            ring: Arc::clone(next),
            under,
        });
        Ok(true)
    }

    /// Seals the ring for the store. It stays under the root key that it is under, even if this
    /// process has another root key first.
    fn sealed(
        &self,
        text: &str,
        under: Option<KeyId>,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<KeyId>), KeyStoreError> {
        let Some(root) = &self.root else {
            return Ok((Zeroizing::new(text.as_bytes().to_vec()), None));
        };
        let under = under.unwrap_or(root.first());
        let mut token = root
            .seal(text.as_bytes(), under)
            .map_err(|error| KeyStoreError::new(KeyStoreErrorKind::Other, error))?;
        token.push('\n');
        Ok((Zeroizing::new(token.into_bytes()), Some(under)))
    }

    /// Seals the ring again, under this process's first root key.
    pub(super) fn rewrap(&self) -> Result<bool, KeyStoreError> {
        // First write what this process knows.
        self.poll()?;
        let mut work = locked(&self.work);
        let Some(root) = &self.root else {
            return Err(KeyStoreError::new(
                KeyStoreErrorKind::Refused,
                "there is no root key that the ring could be sealed under",
            ));
        };
        for _ in 0..ATTEMPTS {
            if !self.load(&mut work)? {
                break;
            }
            let Some(stored) = &work.stored else { break };
            if stored.ring.is_newer() || !self.store.is_writable() {
                return Err(self.cannot_write(&stored.ring));
            }
            if stored.under == Some(root.first()) {
                return Ok(false);
            }
            let text = text::write(&stored.ring);
            let (bytes, under) = self.sealed(&text, Some(root.first()))?;
            if self.ask(|store| store.replace(Some(&stored.bytes), &bytes))? {
                let ring = Arc::clone(&stored.ring);
                work.stored = Some(Stored { bytes, ring, under });
                return Ok(true);
            }
        }
        Err(self.failed(
            KeyStoreErrorKind::Conflict,
            "other processes write it all the time; try again",
        ))
    }

    /// Takes over this ring, which the store now holds.
    fn learn(&self, work: &mut Work, ring: Arc<Ring>, began: Millis, ticks: Instant) {
        let entries = &ring.entries;
        self.signals.looked(|id| entries.contains_key(&id));
        self.signals.heard(began, ticks);
        if work
            .ring
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &ring))
        {
            return;
        }
        let mut events = Vec::new();
        for (id, entry) in entries {
            let known = work.ring.as_ref().map(|known| known.entries.get(id));
            let was_revoked = known
                .flatten()
                .zip(work.ring.as_ref())
                .is_some_and(|(known, ring)| ring.is_revoked(known));
            if ring.is_revoked(entry) && !was_revoked && known.is_some() {
                events.push(KeyEvent::Revoked(*id));
            }
            let is_told = work
                .events
                .iter()
                .any(|(event, _)| event.key_id() == Some(*id));
            if known.is_some_and(|known| known.is_none()) && entry.key.is_some() && !is_told {
                events.push(KeyEvent::Found(*id));
            }
        }
        for event in events {
            work.tell(event);
        }
        work.found.retain(|id, _| entries.contains_key(id));
        work.ring = Some(ring);
    }

    fn cannot_write(&self, ring: &Ring) -> KeyStoreError {
        let problem = if ring.is_newer() {
            "a newer version of sealed-session has written it; change it with that version"
        } else {
            "it may only be read here; change it where it is kept"
        };
        self.failed(KeyStoreErrorKind::Refused, problem)
    }

    fn missing(&self) -> KeyStoreError {
        let problem = "there is no ring of keys; make one with `sealed-session keys add`, or see \
                       whether the right folder or server is used";
        self.failed(KeyStoreErrorKind::Missing, problem)
    }

    fn damaged(&self, line: usize, problem: &str) -> KeyStoreError {
        let problem = format!(
            "line {line}: {problem}; put a backup in its place, or move it away if no session has \
             to survive"
        );
        self.failed(KeyStoreErrorKind::Damaged, problem)
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    Token::parse(text.trim_end()).is_ok()
}

impl Work {
    /// Returns a key that `ring` does not have. If the answer to an earlier write was lost, this is
    /// the same key again, unless that write has succeeded after all.
    fn candidate(&mut self, inner: &Inner, ring: &Ring) -> Result<AppKey, KeyStoreError> {
        let is_new = |key: &AppKey| !ring.entries.contains_key(&key.id());
        if let Some(key) = self.candidate.as_ref().filter(|key| is_new(key)) {
            return Ok(key.clone());
        }
        loop {
            let key = AppKey::generate()
                .map_err(|error| inner.failed(KeyStoreErrorKind::Other, error))?;
            if is_new(&key) {
                self.candidate = Some(key.clone());
                return Ok(key);
            }
        }
    }

    /// Reports each kind of trouble once, until it is over.
    fn note(&mut self, error: Option<&KeyStoreError>) {
        let kind = error.map(KeyStoreError::kind);
        let is_ours = matches!(
            kind,
            Some(KeyStoreErrorKind::Refused | KeyStoreErrorKind::Conflict)
        );
        if is_ours || kind == self.trouble.store {
            return;
        }
        self.trouble.store = kind;
        let event = match kind {
            None => KeyEvent::Recovered,
            Some(
                KeyStoreErrorKind::Damaged
                | KeyStoreErrorKind::NotOpened
                | KeyStoreErrorKind::Missing
                | KeyStoreErrorKind::Unsafe,
            ) => KeyEvent::StoreDamaged,
            Some(_) => KeyEvent::StoreFailed,
        };
        self.events.push((event, error.cloned()));
    }
}
