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
use crate::record::{
    Amended, BindingId, Body, Content, Entries, Entry, Header, Measured, Names, Optional, Record,
    SessionId,
};
use crate::time::Millis;

/// A value's bytes.
pub(super) type Stored = Zeroizing<Vec<u8>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Forget the record. Later changes make a new session.
    pub(super) destroyed: bool,
    /// The record's values, flashes and subject are gone. Its id and times stay.
    pub(super) cleared: bool,
    pub(super) renewed: bool,
    /// The save that gives the session its new id must not say that it was issued earlier.
    pub(super) issued_after: Millis,
    pub(super) login: Option<Login>,
    /// The lifetime that a new session goes on with, until it is saved or somebody logs in.
    inherited: Option<Lifetime>,
    pub(super) values: Layer,
    pub(super) flashes: Layer,
    /// Boxed, because few requests change one.
    names: Option<Box<NewNames>>,
    pub(super) expires_at: Option<Millis>,
    pub(super) transient: Option<bool>,
    /// Entries of the record that no other request may have taken or changed before the save.
    claims: Sorted<Stored>,
    /// This request's flashes that a backend already has. Only later requests may read them.
    #[cfg(feature = "server")]
    own_flashes: Sorted<()>,
    /// The id and times of a new or renewed session, set by its first save.
    pub(crate) birth: Option<Birth>,
    /// The id that the first save of a new or renewed session uses, if it was given one before.
    pub(super) intended_id: Option<SessionId>,
    /// A save has written something other than the record. Until the next save, the response says
    /// that, even if all changes are taken back.
    pub(crate) sent: bool,
    /// The id and times in a response's cookie that holds the whole session, if they differ from
    /// those that were loaded.
    pub(super) in_cookie: Option<Birth>,
    /// Whether another request ended the session of the browser's cookie.
    pub(crate) over: Over,
    /// A value that blocks a move to the backend, but does not count.
    #[cfg(feature = "server")]
    pub(super) in_the_way: Option<Version>,
    /// An earlier attempt to end the session may have succeeded.
    pub(super) may_have_ended: bool,
    pub(crate) revision: Revision,
    /// What the request has shown of the session's device.
    pub(crate) shown: Option<Device>,
}

/// Changes to the session's names.
#[derive(Clone, Debug, Default)]
pub(super) struct NewNames {
    pub(super) subject: Option<String>,
    pub(super) label: Option<String>,
    pub(super) sid: Option<String>,
}

impl NewNames {
    fn is_empty(&self) -> bool {
        self.subject.is_none() && self.label.is_none() && self.sid.is_none()
    }
}

/// A change to the moment of the last login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The save that gives the session its new id remembers its moment.
    Now,
    #[cfg(feature = "server")]
    Forgotten,
}

/// A session's times that outlast a change of its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) began_at: Millis,
    pub(crate) expires_at: Millis,
    logged_in_at: Option<Millis>,
}

/// What a session takes over from another one, besides values and flashes.
pub(super) struct Estate {
    names: NewNames,
    transient: Option<bool>,
    lifetime: Option<Lifetime>,
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
    /// When the lifetime began.
    pub(crate) began_at: Millis,
    /// Used unless another deadline is chosen.
    pub(crate) expires_at: Millis,
}

impl Birth {
    fn of(header: &Header) -> Self {
        Self {
            id: header.id,
            issued_at: header.issued_at,
            began_at: header.began_at(),
            expires_at: header.expires_at,
        }
    }
}

/// Entries to set and entries to leave out, on top of a record's entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    set: Sorted<Stored>,
    removed: Sorted<()>,
    /// How much larger the result is than the record's entries.
    growth: Measured,
}

impl Changes {
    /// No changes yet, for a request whose session was over when it arrived.
    pub(super) fn after(past: Past) -> Self {
        Self {
            over: Over::Before(past),
            ..Self::default()
        }
    }

    /// No changes yet, for a session of which the request has shown this.
    #[cfg(feature = "device-bound")]
    pub(super) fn with(device: Device) -> Self {
        Self {
            shown: Some(device),
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
        self.destroyed || (self.login == Some(Login::Now) && self.lacks_device())
    }

    /// Whether the record needs a device that the request does not come from.
    fn lacks_device(&self) -> bool {
        self.shown.as_ref().is_some_and(|device| device.is_missing)
    }

    /// What the request has shown of the session's device.
    #[cfg(feature = "device-bound")]
    pub(super) fn device(&self) -> Device {
        self.shown.unwrap_or_default()
    }

    /// The record, if its content stays.
    fn content<'r>(&self, loaded: Option<&'r Record>) -> Option<&'r Record> {
        self.base(loaded).filter(|_| !self.cleared)
    }

    pub(super) fn base_values<'r>(&self, loaded: Option<&'r Record>) -> Entries<'r> {
        self.content(loaded).map(Record::values).unwrap_or_default()
    }

    pub(super) fn base_flashes<'r>(&self, loaded: Option<&'r Record>) -> Entries<'r> {
        self.content(loaded)
            .map(Record::flashes)
            .unwrap_or_default()
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
        let base = self.base_flashes(loaded);
        self.flashes.unset(base, key);
        #[cfg(feature = "server")]
        if self.own_flashes.contains(key.as_bytes()) {
            self.flashes.leave_out(base, key);
        }
    }

    /// Forgets the record and all changes. Claims stay: the save must still win them.
    pub(super) fn destroy(&mut self) {
        self.revision.whole = self.revision.whole.wrapping_add(1);
        *self = Self {
            destroyed: true,
            claims: std::mem::take(&mut self.claims),
            ..self.afresh()
        };
        self.forget_proof();
    }

    /// The record is gone. A session that takes its place has a device of its own.
    fn forget_proof(&mut self) {
        if let Some(device) = &mut self.shown {
            device.forget_proof();
        }
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
            revision: self.revision,
            shown: self.shown,
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
        // Without its device, none of the record goes into the one that takes its place.
        let base = base.filter(|_| !self.lacks_device());
        if let Some(device) = &mut self.shown {
            device.is_missing = false;
        }
        let Some(written) = written else {
            self.may_have_ended = true;
            if !self.destroyed {
                self.destroy();
            } else if self.revision == planned {
                // What was chosen for the session that may come next outlasts the end of this one.
                let chosen = (self.expires_at, self.transient);
                self.destroy();
                (self.expires_at, self.transient) = chosen;
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
            issued_after: if whole {
                self.issued_after
            } else {
                Millis::default()
            },
            login: self.login.filter(|_| whole),
            claims: std::mem::take(&mut self.claims),
            ..self.afresh()
        };
        if self.revision != planned {
            let view = View::new(base, self);
            let header = written.header();
            let (now, there) = (view.names(), written.names());
            let changed = |now: &str, there| (now != there).then(|| now.to_owned());
            *next.names() = NewNames {
                subject: changed(now.subject, there.subject),
                label: changed(now.label, there.label),
                sid: changed(now.sid, there.sid),
            };
            if header.logged_in_at.is_some() && !view.has_login() {
                next.login = Some(Login::Forgotten);
            }
            next.expires_at = view.expires_at().filter(|at| *at != header.expires_at);
            next.transient = view.transient().filter(|is| *is != header.transient);
            next.values = Layer::between(written.values(), view.values());
            next.flashes = Layer::between(written.flashes(), view.flashes());
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

    /// This request took the flashes of `before`. One that another request has set since under the
    /// same name stays for a later request.
    #[cfg(feature = "server")]
    pub(super) fn leave_new_flashes(&mut self, before: Option<&Record>, newer: &Record) {
        let before = self.base_flashes(before);
        let is_same = |key: &str| before.find(key) == newer.flashes().find(key);
        self.flashes.removed.retain(is_same);
    }

    /// Adapts to the record that these changes are on top of from now on.
    pub(super) fn is_over(&mut self, loaded: Option<&Record>) {
        if loaded.is_none() {
            self.forget_proof();
        }
        self.values.count(self.base_values(loaded));
        self.flashes.count(self.base_flashes(loaded));
    }

    /// Takes over the lifetime of a newer record for the new id that this request has given the
    /// session, unless it is a login.
    #[cfg(feature = "server")]
    pub(super) fn outlive(&mut self, newer: &Header) {
        let goes_on = !self.destroyed && self.login != Some(Login::Now);
        if let Some(birth) = self.birth.as_mut().filter(|_| goes_on) {
            birth.began_at = newer.began_at();
            birth.expires_at = newer.expires_at;
        }
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
        self.names = None;
        self.login = None;
        if let Some(inherited) = &mut self.inherited {
            inherited.logged_in_at = None;
        }
    }

    /// Sets values and flashes.
    pub(super) fn put(
        &mut self,
        loaded: Option<&Record>,
        values: Vec<(String, Stored)>,
        flashes: Vec<(String, Stored)>,
    ) {
        for (key, value) in values {
            self.values.set(self.base_values(loaded), &key, value);
        }
        for (key, value) in flashes {
            let base = self.base_flashes(loaded);
            self.flashes.set_beside(base, &key, value);
        }
    }

    /// Takes over names and whether browsers keep the cookie, and in a new session the lifetime.
    pub(super) fn continue_as(&mut self, loaded: Option<&Record>, estate: Estate) {
        let now = View::new(loaded, self).names();
        let changed = |name: Option<String>, now: &str| name.filter(|name| name != now);
        let names = NewNames {
            subject: changed(estate.names.subject, now.subject),
            label: changed(estate.names.label, now.label),
            sid: changed(estate.names.sid, now.sid),
        };
        let own = self.names();
        own.subject = names.subject.or(own.subject.take());
        own.label = names.label.or(own.label.take());
        own.sid = names.sid.or(own.sid.take());
        if let Some(transient) = estate.transient {
            self.set_transient(loaded, transient);
        }
        if self.base(loaded).is_none() {
            self.inherited = estate.lifetime.or(self.inherited);
            // An earlier save in this request has begun a lifetime of its own. A login's stays.
            let logs_in = self.login == Some(Login::Now);
            let lifetime = estate.lifetime.filter(|_| !logs_in);
            if let (Some(birth), Some(lifetime)) = (&mut self.birth, lifetime) {
                birth.began_at = lifetime.began_at;
                birth.expires_at = lifetime.expires_at;
                birth.issued_at = birth.issued_at.max(lifetime.began_at);
            }
        }
    }

    /// Asks for a new id at the next save.
    pub(super) fn renew(&mut self) {
        self.revision.whole = self.revision.whole.wrapping_add(1);
        self.renewed = true;
        self.birth = None;
        self.intended_id = None;
    }

    pub(super) fn set_transient(&mut self, loaded: Option<&Record>, transient: bool) {
        self.transient = None;
        if View::new(loaded, self).transient() != Some(transient) {
            self.transient = Some(transient);
        }
    }

    /// Drops everything that was written. A session that is to end, or to get a new id, still does.
    #[cfg(all(feature = "tower", feature = "tower-sessions"))]
    pub(super) fn give_up(&mut self) {
        self.revision.whole = self.revision.whole.wrapping_add(1);
        *self = Self {
            destroyed: self.destroyed,
            renewed: self.renewed,
            login: self.login.take(),
            issued_after: self.issued_after,
            birth: self.birth,
            intended_id: self.intended_id,
            sent: self.sent,
            ..self.afresh()
        };
    }

    /// Asks for a new id and a new lifetime at the next save, which remembers when that was.
    pub(super) fn log_in(&mut self) {
        self.renew();
        self.login = Some(Login::Now);
    }

    /// Asks for a new id that is issued no earlier than `moment`.
    pub(super) fn renew_after(&mut self, moment: Millis) {
        self.renew();
        self.issued_after = self.issued_after.max(moment);
    }

    pub(super) fn names(&mut self) -> &mut NewNames {
        self.names.get_or_insert_default()
    }
}

/// A [`Layer`] before a change to one entry, for undoing it.
pub(super) struct Before {
    set: Option<Stored>,
    removed: bool,
    growth: Measured,
}

impl Layer {
    /// The layer that turns `base` into `now`.
    #[cfg(feature = "server")]
    fn between<'a>(base: Entries<'_>, now: impl Iterator<Item = Entry<'a>>) -> Self {
        let mut layer = Self::default();
        for (key, _) in base.texts() {
            layer.leave_out(base, key);
        }
        for (key, value) in now {
            // Opening the record checked that its keys are text.
            let key = std::str::from_utf8(key).unwrap_or_default();
            layer.set(base, key, Zeroizing::new(value.to_vec()));
        }
        layer
    }

    /// Makes a change to the entry under `key`, and counts how much larger it gets.
    fn change<R>(
        &mut self,
        base: Entries<'_>,
        key: &str,
        change: impl FnOnce(&mut Self, Option<&[u8]>) -> R,
    ) -> R {
        let there = base.find(key);
        let before = self.measure(there, key);
        let result = change(self, there);
        let after = self.measure(there, key);
        self.growth = self.growth.plus(after).minus(before);
        result
    }

    /// The size of what is written under `key`, if the record has `there`.
    fn measure(&self, there: Option<&[u8]>, key: &str) -> Measured {
        let set = self.set.get(key).map(|value| value.as_slice());
        let kept = || there.filter(|_| !self.removed.contains(key.as_bytes()));
        let written = set.or_else(kept);
        written.map_or_else(Measured::default, |value| {
            Measured::of(key.as_bytes(), value)
        })
    }

    /// Counts anew how much larger the result is, because it is on top of another record now.
    fn count(&mut self, base: Entries<'_>) {
        let changes = self.changes().map(|(key, value)| {
            let after = value.map(|value| Measured::of(key, value));
            // The keys of a layer are text.
            let there = base.find(std::str::from_utf8(key).unwrap_or_default());
            let before = there.map(|value| Measured::of(key, value));
            after.unwrap_or_default().minus(before.unwrap_or_default())
        });
        self.growth = changes.fold(Measured::default(), Measured::plus);
    }

    /// Sets an entry. If the record already has the same value, this is not a change.
    pub(super) fn set(&mut self, base: Entries<'_>, key: &str, value: Stored) -> Before {
        let growth = self.growth;
        self.change(base, key, |layer, there| Before {
            removed: layer.removed.remove(key).is_some(),
            set: if there == Some(value.as_slice()) {
                layer.set.remove(key)
            } else {
                layer.set.insert(key, value)
            },
            growth,
        })
    }

    /// Sets an entry, and leaves the record's value under the same key readable.
    pub(super) fn set_beside(&mut self, base: Entries<'_>, key: &str, value: Stored) -> Before {
        let growth = self.growth;
        self.change(base, key, |layer, _| Before {
            removed: layer.removed.contains(key.as_bytes()),
            set: layer.set.insert(key, value),
            growth,
        })
    }

    /// Takes back that an entry was set. The record's entry stays.
    fn unset(&mut self, base: Entries<'_>, key: &str) {
        self.change(base, key, |layer, _| layer.set.remove(key));
    }

    /// Removes an entry. If it does not exist, this is not a change.
    pub(super) fn remove(&mut self, base: Entries<'_>, key: &str) {
        self.change(base, key, |layer, there| {
            layer.set.remove(key);
            if there.is_some() {
                layer.removed.insert(key, ());
            }
        });
    }

    /// Leaves out the record's entry, but keeps one that was set.
    pub(super) fn leave_out(&mut self, base: Entries<'_>, key: &str) {
        self.change(base, key, |layer, there| {
            if there.is_some() {
                layer.removed.insert(key, ());
            }
        });
    }

    pub(super) fn undo(&mut self, key: &str, before: Before) {
        match before.set {
            Some(value) => self.set.insert(key, value),
            None => self.set.remove(key),
        };
        if before.removed {
            self.removed.insert(key, ());
        }
        self.growth = before.growth;
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

    /// The new value under each changed key, in the order of the keys; `None` for an entry that is
    /// left out.
    fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        let set = self.set.iter();
        let removed = self.removed.iter();
        Overlaid {
            under: removed.map(|(key, ())| (key.as_bytes(), None)),
            waiting: None,
            over: set
                .map(|(key, value)| (key.as_bytes(), Some(value.as_slice())))
                .peekable(),
        }
    }

    /// The entries of `base` with this layer on top, sorted by key.
    fn over<'a>(&'a self, base: Entries<'a>) -> impl Iterator<Item = Entry<'a>> + Clone {
        let set = self.set.iter();
        let set = set.map(|(key, value)| (key.as_bytes(), value.as_slice()));
        Overlaid {
            under: base
                .without_nulls()
                .filter(|(key, _)| !self.removed.contains(key)),
            waiting: None,
            over: set.peekable(),
        }
    }

    /// The same entries, to be written.
    fn written_over<'a>(&'a self, base: Entries<'a>) -> impl Content {
        Amended {
            entries: base,
            changes: self.changes(),
            growth: self.growth,
        }
    }
}

/// Merges two lists that are sorted by key. If both have a key, `over` wins.
#[derive(Clone)]
struct Overlaid<U, O: Iterator> {
    under: U,
    /// The item of `under` that comes after the next of `over`.
    waiting: Option<O::Item>,
    over: Peekable<O>,
}

impl<'a, T, U, O> Iterator for Overlaid<U, O>
where
    U: Iterator<Item = (&'a [u8], T)>,
    O: Iterator<Item = (&'a [u8], T)>,
{
    type Item = (&'a [u8], T);

    fn next(&mut self) -> Option<Self::Item> {
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

    pub(crate) fn names(self) -> Names<'a> {
        let kept = self.content().map(Record::names).unwrap_or_default();
        let Some(new) = &self.changes.names else {
            return kept;
        };
        Names {
            subject: new.subject.as_deref().unwrap_or(kept.subject),
            label: new.label.as_deref().unwrap_or(kept.label),
            sid: new.sid.as_deref().unwrap_or(kept.sid),
        }
    }

    /// Whether this request is a login.
    pub(crate) fn logs_in(self) -> bool {
        self.changes.login == Some(Login::Now)
    }

    /// Whether the session remembers a login, or will.
    pub(crate) fn has_login(self) -> bool {
        self.logs_in() || self.kept_login().is_some()
    }

    /// Which optional parts the header of a save has.
    pub(crate) fn optional(self) -> Optional {
        Optional {
            login: self.has_login(),
            binding: self.binding().is_some(),
        }
    }

    /// When the last login was. `None` if the save has yet to happen that remembers it.
    pub(crate) fn logged_in_at(self) -> Option<Millis> {
        if self.logs_in() {
            return Some(self.birth()?.began_at);
        }
        self.kept_login()
    }

    fn kept_login(self) -> Option<Millis> {
        if self.changes.login.is_some() {
            return None;
        }
        match self.changes.inherited {
            Some(inherited) => inherited.logged_in_at,
            None => self.content()?.header().logged_in_at,
        }
    }

    /// The earliest moment at which a session that gets a new id now may count as issued.
    pub(crate) fn issued_after(self) -> Millis {
        self.changes.issued_after
    }

    /// Whether the session has no values, no flashes, no names and no login.
    pub(crate) fn is_empty(self) -> bool {
        self.values().next().is_none()
            && self.flashes().next().is_none()
            && self.names().is_empty()
            && !self.has_login()
    }

    /// Whether the record ends with a save: the session was destroyed, or somebody has logged in
    /// without the device that the record needs.
    pub(crate) fn is_destroyed(self) -> bool {
        self.changes.gives_up_record()
    }

    /// Whether this request has destroyed the session.
    pub(crate) fn was_destroyed(self) -> bool {
        self.changes.destroyed
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

    /// Whether a device is to be offered a binding to this session: somebody logs in, the session
    /// gets a subject, or it is somebody's and gets a new id, which an earlier offer does not name.
    #[cfg(feature = "device-bound")]
    pub(crate) fn is_offered(self, moves: bool) -> bool {
        let was_somebodys = self.content().is_some_and(|record| {
            !record.subject().is_empty() || record.header().logged_in_at.is_some()
        });
        let is_somebodys = !self.names().subject.is_empty() || self.has_login();
        let gets_an_id = moves || self.changes.renewed;
        self.logs_in() || is_somebodys && (gets_an_id || !was_somebodys)
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
    pub(crate) fn in_the_way(self) -> Option<&'a Version> {
        self.changes.in_the_way.as_ref()
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

    /// The id that the save uses if it makes the id and times.
    pub(crate) fn intended_id(self) -> Option<SessionId> {
        self.changes.intended_id
    }

    /// The lifetime that goes on, with this id or another.
    pub(crate) fn outlived(self) -> Option<Lifetime> {
        if self.logs_in() {
            return None;
        }
        self.changes.inherited.or_else(|| {
            let header = self.base()?.header();
            Some(Lifetime {
                began_at: header.began_at(),
                expires_at: header.expires_at,
                logged_in_at: header.logged_in_at,
            })
        })
    }

    /// What another session takes over from this one.
    pub(super) fn estate(self) -> Estate {
        let names = self.names();
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let times = self.began_at().zip(self.expires_at());
        Estate {
            names: NewNames {
                subject: given(names.subject),
                label: given(names.label),
                sid: given(names.sid),
            },
            transient: self.transient(),
            lifetime: times.map(|(began_at, expires_at)| Lifetime {
                began_at,
                expires_at,
                logged_in_at: self.logged_in_at(),
            }),
        }
    }

    /// When the session's lifetime began, unless the save has yet to begin it.
    pub(crate) fn began_at(self) -> Option<Millis> {
        let birth = self.birth().map(|birth| birth.began_at);
        birth.or_else(|| Some(self.outlived()?.began_at))
    }

    /// The session's own deadline, unless the save has yet to make it.
    pub(crate) fn expires_at(self) -> Option<Millis> {
        let outlived = || Some(self.outlived()?.expires_at);
        let kept = || self.birth().map(|birth| birth.expires_at);
        self.chosen_expiry().or_else(kept).or_else(outlived)
    }

    /// The deadline that this request has chosen.
    pub(crate) fn chosen_expiry(self) -> Option<Millis> {
        self.changes.expires_at
    }

    pub(crate) fn transient(self) -> Option<bool> {
        self.changes
            .transient
            .or_else(|| Some(self.base()?.header().transient))
    }

    /// Whether a save must write something.
    pub(crate) fn is_changed(self) -> bool {
        let Some(base) = self.base() else {
            // An empty new session needs no cookie, unless one was sent before.
            return !self.is_empty() || self.changes.sent;
        };
        let Changes {
            sent,
            cleared,
            renewed,
            values,
            flashes,
            names,
            login,
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
            || names.as_ref().is_some_and(|names| !names.is_empty())
            || login.is_some()
            || expires_at.is_some_and(|at| at != base.header().expires_at)
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
    pub(crate) fn body(self) -> Body<'a, impl Content, impl Content> {
        let changes = self.changes;
        Body::new(
            self.names(),
            changes
                .values
                .written_over(changes.base_values(self.loaded)),
            changes
                .flashes
                .written_over(changes.base_flashes(self.loaded)),
        )
    }
}
