//! The changes to a session since its record was opened, and the view of both together.
//!
//! A session consists of a record, which never changes, and [`Changes`]. Its status, its size and
//! what a save writes are all functions of these two: see [`View`].

use std::cmp::Ordering;
use std::iter::Peekable;

use zeroize::Zeroizing;

use super::device::Device;
use super::sorted::Sorted;
#[cfg(feature = "server")]
use super::version::Version;
use super::{Loaded, Status};
use crate::record::{BindingId, Body, Entries, Header, Record, SessionId};
use crate::time::Millis;

/// A value's bytes.
pub(super) type Stored = Zeroizing<Vec<u8>>;

/// The bytes of a key and of its value.
type Entry<'a> = (&'a [u8], &'a [u8]);

#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Forget the record. Later changes make a new session.
    pub(super) destroyed: bool,
    /// The record's values, flashes and subject are gone. Its id and times stay.
    pub(super) cleared: bool,
    pub(super) renewed: bool,
    pub(super) values: Layer,
    pub(super) flashes: Layer,
    pub(super) subject: Option<String>,
    pub(super) expires_at: Option<Millis>,
    pub(super) transient: Option<bool>,
    /// Entries of the record that no other request may have taken or changed before the save.
    claims: Sorted<Stored>,
    /// This request's flashes that a backend already has. Only later requests may read them.
    #[cfg(feature = "server")]
    own_flashes: Sorted<()>,
    /// The id and times of a new or renewed session, set by its first save.
    pub(crate) birth: Option<Birth>,
    /// A save has written something other than the record. Until the next save, the response says
    /// that, even if all changes are taken back.
    pub(crate) sent: bool,
    /// The id and times in a response's cookie that holds the whole session, if they differ from
    /// those that were loaded.
    pub(super) in_cookie: Option<Birth>,
    /// Whether another request ended the session of the browser's cookie.
    pub(crate) over: Over,
    /// A mark in the place of the record that blocks a move, but is too old to count.
    #[cfg(feature = "server")]
    pub(super) old_mark: Option<Version>,
    /// An earlier attempt to end the session may have succeeded.
    pub(super) may_have_ended: bool,
    /// The response already has the session, so later changes are lost.
    pub(super) closed: bool,
    pub(crate) revision: Revision,
    /// What the request has shown of the session's device. Most sessions have none, so it is apart.
    pub(crate) shown: Option<Box<Device>>,
}

/// Counts the changes, so that a save can see which of them came after its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Changes of any kind.
    pub(super) all: u32,
    /// Changes to the record as a whole.
    whole: u32,
    /// How often the record was replaced.
    pub(super) base: u32,
}

/// Whether another request has ended the session of the browser's cookie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Over {
    #[default]
    No,
    /// It was over when the request arrived.
    Before(Past),
    /// It ended while the request ran. The browser may have another session by now.
    Meanwhile,
}

/// A session that was over when its cookie arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub(crate) id: SessionId,
    pub(crate) in_backend: bool,
    /// It, or its successor, got a new id a moment ago. The cookie with that id may still be on its
    /// way to the browser.
    pub(crate) has_just_moved: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) id: SessionId,
    pub(crate) issued_at: Millis,
    /// Used unless another deadline is chosen.
    pub(crate) expires_at: Millis,
}

impl Birth {
    fn of(header: &Header) -> Self {
        Self {
            id: header.id,
            issued_at: header.issued_at,
            expires_at: header.expires_at,
        }
    }
}

/// Entries to set and entries to leave out, on top of a record's entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    set: Sorted<Stored>,
    removed: Sorted<()>,
}

impl Changes {
    /// No changes yet, for a request whose session was over when it arrived.
    pub(super) fn after(past: Option<Past>) -> Self {
        Self {
            over: past.map_or(Over::No, Over::Before),
            ..Self::default()
        }
    }

    /// No changes yet, for a session of which the request has shown this.
    #[cfg(feature = "device-bound")]
    pub(super) fn with(device: Device) -> Self {
        Self {
            shown: Some(Box::new(device)),
            ..Self::default()
        }
    }

    /// The record, unless it was destroyed or its device is missing.
    fn base<'r>(&self, loaded: Option<&'r Record>) -> Option<&'r Record> {
        loaded.filter(|_| !self.destroyed && !self.lacks_device())
    }

    /// Whether a save ends the record: the session was destroyed, or somebody logs in without the
    /// device that the record needs.
    fn gives_up_record(&self) -> bool {
        self.destroyed || (self.renewed && self.lacks_device())
    }

    /// Whether the record needs a device that the request does not come from.
    fn lacks_device(&self) -> bool {
        self.shown.as_ref().is_some_and(|device| device.is_missing)
    }

    /// What the request has shown of the session's device.
    #[cfg(feature = "device-bound")]
    pub(super) fn device(&self) -> Device {
        self.shown.as_deref().copied().unwrap_or_default()
    }

    /// The record, if its content stays.
    fn content<'r>(&self, loaded: Option<&'r Record>) -> Option<&'r Record> {
        self.base(loaded).filter(|_| !self.cleared)
    }

    pub(super) fn base_values<'r>(&self, loaded: Option<&'r Record>) -> Entries<'r> {
        let values = self.content(loaded).map(Record::values);
        values.map_or_else(Entries::empty, Entries::without_nulls)
    }

    pub(super) fn base_flashes<'r>(&self, loaded: Option<&'r Record>) -> Entries<'r> {
        let flashes = self.content(loaded).map(Record::flashes);
        flashes.map_or_else(Entries::empty, Entries::without_nulls)
    }

    /// The record's value under `key`, if it stays. The result does not borrow the changes, so that
    /// it can be decoded after the lock is released.
    pub(super) fn kept_value<'r>(&self, loaded: Option<&'r Record>, key: &str) -> Option<&'r [u8]> {
        self.values.keep(self.base_values(loaded), key)
    }

    /// The record's flash under `key`, unless it was taken.
    pub(super) fn kept_flash<'r>(&self, loaded: Option<&'r Record>, key: &str) -> Option<&'r [u8]> {
        #[cfg(feature = "server")]
        if self.own_flashes.contains(key.as_bytes()) {
            return None;
        }
        self.flashes.keep(self.base_flashes(loaded), key)
    }

    /// Removes a flash that this request has set. An incoming flash stays.
    pub(super) fn unset_flash(&mut self, loaded: Option<&Record>, key: &str) {
        self.flashes.set.remove(key);
        #[cfg(feature = "server")]
        if self.own_flashes.contains(key.as_bytes()) {
            self.flashes.leave_out(self.base_flashes(loaded), key);
        }
        #[cfg(not(feature = "server"))]
        let _ = loaded;
    }

    /// Forgets the record and all changes. Claims stay: the save must still win them.
    pub(super) fn destroy(&mut self) {
        self.revision.whole = self.revision.whole.wrapping_add(1);
        *self = Self {
            destroyed: true,
            claims: std::mem::take(&mut self.claims),
            ..self.afresh()
        };
    }

    /// Another request has ended the session. If this request began a new one in its place, that
    /// stays.
    pub(super) fn lose(&mut self) {
        if !self.gives_up_record() {
            *self = self.afresh();
        }
        self.in_cookie = None;
        self.over = Over::Meanwhile;
    }

    /// Removes an entry for this request alone. If it is in the record, the save fails if another
    /// request has changed it.
    pub(super) fn claim(&mut self, loaded: Option<&Record>, key: &str) {
        let base = self.base_values(loaded);
        let is_own = self.values.changed(key).is_some();
        if let Some(value) = self.kept_value(loaded, key).filter(|_| !is_own) {
            self.claims.insert(key, Zeroizing::new(value.to_vec()));
        }
        self.values.remove(base, key);
    }

    /// Whether `newer` has all claimed entries unchanged.
    #[cfg(feature = "server")]
    pub(super) fn claims_hold(&self, newer: &Record) -> bool {
        let is_there =
            |(key, value): (&str, &Stored)| newer.values().find(key) == Some(value.as_slice());
        self.claims.iter().all(is_there)
    }

    #[cfg(feature = "server")]
    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    /// No changes, but the same state otherwise.
    pub(super) fn afresh(&mut self) -> Self {
        Self {
            #[cfg(feature = "server")]
            own_flashes: std::mem::take(&mut self.own_flashes),
            in_cookie: self.in_cookie,
            over: self.over,
            may_have_ended: self.may_have_ended,
            closed: self.closed,
            revision: self.revision,
            shown: self.shown.take(),
            ..Self::default()
        }
    }

    /// Takes over `written`, the result of the plan made at `planned`, in place of `base`. Changes
    /// since the plan keep their effect on the new record. `None` means that the session has ended
    /// and stays so: each response removes the cookie.
    #[cfg(feature = "server")]
    pub(super) fn acknowledge(
        &mut self,
        planned: Revision,
        base: Option<&Record>,
        written: Option<&Record>,
    ) {
        let whole = self.revision.whole != planned.whole;
        self.in_cookie = None;
        // The record from now on is another one, or none.
        if let Some(device) = &mut self.shown {
            device.is_missing = false;
        }
        let Some(written) = written else {
            self.may_have_ended = true;
            if self.revision == planned || !self.destroyed {
                self.destroy();
            }
            self.claims = Sorted::default();
            return;
        };
        for (key, _) in self.flashes.set.iter() {
            self.own_flashes.insert(key, ());
        }
        self.keep_own_flashes_of(written);
        if self.revision == planned {
            self.claims = Sorted::default();
        } else {
            // Entries that were claimed during the save are claimed from the new record.
            let claims = std::mem::take(&mut self.claims);
            let still = |(key, value): &(&str, &Stored)| {
                written.values().find(key) == Some(value.as_slice())
            };
            for (key, value) in claims.iter().filter(still) {
                self.claims.insert(key, value.clone());
            }
        }
        if self.destroyed && whole {
            self.birth = None;
            return;
        }
        let mut next = Self {
            renewed: self.renewed && whole,
            claims: std::mem::take(&mut self.claims),
            ..self.afresh()
        };
        if self.revision != planned {
            let view = View::new(base, self);
            let header = written.header();
            let subject = Some(view.subject()).filter(|subject| *subject != written.subject());
            next.subject = subject.map(str::to_owned);
            next.expires_at = view.expires_at().filter(|at| *at != header.expires_at);
            next.transient = view.transient().filter(|is| *is != header.transient);
            next.values = Layer::between(written.values().without_nulls(), view.values());
            next.flashes = Layer::between(written.flashes().without_nulls(), view.flashes());
        }
        *self = next;
    }

    /// Forgets this request's flashes that are not in `record`. A flash that later appears under
    /// such a name is another request's.
    #[cfg(feature = "server")]
    pub(super) fn keep_own_flashes_of(&mut self, record: &Record) {
        let is_there = |key: &str| record.flashes().find(key).is_some();
        self.own_flashes.retain(is_there);
    }

    /// Removes all content. The session's id and times stay.
    pub(super) fn clear(&mut self, loaded: Option<&Record>) {
        let view = View::new(loaded, self);
        if view.is_empty() {
            return;
        }
        let had_content = view.content().is_some();
        self.revision.whole = self.revision.whole.wrapping_add(1);
        self.cleared |= had_content;
        self.values = Layer::default();
        self.flashes = Layer::default();
        self.subject = None;
    }

    /// Asks for a new id and a new lifetime at the next save.
    pub(super) fn renew(&mut self) {
        self.revision.whole = self.revision.whole.wrapping_add(1);
        self.renewed = true;
        self.birth = None;
    }
}

/// An entry's earlier state in a [`Layer`], for undoing a change.
pub(super) struct Before {
    set: Option<Stored>,
    removed: bool,
}

impl Layer {
    /// The layer that turns `base` into `now`.
    #[cfg(feature = "server")]
    fn between<'a>(base: Entries<'_>, now: impl Iterator<Item = Entry<'a>>) -> Self {
        let mut layer = Self::default();
        for (key, _) in base.clone().texts() {
            layer.removed.insert(key, ());
        }
        for (key, value) in now {
            // Opening the record checked that its keys are text.
            let key = std::str::from_utf8(key).unwrap_or_default();
            layer.removed.remove(key);
            if base.clone().find(key) != Some(value) {
                layer.set.insert(key, Zeroizing::new(value.to_vec()));
            }
        }
        layer
    }

    /// Sets an entry. If the record already has the same value, this is not a change.
    pub(super) fn set(&mut self, base: Entries<'_>, key: &str, value: Stored) -> Before {
        let removed = self.removed.remove(key).is_some();
        let set = if base.find(key) == Some(value.as_slice()) {
            self.set.remove(key)
        } else {
            self.set.insert(key, value)
        };
        Before { set, removed }
    }

    /// Sets an entry, and leaves the record's value under the same key readable.
    pub(super) fn set_beside(&mut self, key: &str, value: Stored) -> Before {
        let removed = self.removed.contains(key.as_bytes());
        Before {
            set: self.set.insert(key, value),
            removed,
        }
    }

    /// Removes an entry. If it does not exist, this is not a change.
    pub(super) fn remove(&mut self, base: Entries<'_>, key: &str) {
        self.set.remove(key);
        self.leave_out(base, key);
    }

    /// Leaves out the record's entry, but keeps one that was set.
    pub(super) fn leave_out(&mut self, base: Entries<'_>, key: &str) {
        if base.find(key).is_some() {
            self.removed.insert(key, ());
        }
    }

    pub(super) fn undo(&mut self, key: &str, before: Before) {
        match before.set {
            Some(value) => self.set.insert(key, value),
            None => self.set.remove(key),
        };
        if before.removed {
            self.removed.insert(key, ());
        }
    }

    pub(super) fn changed(&self, key: &str) -> Option<&Stored> {
        self.set.get(key)
    }

    fn keep<'r>(&self, base: Entries<'r>, key: &str) -> Option<&'r [u8]> {
        if self.removed.contains(key.as_bytes()) {
            None
        } else {
            base.find(key)
        }
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// The entries of `base` with this layer on top, sorted by key.
    fn over<'a>(&'a self, base: Entries<'a>) -> impl Iterator<Item = Entry<'a>> + Clone {
        let kept = base.filter(|(key, _)| !self.removed.contains(key));
        let set = self.set.iter();
        let set = set.map(|(key, value)| (key.as_bytes(), value.as_slice()));
        Overlaid {
            under: kept,
            waiting: None,
            over: set.peekable(),
        }
    }
}

/// Merges two sorted lists of entries. If both have a key, `over` wins.
#[derive(Clone)]
struct Overlaid<'a, U, O: Iterator<Item = Entry<'a>>> {
    under: U,
    /// The entry of `under` that comes after the next of `over`. Not `Peekable`: most entries come
    /// from `under`, and storing and reloading each costs more than everything else here.
    waiting: Option<Entry<'a>>,
    over: Peekable<O>,
}

impl<'a, U, O> Iterator for Overlaid<'a, U, O>
where
    U: Iterator<Item = Entry<'a>>,
    O: Iterator<Item = Entry<'a>>,
{
    type Item = Entry<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Entry<'a>> {
        let Some(under) = self.waiting.take().or_else(|| self.under.next()) else {
            return self.over.next();
        };
        let order = self.over.peek().map(|over| over.0.cmp(under.0));
        match order {
            None | Some(Ordering::Greater) => return Some(under),
            Some(Ordering::Equal) => {}
            Some(Ordering::Less) => self.waiting = Some(under),
        }
        self.over.next()
    }
}

/// The session as it looks now: its record with the changes on top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    loaded: Option<&'a Record>,
    changes: &'a Changes,
}

impl<'a> View<'a> {
    pub(crate) fn new(loaded: Option<&'a Record>, changes: &'a Changes) -> Self {
        Self { loaded, changes }
    }

    pub(crate) fn base(self) -> Option<&'a Record> {
        self.changes.base(self.loaded)
    }

    fn content(self) -> Option<&'a Record> {
        self.changes.content(self.loaded)
    }

    pub(crate) fn values(self) -> impl Iterator<Item = Entry<'a>> + Clone {
        self.changes
            .values
            .over(self.changes.base_values(self.loaded))
    }

    pub(crate) fn flashes(self) -> impl Iterator<Item = Entry<'a>> + Clone {
        self.changes
            .flashes
            .over(self.changes.base_flashes(self.loaded))
    }

    pub(crate) fn subject(self) -> &'a str {
        match &self.changes.subject {
            Some(subject) => subject,
            None => self.content().map_or("", Record::subject),
        }
    }

    /// Whether the session has no values, no flashes and no subject.
    pub(crate) fn is_empty(self) -> bool {
        self.values().next().is_none()
            && self.flashes().next().is_none()
            && self.subject().is_empty()
    }

    /// Whether the record ends with a save: the session was destroyed, or somebody has logged in
    /// without the device that the record needs.
    pub(crate) fn is_destroyed(self) -> bool {
        let is_login = self.changes.gives_up_record() && !self.is_empty();
        self.changes.destroyed || is_login
    }

    /// Whether the session's device is missing, so that only a login or the session's end may be
    /// saved.
    pub(crate) fn lacks_device(self) -> bool {
        self.changes.lacks_device() && self.is_changed() && !self.is_destroyed()
    }

    /// The binding that a save writes.
    pub(crate) fn binding(self) -> Option<BindingId> {
        let header = self.base()?.header();
        let due = || self.changes.shown.as_ref()?.binds;
        header.binding.or_else(due)
    }

    /// Whether a save is due only to bind the session to the device that has proven its key.
    #[cfg(feature = "device-bound")]
    pub(crate) fn is_binding_due(self) -> bool {
        let is_unbound = |record: &Record| record.header().binding.is_none();
        self.device().binds.is_some() && self.base().is_some_and(is_unbound)
    }

    /// Whether a save logs somebody in: the session gets a subject or is renewed, or a session with
    /// a subject gets a new id, as in a move.
    #[cfg(feature = "device-bound")]
    pub(crate) fn is_login(self, moves: bool) -> bool {
        let had_subject = self.content().is_some_and(|it| !it.subject().is_empty());
        let has_subject = !self.subject().is_empty();
        self.changes.renewed || has_subject && (moves || !had_subject)
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn device(self) -> Device {
        self.changes.device()
    }

    /// Whether another request ended the session during this one, and this one has begun no new
    /// session in its place.
    pub(crate) fn has_ended_meanwhile(self) -> bool {
        matches!(self.changes.over, Over::Meanwhile) && !self.is_changed()
    }

    /// The session that was over when its cookie arrived.
    pub(crate) fn past(self) -> Option<Past> {
        match self.changes.over {
            Over::Before(past) => Some(past),
            _ => None,
        }
    }

    /// The session's id and times in the browser's cookie, if that cookie holds the whole session.
    pub(crate) fn in_cookie(self, loaded: Option<&Loaded>) -> Option<Birth> {
        let loaded = loaded.filter(|loaded| loaded.is_in_cookie());
        let of_record = || loaded.map(|loaded| Birth::of(loaded.record.header()));
        self.changes.in_cookie.or_else(of_record)
    }

    #[cfg(feature = "server")]
    pub(crate) fn old_mark(self) -> Option<&'a Version> {
        self.changes.old_mark.as_ref()
    }

    #[cfg(feature = "server")]
    pub(crate) fn has_claims(self) -> bool {
        self.changes.has_claims()
    }

    #[cfg(feature = "server")]
    pub(crate) fn revision(self) -> Revision {
        self.changes.revision
    }

    /// The record, if the session keeps its id and times: it is neither destroyed nor renewed.
    pub(crate) fn continued(self) -> Option<&'a Record> {
        self.base().filter(|_| !self.changes.renewed)
    }

    /// The id and times that a save uses, unless the save has yet to make them.
    pub(crate) fn birth(self) -> Option<Birth> {
        let continued = self.continued();
        let continued = continued.map(|record| Birth::of(record.header()));
        continued.or(self.changes.birth)
    }

    /// The session's own deadline, unless the save has yet to make it.
    pub(crate) fn expires_at(self) -> Option<Millis> {
        let chosen = self.changes.expires_at;
        chosen.or_else(|| Some(self.birth()?.expires_at))
    }

    pub(crate) fn transient(self) -> Option<bool> {
        self.changes
            .transient
            .or_else(|| Some(self.base()?.header().transient))
    }

    /// Whether a save must write something.
    pub(crate) fn is_changed(self) -> bool {
        if self.base().is_none() {
            // An empty new session needs no cookie, unless one was sent before.
            return !self.is_empty() || self.changes.sent;
        }
        let Changes {
            sent,
            cleared,
            renewed,
            values,
            flashes,
            subject,
            expires_at,
            transient,
            claims,
            ..
        } = self.changes;
        *sent
            || !claims.is_empty()
            || *cleared
            || *renewed
            || !values.is_empty()
            || !flashes.is_empty()
            || subject.is_some()
            || expires_at.is_some()
            || transient.is_some()
    }

    pub(crate) fn status(self) -> Status {
        if self.is_changed() {
            Status::Modified
        } else if self.changes.destroyed {
            Status::Destroyed
        } else {
            Status::Unmodified
        }
    }

    /// The record that a save writes, without its header.
    pub(crate) fn body(
        self,
    ) -> Body<'a, impl Iterator<Item = Entry<'a>> + Clone, impl Iterator<Item = Entry<'a>> + Clone>
    {
        Body::new(self.subject(), self.values(), self.flashes()).bound(self.binding())
    }
}
