//! Changes by hand, from the command or from code.

use std::time::{Duration, SystemTime};

use super::change::Revoked;
use super::managed::ManagedKeys;
use super::ring::{Bounds, Entry, NEVER, Ring};
use super::schedule::check;
use super::store::{KeyStoreError, KeyStoreErrorKind};
use crate::envelope::{AppKey, KeyId};
use crate::time::Millis;

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// It opens, and will seal.
    Coming,
    /// It opens, and seals only after you promote it.
    Waiting,
    /// It seals and opens.
    Sealing,
    /// It has sealed, and still opens.
    Opening,
    /// It is disabled: it neither seals nor opens until you enable it again.
    Disabled,
    /// It has ended.
    Over,
    /// It was revoked.
    Revoked,
    /// It was dropped by hand.
    Dropped,
}

impl KeyState {
    /// Returns a short constant name in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coming => "coming",
            Self::Waiting => "waiting",
            Self::Sealing => "sealing",
            Self::Opening => "opening",
            Self::Disabled => "disabled",
            Self::Over => "over",
            Self::Revoked => "revoked",
            Self::Dropped => "dropped",
        }
    }
}

/// A key of the ring, with its dates: see [`ManagedKeys::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its id, as tokens have it.
    pub id: KeyId,
    /// Its state now.
    pub state: KeyState,
    /// When it was made.
    pub made: SystemTime,
    /// When it begins to seal, or began. `None` if it waits to be promoted.
    pub seals_from: Option<SystemTime>,
    /// When it stops sealing, or stopped. `None` while there is no next key, and if it was revoked
    /// or dropped.
    pub seals_until: Option<SystemTime>,
    /// When it stops opening, or stopped. `None` while there is no next key, and if it was revoked
    /// or dropped, because then it opens nothing.
    pub opens_until: Option<SystemTime>,
    /// Whether the store still has the key itself.
    pub has_material: bool,
}

/// The outcome of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// The keys that are revoked now. Empty if they were revoked before.
    pub revoked: Vec<KeyId>,
    /// The keys that still open.
    pub surviving: Vec<KeyId>,
    /// The new key that seals from now on, if one was needed.
    pub fresh: Option<KeyId>,
    /// By when every process that reaches the store knows of it.
    pub dead_by: SystemTime,
}

/// The limits that all processes share: for each, the largest that any process has declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The longest lifetime of anything that is sealed.
    pub longest_lifetime: Duration,
    /// The longest time between two polls of a process.
    pub poll: Duration,
    /// The longest time until every process can read what was written.
    pub propagation: Duration,
    /// The most that two clocks are apart.
    pub clock_tolerance: Duration,
}

impl ManagedKeys {
    /// Returns all keys of the ring, including those that are gone, in the order in which they
    /// seal.
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyState};
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    /// for key in keys.list()? {
    ///     println!("{} {}", key.id, key.state.as_str());
    ///     assert_eq!(key.state, KeyState::Sealing); // there is only the first
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn list(&self) -> Result<Vec<KeyInfo>, KeyStoreError> {
        self.inner.poll()?;
        let now = self.inner.signals.now();
        let sealing = self.seals();
        Ok(self.inner.look(|ring| {
            let mut keys: Vec<_> = ring.entries.iter().collect();
            keys.sort_by_key(|(id, entry)| (entry.from, **id));
            let info = |(id, entry): (&KeyId, &Entry)| info(ring, *id, entry, sealing, now);
            keys.into_iter().map(info).collect()
        }))
    }

    /// Returns the limits that all processes share.
    pub fn allowed(&self) -> Allowed {
        self.inner.look(|ring| Allowed {
            longest_lifetime: ring.bounds.longest,
            poll: ring.bounds.poll,
            propagation: ring.bounds.propagation,
            clock_tolerance: ring.bounds.tolerance,
        })
    }

    /// Raises limits, and lowers none. Use this before you start processes that poll less often, or
    /// that cannot write to the store themselves. Returns whether anything changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    ///
    /// let mut limits = keys.allowed();
    /// limits.poll = Duration::from_secs(60);
    /// assert!(keys.allow(limits)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or if this process could not rotate keys within such limits.
    pub fn allow(&self, more: Allowed) -> Result<bool, KeyStoreError> {
        let raised = |before: Bounds| {
            let more = Bounds {
                longest: more.longest_lifetime,
                poll: more.poll,
                propagation: more.propagation,
                tolerance: more.clock_tolerance,
                ..before
            };
            before.join(more.whole())
        };
        // Limits are never lowered, and this process could not start again with such a ring.
        let bounds = self.inner.look(|ring| raised(ring.bounds));
        check(bounds, &self.inner.rules).map_err(|(setting, problem)| {
            let problem = format_args!("{setting}: {problem}");
            KeyStoreError::new(KeyStoreErrorKind::Refused, problem)
        })?;
        self.change(|ring, _| {
            let before = ring.bounds;
            ring.bounds = raised(before);
            Ok(ring.bounds != before)
        })
    }

    /// Makes the next key now. It seals once all processes can have it: a day from now, unless
    /// [`make_ahead`](super::ManagedKeysBuilder::make_ahead) says otherwise. Returns `None` if the
    /// next key is there already.
    ///
    /// ```
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    /// let next = keys.add()?.ok_or("it is there already")?;
    /// assert!(keys.opens().contains(&next)); // at once
    /// assert_ne!(keys.seals(), Some(next)); // not yet
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store or the random source fails, or the ring is full.
    pub fn add(&self) -> Result<Option<KeyId>, KeyStoreError> {
        self.add_key(false)
    }

    /// Makes a key that only opens until you [promote](Self::promote) it. Returns `None` if there
    /// is such a key already.
    ///
    /// ```
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    /// let id = keys.add_waiting()?.ok_or("there is one already")?;
    /// assert!(keys.opens().contains(&id));
    /// assert_eq!(keys.next_change(), None); // nothing happens until you promote it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_waiting(&self) -> Result<Option<KeyId>, KeyStoreError> {
        self.add_key(true)
    }

    fn add_key(&self, only_opens: bool) -> Result<Option<KeyId>, KeyStoreError> {
        let key = new_key()?;
        let rules = self.inner.rules;
        self.change(move |ring, now| ring.add_by_hand(key.clone(), now, &rules, only_opens))
    }

    /// Lets a key seal as soon as all processes can have it, and returns when that is.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    ///
    /// let key = keys.add_waiting()?.ok_or("it is there already")?;
    /// // Later, when you want it to seal:
    /// assert!(keys.promote(key)? > SystemTime::now());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such key, or it has stopped sealing or is disabled.
    pub fn promote(&self, id: KeyId) -> Result<SystemTime, KeyStoreError> {
        let from = self.change(|ring, now| ring.promote(id, now).map(|(from, _)| from))?;
        Ok(from.into())
    }

    /// Takes a key out of use until you [enable](Self::enable) it. Do this before you drop a key,
    /// to see whether anybody misses it. Returns whether anything changed.
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such key, or it seals or is the next to seal.
    pub fn disable(&self, id: KeyId) -> Result<bool, KeyStoreError> {
        self.change(|ring, now| ring.disable(id, true, now))
    }

    /// Undoes [`disable`](Self::disable). Returns whether anything changed.
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such key.
    pub fn enable(&self, id: KeyId) -> Result<bool, KeyStoreError> {
        self.change(|ring, now| ring.disable(id, false, now))
    }

    /// Removes a key for good. The key must be [disabled](Self::disable), or have ended. Returns
    /// whether anything changed.
    ///
    /// ```
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    /// # let key = keys.add_waiting()?.ok_or("it is there already")?;
    /// keys.disable(key)?; // and wait: does anybody miss it?
    /// assert!(keys.drop_key(key)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such key, or it still opens.
    pub fn drop_key(&self, id: KeyId) -> Result<bool, KeyStoreError> {
        self.change(|ring, now| ring.drop_key(id, now))
    }

    /// Ends a leaked key and every key that was in the store while it was alive: whoever had the
    /// one may have had the others, and a session forged under it may have been sealed again under
    /// the next. The same write adds a fresh key, which seals at once.
    ///
    /// Everybody whose session was sealed under one of these keys has to log in again.
    ///
    /// ```
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let keys = ManagedKeys::file(folder.path().join("session.keys"))?;
    /// let leaked = keys.seals().ok_or("no key seals")?;
    /// let revocation = keys.revoke(leaked)?;
    /// assert_eq!(revocation.revoked, [leaked]);
    /// assert_eq!(keys.seals(), revocation.fresh);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such key.
    pub fn revoke(&self, id: KeyId) -> Result<Revocation, KeyStoreError> {
        let (key, rules) = (new_key()?, self.inner.rules);
        let revoked =
            self.change(|ring, now| ring.revoke(id, now, &rules, || Some(key.clone())))?;
        Ok(self.revocation(revoked))
    }

    /// Ends this key alone. A forged session that was sealed again under another key survives.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub fn revoke_only(&self, id: KeyId) -> Result<Revocation, KeyStoreError> {
        let key = new_key()?;
        let revoked = self.change(|ring, now| ring.revoke_only(id, now, || Some(key.clone())))?;
        Ok(self.revocation(revoked))
    }

    fn revocation(&self, revoked: Option<Revoked>) -> Revocation {
        let revoked = revoked.unwrap_or_else(|| Revoked {
            left: self
                .inner
                .look(|ring| ring.live().map(|(id, ..)| *id).collect()),
            ..Revoked::default()
        });
        Revocation {
            revoked: revoked.ended,
            surviving: revoked
                .left
                .into_iter()
                .filter(|id| Some(*id) != revoked.fresh)
                .collect(),
            fresh: revoked.fresh,
            dead_by: self.inner.signals.now().plus(self.promise()).into(),
        }
    }

    /// Seals the ring under the first of the [root keys](super::ManagedKeysBuilder::root). Call
    /// this once all processes accept that key. Returns whether the ring was under another key.
    ///
    /// ```
    /// # use sealed_session::{AppKey, KeyRing, ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// # let (old, new) = (AppKey::generate()?, AppKey::generate()?);
    /// # ManagedKeys::builder(KeyFile::owned(&path)).root(old.clone()).build()?;
    /// let roots = KeyRing::new(new).accept(old)?;
    /// let keys = ManagedKeys::builder(KeyFile::owned(&path)).root(roots).build()?;
    /// assert!(keys.rewrap()?); // from now on, nobody needs `old`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no root key.
    pub fn rewrap(&self) -> Result<bool, KeyStoreError> {
        self.inner.rewrap()
    }

    fn change<T>(
        &self,
        mut change: impl FnMut(&mut Ring, Millis) -> Result<T, super::change::Refused>,
    ) -> Result<T, KeyStoreError> {
        let mut outcome = None;
        self.inner.act(Some(&mut |ring, now| {
            outcome = Some(change(ring, now)?);
            Ok(())
        }))?;
        outcome.ok_or_else(|| KeyStoreError::new(KeyStoreErrorKind::Other, "nothing was changed"))
    }
}

fn new_key() -> Result<AppKey, KeyStoreError> {
    AppKey::generate().map_err(|error| KeyStoreError::new(KeyStoreErrorKind::Other, error))
}

fn info(ring: &Ring, id: KeyId, entry: &Entry, sealing: Option<KeyId>, now: Millis) -> KeyInfo {
    let end = ring.end(entry);
    let state = if ring.is_revoked(entry) {
        KeyState::Revoked
    } else if entry.dropped.is_some() {
        KeyState::Dropped
    } else if entry.key.is_none() || end.is_some_and(|end| now >= end) {
        KeyState::Over
    } else if entry.is_disabled() {
        KeyState::Disabled
    } else if sealing == Some(id) {
        KeyState::Sealing
    } else if entry.from == NEVER && entry.stops.is_none() {
        KeyState::Waiting
    } else if entry.from > now && entry.stops.is_none() {
        KeyState::Coming
    } else {
        KeyState::Opening
    };
    // What was revoked or dropped no longer ends on the date that was planned.
    let is_gone = matches!(state, KeyState::Revoked | KeyState::Dropped);
    KeyInfo {
        id,
        state,
        made: entry.made.into(),
        seals_from: (entry.from != NEVER).then(|| entry.from.into()),
        seals_until: entry.stops.filter(|_| !is_gone).map(Into::into),
        opens_until: end.filter(|_| !is_gone).map(Into::into),
        has_material: entry.key.is_some(),
    }
}
