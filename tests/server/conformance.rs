//! The suite for backends: it passes those that keep their promises, and names each promise that
//! one of them breaks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

#[cfg(all(feature = "file", unix))]
use sealed_session::server::File;
use sealed_session::server::conformance::{Broken, Call, Spy, Suite};
use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Cursor, Entry, Memory, Outcome, Promise, StoreKey,
    Stored, Tag, Value, When,
};

use crate::shelf::{Incident, Shelf};
use crate::support::*;

/// Without waiting: the clock goes forward instead.
fn check<B: Backend>(backend: &B, clock: &Clock) -> Result<(), Broken> {
    let sleep = async |time| clock.forward(time);
    pollster::block_on(Suite::new(backend, sleep).check())
}

fn clock() -> Clock {
    Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY)
}

#[test]
fn a_backend_that_keeps_its_promises_passes_and_is_left_as_it_was() {
    let clock = clock();
    let spy = Spy::new(Shelf::new(&clock));
    spy.backend()
        .force(StoreKey::from_bytes([7; 32]), "a value of others", HOUR);
    assert_eq!(check(&spy, &clock), Ok(()));
    assert_eq!(spy.backend().only_key(), StoreKey::from_bytes([7; 32]));
    let calls = spy.take();
    for name in ["load", "put", "touch", "remove", "scan", "tagged"] {
        assert!(calls.iter().any(|call| call.name() == name), "{name}");
    }
    assert!(calls.iter().all(|call| match call {
        Call::Put(_, entry) => entry.ttl >= Duration::from_millis(1),
        _ => true,
    }));
}

#[test]
fn the_backend_in_memory_keeps_its_promises() {
    let clock = clock();
    let asked = clock.clone();
    let builder = Memory::builder().clock(move || asked.now());
    let memory = builder.build().unwrap();
    assert_eq!(check(&memory, &clock), Ok(()));
    assert!(memory.is_empty());
}

#[cfg(all(feature = "file", unix))]
#[test]
fn the_backend_in_a_directory_keeps_its_promises() {
    let clock = clock();
    let asked = clock.clone();
    let dir = tempfile::tempdir().unwrap();
    let builder = File::builder(dir.path().join("sessions")).clock(move || asked.now());
    let file = builder.build().unwrap();
    assert_eq!(check(&file, &clock), Ok(()));
    assert_eq!(pollster::block_on(file.scan(None)), Ok((vec![], None)));
}

#[test]
fn a_backend_that_waits_passes_too() {
    let clock = clock();
    let shelf = Shelf::new(&clock);
    shelf.yields(true);
    let sleep = async |time| clock.forward(time);
    let suite = Suite::new(&shelf, sleep).resolution(SECOND).max_size(4096);
    let mut running = std::pin::pin!(suite.check());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let outcome = loop {
        if let std::task::Poll::Ready(outcome) = running.as_mut().poll(&mut context) {
            break outcome;
        }
    };
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_machine_on_which_each_call_takes_longer_than_a_session_lives_breaks_no_promise() {
    let clock = clock();
    let asked = clock.clone();
    let builder = Memory::builder().clock(move || {
        asked.forward(SECOND);
        asked.now()
    });
    let memory = builder.build().unwrap();
    memory.stop();
    assert_eq!(check(&memory, &clock), Ok(()));
}

#[test]
fn a_call_that_fails_is_reported_with_the_backends_own_words() {
    for (call, promise) in [
        (
            "load",
            "a key that was never put is absent: `load` failed: the shelf is away",
        ),
        ("put", "`put` failed: the shelf is away"),
        ("touch", "`touch` failed: the shelf is away"),
        ("remove", "`remove` failed: the shelf is away"),
        ("scan", "a scan ends"),
        ("tagged", "the keys with a tag are found: `tagged` failed"),
    ] {
        let clock = clock();
        let shelf = Shelf::new(&clock);
        if call == "tagged" {
            shelf.plan(call, Incident::Passes);
        }
        shelf.plan(call, Incident::Fails);
        let broken = check(&shelf, &clock).unwrap_err();
        let text = broken.to_string();
        assert!(text.contains(promise), "{call}: {text}");
        assert_eq!(text.lines().count(), broken.promises().count());
    }
}

/// What is wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    ForgetsAtOnce,
    CutsValues,
    ChangesCase,
    ReadsKeysLoosely,
    CapsExpiry,
    KeepsOldExpiry,
    AbsentOverwrites,
    AbsentProlongs,
    UnchangedCreates,
    UnchangedOverwrites,
    UnchangedProlongs,
    ComparesLengths,
    ComparesBeginnings,
    IgnoresCase,
    ChecksThenActs,
    PutsInTwoSteps,
    PutsBeforeItExpires,
    ReadsThenRemoves,
    RemovesUnseenWhatChanges,
    RevivesWhatWasRemoved,
    RemovesMore,
    RemovingNothingFails,
    RemovesLater,
    RemovesUnseen,
    RemovesAnother,
    TouchCreates,
    TouchDoesNothing,
    TouchOnlyProlongs,
    TouchRevives,
    TouchLosesTheTag,
    NeverExpires,
    TellsTheWholeTime,
    LoadsProlong,
    ExpiredIsInTheWay,
    ExpiredIsRemoved,
    NoBriefTimes,
    ScanForgets,
    ScanNeverEnds,
    ScanCounts,
    TagsAreForgotten,
    TagsAreMixed,
    TagsGoWithAnUpdate,
    OneTagIsEnough,
    AnswersStored,
}

struct Faulty<const UPSERT: bool> {
    fault: Fault,
    clock: Clock,
    slots: Mutex<BTreeMap<[u8; 32], Slot>>,
}

#[derive(Clone)]
struct Slot {
    text: String,
    expires: std::time::SystemTime,
    tags: Vec<Tag>,
    ttl: Duration,
}

/// Lets other calls go first.
async fn let_others_go() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        match std::mem::replace(&mut has_waited, true) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

impl<const UPSERT: bool> Faulty<UPSERT> {
    fn new(fault: Fault, clock: &Clock) -> Self {
        Self {
            fault,
            clock: clock.clone(),
            slots: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn place(&self, key: &StoreKey) -> [u8; 32] {
        let mut place = *key.as_bytes();
        if self.is(Fault::ReadsKeysLoosely) {
            place[31] |= 0x20;
        }
        place
    }

    fn is_alive(&self, slot: &Slot) -> bool {
        slot.expires > self.clock.now()
    }

    fn find(&self, key: &StoreKey) -> Option<Slot> {
        let slot = self.slots.lock().unwrap().get(&self.place(key)).cloned();
        slot.filter(|slot| self.is_alive(slot))
    }

    fn is_met(&self, key: &StoreKey, when: &When) -> Outcome {
        let there = self.slots.lock().unwrap().get(&self.place(key)).cloned();
        let there = there.filter(|slot| self.is_alive(slot) || self.is(Fault::ExpiredIsInTheWay));
        match (when, there) {
            _ if UPSERT && !self.is(Fault::AnswersStored) => Outcome::Stored,
            (When::Absent, None) => Outcome::Stored,
            (When::Absent, Some(_)) if self.is(Fault::AbsentOverwrites) => Outcome::Stored,
            (When::Absent, Some(_)) => Outcome::Conflict,
            (When::Unchanged(_), None) => match self.fault {
                Fault::UnchangedCreates => Outcome::Stored,
                _ => Outcome::Absent,
            },
            (When::Unchanged(version), Some(slot)) => {
                let there = Value::new(slot.text).version();
                let is_same = match self.fault {
                    Fault::UnchangedOverwrites => true,
                    Fault::ComparesLengths => there.as_str().len() == version.as_str().len(),
                    Fault::ComparesBeginnings => there.as_str()[..32] == version.as_str()[..32],
                    Fault::IgnoresCase => there.as_str().eq_ignore_ascii_case(version.as_str()),
                    _ => there == *version,
                };
                if is_same {
                    Outcome::Stored
                } else {
                    Outcome::Conflict
                }
            }
        }
    }
}

impl<const UPSERT: bool> Backend for Faulty<UPSERT> {
    const PROMISE: Promise = if UPSERT {
        Promise::Upsert
    } else {
        Promise::Full
    };

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let slot = match self.fault {
            Fault::NeverExpires => self.slots.lock().unwrap().get(&self.place(key)).cloned(),
            _ => self.find(key),
        };
        let Some(mut slot) = slot else {
            return Ok(None);
        };
        match self.fault {
            Fault::CutsValues => slot.text.truncate(100_000),
            Fault::ChangesCase => slot.text.make_ascii_lowercase(),
            _ => {}
        }
        let value = Value::new(slot.text);
        let now = self.clock.now();
        let mut ttl = slot.expires.duration_since(now).unwrap_or_default();
        if self.is(Fault::TellsTheWholeTime) {
            ttl = slot.ttl;
        }
        if self.is(Fault::LoadsProlong) {
            let mut slots = self.slots.lock().unwrap();
            slots.get_mut(&self.place(key)).unwrap().expires = now + slot.ttl;
        }
        Ok(Some(Stored { value, ttl }))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        if self.is(Fault::RemovesUnseenWhatChanges) {
            let_others_go().await;
        }
        let mut outcome = self.is_met(key, &entry.when);
        if self.is(Fault::ChecksThenActs) {
            // As between a SELECT and an UPDATE.
            let_others_go().await;
        }
        if self.is(Fault::NoBriefTimes) && entry.ttl < SECOND {
            let kind = BackendErrorKind::Other;
            return Err(BackendError::new(kind, "invalid expire time"));
        }
        let text = entry.value.as_str().to_owned();
        let is_in_steps = self.is(Fault::PutsInTwoSteps) || self.is(Fault::PutsBeforeItExpires);
        if outcome == Outcome::Stored && is_in_steps {
            let ttl = match self.fault {
                Fault::PutsBeforeItExpires => 10_000 * DAY,
                _ => entry.ttl,
            };
            let slot = Slot {
                text: text.clone(),
                expires: self.clock.now() + ttl,
                tags: Vec::new(),
                ttl,
            };
            self.slots.lock().unwrap().insert(self.place(key), slot);
            let_others_go().await;
        }
        let before = self.find(key);
        let mut slots = self.slots.lock().unwrap();
        let place = self.place(key);
        let was_removed = self.is(Fault::RevivesWhatWasRemoved)
            && outcome == Outcome::Absent
            && slots.contains_key(&[0; 32]);
        if was_removed {
            outcome = Outcome::Stored;
        }
        let mut expires = self.clock.now() + entry.ttl;
        if outcome == Outcome::Conflict {
            let prolongs = match &entry.when {
                When::Absent => self.is(Fault::AbsentProlongs),
                When::Unchanged(_) => self.is(Fault::UnchangedProlongs),
            };
            if let (true, Some(slot)) = (prolongs, slots.get_mut(&place)) {
                slot.expires = expires;
            }
        }
        if outcome != Outcome::Stored || self.is(Fault::ForgetsAtOnce) {
            return Ok(outcome);
        }
        if self.is(Fault::CapsExpiry) {
            expires = expires.min(self.clock.now() + 30 * DAY);
        }
        if let (Fault::KeepsOldExpiry, Some(before)) = (self.fault, &before) {
            expires = before.expires;
        }
        let mut tags: Vec<Tag> = entry.tags().collect();
        if self.is(Fault::OneTagIsEnough) {
            tags.truncate(1);
        }
        let is_update = self.is(Fault::TagsGoWithAnUpdate) && before.is_some();
        if self.is(Fault::TagsAreForgotten) || is_update {
            tags.clear();
        }
        let ttl = entry.ttl;
        slots.insert(
            place,
            Slot {
                text,
                expires,
                tags,
                ttl,
            },
        );
        Ok(outcome)
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let expires = self.clock.now() + ttl;
        let is_alive = self.find(key).is_some();
        let mut slots = self.slots.lock().unwrap();
        match slots.get_mut(&self.place(key)) {
            _ if self.is(Fault::TouchDoesNothing) => {}
            Some(slot) if is_alive || self.is(Fault::TouchRevives) => {
                if !self.is(Fault::TouchOnlyProlongs) || slot.expires < expires {
                    (slot.expires, slot.ttl) = (expires, ttl);
                }
                if self.is(Fault::TouchLosesTheTag) {
                    slot.tags.clear();
                }
            }
            None if self.is(Fault::TouchCreates) => {
                let text = String::new();
                let slot = Slot {
                    text,
                    expires,
                    tags: Vec::new(),
                    ttl,
                };
                slots.insert(self.place(key), slot);
            }
            _ => {}
        }
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        let seen = self.find(key);
        if self.is(Fault::ReadsThenRemoves) || self.is(Fault::RemovesUnseenWhatChanges) {
            let_others_go().await;
        }
        let mut slots = self.slots.lock().unwrap();
        let removed = slots.remove(&self.place(key));
        let found = match self.fault {
            Fault::ReadsThenRemoves => seen.as_ref(),
            Fault::ExpiredIsRemoved => removed.as_ref(),
            _ => removed.as_ref().filter(|slot| self.is_alive(slot)),
        };
        let mut value = found.map(|slot| Value::new(slot.text.clone()));
        match self.fault {
            Fault::RemovesMore => slots.clear(),
            Fault::RemovesUnseen => value = None,
            Fault::RemovesUnseenWhatChanges => {
                value = value.filter(|value| seen.is_some_and(|seen| seen.text == value.as_str()));
            }
            Fault::RemovesAnother => value = value.map(|_| Value::new("x".repeat(80))),
            Fault::RemovesLater => {
                slots.extend(removed.map(|slot| (self.place(key), slot)));
            }
            Fault::RemovingNothingFails if removed.is_none() => {
                return Err(BackendError::new(BackendErrorKind::Other, "no such key"));
            }
            Fault::RevivesWhatWasRemoved => {
                slots.extend(removed.map(|slot| ([0; 32], slot)));
            }
            _ => {}
        }
        Ok(value)
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let slots = self.slots.lock().unwrap();
        let listed = if self.is(Fault::ScanForgets) {
            10
        } else {
            slots.len()
        };
        let keys = slots.keys().take(listed);
        let keys = keys.map(|key| StoreKey::from_bytes(*key));
        if self.is(Fault::ScanCounts) {
            let from = after.map_or(0, |cursor| cursor.0.parse().unwrap());
            let page: Vec<_> = keys.skip(from).take(10).collect();
            let next = (page.len() == 10).then(|| Cursor((from + 10).to_string()));
            return Ok((page, next));
        }
        let again = self.is(Fault::ScanNeverEnds);
        let next = again.then(|| after.unwrap_or(Cursor("again".to_owned())));
        Ok((if again { Vec::new() } else { keys.collect() }, next))
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let slots = self.slots.lock().unwrap();
        let tagged = slots.iter().filter(|(_, slot)| match self.fault {
            Fault::TagsAreMixed => !slot.tags.is_empty(),
            _ => slot.tags.contains(tag),
        });
        Ok(tagged.map(|(key, _)| StoreKey::from_bytes(*key)).collect())
    }
}

const FULL: [(Fault, &str); 43] = [
    (Fault::ForgetsAtOnce, "a new value is loaded unchanged"),
    (
        Fault::CutsValues,
        "the largest session of the store is kept whole",
    ),
    (Fault::ChangesCase, "a new value is loaded unchanged"),
    (Fault::ReadsKeysLoosely, "keys that differ in one bit"),
    (Fault::CapsExpiry, "a session may live for ten years"),
    (
        Fault::KeepsOldExpiry,
        "replaces the value of that version, and its expiry",
    ),
    (Fault::AbsentOverwrites, "`When::Absent` never overwrites"),
    (
        Fault::AbsentProlongs,
        "`When::Absent` never overwrites, neither the value nor its expiry",
    ),
    (Fault::UnchangedCreates, "`When::Unchanged` never creates"),
    (
        Fault::UnchangedOverwrites,
        "`When::Unchanged` never overwrites another version",
    ),
    (Fault::UnchangedProlongs, "another version, nor its expiry"),
    (
        Fault::ComparesLengths,
        "a replaced version never matches again",
    ),
    (
        Fault::ComparesBeginnings,
        "`When::Unchanged` compares the whole version",
    ),
    (
        Fault::IgnoresCase,
        "`When::Unchanged` compares the whole version",
    ),
    (
        Fault::PutsInTwoSteps,
        "a call whose future is dropped happens completely or not at all: it was not found",
    ),
    (
        Fault::PutsBeforeItExpires,
        "a call whose future is dropped happens completely or not at all: 864",
    ),
    (
        Fault::ReadsThenRemoves,
        "of many calls that remove one value at once, one returns it",
    ),
    (
        Fault::RemovesUnseenWhatChanges,
        "a value removed while others replace it is gone, and `remove` returns it",
    ),
    (
        Fault::TellsTheWholeTime,
        "the remaining time goes down, and no load prolongs it",
    ),
    (
        Fault::LoadsProlong,
        "the remaining time goes down, and no load prolongs it",
    ),
    (
        Fault::ExpiredIsRemoved,
        "an expired value is absent for `remove`",
    ),
    (
        Fault::ScanCounts,
        "also if those on earlier pages are removed: ",
    ),
    (
        Fault::ChecksThenActs,
        "of many calls that create one key at once, one succeeds",
    ),
    (
        Fault::RevivesWhatWasRemoved,
        "a removed value stays removed",
    ),
    (
        Fault::RemovesMore,
        "a removed value is gone, and no other is",
    ),
    (
        Fault::RemovingNothingFails,
        "removing an absent key is no error",
    ),
    (Fault::RemovesLater, "a removed value is gone"),
    (Fault::RemovesUnseen, "`remove` returns the removed value"),
    (Fault::RemovesAnother, "`remove` returns the removed value"),
    (Fault::TouchCreates, "`touch` creates nothing"),
    (Fault::TouchDoesNothing, "`touch` prolongs a value's life"),
    (Fault::TouchOnlyProlongs, "`touch` shortens a value's life"),
    (
        Fault::TouchRevives,
        "an expired value is absent for `touch`",
    ),
    (
        Fault::TouchLosesTheTag,
        "it stays findable by its tag: it was not found",
    ),
    (Fault::NeverExpires, "no value is loaded after its expiry"),
    (
        Fault::ExpiredIsInTheWay,
        "an expired value is absent for `put`",
    ),
    (
        Fault::NoBriefTimes,
        "the shortest time for a session is a millisecond: `put` failed: invalid",
    ),
    (Fault::ScanForgets, "has each key on at least one page"),
    (Fault::ScanNeverEnds, "a scan ends"),
    (
        Fault::TagsAreForgotten,
        "the keys with a tag are found, and no others: one was not",
    ),
    (
        Fault::TagsAreMixed,
        "the keys with a tag are found, and no others: another was",
    ),
    (
        Fault::TagsGoWithAnUpdate,
        "the keys with a tag are found, and no others: one was not",
    ),
    (
        Fault::OneTagIsEnough,
        "a value is found by each of its two tags, and no other is: by the second tag",
    ),
];

#[test]
fn each_promise_that_is_broken_is_named() {
    let clock = clock();
    assert_eq!(
        check(&Faulty::<false>::new(Fault::None, &clock), &clock),
        Ok(())
    );
    for (fault, promise) in FULL {
        let broken = check(&Faulty::<false>::new(fault, &clock), &clock).unwrap_err();
        let is_named = broken.promises().any(|line| line.contains(promise));
        assert!(is_named, "{fault:?}:\n{broken}");
    }
}

#[test]
fn a_backend_that_promises_less_is_asked_for_less() {
    let clock = clock();
    for fault in [Fault::None, Fault::ChecksThenActs, Fault::UnchangedCreates] {
        let upsert = Faulty::<true>::new(fault, &clock);
        assert_eq!(check(&upsert, &clock), Ok(()), "{fault:?}");
    }
    for (fault, promise) in [
        (
            Fault::AnswersStored,
            "with `Promise::Upsert` a put always writes",
        ),
        (Fault::RemovesLater, "a removed value is gone"),
        (Fault::NeverExpires, "no value is loaded after its expiry"),
        (Fault::TouchCreates, "`touch` creates nothing"),
    ] {
        let upsert = Faulty::<true>::new(fault, &clock);
        let broken = check(&upsert, &clock).unwrap_err();
        assert!(broken.to_string().contains(promise), "{fault:?}:\n{broken}");
    }
}
