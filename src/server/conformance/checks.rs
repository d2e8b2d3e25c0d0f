//! The checks, one for each promise. The report names a promise with the same words as here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::backend::{Backend, Entry, Outcome, Promise, StoreKey, Tag, Value, When};
use super::broken::Broken;
use crate::envelope::{encoded_len, os_random};
use crate::error::BackendErrorKind;
use crate::session::Version;

const HOUR: Duration = Duration::from_secs(3600);

/// How long calls may take before a remaining lifetime counts as wrong.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The number of calls at once.
const CROWD: usize = 32;

/// The number of pages after which a scan counts as endless.
const PAGES: usize = 100_000;

/// How exact the backend's times are, and how large its values may be.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) resolution: Duration,
    pub(super) max_size: usize,
}

pub(super) async fn all<B: Backend>(
    backend: &B,
    sleep: impl AsyncFn(Duration),
    bounds: &Bounds,
) -> Result<(), Broken> {
    let mut seed = [0; 32];
    if let Err(error) = os_random(&mut seed) {
        let promises = vec![error.to_string()];
        return Err(Broken { promises });
    }
    let mut checks = Checks {
        backend,
        resolution: bounds.resolution,
        seed,
        drawn: 0,
        keys: Vec::new(),
        broken: Vec::new(),
    };
    checks.values(bounds.max_size).await;
    checks.keys().await;
    checks.removal().await;
    match B::PROMISE {
        Promise::Full => {
            checks.conditions().await;
            checks.versions().await;
            checks.crowds().await;
        }
        Promise::Upsert => checks.always_writes().await,
    }
    checks.dropped_calls().await;
    checks.expiry(sleep).await;
    checks.scan().await;
    checks.tags().await;
    checks.tidy().await;
    if checks.broken.is_empty() {
        Ok(())
    } else {
        let promises = checks.broken;
        Err(Broken { promises })
    }
}

struct Checks<'b, B> {
    backend: &'b B,
    resolution: Duration,
    seed: [u8; 32],
    drawn: u64,
    /// All keys that the checks have used.
    keys: Vec<StoreKey>,
    broken: Vec<String>,
}

impl<B: Backend> Checks<'_, B> {
    async fn values(&mut self, max_size: usize) {
        let key = self.key();
        self.is_gone("a key that was never put is absent", &key)
            .await;

        let promise = "a new value is loaded unchanged, with its remaining time";
        let first = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &first, Outcome::Stored).await;
        self.is_there(promise, &key, &first).await;

        let promise = "`When::Unchanged` replaces the value of that version, and its expiry";
        let second = self.entry(2 * HOUR, unchanged(&first));
        self.puts(promise, &key, &second, Outcome::Stored).await;
        self.is_there(promise, &key, &second).await;

        let promise = "the largest session of the store is kept whole";
        let (key, mut large) = (self.key(), self.entry(HOUR, When::Absent));
        let mut text = large.value.as_str().to_owned();
        let rest = encoded_len(max_size).saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', rest));
        large.value = Value::new(text);
        self.puts(promise, &key, &large, Outcome::Stored).await;
        self.is_there(promise, &key, &large).await;

        let promise = "a session may live for ten years";
        let (key, long) = (self.key(), self.entry(10 * 365 * 24 * HOUR, When::Absent));
        self.puts(promise, &key, &long, Outcome::Stored).await;
        self.is_there(promise, &key, &long).await;
    }

    async fn keys(&mut self) {
        let promise = "keys that differ in one bit are different keys";
        let key = self.key();
        let entry = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &entry, Outcome::Stored).await;
        for at in 0..key.as_bytes().len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut bytes = *key.as_bytes();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
                self.is_gone(promise, &StoreKey::from_bytes(bytes)).await;
            }
        }
    }

    async fn removal(&mut self) {
        let promise = "a removed value is gone, and no other is";
        let (key, other) = (self.key(), self.key());
        let entry = self.entry(HOUR, When::Absent);
        let kept = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &entry, Outcome::Stored).await;
        self.puts(promise, &other, &kept, Outcome::Stored).await;
        let removed = self.removes(promise, &key).await;
        self.is_gone(promise, &key).await;
        self.is_there(promise, &other, &kept).await;
        let promise = "`remove` returns the removed value";
        if removed.is_none() && B::PROMISE == Promise::Full {
            self.report(promise, "`remove` returned nothing".to_owned());
        }
        if removed.is_some_and(|removed| removed != entry.value) {
            self.report(promise, "`remove` returned another value".to_owned());
        }
        let promise = "removing an absent key is no error and returns nothing";
        if self.removes(promise, &key).await.is_some() {
            self.report(promise, "`remove` returned a value".to_owned());
        }
        let promise = "`touch` creates nothing";
        self.touches(promise, &key, HOUR).await;
        self.is_gone(promise, &key).await;
        let promise = "a removed key can be put again with `When::Absent`";
        let again = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &again, Outcome::Stored).await;
        self.is_there(promise, &key, &again).await;
    }

    async fn conditions(&mut self) {
        let key = self.key();
        let promise = "`When::Unchanged` never creates";
        let nowhere = self.entry(HOUR, When::Absent);
        let entry = self.entry(HOUR, unchanged(&nowhere));
        self.puts(promise, &key, &entry, Outcome::Absent).await;
        self.is_gone(promise, &key).await;

        let first = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &first, Outcome::Stored).await;
        let promise = "`When::Absent` never overwrites, neither the value nor its expiry";
        let entry = self.entry(2 * HOUR, When::Absent);
        self.puts(promise, &key, &entry, Outcome::Conflict).await;
        self.is_there(promise, &key, &first).await;

        let promise = "`When::Unchanged` never overwrites another version, nor its expiry";
        let entry = self.entry(2 * HOUR, unchanged(&entry));
        self.puts(promise, &key, &entry, Outcome::Conflict).await;
        self.is_there(promise, &key, &first).await;

        let promise = "a replaced version never matches again";
        let second = self.entry(HOUR, unchanged(&first));
        self.puts(promise, &key, &second, Outcome::Stored).await;
        let late = self.entry(HOUR, unchanged(&first));
        self.puts(promise, &key, &late, Outcome::Conflict).await;
        self.is_there(promise, &key, &second).await;

        let promise = "a removed value stays removed";
        self.removes(promise, &key).await;
        let late = self.entry(HOUR, unchanged(&second));
        self.puts(promise, &key, &late, Outcome::Absent).await;
        self.is_gone(promise, &key).await;
    }

    /// Two versions that differ only in their last character, and there only in its case.
    async fn versions(&mut self) {
        let promise = "`When::Unchanged` compares the whole version";
        let key = self.key();
        let mut first = self.entry(HOUR, When::Absent);
        let mut begins = first.value.as_str().to_owned();
        begins.truncate(Version::LEN - 1);
        let [here, near] = ["a", "A"].map(|last| Value::new(begins.clone() + last));
        first.value = here;
        self.puts(promise, &key, &first, Outcome::Stored).await;
        let late = self.entry(HOUR, When::Unchanged(near.version()));
        self.puts(promise, &key, &late, Outcome::Conflict).await;
        self.is_there(promise, &key, &first).await;
    }

    async fn always_writes(&mut self) {
        let promise = "with `Promise::Upsert` a put always writes";
        let key = self.key();
        let nowhere = self.entry(HOUR, When::Absent);
        let mut entry = self.entry(HOUR, unchanged(&nowhere));
        for _ in 0..2 {
            self.puts(promise, &key, &entry, Outcome::Stored).await;
            self.is_there(promise, &key, &entry).await;
            entry = self.entry(2 * HOUR, When::Absent);
        }
    }

    /// Makes several calls at once, in one task. A call that waits must let the others go on.
    async fn crowds(&mut self) {
        let promise = "of many calls that create one key at once, one succeeds";
        let (key, first) = (self.key(), When::Absent);
        let winner = self.crowd(promise, &key, &first, Outcome::Conflict).await;
        let promise = "of many calls that replace one version at once, one succeeds";
        let Some(winner) = winner else { return };
        let version = unchanged(&winner);
        self.crowd(promise, &key, &version, Outcome::Conflict).await;

        let promise = "a value removed while others replace it is gone, and `remove` returns it";
        let key = self.key();
        let first = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &first, Outcome::Stored).await;
        let entries: Vec<_> = (0..CROWD)
            .map(|_| self.entry(HOUR, unchanged(&first)))
            .collect();
        let backend = self.backend;
        let mut calls: Vec<Call<'_, Result<Done, String>>> = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            if n == CROWD / 2 {
                calls.push(Box::pin(remove_once(backend, &key)));
            }
            calls.push(Box::pin(put_once(backend, &key, entry)));
        }
        let (stored, removed) = self.done(promise, together(calls).await);
        let last = stored.last().unwrap_or(&first.value);
        match removed.first() {
            Some(removed) if removed == last => {}
            Some(_) => self.report(promise, "`remove` returned another value".to_owned()),
            None => self.report(promise, "`remove` returned nothing".to_owned()),
        }
        self.is_gone(promise, &key).await;

        let promise = "of many calls that remove one value at once, one returns it";
        let again = self.entry(HOUR, When::Absent);
        self.puts(promise, &key, &again, Outcome::Stored).await;
        let removals = (0..CROWD).map(|_| -> Call<'_, _> { Box::pin(remove_once(backend, &key)) });
        let (_, removed) = self.done(promise, together(removals.collect()).await);
        if removed != [again.value] {
            self.report(
                promise,
                format!("{} of {CROWD} returned a value", removed.len()),
            );
        }
    }

    /// The values that were stored and those that were removed, in this order.
    fn done(
        &mut self,
        promise: &str,
        outcomes: Vec<Result<Done, String>>,
    ) -> (Vec<Value>, Vec<Value>) {
        let (mut stored, mut removed) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(Done::Stored(value)) => stored.push(value),
                Ok(Done::Removed(value)) => removed.push(value),
                Ok(Done::Nothing) => {}
                Err(instead) => self.report(promise, instead),
            }
        }
        (stored, removed)
    }

    /// Drops calls that have begun. They may still happen later, but only as a whole.
    async fn dropped_calls(&mut self) {
        let promise = "a call whose future is dropped happens completely or not at all";
        for polls in 1..=4 {
            let (key, tag) = (self.key(), self.tag());
            let mut entry = self.entry(HOUR, When::Absent);
            entry.tag = Some(tag);
            drop_after(polls, self.backend.put(&key, &entry)).await;
            match self.backend.load(&key).await {
                Ok(None) => continue,
                Ok(Some(_)) => self.is_there(promise, &key, &entry).await,
                Err(error) => self.report(promise, format!("`load` failed: {error}")),
            }
            if let Some(found) = self.tagged(&tag).await
                && !found.contains(&key)
            {
                self.report(promise, "it was not found by its tag".to_owned());
            }
            drop_after(polls, self.backend.touch(&key, 2 * HOUR)).await;
            drop_after(polls, self.backend.remove(&key)).await;
            self.touches(promise, &key, HOUR).await;
            self.removes(promise, &key).await;
        }
    }

    /// Puts many values at once, one of which may win, and returns the winner.
    async fn crowd(
        &mut self,
        promise: &str,
        key: &StoreKey,
        when: &When,
        losers: Outcome,
    ) -> Option<Entry> {
        let entries: Vec<_> = (0..CROWD).map(|_| self.entry(HOUR, when.clone())).collect();
        let backend = self.backend;
        let calls = entries.iter().map(|entry| -> Call<'_, _> {
            Box::pin(async move { (entry, backend.put(key, entry).await) })
        });
        let mut winners = Vec::new();
        for (entry, outcome) in together(calls.collect()).await {
            match outcome {
                Ok(Outcome::Stored) => winners.push(entry),
                Ok(outcome) if outcome == losers => {}
                Ok(outcome) => self.report(promise, format!("`put` answered {outcome:?}")),
                Err(error) => self.report(promise, format!("`put` failed: {error}")),
            }
        }
        if let [winner] = winners[..] {
            self.is_there(promise, key, winner).await;
            return Some(winner.clone());
        }
        self.report(promise, format!("{} of {CROWD} succeeded", winners.len()));
        None
    }

    /// Checks everything that needs time to pass.
    async fn expiry(&mut self, sleep: impl AsyncFn(Duration)) {
        let soon = 2 * self.resolution;
        let [shortened, gone, reused, updated, touched, removed] =
            std::array::from_fn(|_| self.key());
        let brief = "the shortest time for a session is a millisecond";
        let entry = self.entry(Duration::from_millis(1), When::Absent);
        self.puts(brief, &gone, &entry, Outcome::Stored).await;

        let keeps = "`touch` prolongs a value's life, and it stays findable by its tag";
        let (kept, tagged, tag) = self.kept_by_touch(keeps, soon).await;

        let shortens = "`touch` shortens a value's life";
        let entry = self.entry(HOUR, When::Absent);
        self.puts(shortens, &shortened, &entry, Outcome::Stored)
            .await;
        self.touches(shortens, &shortened, soon).await;

        let replaces = "a value that replaces another has its own expiry";
        let (replaced, second) = self.replaced(replaces, soon).await;

        let expires = "no value is loaded after its expiry";
        let brief_ones = [reused, updated, touched, removed].map(|key| {
            let entry = self.entry(soon, When::Absent);
            (key, entry)
        });
        for (key, entry) in &brief_ones {
            self.puts(expires, key, entry, Outcome::Stored).await;
        }

        sleep(2 * soon).await;

        self.is_there(keeps, &kept, &tagged).await;
        let passes = "the remaining time goes down, and no load prolongs it";
        let mut later = tagged;
        later.ttl = later.ttl.saturating_sub(2 * soon);
        self.is_there(passes, &kept, &later).await;
        if let Some(found) = self.tagged(&tag).await
            && !found.contains(&kept)
        {
            self.report(keeps, "it was not found".to_owned());
        }
        self.is_gone(shortens, &shortened).await;
        self.is_there(replaces, &replaced, &second).await;
        self.is_gone(brief, &gone).await;
        for (key, _) in &brief_ones {
            self.is_gone(expires, key).await;
        }
        let [_, (_, before), _, _] = &brief_ones;
        let promise = "an expired value is absent for `remove`";
        if self.removes(promise, &removed).await.is_some() {
            self.report(promise, "`remove` returned it".to_owned());
        }
        let revives = "an expired value is absent for `touch`";
        self.touches(revives, &touched, HOUR).await;
        self.is_gone(revives, &touched).await;
        let promise = "an expired value is absent for `put`";
        let entry = self.entry(HOUR, When::Absent);
        self.puts(promise, &reused, &entry, Outcome::Stored).await;
        self.is_there(promise, &reused, &entry).await;
        if B::PROMISE == Promise::Full {
            let entry = self.entry(HOUR, unchanged(before));
            self.puts(promise, &updated, &entry, Outcome::Absent).await;
            self.is_gone(promise, &updated).await;
        }
    }

    /// Puts a value and touches it before it expires. On a slow machine it may expire first; then
    /// another one gets more time.
    async fn kept_by_touch(&mut self, promise: &str, mut ttl: Duration) -> (StoreKey, Entry, Tag) {
        loop {
            let (key, tag) = (self.key(), self.tag());
            let mut entry = self.entry(ttl, When::Absent);
            entry.tag = Some(tag);
            self.puts(promise, &key, &entry, Outcome::Stored).await;
            self.touches(promise, &key, HOUR).await;
            entry.ttl = HOUR;
            let is_over = matches!(self.backend.load(&key).await, Ok(None));
            if !is_over || ttl > PATIENCE {
                self.is_there(promise, &key, &entry).await;
                return (key, entry, tag);
            }
            ttl *= 2;
        }
    }

    /// Puts a value and replaces it before it expires, as [`kept_by_touch`](Self::kept_by_touch).
    async fn replaced(&mut self, promise: &str, mut ttl: Duration) -> (StoreKey, Entry) {
        loop {
            let key = self.key();
            let first = self.entry(ttl, When::Absent);
            let second = self.entry(HOUR, unchanged(&first));
            self.puts(promise, &key, &first, Outcome::Stored).await;
            match self.backend.put(&key, &second).await {
                Ok(Outcome::Absent) if ttl <= PATIENCE => {
                    ttl *= 2;
                    continue;
                }
                Ok(Outcome::Stored) => {}
                Ok(instead) => self.report(promise, format!("`put` answered {instead:?}")),
                Err(error) => self.report(promise, format!("`put` failed: {error}")),
            }
            return (key, second);
        }
    }

    async fn scan(&mut self) {
        let promise = "a scan ends, and has each key on at least one page, also if those on earlier \
                       pages are removed";
        let keys: Vec<_> = (0..CROWD).map(|_| self.key()).collect();
        for key in &keys {
            let entry = self.entry(HOUR, When::Absent);
            self.puts(promise, key, &entry, Outcome::Stored).await;
        }
        let (mut missing, mut cursor) = (keys, None);
        for _ in 0..PAGES {
            match self.backend.scan(cursor).await {
                Ok((page, next)) => {
                    let found = missing.extract_if(.., |key| page.contains(key));
                    // As `retain` does. The keys on later pages must not move up.
                    for key in found.collect::<Vec<_>>() {
                        self.removes(promise, &key).await;
                    }
                    cursor = next;
                }
                Err(error) if error.kind() == BackendErrorKind::Unsupported => return,
                Err(error) => return self.report(promise, format!("`scan` failed: {error}")),
            }
            if cursor.is_none() {
                break;
            }
        }
        if cursor.is_some() {
            self.report(promise, format!("it did not end after {PAGES} pages"));
        } else if !missing.is_empty() {
            let count = missing.len();
            self.report(promise, format!("{count} of {CROWD} were on none"));
        }
    }

    async fn tags(&mut self) {
        let promise = "the keys with a tag are found, and no others";
        let (tag, other) = (self.tag(), self.tag());
        let tags = [Some(tag), Some(other), None, Some(tag)];
        let keys = tags.map(|tag| (self.key(), tag));
        for (key, tag) in &keys {
            let mut entry = self.entry(HOUR, When::Absent);
            entry.tag = *tag;
            self.puts(promise, key, &entry, Outcome::Stored).await;
            entry.when = unchanged(&entry);
            entry.value = self.value();
            self.puts(promise, key, &entry, Outcome::Stored).await;
        }
        self.second_tags().await;
        let Some(found) = self.tagged(&tag).await else {
            return;
        };
        for (key, its) in &keys {
            let is_meant = *its == Some(tag);
            if is_meant != found.contains(key) {
                let instead = if is_meant {
                    "one was not"
                } else {
                    "another was"
                };
                self.report(promise, format!("{instead} found"));
            }
        }
    }

    async fn second_tags(&mut self) {
        let promise = "a value is found by each of its two tags, and no other is";
        let (shared, before) = (self.tag(), self.tag());
        let both = [
            Some((true, true)),
            Some((false, true)),
            Some((true, false)),
            None,
        ];
        let mut keys = Vec::new();
        for has in both {
            let (key, own) = (self.key(), self.tag());
            let mut entry = self.entry(HOUR, When::Absent);
            entry.tag = Some(before);
            entry.sid_tag = Some(own);
            self.puts(promise, &key, &entry, Outcome::Stored).await;
            let (has_tag, has_sid_tag) = has.unwrap_or_default();
            entry.tag = has_tag.then_some(own);
            entry.sid_tag = has_sid_tag.then_some(shared);
            entry.when = unchanged(&entry);
            entry.value = self.value();
            self.puts(promise, &key, &entry, Outcome::Stored).await;
            keys.push((key, own, has_tag, has_sid_tag));
        }
        let Some(found) = self.tagged(&shared).await else {
            return;
        };
        for (key, own, has_tag, has_sid_tag) in keys {
            if found.contains(&key) != has_sid_tag {
                self.report(
                    promise,
                    "by the second tag one was not found, or another was".to_owned(),
                );
            }
            let by_own = self.tagged(&own).await.unwrap_or_default();
            if has_tag && !by_own.contains(&key) {
                self.report(
                    promise,
                    "one was not found by a tag that was its second before".to_owned(),
                );
            }
        }
    }

    async fn tidy(&mut self) {
        for key in std::mem::take(&mut self.keys) {
            self.removes("all keys can be removed at the end", &key)
                .await;
        }
    }

    async fn puts(&mut self, promise: &str, key: &StoreKey, entry: &Entry, outcome: Outcome) {
        match self.backend.put(key, entry).await {
            Ok(instead) if instead == outcome => {}
            Ok(instead) => self.report(
                promise,
                format!("`put` answered {instead:?} and not {outcome:?}"),
            ),
            Err(error) => self.report(promise, format!("`put` failed: {error}")),
        }
    }

    async fn touches(&mut self, promise: &str, key: &StoreKey, ttl: Duration) {
        if let Err(error) = self.backend.touch(key, ttl).await {
            self.report(promise, format!("`touch` failed: {error}"));
        }
    }

    async fn removes(&mut self, promise: &str, key: &StoreKey) -> Option<Value> {
        match self.backend.remove(key).await {
            Ok(removed) => removed,
            Err(error) => {
                self.report(promise, format!("`remove` failed: {error}"));
                None
            }
        }
    }

    /// Checks that `load` finds the value, with about the lifetime that it was put with.
    async fn is_there(&mut self, promise: &str, key: &StoreKey, entry: &Entry) {
        let latest = entry.ttl + self.resolution;
        let earliest = entry.ttl.saturating_sub(PATIENCE);
        match self.backend.load(key).await {
            Ok(Some(stored)) if stored.value != entry.value => {
                self.report(promise, "`load` found another value".to_owned());
            }
            Ok(Some(stored)) if stored.ttl < earliest || stored.ttl > latest => {
                let (ttl, instead) = (entry.ttl, stored.ttl);
                self.report(promise, format!("{instead:?} of {ttl:?} were left"));
            }
            Ok(Some(_)) => {}
            Ok(None) => self.report(promise, "`load` found nothing".to_owned()),
            Err(error) => self.report(promise, format!("`load` failed: {error}")),
        }
    }

    async fn is_gone(&mut self, promise: &str, key: &StoreKey) {
        match self.backend.load(key).await {
            Ok(None) => {}
            Ok(Some(_)) => self.report(promise, "`load` found a value".to_owned()),
            Err(error) => self.report(promise, format!("`load` failed: {error}")),
        }
    }

    /// Returns `None` if the backend has no tags.
    async fn tagged(&mut self, tag: &Tag) -> Option<Vec<StoreKey>> {
        match self.backend.tagged(tag).await {
            Ok(found) => Some(found),
            Err(error) if error.kind() == BackendErrorKind::Unsupported => None,
            Err(error) => {
                let promise = "the keys with a tag are found";
                self.report(promise, format!("`tagged` failed: {error}"));
                None
            }
        }
    }

    fn report(&mut self, promise: &str, instead: String) {
        let line = format!("{promise}: {instead}");
        if !self.broken.contains(&line) {
            self.broken.push(line);
        }
    }

    /// Draws bytes that no other check and no other run has.
    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut hash = Sha256::new_with_prefix(self.seed);
        hash.update(self.drawn.to_be_bytes());
        hash.finalize().into()
    }

    fn key(&mut self) -> StoreKey {
        let key = StoreKey::from_bytes(self.draw());
        self.keys.push(key);
        key
    }

    fn tag(&mut self) -> Tag {
        Tag::from_bytes(self.draw())
    }

    /// Returns a value in the alphabet of real values. Like a real one, it differs from all others
    /// from its first characters on.
    fn value(&mut self) -> Value {
        let unique = StoreKey::from_bytes(self.draw());
        Value::new(format!("{unique}-_AZaz09"))
    }

    fn entry(&mut self, ttl: Duration, when: When) -> Entry {
        Entry {
            value: self.value(),
            ttl,
            longest_ttl: HOUR.max(ttl),
            when,
            tag: None,
            sid_tag: None,
        }
    }
}

/// What a call has done.
enum Done {
    Stored(Value),
    Removed(Value),
    Nothing,
}

async fn put_once<B: Backend>(backend: &B, key: &StoreKey, entry: &Entry) -> Result<Done, String> {
    match backend.put(key, entry).await {
        Ok(Outcome::Stored) => Ok(Done::Stored(entry.value.clone())),
        Ok(_) => Ok(Done::Nothing),
        Err(error) => Err(format!("`put` failed: {error}")),
    }
}

async fn remove_once<B: Backend>(backend: &B, key: &StoreKey) -> Result<Done, String> {
    match backend.remove(key).await {
        Ok(removed) => Ok(removed.map_or(Done::Nothing, Done::Removed)),
        Err(error) => Err(format!("`remove` failed: {error}")),
    }
}

fn unchanged(entry: &Entry) -> When {
    When::Unchanged(entry.value.version())
}

type Call<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// Runs the calls together, and returns their results in the order in which they finish.
async fn together<T>(mut calls: Vec<Call<'_, T>>) -> Vec<T> {
    let mut outcomes = Vec::new();
    poll_fn(|context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            Poll::Ready(outcome) => {
                outcomes.push(outcome);
                false
            }
            Poll::Pending => true,
        });
        if calls.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outcomes
}

/// Polls a call up to this often, and drops it.
async fn drop_after<T>(polls: usize, call: impl Future<Output = T>) {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Pending if left > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}
