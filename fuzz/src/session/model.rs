//! What a session is, in plain words: whole maps in place of a record with changes over it, times
//! as numbers, no cryptography and no clock.

use std::collections::BTreeMap;

use sealed_session::{Origin, Refusal, Status};

use crate::reference::{NULL, Record, cookie_size};

pub(super) const NAME: &str = "__Host-session";
const LIMIT: usize = 4096;
const SKEW: u64 = 60_000;
/// How long browsers keep a cookie at most: 400 days.
pub(super) const LONGEST_MAX_AGE: u64 = 400 * 24 * 3_600_000;

pub(super) type Entries = BTreeMap<String, Vec<u8>>;

/// A store's settings, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) lifetime: u64,
    pub(super) max_lifetime: u64,
    pub(super) idle: Option<Idle>,
    pub(super) not_before: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) timeout: u64,
    pub(super) refresh_after: u64,
}

/// A session in the hands of one request.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) origin: Origin,
    /// `None` for a session that no store has made.
    pub(super) read_at: Option<u64>,
    is_under_old_key: bool,
    /// The number of the key that sealed what came in.
    key: Option<usize>,
    /// What came in, until it is destroyed.
    base: Option<Record>,
    is_destroyed: bool,
    is_cleared: bool,
    is_renewed: bool,
    values: Entries,
    /// Flashes of an earlier request that were not taken yet.
    incoming: Entries,
    /// Flashes for a later request.
    outgoing: Entries,
    pub(super) subject: String,
    pub(super) label: String,
    pub(super) sid: String,
    /// When somebody logged in before this request.
    login: Option<u64>,
    /// This request is a login.
    logs_in: bool,
    expiry: Option<u64>,
    transient: Option<bool>,
    /// Of a session that was new, or renewed, when it was saved.
    birth: Option<Birth>,
    /// A response was told of a change, so that it must be told again of what became of it.
    was_told: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) id: [u8; 16],
    pub(super) issued_at: u64,
    /// When the lifetime began.
    began_at: u64,
    /// Unless another deadline is chosen.
    expires_at: u64,
}

/// What a save must do.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    Nothing,
    Removal,
    /// A new session's id is zeros here: the save draws it.
    Record(Record),
}

impl Visit {
    pub(super) fn fresh(origin: Origin, read_at: Option<u64>) -> Self {
        Self {
            origin,
            read_at,
            is_under_old_key: false,
            key: None,
            base: None,
            is_destroyed: false,
            is_cleared: false,
            is_renewed: false,
            values: Entries::new(),
            incoming: Entries::new(),
            outgoing: Entries::new(),
            subject: String::new(),
            label: String::new(),
            sid: String::new(),
            login: None,
            logs_in: false,
            expiry: None,
            transient: None,
            birth: None,
            was_told: false,
        }
    }

    /// The session of a request with these cookies: what each holds and under which key, or why it
    /// does not open. `sealing` is the key that seals.
    pub(super) fn load(
        cookies: Vec<Result<(Record, usize), Refusal>>,
        sealing: usize,
        settings: &Settings,
        now: u64,
    ) -> Self {
        let fresh = |origin| Self::fresh(origin, Some(now));
        let outcomes: Vec<Result<(Record, usize), Refusal>> = cookies
            .into_iter()
            .map(|cookie| {
                let (record, key) = cookie?;
                settings.admit(&record, now)?;
                Ok((record, key))
            })
            .collect();
        let admitted: Vec<&(Record, usize)> = outcomes.iter().flatten().collect();
        let Some((first, _)) = admitted.first() else {
            let refusal = outcomes.into_iter().find_map(Result::err);
            return fresh(refusal.map_or(Origin::Absent, Origin::Refused));
        };
        if admitted.iter().any(|(record, _)| record.id != first.id) {
            return fresh(Origin::Ambiguous);
        }
        let seen_at = admitted.iter().map(|(record, _)| record.seen_at).max();
        let latest = admitted
            .iter()
            .find(|(record, _)| Some(record.seen_at) == seen_at);
        let (record, key) = latest.expect("the largest is one of them");
        Self {
            is_under_old_key: *key != sealing,
            key: Some(*key),
            values: record.values.iter().cloned().collect(),
            incoming: record.flashes.iter().cloned().collect(),
            subject: record.subject.clone(),
            label: record.label.clone(),
            sid: record.sid.clone(),
            login: record.logged_in_at,
            base: Some(record.clone()),
            ..fresh(Origin::Opened)
        }
    }

    pub(super) fn values(&self) -> &Entries {
        &self.values
    }

    fn has_login(&self) -> bool {
        self.logs_in || self.login.is_some()
    }

    /// When somebody last logged in, as far as that is settled.
    pub(super) fn logged_in_at(&self) -> Option<u64> {
        if self.logs_in {
            self.birth().map(|birth| birth.began_at)
        } else {
            self.login
        }
    }

    /// The record whose lifetime goes on.
    fn outlived(&self) -> Option<&Record> {
        self.base.as_ref().filter(|_| !self.logs_in)
    }

    fn began_at(&self) -> Option<u64> {
        let outlived = self.outlived().map(Record::began_at);
        self.birth().map(|birth| birth.began_at).or(outlived)
    }

    fn kept_expiry(&self) -> Option<u64> {
        let outlived = self.outlived().map(|record| record.expires_at);
        self.birth().map(|birth| birth.expires_at).or(outlived)
    }

    pub(super) fn is_new(&self) -> bool {
        self.base.is_none()
    }

    /// The record whose id and times go on.
    fn continued(&self) -> Option<&Record> {
        self.base.as_ref().filter(|_| !self.is_renewed)
    }

    pub(super) fn birth(&self) -> Option<Birth> {
        let of_record = |record: &Record| Birth {
            id: record.id,
            issued_at: record.issued_at,
            began_at: record.began_at(),
            expires_at: record.expires_at,
        };
        self.continued().map(of_record).or(self.birth)
    }

    /// When the server stops to admit it, as far as that is settled.
    pub(super) fn expires_at(&self, settings: &Settings) -> Option<u64> {
        let end = self.expiry.or(self.kept_expiry())?;
        let bound = self.began_at().filter(|_| self.read_at.is_some());
        Some(bound.map_or(end, |began_at| end.min(began_at + settings.max_lifetime)))
    }

    pub(super) fn status(&self) -> Status {
        if self.is_changed() {
            Status::Modified
        } else if self.is_destroyed {
            Status::Destroyed
        } else {
            Status::Unmodified
        }
    }

    fn is_changed(&self) -> bool {
        let Some(base) = &self.base else {
            return self.was_told || !self.is_empty();
        };
        let is_as_it_came = entries(&base.values) == self.values
            && entries(&base.flashes) == self.incoming
            && self.outgoing.is_empty()
            && base.subject == self.subject
            && base.label == self.label
            && base.sid == self.sid
            && !self.logs_in
            && self.expiry.is_none_or(|expiry| expiry == base.expires_at)
            && self
                .transient
                .is_none_or(|transient| transient == base.transient);
        self.was_told || self.is_cleared || self.is_renewed || !is_as_it_came
    }

    fn is_empty(&self) -> bool {
        let names = self.subject.len() + self.label.len() + self.sid.len();
        self.values.is_empty() && self.flashes().is_empty() && names == 0 && !self.has_login()
    }

    fn flashes(&self) -> Entries {
        let mut flashes = self.incoming.clone();
        flashes.extend(self.outgoing.clone());
        flashes
    }

    /// Makes a change, unless the session would not fit its cookie then. Whether it did.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> bool {
        let mut changed = self.clone();
        change(&mut changed);
        let fits = changed.size() <= LIMIT;
        if fits {
            *self = changed;
        }
        fits
    }

    fn size(&self) -> usize {
        fn list(entries: &Entries) -> impl Iterator<Item = (&str, &[u8])> {
            entries
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_slice()))
        }
        let flashes = self.flashes();
        let names = [&self.subject, &self.label, &self.sid].map(String::as_str);
        cookie_size(
            NAME,
            self.has_login(),
            names,
            list(&self.values),
            list(&flashes),
        )
    }

    pub(super) fn insert(&mut self, key: &str, value: Vec<u8>) -> bool {
        if value == NULL {
            self.values.remove(key);
            return true;
        }
        self.change(|visit| _ = visit.values.insert(key.to_owned(), value))
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Vec<u8>> {
        self.values.remove(key)
    }

    pub(super) fn flash(&mut self, key: &str, value: Vec<u8>) -> bool {
        if value == NULL {
            self.outgoing.remove(key);
            return true;
        }
        self.change(|visit| _ = visit.outgoing.insert(key.to_owned(), value))
    }

    pub(super) fn take_flash(&mut self, key: &str) -> Option<Vec<u8>> {
        self.incoming.remove(key)
    }

    pub(super) fn set_name(&mut self, of: fn(&mut Self) -> &mut String, name: &str) -> bool {
        name.len() <= 255 && self.change(|visit| *of(visit) = name.to_owned())
    }

    pub(super) fn log_in(&mut self) -> bool {
        self.change(|visit| {
            visit.renew();
            visit.logs_in = true;
        })
    }

    pub(super) fn merge(&mut self, other: &Self) -> bool {
        self.change(|visit| {
            visit.values.extend(other.values.clone());
            visit.outgoing.extend(other.flashes());
        })
    }

    pub(super) fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        self.is_cleared = true;
        self.values.clear();
        self.incoming.clear();
        self.outgoing.clear();
        self.subject.clear();
        self.label.clear();
        self.sid.clear();
        self.login = None;
        self.logs_in = false;
    }

    pub(super) fn renew(&mut self) {
        self.is_renewed = self.base.is_some();
        self.birth = None;
    }

    pub(super) fn destroy(&mut self) {
        *self = Self {
            is_destroyed: true,
            ..Self::fresh(self.origin, self.read_at)
        };
    }

    /// When it ends from idleness, as far as that is settled.
    pub(super) fn idle_expires_at(&self, settings: &Settings) -> Option<u64> {
        let idle = settings.idle?;
        let read_at = self.read_at?;
        let Some(record) = self.continued() else {
            return Some(self.birth?.issued_at + idle.timeout);
        };
        let is_stale = read_at.saturating_sub(record.seen_at) >= idle.refresh_after;
        let is_written = self.is_changed() || is_stale;
        let read_at = Some(read_at).filter(|_| is_written);
        Some(record.seen_at.max(read_at.unwrap_or_default()) + idle.timeout)
    }

    pub(super) fn remember(&mut self, remember: bool) {
        self.transient = Some(!remember);
    }

    pub(super) fn set_expiry(&mut self, expires_at: u64, settings: &Settings) -> bool {
        let start = self.began_at().or(self.read_at);
        let is_bound = start.filter(|_| self.read_at.is_some());
        if is_bound.is_some_and(|start| expires_at > start + settings.max_lifetime) {
            return false;
        }
        self.expiry = Some(expires_at);
        true
    }

    /// The key that sealed the session that goes on, if a save would change or write it.
    pub(super) fn key_needed_for(&self, due: &Due) -> Option<usize> {
        let is_written = self.is_changed() || matches!(due, Due::Record(_));
        self.key.filter(|_| is_written && !self.is_destroyed)
    }

    pub(super) fn due(&self, settings: &Settings, now: u64) -> Due {
        let is_stale = |record: &Record| {
            let unwritten = now.saturating_sub(record.seen_at);
            let is_forgotten = settings.deadline(record) > record.seen_at + LONGEST_MAX_AGE;
            settings
                .idle
                .is_some_and(|idle| unwritten >= idle.refresh_after)
                || (!record.transient && is_forgotten && unwritten >= LONGEST_MAX_AGE / 10)
        };
        let is_to_be_written = self
            .base
            .as_ref()
            .is_some_and(|record| self.is_under_old_key || is_stale(record));
        if !self.is_changed() && !is_to_be_written {
            return if self.is_destroyed {
                Due::Removal
            } else {
                Due::Nothing
            };
        }
        let birth = self.birth();
        // Not before the login, even if the clock has gone back since.
        let login = self.login.filter(|_| !self.logs_in);
        let earliest = now.max(login.unwrap_or(0));
        let issued_at = birth.map_or(earliest, |birth| birth.issued_at);
        let began_at = self.began_at().unwrap_or(now);
        let kept = self.kept_expiry().unwrap_or(now + settings.lifetime);
        let logged_in_at = if self.logs_in {
            Some(began_at)
        } else {
            self.login
        };
        let mut expires_at = self.expiry.unwrap_or(kept);
        let end = expires_at.min(began_at + settings.max_lifetime);
        if logged_in_at.is_none() && began_at < issued_at {
            expires_at = end;
        }
        let base = self.base.as_ref();
        let record = Record {
            id: birth.map_or([0; 16], |birth| birth.id),
            issued_at,
            seen_at: self
                .continued()
                .map_or(now, |record| record.seen_at.max(now)),
            expires_at,
            logged_in_at,
            binding: None,
            transient: self
                .transient
                .or(base.map(|record| record.transient))
                .unwrap_or(false),
            in_backend: false,
            kept_for: None,
            subject: self.subject.clone(),
            label: self.label.clone(),
            sid: self.sid.clone(),
            values: self.values.clone().into_iter().collect(),
            flashes: self.flashes().into_iter().collect(),
        };
        let is_cut_off = issued_at < settings.not_before;
        if end > now.max(issued_at) && !is_cut_off {
            Due::Record(record)
        } else {
            Due::Removal
        }
    }

    /// A response was told what was due.
    pub(super) fn told(&mut self, sealed: Option<&Record>, settings: &Settings) {
        self.was_told |= self.is_changed();
        let kept = self.kept_expiry();
        let began_at = self.began_at();
        self.birth = self.birth().or(sealed.map(|record| Birth {
            id: record.id,
            issued_at: record.issued_at,
            began_at: began_at.unwrap_or(record.issued_at),
            expires_at: kept.unwrap_or(record.issued_at + settings.lifetime),
        }));
    }
}

impl Settings {
    fn admit(&self, record: &Record, now: u64) -> Result<(), Refusal> {
        if record.issued_at.max(record.seen_at) > now + SKEW {
            Err(Refusal::Future)
        } else if now >= self.deadline(record) {
            Err(Refusal::Expired)
        } else if record.issued_at < self.not_before {
            Err(Refusal::Cutoff)
        } else if self
            .idle
            .is_some_and(|idle| now >= record.seen_at + idle.timeout)
        {
            Err(Refusal::Idle)
        } else {
            Ok(())
        }
    }

    pub(super) fn deadline(&self, record: &Record) -> u64 {
        record.expires_at.min(record.began_at() + self.max_lifetime)
    }
}

fn entries(list: &[(String, Vec<u8>)]) -> Entries {
    list.iter().cloned().collect()
}
