//! Reading and changing a session under its lock.

use std::fmt;
use std::sync::PoisonError;

use serde::de::DeserializeOwned;

use super::Session;
use super::base::{Base, Loaded};
use super::changes::{Changes, Stored, View};
use super::entry::{Found, decode, is_still};
use super::state::{Claims, Flag};
use crate::cookie::DEFAULT_NAME;
use crate::error::{ErrorKind, SessionError};
use crate::event::{Event, Events};
use crate::limit::{Limit, check_entries};
use crate::record::Record;
use crate::value;

impl Session {
    /// Runs `f` while the session is locked. `f` must not call the caller's code.
    pub(super) fn lock<R>(&self, f: impl FnOnce(&mut Changes, Option<&Record>) -> R) -> R {
        self.ask_twin();
        self.lock_for_save(|changes, loaded| f(changes, loaded.map(|loaded| &loaded.record)))
    }

    /// Makes a change that can be refused.
    pub(super) fn change<R>(
        &self,
        f: impl FnOnce(&mut Changes, Option<&Record>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        self.change_loaded(|changes, loaded| f(changes, loaded.map(|loaded| &loaded.record)))
    }

    /// Like [`change`](Self::change), but `f` also gets how the record was found.
    pub(super) fn change_loaded<R>(
        &self,
        f: impl FnOnce(&mut Changes, Option<&Loaded>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        self.ask_twin();
        let outcome = self.change_alone(f);
        if outcome.is_ok() {
            self.tell_twin();
        }
        outcome
    }

    /// Like [`change_loaded`](Self::change_loaded), but the twin is not told.
    pub(super) fn change_alone<R>(
        &self,
        f: impl FnOnce(&mut Changes, Option<&Loaded>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        let outcome = self.lock_for_save(|changes, loaded| {
            if self.inner.flags.set(Flag::Touched, Flag::Closed) {
                return Err(SessionError::closed());
            }
            changes.revision.all = changes.revision.all.wrapping_add(1);
            f(changes, loaded)
        });
        if let Err(error) = &outcome {
            match error.kind() {
                ErrorKind::TooLarge => self.report(Event::TooLarge, error),
                ErrorKind::Closed => self.report(Event::ChangedTooLate, error),
                _ => {}
            }
        }
        outcome
    }

    /// Makes a change for a method that returns no error: a refusal is only reported.
    pub(super) fn change_or_report(&self, f: impl FnOnce(&mut Changes, Option<&Record>)) {
        // `change` has reported the error already.
        let _ = self.change(|changes, record| {
            f(changes, record);
            Ok(())
        });
    }

    pub(super) fn report(&self, event: Event, error: &SessionError) {
        let nowhere = Events::default();
        let bounds = self.inner.bounds.as_ref();
        bounds
            .map_or(&nowhere, |bounds| &bounds.events)
            .report(event, Some(error));
    }

    pub(super) fn view<R>(&self, f: impl FnOnce(View<'_>) -> R) -> R {
        self.lock(|changes, record| f(View::new(record, changes)))
    }

    /// Like [`lock`](Self::lock), but `f` also gets how the record was found.
    pub(crate) fn lock_for_save<R>(&self, f: impl FnOnce(&mut Changes, Option<&Loaded>) -> R) -> R {
        self.lock_to_replace(|changes, base| f(changes, base.newest()))
    }

    pub(super) fn lock_to_replace<R>(&self, f: impl FnOnce(&mut Changes, &mut Base<'_>) -> R) -> R {
        let since = self.inner.since.lock();
        let since = &mut *since.unwrap_or_else(PoisonError::into_inner);
        let mut base = Base {
            first: self.inner.first.as_ref(),
            newer: &mut since.newer,
        };
        f(since.changes.get_or_insert_default(), &mut base)
    }

    pub(super) fn find(&self, key: &str) -> Option<Found<'_>> {
        self.ask_twin();
        if !self.was_touched() {
            let values = self.first()?.record.values();
            return values.find(key).map(Found::Loaded);
        }
        self.lock_to_replace(|changes, base| {
            if let Some(value) = changes.values.changed(key) {
                return Some(Found::Copied(value.clone()));
            }
            self.kept(base, |record| changes.kept_value(record, key))
        })
    }

    /// Returns the bytes that `find` finds in the record, for use after the lock is released.
    pub(super) fn kept<'s>(
        &'s self,
        base: &Base<'_>,
        find: impl for<'r> FnOnce(Option<&'r Record>) -> Option<&'r [u8]>,
    ) -> Option<Found<'s>> {
        if base.newer.is_none() {
            return find(self.first().map(|loaded| &loaded.record)).map(Found::Loaded);
        }
        // A newer record may be replaced and freed while the caller still reads, so copy.
        let bytes = find(base.newest().map(|loaded| &loaded.record))?;
        Some(Found::Copied(Stored::new(bytes.to_vec())))
    }

    pub(super) fn set(
        &self,
        changes: &mut Changes,
        record: Option<&Record>,
        key: &str,
        value: Stored,
    ) -> Result<(), SessionError> {
        if value::is_null(&value) {
            changes.values.remove(changes.base_values(record), key);
            return Ok(());
        }
        let before = changes.values.set(changes.base_values(record), key, value);
        let undo = |changes: &mut Changes| changes.values.undo(key, before);
        self.keep_if_it_fits(changes, record, format_args!("{key:?}"), undo)
    }

    /// Undoes a change if it makes the session too large for its cookie, unless the session has
    /// become smaller.
    pub(super) fn keep_if_it_fits(
        &self,
        changes: &mut Changes,
        record: Option<&Record>,
        what: fmt::Arguments<'_>,
        undo: impl FnOnce(&mut Changes),
    ) -> Result<(), SessionError> {
        let bounds = self.inner.bounds.as_ref();
        let by_default = Limit::Cookie {
            name: DEFAULT_NAME.len(),
        };
        let limit = bounds.map_or(by_default, |bounds| bounds.limit);
        let measure = |changes: &Changes| {
            let view = View::new(record, changes);
            let mut optional = view.optional();
            optional.binding |= bounds.is_some_and(|bounds| bounds.may_bind);
            let body = view.body();
            (body.len(optional), body.entries())
        };
        let (size, entries) = measure(changes);
        let checked = limit.check(size).and_then(|()| check_entries(entries));
        let Err(too_large) = checked else {
            return Ok(());
        };
        let attempt = changes.clone();
        undo(changes);
        let before = measure(changes);
        if size <= before.0 && entries <= before.1 {
            *changes = attempt;
            return Ok(());
        }
        let message = format!("{what}: {too_large}");
        Err(SessionError::sized(
            message,
            too_large.size,
            too_large.limit,
        ))
    }

    /// Returns the value under `key` if `remove` removes it.
    pub(super) fn take_with<T: DeserializeOwned>(
        &self,
        key: &str,
        remove: impl Fn(&mut Changes, Option<&Loaded>) -> Result<(), SessionError>,
    ) -> Result<Option<T>, SessionError> {
        loop {
            let Some(before) = self.find(key) else {
                return Ok(None);
            };
            let value = decode(key, &before)?;
            let taken = self.change_loaded(|changes, loaded| {
                let record = loaded.map(|loaded| &loaded.record);
                if !is_still(changes, record, key, Some(&before)) {
                    return Ok(false);
                }
                remove(changes, loaded)?;
                Ok(true)
            })?;
            if taken {
                return Ok(Some(value));
            }
        }
    }

    pub(super) fn check_claimable(
        &self,
        key: &str,
        loaded: Option<&Loaded>,
    ) -> Result<(), SessionError> {
        let bounds = self.inner.bounds.as_ref();
        let why = match (
            bounds.map_or(Claims::InCookie, |bounds| bounds.claims),
            loaded,
        ) {
            #[cfg(feature = "server")]
            (Claims::InBackend, None) => return Ok(()),
            #[cfg(feature = "server")]
            (Claims::InBackend, Some(loaded)) if !loaded.is_in_cookie() => return Ok(()),
            #[cfg(feature = "server")]
            (Claims::Overwritten, _) => {
                "this backend only overwrites, so that two requests could both have it; use one \
                 that declares `Promise::Full`"
            }
            _ => {
                "the session is in a cookie, which can be sent twice, so that two requests could \
                 both have it; keep the session in a backend, or this value in a database"
            }
        };
        let message = format!("{key:?} cannot be claimed: {why}");
        Err(SessionError::new(ErrorKind::NotClaimable, message))
    }

    /// Gets the twin's changes, if the session has a twin.
    #[inline]
    pub(super) fn ask_twin(&self) {
        #[cfg(all(feature = "tower", feature = "tower-sessions"))]
        if let Some(twin) = self.twin() {
            twin.bring();
        }
    }

    fn tell_twin(&self) {
        #[cfg(all(feature = "tower", feature = "tower-sessions"))]
        if let Some(twin) = self.twin() {
            twin.show();
        }
    }

    pub(crate) fn was_touched(&self) -> bool {
        self.inner.flags.has(Flag::Touched)
    }

    pub(crate) fn leaves_idle(&self) -> bool {
        self.inner.flags.has(Flag::LeavesIdle)
    }

    /// The record that the session was opened with. It is current until the session [was
    /// touched](Self::was_touched).
    pub(crate) fn first(&self) -> Option<&Loaded> {
        self.inner.first.as_ref()
    }
}
