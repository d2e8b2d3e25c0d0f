//! A backend in memory that goes by the tests' clock and does what a test has planned.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Cursor, Entry, Outcome, Promise, StoreKey, Stored,
    Tag, Value, When,
};

use crate::support::Clock;

/// What is to happen to a call.
pub(crate) enum Incident {
    /// Nothing: for the calls before the one that is meant.
    Passes,
    /// Another request comes first.
    Before(Box<dyn FnOnce() + Send>),
    Fails,
    /// It is done, and the answer gets lost.
    FailsAfter,
    /// It never ends, and has done nothing.
    Waits,
    /// It never ends, and is done.
    WaitsAfter,
}

/// Clones are the same shelf.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Inner>);

struct Inner {
    clock: Clock,
    slots: Mutex<BTreeMap<StoreKey, Slot>>,
    planned: Mutex<Vec<(&'static str, Incident)>>,
    /// Each call lets others go first, before and after it does something.
    yields: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    pub(crate) expires: SystemTime,
    pub(crate) tags: Vec<Tag>,
}

impl Shelf {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self(Arc::new(Inner {
            clock: clock.clone(),
            slots: Mutex::default(),
            planned: Mutex::default(),
            yields: AtomicBool::new(false),
        }))
    }

    /// Plans what happens to the next call of this name that nothing is planned for.
    pub(crate) fn plan(&self, call: &'static str, incident: Incident) {
        self.0.planned.lock().unwrap().push((call, incident));
    }

    pub(crate) fn plan_for_ever(&self, call: &'static str, incident: fn() -> Incident) {
        for _ in 0..1000 {
            self.plan(call, incident());
        }
    }

    pub(crate) fn forget_plans(&self) {
        self.0.planned.lock().unwrap().clear();
    }

    pub(crate) fn is_as_planned(&self) -> bool {
        self.0.planned.lock().unwrap().is_empty()
    }

    pub(crate) fn yields(&self, yields: bool) {
        self.0.yields.store(yields, Ordering::Relaxed);
    }

    /// What has not expired.
    pub(crate) fn slots(&self) -> BTreeMap<StoreKey, Slot> {
        let now = self.0.clock.now();
        let mut slots = self.0.slots.lock().unwrap();
        slots.retain(|_, slot| slot.expires > now);
        slots.clone()
    }

    /// The key of the only value.
    pub(crate) fn only_key(&self) -> StoreKey {
        let slots = self.slots();
        assert_eq!(slots.len(), 1);
        *slots.keys().next().unwrap()
    }

    pub(crate) fn ttl(&self, key: &StoreKey) -> Duration {
        let now = self.0.clock.now();
        self.slots()[key].expires.duration_since(now).unwrap()
    }

    /// Writes as whoever has the server's password can.
    pub(crate) fn force(&self, key: StoreKey, value: &str, ttl: Duration) {
        let slot = Slot {
            value: Value::new(value.to_owned()),
            expires: self.0.clock.now() + ttl,
            tags: Vec::new(),
        };
        self.0.slots.lock().unwrap().insert(key, slot);
    }

    pub(crate) fn lose(&self, key: &StoreKey) -> Option<Value> {
        let slot = self.0.slots.lock().unwrap().remove(key)?;
        Some(slot.value)
    }

    async fn step<T>(
        &self,
        call: &'static str,
        work: impl FnOnce() -> T,
    ) -> Result<T, BackendError> {
        let incident = {
            let mut planned = self.0.planned.lock().unwrap();
            let at = planned.iter().position(|(name, _)| *name == call);
            at.map(|at| planned.remove(at).1)
        };
        self.let_others_go().await;
        let outcome = match incident {
            None | Some(Incident::Passes) => Ok(work()),
            Some(Incident::Before(run)) => {
                run();
                Ok(work())
            }
            Some(Incident::Fails) => Err(away()),
            Some(Incident::FailsAfter) => {
                work();
                Err(away())
            }
            Some(Incident::Waits) => pending().await,
            Some(Incident::WaitsAfter) => {
                work();
                pending().await
            }
        };
        self.let_others_go().await;
        outcome
    }

    async fn let_others_go(&self) {
        let mut has_waited = !self.0.yields.load(Ordering::Relaxed);
        poll_fn(|_| {
            if std::mem::replace(&mut has_waited, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

pub(crate) fn away() -> BackendError {
    BackendError::new(BackendErrorKind::Unavailable, "the shelf is away")
}

impl Backend for Shelf {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let work = || {
            let slot = self.slots().get(key).cloned()?;
            let ttl = slot.expires.duration_since(self.0.clock.now()).unwrap();
            let value = slot.value;
            Some(Stored { value, ttl })
        };
        self.step("load", work).await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let work = || {
            let there = self.slots().get(key).map(|slot| slot.value.version());
            match (&entry.when, there) {
                (When::Absent, None) => {}
                (When::Unchanged(version), Some(there)) if *version == there => {}
                (When::Unchanged(_), None) => return Outcome::Absent,
                _ => return Outcome::Conflict,
            }
            let slot = Slot {
                value: entry.value.clone(),
                expires: self.0.clock.now() + entry.ttl,
                tags: entry.tags().collect(),
            };
            self.0.slots.lock().unwrap().insert(*key, slot);
            Outcome::Stored
        };
        self.step("put", work).await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let work = || {
            self.slots();
            if let Some(slot) = self.0.slots.lock().unwrap().get_mut(key) {
                slot.expires = self.0.clock.now() + ttl;
            }
        };
        self.step("touch", work).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        let work = || {
            self.slots();
            self.lose(key)
        };
        self.step("remove", work).await
    }

    /// Two keys to a page; where to go on is the last key.
    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let work = || {
            let after = after.map_or_else(String::new, |cursor| cursor.0);
            let keys = self.slots().into_keys();
            let page: Vec<_> = keys.filter(|key| key.to_string() > after).take(2).collect();
            let last = page.last().map(|key| Cursor(key.to_string()));
            (page, last)
        };
        self.step("scan", work).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let work = || {
            let slots = self.slots().into_iter();
            let tagged = slots.filter(|(_, slot)| slot.tags.contains(tag));
            tagged.map(|(key, _)| key).collect()
        };
        self.step("tagged", work).await
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}
