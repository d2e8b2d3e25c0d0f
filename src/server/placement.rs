//! Sessions in a backend: the cookie holds a stub, the backend the values.

use std::iter::empty;
use std::time::Duration;

use super::backend::{Entry, Promise, StoreKey, Stored, Tag, Value, When};
use crate::envelope::{Envelope, Hidden, KeyId, KeyRing, Plaintext, Random, encoded_len};
use crate::error::{Refusal, SaveError, SaveErrorKind};
use crate::flow::{Due, InCookie, NextRecord, Opened, Place, Placement};
use crate::limit::{Limit, check_entries};
use crate::policy::{CLOCK_SKEW, Policy};
use crate::record::{Body, Header, Names, Record, SessionId};
use crate::revocation::{GRACE, MARKED};
use crate::session::changes::{Birth, Past, Revision, View};
use crate::session::{BackendState, Claims, Loaded};
use crate::time::Millis;

/// Which sessions stay whole in their cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// None. A cookie with a whole session is refused.
    None,
    /// None. A session that comes in a cookie moves to the backend with its next save.
    Adopted,
    /// Sessions that fit a cookie.
    Small,
}

#[derive(Debug)]
pub(crate) struct InBackend {
    /// Seals the values for the backend.
    pub(super) envelope: Envelope,
    pub(super) keep: Keep,
    /// The backend's promise.
    pub(super) promise: Promise,
    pub(super) in_cookie: Limit,
    /// The most bytes of plaintext that may go to the backend.
    pub(super) max_size: usize,
}

/// A read from the backend, for a session whose stub came in a cookie.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(super) key: StoreKey,
    stub: Loaded,
}

#[cfg(all(feature = "tower", feature = "tower-sessions"))]
impl Fetch {
    pub(crate) fn id(&self) -> SessionId {
        self.stub.record.header().id
    }
}

/// Where to find a session in order to end it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trail {
    Backend(StoreKey),
    /// In a cookie with this id, unless it has moved to the backend.
    Cookie(SessionId),
    /// It was in a cookie with this id, which no longer opens.
    Over(SessionId),
}

/// The writes to a backend, carried out in this order. If one fails, nothing that was acknowledged
/// is lost, and nothing that was ended is alive.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// A session to end.
    pub(super) end: Option<Trail>,
    /// A record that must still be there, because only its cookie is sent.
    pub(super) find: Option<StoreKey>,
    pub(super) put: Option<(StoreKey, Entry)>,
    /// A mark that replaces a record that has moved.
    pub(super) mark: Option<(StoreKey, Entry)>,
    pub(super) touch: Option<(StoreKey, Duration)>,
    /// The session's new base once everything is written.
    pub(super) then: Option<Then>,
}

#[derive(Debug)]
pub(super) struct Then {
    pub(super) planned: Revision,
    pub(super) base: Option<Loaded>,
}

impl Placement for InBackend {
    type Fetch = Fetch;
    type Write = Box<Write>;

    fn limit(&self, _: Limit) -> Limit {
        Limit::Plaintext(self.max_size)
    }

    fn claims(&self) -> Claims {
        match self.promise {
            Promise::Full => Claims::InBackend,
            Promise::Upsert => Claims::Overwritten,
        }
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
        // Until a use is recorded for the first time, any request counts as use.
        let is_unrecorded = is_kept_otherwise && header.kept_for.is_none();
        if is_unrecorded || is_use && (is_kept_otherwise || held.is_under_old_key) {
            return (Due::Record, None);
        }
        let is_touched = is_use && policy.touch_is_due(header, now);
        match (loaded.cookie_is_due, is_touched) {
            // A touch may fail, and a cookie that we send must not be refused.
            (true, true) => (Due::Record, None),
            (true, false) if policy.admit(header, now).is_ok() => {
                // An earlier response of this request may have written it: then it need not be
                // found.
                let find = (!held.is_own).then(|| Write {
                    find: Some(StoreKey::of(header.id)),
                    ..Write::default()
                });
                (Due::Stub, find.map(Box::new))
            }
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
        let in_cookie = self.keep == Keep::Small && self.in_cookie.check(length).is_ok();
        let goes_on = view.continued().map(Record::header);
        let is_as_sent = goes_on.is_some_and(|header| {
            view.expires_at() == Some(header.expires_at)
                && view.binding() == header.binding
                && view.transient() == Some(header.transient)
                && loaded.is_some_and(|loaded| !loaded.cookie_is_due)
        });
        // Where the session has its id, if it has one: an earlier save of this request may have
        // given it that.
        let elsewhere = if in_cookie {
            let held = loaded.filter(|loaded| loaded.held.is_some());
            held.map(|loaded| loaded.record.header().id)
        } else {
            view.in_cookie(loaded).map(|birth| birth.id)
        };
        let moves = elsewhere.is_some_and(|id| view.birth().is_some_and(|birth| birth.id == id));
        Place {
            in_cookie,
            moves,
            sends_stub: !in_cookie && (moves || !is_as_sent),
        }
    }

    fn may_move(&self) -> bool {
        self.keep == Keep::Small
    }

    fn write(
        &self,
        next: &NextRecord<'_>,
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
        let body = next.view.body();
        let length = body.len(header.optional());
        let mut plaintext = Vec::with_capacity(length);
        body.append_to(&mut plaintext, &header);
        let plaintext = Plaintext::from_vec(plaintext);
        let held = if place.in_cookie {
            None
        } else {
            let limit = Limit::Plaintext(self.max_size);
            limit
                .check(plaintext.len())
                .and_then(|()| check_entries(body.entries()))
                .map_err(|too_large| SaveError(SaveErrorKind::TooLarge(too_large)))?;
            let id = next.header.id;
            let own = self.held(next).filter(|(header, _)| header.id == id);
            let key = self.envelope.sealing_key();
            let ttl = next.policy.ttl(&header, next.now);
            let names = next.view.names();
            let entry = Entry {
                value: self.seal(&plaintext, random)?,
                ttl,
                // The record's own deadline counts, because `max_lifetime` may be raised while it
                // lives.
                longest_ttl: next
                    .header
                    .expires_at
                    .since(next.now)
                    .saturating_add(kept_for.unwrap_or_default())
                    .max(ttl),
                when: own.map_or(When::Absent, |(_, held)| {
                    When::Unchanged(held.version.clone())
                }),
                tag: self.tag(Hidden::Subject, names.subject),
                sid_tag: self.tag(Hidden::Sid, names.sid),
            };
            let held = BackendState {
                version: entry.value.version(),
                key,
                forgotten_at: next.now.plus(ttl),
                is_under_old_key: false,
                is_own: true,
            };
            write.put = Some((StoreKey::of(id), entry));
            Some(Box::new(held))
        };
        let mut record = Record::decode_stored(plaintext)
            .map_err(|refusal| SaveError(SaveErrorKind::Unreadable(refusal)))?;
        record.used_at(header.seen_at);
        write.then = Some(Then {
            planned: next.view.revision(),
            base: Some(Loaded {
                record,
                key: next
                    .loaded
                    .map_or_else(|| self.envelope.sealing_key(), |loaded| loaded.key),
                under_old_key: false,
                cookie_is_due: place.in_cookie || place.sends_stub,
                held,
            }),
        });
        Ok(Some(Box::new(write)))
    }

    fn forget(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Option<Box<Write>>, SaveError> {
        let mut write = Write::default();
        let held = loaded.and_then(|loaded| Some((loaded, loaded.held.as_ref()?)));
        let in_cookie = view.in_cookie(loaded);
        match (held, in_cookie, view.past()) {
            (Some((loaded, held)), ..) => {
                let id = loaded.record.header().id;
                if view.has_claims() {
                    // A session with claims may end only if its record is unchanged.
                    let when = When::Unchanged(held.version.clone());
                    write.mark = Some(self.mark(id, None, when, now, random)?);
                } else {
                    write.end = Some(Trail::Backend(StoreKey::of(id)));
                }
            }
            (None, Some(Birth { id, .. }), _) => write.end = Some(Trail::Cookie(id)),
            (None, None, Some(Past { id, in_backend, .. })) => {
                write.end = Some(if in_backend {
                    Trail::Backend(StoreKey::of(id))
                } else {
                    Trail::Over(id)
                });
            }
            (None, None, None) => return Ok(None),
        }
        write.then = Some(Then {
            planned: view.revision(),
            base: None,
        });
        Ok(Some(Box::new(write)))
    }
}

impl Write {
    /// The key of the new record, if one is written.
    pub(super) fn new_key(&self) -> Option<StoreKey> {
        self.put.as_ref().map(|(key, _)| *key)
    }

    fn is_nothing(&self) -> bool {
        self.put.is_none() && self.mark.is_none()
    }
}

impl InBackend {
    fn held<'n>(&self, next: &NextRecord<'n>) -> Option<(&'n Header, &'n BackendState)> {
        let loaded = next.loaded?;
        Some((loaded.record.header(), loaded.held.as_deref()?))
    }

    /// Leaves a mark in the session's old place if the next record goes elsewhere. A request with
    /// the old cookie finds it there. Of several requests that move the session, only one can put
    /// it.
    fn leave(
        &self,
        next: &NextRecord<'_>,
        place: &Place,
        random: Random<'_>,
    ) -> Result<Write, SaveError> {
        let mut write = Write::default();
        let (id, when) = match (self.held(next), next.view.in_cookie(next.loaded)) {
            (Some((header, held)), _) => (header.id, When::Unchanged(held.version.clone())),
            // A session that stays in a cookie is never looked up in the backend.
            (None, Some(Birth { id, .. })) if !place.in_cookie => {
                let there = next.view.in_the_way().cloned();
                (id, there.map_or(When::Absent, When::Unchanged))
            }
            _ => return Ok(write),
        };
        let to = next.header.id;
        if id != to {
            // A request that ends the session without knowing of the move must find it.
            let to = if place.in_cookie {
                Trail::Cookie(to)
            } else {
                Trail::Backend(StoreKey::of(to))
            };
            write.mark = Some(self.mark(id, Some(to), when, next.now, random)?);
        }
        Ok(write)
    }

    fn mark(
        &self,
        id: SessionId,
        to: Option<Trail>,
        when: When,
        now: Millis,
        random: Random<'_>,
    ) -> Result<(StoreKey, Entry), SaveError> {
        let header = Header {
            id,
            issued_at: now,
            seen_at: now,
            expires_at: now.plus(MARKED),
            transient: false,
            in_backend: true,
            kept_for: None,
            logged_in_at: None,
            binding: None,
        };
        let to = match to {
            Some(Trail::Backend(key)) => key.to_string(),
            Some(Trail::Cookie(id) | Trail::Over(id)) => id.to_string(),
            None => String::new(),
        };
        let mut plaintext = Vec::new();
        let names = Names {
            subject: &to,
            ..Names::default()
        };
        Body::new(names, empty(), empty()).append_to(&mut plaintext, &header);
        let entry = Entry {
            value: self.seal(&plaintext, random)?,
            ttl: MARKED,
            longest_ttl: MARKED,
            when,
            tag: None,
            sid_tag: None,
        };
        Ok((StoreKey::of(id), entry))
    }

    /// Whether `stored` is a session, not a mark.
    pub(super) fn is_record(&self, key: &StoreKey, stored: &Stored) -> bool {
        let decoded = self.decode(key, &stored.value);
        decoded.is_ok_and(|(record, ..)| !record.header().in_backend)
    }

    /// The record of a mark that is stored under `key`.
    fn opened_mark(&self, key: &StoreKey, value: &Value) -> Option<Record> {
        let (record, ..) = self.decode(key, value).ok()?;
        record.header().in_backend.then_some(record)
    }

    /// `None` if the value is not a mark; otherwise where the session went, if anywhere.
    pub(super) fn moved_to(&self, key: &StoreKey, value: &Value) -> Option<Option<Trail>> {
        let mark = self.opened_mark(key, value)?;
        let to = mark.subject();
        let in_backend = StoreKey::from_hex(to).map(Trail::Backend);
        Some(in_backend.or_else(|| SessionId::from_hex(to).map(Trail::Cookie)))
    }

    /// Whether the mark was put a moment ago by the backend's clock. Somebody may have touched it
    /// since, so it must be recent by our clock too, allowing for clock skew.
    pub(super) fn is_recent(&self, key: &StoreKey, stored: &Stored, now: Millis) -> bool {
        let age = MARKED.saturating_sub(stored.ttl);
        let mark = self.opened_mark(key, &stored.value);
        mark.is_some_and(|mark| {
            age < GRACE && now.since(mark.header().seen_at) < GRACE + CLOCK_SKEW
        })
    }

    /// The tag to put a session of this name with.
    fn tag(&self, kind: Hidden, name: &str) -> Option<Tag> {
        let name = Some(name).filter(|name| !name.is_empty())?;
        self.envelope.hidden(kind, name).map(Tag::from_bytes)
    }

    /// The tags that sessions of this name were put with, one for each key.
    pub(super) fn tags(&self, kind: Hidden, name: &str) -> Vec<Tag> {
        if name.is_empty() {
            return Vec::new();
        }
        let hidden = self.envelope.hidden_under_all(kind, name);
        hidden.into_iter().map(Tag::from_bytes).collect()
    }

    pub(super) fn seal(&self, plaintext: &[u8], random: Random<'_>) -> Result<Value, SaveError> {
        let mut text = String::with_capacity(encoded_len(plaintext.len()));
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(plaintext);
        self.envelope
            .seal_into(&mut text, plaintext.len(), write, random)?;
        Ok(Value::new(text))
    }

    /// Opens the record that a backend has returned for `key`. It may have been idle for too long.
    pub(super) fn open(
        &self,
        key: &StoreKey,
        stored: &Stored,
        now: Millis,
        policy: &Policy,
    ) -> Result<Loaded, Refusal> {
        let (mut record, sealed_by, is_under_old_key) = self.decode(key, &stored.value)?;
        let header = record.header();
        if header.in_backend {
            return Err(Refusal::Moved);
        }
        policy.admit_but_for_idle(header, now)?;
        let forgotten_at = now.plus(stored.ttl);
        let seen_at = match header.kept_for {
            Some(kept_for) => forgotten_at.minus(kept_for),
            // The record was written without an idle timeout: idleness counts from the first use
            // under one.
            None if policy.idle.is_some() => now,
            None => header.seen_at,
        };
        record.used_at(seen_at.min(now.max(header.seen_at)));
        Ok(Loaded {
            key: sealed_by,
            under_old_key: is_under_old_key,
            cookie_is_due: false,
            held: Some(Box::new(BackendState {
                version: stored.value.version(),
                key: sealed_by,
                forgotten_at,
                is_under_old_key,
                is_own: false,
            })),
            record,
        })
    }

    /// Opens the value under `key`. Also returns which key sealed it, and whether that is an accepted
    /// key other than the sealing key.
    fn decode(&self, key: &StoreKey, value: &Value) -> Result<(Record, KeyId, bool), Refusal> {
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
        Ok((record, opened.key, !opened.under_sealing_key))
    }

    /// The session of a refused stub. We know that it is over only if it was ended or has moved.
    pub(super) fn past(
        &self,
        fetch: &Fetch,
        stored: Option<&Stored>,
        refusal: Refusal,
        now: Millis,
    ) -> Option<Past> {
        matches!(refusal, Refusal::Gone | Refusal::Moved).then(|| Past {
            id: fetch.stub.record.header().id,
            in_backend: true,
            has_just_moved: stored.is_some_and(|it| self.is_recent(&fetch.key, it, now)),
        })
    }

    /// The session of a stub, from the value that the backend returned for it.
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
            || stub.binding != record.binding
            || stub.transient != record.transient;
        loaded.key = fetch.stub.key;
        loaded.under_old_key |= fetch.stub.under_old_key;
        Ok(loaded)
    }
}
