//! Sessions behind their cookies: the cookie holds a stub, a backend the values.

use std::iter::empty;
use std::time::Duration;

use super::backend::{Entry, StoreKey, Stored, Tag, Value, When};
use crate::envelope::{Envelope, KeyRing, Plaintext, Random, encoded_len};
use crate::error::{Refusal, SaveError, SaveErrorKind};
use crate::flow::{Due, InCookie, Next, Opened, Place, Placement};
use crate::limit::{Limit, check_entries};
use crate::policy::Policy;
use crate::record::{Draft, Header, Record};
use crate::session::changes::{Point, View};
use crate::session::{Held, Loaded};
use crate::time::Millis;

/// How long the mark of a session that has moved stays: longer than any request that may have
/// begun before.
const MARK_TTL: Duration = Duration::from_secs(5 * 60);

/// Which sessions stay in their cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// None, and cookies that hold one are refused.
    None,
    /// None; those that come in a cookie move to the backend with their next save.
    Adopted,
    /// Those that fit.
    Small,
}

#[derive(Debug)]
pub(crate) struct InBackend {
    /// Seals what the backend gets.
    pub(super) envelope: Envelope,
    pub(super) keep: Keep,
    pub(super) in_cookie: Limit,
    /// The most bytes of plaintext that the backend gets.
    pub(super) max_size: usize,
}

/// Reads of a backend: the rest of a session whose stub came in a cookie.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(super) key: StoreKey,
    stub: Loaded,
}

/// Writes to a backend, in this order. Each that fails leaves a state in which nothing is lost
/// that was acknowledged, and nothing is alive that was ended.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// The record of a session that has ended.
    pub(super) remove: Option<StoreKey>,
    pub(super) put: Option<(StoreKey, Entry)>,
    /// In place of a record that has moved.
    pub(super) mark: Option<(StoreKey, Entry)>,
    pub(super) touch: Option<(StoreKey, Duration)>,
    /// What a session stands on once all is written.
    pub(super) then: Option<Then>,
}

#[derive(Debug)]
pub(super) struct Then {
    pub(super) planned: Point,
    pub(super) base: Option<Loaded>,
}

impl Placement for InBackend {
    type Fetch = Fetch;
    type Write = Box<Write>;

    fn limit(&self, _: Limit) -> Limit {
        Limit::Plaintext(self.max_size)
    }

    fn replace_keys(&self, ring: &KeyRing) {
        self.envelope.replace_keys(ring);
    }

    fn accept(&self, header: &Header) -> Result<(), Refusal> {
        match self.keep {
            Keep::None if !header.in_backend => Err(Refusal::InCookie),
            _ => Ok(()),
        }
    }

    fn locate(&self, opened: Loaded) -> Opened<Loaded, Fetch> {
        let header = opened.record.header();
        if header.in_backend {
            Opened::Fetch(Fetch {
                key: StoreKey::of(header.id),
                stub: opened,
            })
        } else {
            Opened::Ready(opened)
        }
    }

    fn refresh(
        &self,
        loaded: &Loaded,
        is_use: bool,
        now: Millis,
        policy: &Policy,
    ) -> (Due, Option<Box<Write>>) {
        let header = loaded.record.header();
        let Some(held) = &loaded.held else {
            let (due, _) = InCookie.refresh(loaded, is_use, now, policy);
            let again = loaded.cookie_is_due;
            return (if again { Due::Record } else { due }, None);
        };
        let is_kept_otherwise = policy.is_kept_otherwise(header, held.forgotten_at, now);
        // Until its use is written down for the first time, any request counts.
        let is_unrecorded = is_kept_otherwise && header.kept_for.is_none();
        if is_unrecorded || is_use && (is_kept_otherwise || held.is_under_old_key) {
            return (Due::Record, None);
        }
        let is_touched = is_use && policy.touch_is_due(header, now);
        match (loaded.cookie_is_due, is_touched) {
            // A touch may fail, and what is sent must not be refused.
            (true, true) => (Due::Record, None),
            (true, false) if policy.admit(header, now).is_ok() => (Due::Stub, None),
            (false, true) => {
                let ttl = policy.kept_for().unwrap_or_default();
                let touch = Some((StoreKey::of(header.id), ttl));
                let write = Write {
                    touch,
                    ..Write::default()
                };
                (Due::Nothing, Some(Box::new(write)))
            }
            _ => (Due::Nothing, None),
        }
    }

    fn place(&self, view: View<'_>, loaded: Option<&Loaded>, length: usize) -> Place {
        let was_in_cookie = loaded.map(|loaded| loaded.held.is_none());
        let was_in_cookie = was_in_cookie.filter(|_| view.base().is_some());
        let in_cookie = self.keep == Keep::Small && self.in_cookie.check(length).is_ok();
        let goes_on = view.continued().map(Record::header);
        let is_as_sent = goes_on.is_some_and(|header| {
            view.expires_at() == Some(header.expires_at)
                && view.transient() == Some(header.transient)
                && loaded.is_some_and(|loaded| !loaded.cookie_is_due)
        });
        let moves = goes_on.is_some() && was_in_cookie.is_some_and(|was| was != in_cookie);
        Place {
            in_cookie,
            moves,
            sends_stub: !in_cookie && (moves || !is_as_sent),
        }
    }

    fn write(
        &self,
        next: &Next<'_>,
        place: &Place,
        random: Random<'_>,
    ) -> Result<Option<Box<Write>>, SaveError> {
        let mut write = self.leave(next, place, random)?;
        if place.in_cookie && write.is_nothing() {
            return Ok(None);
        }
        let kept_for = next.policy.kept_for().filter(|_| !place.in_cookie);
        let header = Header {
            kept_for,
            ..next.header
        };
        let draft = next.view.draft();
        let mut plaintext = Vec::with_capacity(draft.len());
        draft.append_to(&mut plaintext, &header);
        let plaintext = Plaintext::from_vec(plaintext);
        let held = if place.in_cookie {
            None
        } else {
            let limit = Limit::Plaintext(self.max_size);
            limit
                .check(plaintext.len())
                .and_then(|()| check_entries(draft.entries()))
                .map_err(|too_large| SaveError(SaveErrorKind::TooLarge(too_large)))?;
            let id = next.header.id;
            let own = self.held(next).filter(|(header, _)| header.id == id);
            let ttl = next.policy.ttl(&header, next.now);
            let subject = next.view.subject();
            let entry = Entry {
                value: self.seal(&plaintext, random)?,
                ttl,
                // The record's own, because `max_lifetime` may be raised while it lives.
                longest_ttl: next
                    .header
                    .expires_at
                    .since(next.now)
                    .saturating_add(kept_for.unwrap_or_default())
                    .max(ttl),
                when: own.map_or(When::Absent, |(_, held)| {
                    When::Unchanged(held.version.clone())
                }),
                tag: self.tag(subject),
            };
            let held = Held {
                version: entry.value.version(),
                forgotten_at: next.now.plus(ttl),
                is_under_old_key: false,
            };
            write.put = Some((StoreKey::of(id), entry));
            Some(Box::new(held))
        };
        let mut record = Record::decode_stored(plaintext)
            .map_err(|refusal| SaveError(SaveErrorKind::Unreadable(refusal)))?;
        record.used_at(header.seen_at);
        write.then = Some(Then {
            planned: next.view.point(),
            base: Some(Loaded {
                record,
                under_old_key: false,
                cookie_is_due: place.in_cookie || place.sends_stub,
                held,
            }),
        });
        Ok(Some(Box::new(write)))
    }

    fn forget(&self, view: View<'_>, loaded: Option<&Loaded>) -> Option<Box<Write>> {
        let loaded = loaded.filter(|loaded| loaded.held.is_some())?;
        Some(Box::new(Write {
            remove: Some(StoreKey::of(loaded.record.header().id)),
            then: Some(Then {
                planned: view.point(),
                base: None,
            }),
            ..Write::default()
        }))
    }
}

impl Write {
    fn is_nothing(&self) -> bool {
        self.remove.is_none() && self.put.is_none() && self.mark.is_none()
    }
}

impl InBackend {
    fn held<'n>(&self, next: &Next<'n>) -> Option<(&'n Header, &'n Held)> {
        let loaded = next.loaded?;
        Some((loaded.record.header(), loaded.held.as_deref()?))
    }

    /// What becomes of the record that a backend has, if the next one does not go in its place.
    fn leave(
        &self,
        next: &Next<'_>,
        place: &Place,
        random: Random<'_>,
    ) -> Result<Write, SaveError> {
        let mut write = Write::default();
        let Some((header, held)) = self.held(next).filter(|(was, _)| was.id != next.header.id)
        else {
            return Ok(write);
        };
        let key = StoreKey::of(header.id);
        if next.view.is_destroyed() {
            write.remove = Some(key);
            return Ok(write);
        }
        let header = Header {
            in_backend: true,
            kept_for: None,
            ..*header
        };
        let mut plaintext = Vec::new();
        // Whoever ends the session without knowing of the move must find it.
        let to = (!place.in_cookie).then(|| StoreKey::of(next.header.id).to_string());
        Draft::new(&to.unwrap_or_default(), empty(), empty()).append_to(&mut plaintext, &header);
        let entry = Entry {
            value: self.seal(&plaintext, random)?,
            ttl: MARK_TTL,
            longest_ttl: MARK_TTL,
            when: When::Unchanged(held.version.clone()),
            tag: None,
        };
        write.mark = Some((key, entry));
        Ok(write)
    }

    /// Where the session of a mark has its record, if that is in the backend.
    pub(super) fn moved_to(&self, key: &StoreKey, mark: &Value) -> Option<StoreKey> {
        let (record, _) = self.decode(key, mark).ok()?;
        let is_mark = record.header().in_backend;
        StoreKey::from_hex(record.subject()).filter(|_| is_mark)
    }

    /// What a subject's session is put with.
    fn tag(&self, subject: &str) -> Option<Tag> {
        let subject = Some(subject).filter(|subject| !subject.is_empty())?;
        self.envelope.hidden_subject(subject).map(Tag::from_bytes)
    }

    /// What a subject's sessions were put with, under each key.
    pub(super) fn tags(&self, subject: &str) -> Vec<Tag> {
        if subject.is_empty() {
            return Vec::new();
        }
        let hidden = self.envelope.hidden_subjects(subject);
        hidden.into_iter().map(Tag::from_bytes).collect()
    }

    pub(super) fn seal(&self, plaintext: &[u8], random: Random<'_>) -> Result<Value, SaveError> {
        let mut text = String::with_capacity(encoded_len(plaintext.len()));
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(plaintext);
        self.envelope
            .seal_into(&mut text, plaintext.len(), write, random)?;
        Ok(Value::new(text))
    }

    /// The record that a backend has returned for `key`, though it may be idle for too long.
    pub(super) fn open(
        &self,
        key: &StoreKey,
        stored: &Stored,
        now: Millis,
        policy: &Policy,
    ) -> Result<Loaded, Refusal> {
        let (mut record, is_under_old_key) = self.decode(key, &stored.value)?;
        let header = record.header();
        if header.in_backend {
            return Err(Refusal::Moved);
        }
        policy.admit_but_for_idle(header, now)?;
        let forgotten_at = now.plus(stored.ttl);
        let seen_at = match header.kept_for {
            Some(kept_for) => forgotten_at.minus(kept_for),
            // Written without an idle timeout: it counts from the first use that knows of one.
            None if policy.idle.is_some() => now,
            None => header.seen_at,
        };
        record.used_at(seen_at.min(now.max(header.seen_at)));
        Ok(Loaded {
            under_old_key: is_under_old_key,
            cookie_is_due: false,
            held: Some(Box::new(Held {
                version: stored.value.version(),
                forgotten_at,
                is_under_old_key,
            })),
            record,
        })
    }

    /// What was put under `key`, and whether an accepted key sealed it.
    fn decode(&self, key: &StoreKey, value: &Value) -> Result<(Record, bool), Refusal> {
        let opened = self
            .envelope
            .open(value.as_str().as_bytes(), encoded_len(self.max_size))
            .map_err(|refusal| match refusal {
                Refusal::UnknownKey | Refusal::UnknownVersion => refusal,
                _ => Refusal::BadValue,
            })?;
        let record = Record::decode_stored(opened.plaintext).map_err(|refusal| match refusal {
            Refusal::Newer => refusal,
            _ => Refusal::BadValue,
        })?;
        if StoreKey::of(record.header().id) != *key {
            return Err(Refusal::Swapped);
        }
        Ok((record, !opened.under_sealing_key))
    }

    /// The session of a stub, given what the backend has for it.
    pub(super) fn fetched(
        &self,
        fetch: &Fetch,
        stored: Option<&Stored>,
        now: Millis,
        policy: &Policy,
    ) -> Result<Loaded, Refusal> {
        let stored = stored.ok_or(Refusal::Gone)?;
        let mut loaded = self.open(&fetch.key, stored, now, policy)?;
        policy.admit(loaded.record.header(), now)?;
        let (stub, record) = (fetch.stub.record.header(), loaded.record.header());
        loaded.cookie_is_due = fetch.stub.under_old_key
            || policy.cookie_is_due(stub, now)
            || stub.expires_at != record.expires_at
            || stub.transient != record.transient;
        loaded.under_old_key |= fetch.stub.under_old_key;
        Ok(loaded)
    }
}
