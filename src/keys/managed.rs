//! What a process has of a ring: the keys it works with, and how they follow the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use zeroize::Zeroizing;

use super::change::Refused;
use super::event::{KeyEvent, KeyEvents};
use super::ring::{Bounds, MAX_KEYS, Ring};
use super::schedule::{NoNewKey, Rules, View, check};
use super::signals::{Signals, locked};
use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};
use super::text;
use crate::envelope::{AppKey, Guard, KeptKeys, KeyId, KeyRing, Keys, Root, TakesKeys, Token};
use crate::error::ConfigError;
use crate::time::Millis;

/// How often a write begins anew because another process came first.
const ATTEMPTS: usize = 16;

pub(super) struct Inner {
    pub(super) store: Box<dyn KeyStore>,
    pub(super) root: Option<Root>,
    pub(super) rules: Rules,
    pub(super) must_exist: bool,
    /// Keys that were in use before there was a ring.
    pub(super) adopted: Option<KeyRing>,
    /// Stands where a ring needs a key, and there is none.
    pub(super) nobody: AppKey,
    pub(super) signals: Arc<Signals>,
    pub(super) events: KeyEvents,
    pub(super) work: Mutex<Work>,
    pub(super) present: RwLock<Present>,
    pub(super) takers: Mutex<Vec<Weak<dyn TakesKeys>>>,
}

/// What whoever polls has in hand.
pub(super) struct Work {
    /// All that this process knows.
    ring: Option<Ring>,
    /// What the store had or took last, and what is in it.
    stored: Option<Stored>,
    /// When each key was last found in the store.
    found: BTreeMap<KeyId, Millis>,
    /// What this process needs of the fleet.
    pub(super) wanted: Bounds,
    /// The next key, made already: if the answer to a write is lost, it is tried again.
    candidate: Option<AppKey>,
    /// Whatever comes back after this process has removed it, stays.
    removed: BTreeSet<KeyId>,
    trouble: Trouble,
    view: Option<(View, bool)>,
    events: Vec<(KeyEvent, Option<KeyStoreError>)>,
}

struct Stored {
    bytes: Zeroizing<Vec<u8>>,
    ring: Ring,
    /// The root key that it is sealed under.
    under: Option<KeyId>,
}

/// What has been told already, so that it is told once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trouble {
    store: Option<KeyStoreErrorKind>,
    is_implausible: bool,
    is_full: bool,
    is_newer: bool,
}

/// What everybody else may look at.
pub(super) struct Present {
    ring: KeyRing,
    view: View,
    may_seal: bool,
    pub(super) bounds: Bounds,
}

/// A change by hand.
type Change<'a> = &'a mut dyn FnMut(&mut Ring, Millis) -> Result<(), Refused>;

impl Work {
    pub(super) fn new(wanted: Bounds) -> Self {
        Self {
            ring: None,
            stored: None,
            found: BTreeMap::new(),
            wanted,
            candidate: None,
            removed: BTreeSet::new(),
            trouble: Trouble::default(),
            view: None,
            events: Vec::new(),
        }
    }

    fn tell(&mut self, event: KeyEvent) {
        self.events.push((event, None));
    }

    /// Whether the ring allows all that this process does. A poll may be shorter.
    fn is_allowed(&self, bounds: Bounds) -> bool {
        let poll = bounds.poll;
        bounds.join(Bounds {
            poll,
            ..self.wanted
        }) == bounds
            && self.wanted.poll <= poll
    }
}

impl Present {
    pub(super) fn empty(nobody: &AppKey, bounds: Bounds) -> Self {
        Self {
            ring: KeyRing::new(nobody.clone()),
            view: View {
                sealing: None,
                opens: Vec::new(),
                until: Millis::MAX,
            },
            may_seal: false,
            bounds,
        }
    }
}

impl Inner {
    /// Looks at all that this process knows.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Ring) -> R) -> R {
        let work = locked(&self.work);
        match &work.ring {
            Some(ring) => look(ring),
            None => look(&Ring::new(work.wanted)),
        }
    }

    fn present<R>(&self, look: impl FnOnce(&Present) -> R) -> R {
        look(
            &self
                .present
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Asks the store, and does what is due.
    pub(super) fn poll(&self) -> Result<(), KeyStoreError> {
        self.act(None)
    }

    /// The same, with a change by hand.
    pub(super) fn act(&self, change: Option<Change<'_>>) -> Result<(), KeyStoreError> {
        let (outcome, events) = {
            let mut work = locked(&self.work);
            let outcome = self.step(&mut work, change);
            work.note(outcome.as_ref().err());
            // Dates come whether or not the store answers.
            self.install(&mut work);
            (outcome, std::mem::take(&mut work.events))
        };
        for (event, error) in events {
            let error = error.as_ref().map(|error| error as _);
            self.events.report(event, error);
        }
        outcome
    }

    fn step(&self, work: &mut Work, mut change: Option<Change<'_>>) -> Result<(), KeyStoreError> {
        for _ in 0..ATTEMPTS {
            let (began, ticks) = (self.signals.now(), Instant::now());
            let is_there = self.load(work)?;
            let now = self.signals.now();
            let base = self.know(work, is_there, began, now)?;
            if base.is_newer() || !self.store.is_writable() {
                if change.is_some() {
                    return Err(self.cannot_write(&base));
                }
                if base.is_newer() && !std::mem::replace(&mut work.trouble.is_newer, true) {
                    work.tell(KeyEvent::NewerFormat);
                }
                return self.learn(work, base, began, ticks);
            }
            let there = work.stored.as_ref().filter(|_| is_there);
            let is_restored = there.is_none_or(|there| !there.ring.is_same_as(&base));
            let Due {
                mut next,
                made,
                removed,
            } = self.due(work, base, now)?;
            if let Some(change) = &mut change {
                change(&mut next, now)
                    .map_err(|refused| KeyStoreError::new(KeyStoreErrorKind::Refused, refused))?;
            }
            next.settle();
            let stored = work.stored.as_ref().filter(|_| is_there);
            if stored.is_some_and(|stored| stored.ring.is_same_as(&next)) {
                return self.learn(work, next, began, ticks);
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
            return self.learn(work, next, began, ticks);
        }
        Err(self.failed(
            KeyStoreErrorKind::Conflict,
            "other processes write it all the time; try again",
        ))
    }

    /// Reads the store. Tells whether anything is there.
    fn load(&self, work: &mut Work) -> Result<bool, KeyStoreError> {
        let Some(bytes) = self.store.load()? else {
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
        work.stored = Some(Stored { bytes, ring, under });
        Ok(true)
    }

    /// All that this process and the store know together.
    fn know(
        &self,
        work: &mut Work,
        is_there: bool,
        began: Millis,
        now: Millis,
    ) -> Result<Ring, KeyStoreError> {
        let stored = work.stored.as_ref().filter(|_| is_there);
        if let Some(stored) = stored {
            let live = stored.ring.live().map(|(id, ..)| (*id, began));
            work.found.extend(live);
        }
        let mut base = match (&work.ring, stored) {
            (Some(known), Some(stored)) => known.clone().join(&stored.ring).map_err(|_| {
                let problem = format!(
                    "with the keys that this process knows it has more than {MAX_KEYS}; the \
                     ring of another application is in its place"
                );
                self.failed(KeyStoreErrorKind::Damaged, problem)
            })?,
            (None, Some(stored)) => stored.ring.clone(),
            (Some(known), None) => known.clone(),
            (None, None) => {
                if self.must_exist || !self.store.is_writable() {
                    return Err(self.failed(
                        KeyStoreErrorKind::Missing,
                        "there is no ring of keys; make one with `sealed-session keys add`, or \
                         see whether the right folder or server is used",
                    ));
                }
                Ring::new(work.wanted)
            }
        };
        // A key that is over and that somebody has removed does not come back; what the store has
        // lost does, whatever the time is here.
        let is_removed = |id| {
            let there = stored.and_then(|stored| stored.ring.entries.get(id));
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

    /// What the time, the settings and the fleet ask for.
    fn due(&self, work: &mut Work, base: Ring, now: Millis) -> Result<Due, KeyStoreError> {
        let mut due = Due {
            next: base,
            made: None,
            removed: Vec::new(),
        };
        let ring = &mut due.next;
        let wanted = Bounds {
            poll: ring.bounds.poll,
            ..work.wanted
        };
        let bounds = ring.bounds.join(wanted);
        if check(bounds, &self.rules).is_ok() {
            ring.bounds = bounds;
        }
        if let Some(adopted) = &self.adopted {
            for (key, seals) in adopted
                .keys()
                .zip(std::iter::once(true).chain(std::iter::repeat(false)))
            {
                ring.adopt(key.clone(), now, seals)
                    .map_err(|refused| KeyStoreError::new(KeyStoreErrorKind::Refused, refused))?;
            }
        }
        if !self.is_plausible(ring, now)? {
            if !std::mem::replace(&mut work.trouble.is_implausible, true) {
                work.tell(KeyEvent::ClockImplausible);
            }
            return Ok(due);
        }
        work.trouble.is_implausible = false;
        ring.stop_all_but_last(now);
        for id in ring.over(now, &self.rules) {
            if !work.removed.contains(&id) {
                ring.strip(id);
                due.removed.push(id);
            }
        }
        match ring.next_key(now, &self.rules) {
            Ok((made, from)) => {
                let key = work.candidate(self, ring)?;
                due.made = Some(key.id());
                ring.rotate(key, made, from, now);
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
        let Some(time) = self.store.time()? else {
            return Ok(true);
        };
        let (time, now) = (Millis::from(time), self.signals.now());
        let differs_by = time.since(now).max(now.since(time));
        let call = self.store.timeout();
        Ok(differs_by <= ring.bounds.tolerance.saturating_add(call))
    }

    /// Whether the store took it.
    fn write(&self, work: &mut Work, next: &Ring, is_there: bool) -> Result<bool, KeyStoreError> {
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
        if !self.store.replace(there, &bytes)? {
            return Ok(false);
        }
        work.stored = Some(Stored {
            bytes,
            ring: next.clone(),
            under,
        });
        Ok(true)
    }

    /// What the store gets: the root key that is there stays, whichever is the first here.
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

    /// Seals the ring under the root key that is the first here.
    pub(super) fn rewrap(&self) -> Result<bool, KeyStoreError> {
        // What this process knows goes in first.
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
            if self.store.replace(Some(&stored.bytes), &bytes)? {
                let ring = stored.ring.clone();
                work.stored = Some(Stored { bytes, ring, under });
                return Ok(true);
            }
        }
        Err(self.failed(
            KeyStoreErrorKind::Conflict,
            "other processes write it all the time; try again",
        ))
    }

    /// Goes on with this ring, which the store has.
    fn learn(
        &self,
        work: &mut Work,
        ring: Ring,
        began: Millis,
        ticks: Instant,
    ) -> Result<(), KeyStoreError> {
        let mut events = Vec::new();
        for (id, entry) in &ring.entries {
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
        let entries = &ring.entries;
        work.found.retain(|id, _| entries.contains_key(id));
        self.signals.looked(|id| entries.contains_key(&id));
        self.signals.heard(began, ticks);
        work.ring = Some(ring);
        Ok(())
    }

    /// Gives the keys of this moment to all who work with them.
    fn install(&self, work: &mut Work) {
        let Some(ring) = &work.ring else { return };
        let view = ring.view(self.signals.now(), |id| work.found.get(id).copied());
        let may_seal = view.sealing.is_some() && work.is_allowed(ring.bounds);
        let before = work.view.replace((view.clone(), may_seal));
        let bounds = ring.bounds;
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
                // They come from one map, by their ids.
                keys = match keys.clone().accept(key.clone()) {
                    Ok(more) => more,
                    Err(_) => keys,
                };
            }
            let was_open = before.as_ref().map(|(view, _)| view.opens.as_slice());
            let has_revoked = was_open.unwrap_or_default().iter().any(|id| {
                let entry = ring.entries.get(id);
                entry.is_some_and(|entry| ring.is_revoked(entry))
            });
            let present = (&view, may_seal, bounds);
            self.give(keys.guarded(guard), present, has_revoked);
        } else {
            let mut present = self
                .present
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
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

    fn give(&self, ring: KeyRing, present: (&View, bool, Bounds), has_revoked: bool) {
        let (view, may_seal, bounds) = present;
        let mut takers = locked(&self.takers);
        *self
            .present
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Present {
            ring: ring.clone(),
            view: view.clone(),
            may_seal,
            bounds,
        };
        takers.retain(|taker| {
            let taker = taker.upgrade();
            if let Some(taker) = &taker {
                taker.take_keys(&ring);
                if has_revoked {
                    taker.keys_are_revoked();
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
        // Without randomness all keep to the same pace, which does no harm.
        let _ = getrandom::fill(&mut byte);
        let share = u32::from(byte[0]);
        let jittered = poll - poll / 4 + (poll / 2).saturating_mul(share) / 255;
        let until = until.map_or(Duration::MAX, |until| until.since(now));
        jittered.min(until.max(poll.min(Duration::from_secs(1))))
    }

    fn cannot_write(&self, ring: &Ring) -> KeyStoreError {
        let problem = if ring.is_newer() {
            "a newer version of sealed-session has written it; change it with that version"
        } else {
            "it may only be read here; change it where it is kept"
        };
        self.failed(KeyStoreErrorKind::Refused, problem)
    }

    fn damaged(&self, line: usize, problem: &str) -> KeyStoreError {
        let problem = format!(
            "line {line}: {problem}; put a backup in its place, or move it away if no session has \
             to survive"
        );
        self.failed(KeyStoreErrorKind::Damaged, problem)
    }

    fn failed(&self, kind: KeyStoreErrorKind, problem: impl fmt::Display) -> KeyStoreError {
        KeyStoreError::new(kind, format_args!("{}: {problem}", self.store.describe()))
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    Token::parse(text.trim_end()).is_ok()
}

/// What is to be written.
struct Due {
    next: Ring,
    made: Option<KeyId>,
    removed: Vec<KeyId>,
}

impl Work {
    /// A key that `ring` does not have: the one that was made for a write whose answer was lost,
    /// unless it has arrived after all.
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

    /// Tells each kind of trouble once, until it is over.
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

impl Inner {
    fn ring(&self) -> KeyRing {
        self.present(|present| present.ring.clone())
    }

    fn tell(&self, who: Weak<dyn TakesKeys>) {
        let mut takers = locked(&self.takers);
        if let Some(taker) = who.upgrade() {
            taker.take_keys(&self.ring());
        }
        takers.push(who);
    }

    fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        let longest = Bounds {
            longest,
            ..locked(&self.work).wanted
        };
        let longest = longest.whole();
        let refused = |problem: String| ConfigError::new("lifetime", problem);
        {
            let mut work = locked(&self.work);
            work.wanted = work.wanted.join(longest);
            let known = work.ring.as_ref().map(|ring| ring.bounds);
            if known.is_some_and(|bounds| work.is_allowed(bounds)) {
                return Ok(());
            }
            let bounds = known.map_or(work.wanted, |known| known.join(work.wanted));
            check(bounds, &self.rules)
                .map_err(|(setting, problem)| ConfigError::new(setting, problem))?;
        }
        self.poll().map_err(|error| refused(error.to_string()))?;
        let bounds = self.present(|present| present.bounds);
        if locked(&self.work).is_allowed(bounds) {
            return Ok(());
        }
        Err(refused(format!(
            "{}: the ring allows lifetimes of {:?}, and cannot be changed here; allow more with \
             `sealed-session keys allow` where it is kept",
            self.store.describe(),
            bounds.longest
        )))
    }

    fn longest(&self) -> Duration {
        self.present(|present| present.bounds.longest)
    }

    #[cfg(feature = "redis")]
    fn seek(&self, id: KeyId) -> bool {
        let is_known = self.look(|ring| ring.entries.contains_key(&id));
        !is_known && self.signals.seek(id) == super::signals::Sought::Asked
    }
}

/// App keys that look after themselves: kept in a file, in Redis or wherever a [`KeyStore`] keeps
/// them, made, spread and retired by schedule, and followed by every process.
///
/// Stores and sealers take them where they take a [`KeyRing`], and follow: no restart, and no call
/// of `replace_keys`.
///
/// ```
/// use sealed_session::{CookieStore, ManagedKeys};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("session.keys");
/// let keys = ManagedKeys::file(path)?; // made with its first key if it is not there
/// let store = CookieStore::new(keys);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A thread asks the store every 20 seconds. It ends when the last clone, and the last store or
/// sealer over it, is dropped.
///
/// docs/keys.md has the recipes: one machine, several, a mounted secret, Redis, from `APP_KEY` to
/// managed keys and back.
#[derive(Clone)]
pub struct ManagedKeys {
    pub(super) inner: Arc<Inner>,
    pub(super) thread: Arc<super::worker::Worker>,
}

impl ManagedKeys {
    /// Asks the store now, and does what is due, as the thread does. It blocks.
    ///
    /// # Errors
    ///
    /// If the store fails, or what it has is not good. The keys go on as they are.
    pub fn refresh(&self) -> Result<(), KeyStoreError> {
        self.inner.poll()
    }

    /// The key that this process seals under; `None` while it must not seal.
    pub fn seals(&self) -> Option<KeyId> {
        let seals = |present: &Present| present.view.sealing.filter(|_| present.may_seal);
        self.inner.present(seals)
    }

    /// The keys whose tokens this process opens, in the order of their ids.
    pub fn opens(&self) -> Vec<KeyId> {
        self.inner.present(|present| present.view.opens.clone())
    }

    /// How long a token is sure to open.
    pub fn longest_lifetime(&self) -> Duration {
        self.inner.longest()
    }

    /// How long after a revocation has been written every process that reaches the store acts
    /// by it.
    pub fn promise(&self) -> Duration {
        self.inner.present(|present| present.bounds.promise())
    }

    /// When anything about these keys changes next, as far as is known.
    pub fn next_change(&self) -> Option<SystemTime> {
        let until = self.inner.present(|present| present.view.until);
        (until != Millis::MAX).then(|| until.into())
    }

    /// Ends the thread, and waits until it has ended. The keys stay as they are.
    pub fn stop(&self) {
        self.thread.stop();
    }
}

impl From<ManagedKeys> for Keys {
    fn from(keys: ManagedKeys) -> Self {
        Self::of(Arc::new(keys))
    }
}

impl From<&ManagedKeys> for Keys {
    fn from(keys: &ManagedKeys) -> Self {
        keys.clone().into()
    }
}

/// A store holds both: the keys, and the thread that follows.
impl KeptKeys for ManagedKeys {
    fn ring(&self) -> KeyRing {
        self.inner.ring()
    }

    fn tell(&self, who: Weak<dyn TakesKeys>) {
        self.inner.tell(who);
    }

    fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        self.inner.declare(longest)
    }

    fn longest(&self) -> Duration {
        self.inner.longest()
    }

    #[cfg(feature = "redis")]
    fn seek(&self, id: KeyId) -> bool {
        self.inner.seek(id)
    }

    #[cfg(feature = "server")]
    fn catch_up(&self) -> crate::envelope::CatchUp {
        super::asking::ask(&self.inner)
    }
}

impl fmt::Debug for ManagedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeys")
            .field("store", &self.inner.store.describe())
            .field("seals", &self.seals())
            .field("opens", &self.opens())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Whether the ring allows what this process was set to.
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
        if locked(&self.work).is_allowed(ring) {
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
