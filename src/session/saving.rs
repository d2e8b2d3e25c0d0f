//! How stores update a session while they save it.

use super::Session;
use super::base::{Base, Loaded};
use super::changes::{Birth, Changes, Over, Revision, View};
use super::state::{Bounds, Flag};
#[cfg(feature = "server")]
use super::version::Version;
use crate::error::{Origin, SessionError};
#[cfg(feature = "server")]
use crate::record::SessionId;
use crate::time::Millis;

/// The outcome of moving changes to a newer record.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebased {
    Done,
    /// Another save of the same session got further.
    Overtaken,
    /// A claimed entry is gone or has changed.
    Claimed,
}

/// What was lost with a session that another request ended.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    Changes,
    /// Claimed entries. The session stays unchanged, so that no later save succeeds without them.
    Claims,
}

impl Session {
    /// Whether the browser's cookie holds the whole session.
    #[cfg(feature = "server")]
    pub(crate) fn is_whole(&self) -> bool {
        self.lock_for_save(|changes, loaded| {
            let view = View::new(loaded.map(|loaded| &loaded.record), changes);
            view.in_cookie(loaded).is_some()
        })
    }

    /// Whether the time is over for which a backend keeps the session.
    #[cfg(feature = "server")]
    pub(crate) fn is_forgotten(&self, now: Millis) -> bool {
        self.lock_for_save(|_, loaded| {
            let held = loaded.and_then(|loaded| loaded.held.as_ref());
            held.is_some_and(|held| held.forgotten_at <= now)
        })
    }

    /// Moves the changes onto the record that a backend has by now. Does nothing if another save of
    /// this session got further than `planned`, because its record is newer.
    #[cfg(feature = "server")]
    pub(crate) fn rebase(&self, planned: Revision, mut newer: Loaded) -> Rebased {
        let mut rebased = Rebased::Overtaken;
        self.replace_unless_overtaken(planned, |changes, base| {
            if !changes.claims_hold(&newer.record) {
                rebased = Rebased::Claimed;
                return;
            }
            // If the response to a first save was lost, the browser never got its cookie.
            let before = base.newest();
            newer.cookie_is_due |= before.is_none_or(|loaded| loaded.cookie_is_due);
            newer.key = before.map_or(newer.key, |loaded| loaded.key);
            changes.leave_new_flashes(before.map(|loaded| &loaded.record), &newer.record);
            changes.keep_own_flashes_of(&newer.record);
            changes.outlive(newer.record.header());
            self.replace(changes, base, Some(newer));
            rebased = Rebased::Done;
        });
        rebased
    }

    /// Makes `written` the new base. A backend has written it from the changes as they were at
    /// `planned`. Later changes are kept on top.
    #[cfg(feature = "server")]
    pub(crate) fn acknowledge(&self, planned: Revision, written: Option<Loaded>) {
        self.lock_to_replace(|changes, base| {
            if written.is_some() && changes.revision.base != planned.base {
                return;
            }
            let before = base.newest().map(|loaded| &loaded.record);
            let record = written.as_ref().map(|written| &written.record);
            changes.acknowledge(planned, before, record);
            self.replace(changes, base, written);
        });
    }

    /// Gives the session a new id that no cutoff before `moment` ends.
    pub(crate) fn outlast(&self, moment: Millis) -> Result<(), SessionError> {
        self.change(|changes, _| {
            changes.renew_after(moment);
            Ok(())
        })
    }

    /// The ids under which a backend may have the session: the one that it was opened with, and the
    /// one that this request has given it.
    #[cfg(feature = "server")]
    pub(crate) fn ids(&self) -> [Option<SessionId>; 2] {
        self.lock_for_save(|changes, loaded| {
            let view = View::new(loaded.map(|loaded| &loaded.record), changes);
            let opened = view.base().map(|record| record.header().id);
            [opened, view.birth().map(|birth| birth.id)]
        })
    }

    /// Makes the next save draw a new id for a new or renewed session.
    #[cfg(feature = "server")]
    pub(crate) fn forget_birth(&self) {
        self.lock_for_save(|changes, _| {
            changes.birth = None;
            changes.intended_id = None;
        });
    }

    /// Handles a session that another request has ended: nothing of it is left. Its cookie is left
    /// alone, because the browser may have another one by now. Does nothing if another save of the
    /// session got further than `planned`.
    #[cfg(feature = "server")]
    pub(crate) fn lose(&self, planned: Revision) -> Lost {
        let mut lost = Lost::Nothing;
        self.replace_unless_overtaken(planned, |changes, base| {
            let view = View::new(base.newest().map(|loaded| &loaded.record), changes);
            if changes.has_claims() {
                lost = Lost::Claims;
                return;
            }
            if view.is_changed() && !view.is_destroyed() {
                lost = Lost::Changes;
            }
            changes.lose();
            self.replace(changes, base, None);
        });
        lost
    }

    /// Allows a save to replace a value that blocks a move to the backend, but does not count.
    #[cfg(feature = "server")]
    pub(crate) fn may_replace(&self, value: Version) {
        self.lock_for_save(|changes, _| changes.in_the_way = Some(value));
    }

    /// Handles a session that was already over when this request came to end it. Returns whether
    /// another request ended it, and not an earlier save or attempt of this one. If so, its cookie
    /// is left alone.
    pub(crate) fn was_over(&self, planned: Revision) -> bool {
        self.lock_to_replace(|changes, base| {
            let is_ours = changes.may_have_ended || changes.revision.base != planned.base;
            if !is_ours {
                changes.over = Over::Meanwhile;
                changes.in_cookie = None;
                self.replace(changes, base, None);
            }
            !is_ours
        })
    }

    /// An attempt to end the session has failed, or its outcome is unknown.
    #[cfg(feature = "server")]
    pub(crate) fn may_have_ended(&self) {
        self.lock_for_save(|changes, _| changes.may_have_ended = true);
    }

    /// The session has ended, by this request or because its time was over.
    pub(crate) fn has_ended(&self) {
        self.lock_to_replace(|changes, base| {
            changes.may_have_ended = true;
            changes.in_cookie = None;
            self.replace(changes, base, None);
        });
    }

    /// A response has a cookie that holds the whole session.
    pub(crate) fn is_sent_as(&self, birth: Birth) {
        self.lock_for_save(|changes, _| changes.in_cookie = Some(birth));
    }

    /// Whether another save of this session got further than `planned`.
    #[cfg(feature = "server")]
    pub(crate) fn is_overtaken(&self, planned: Revision) -> bool {
        self.lock_for_save(|changes, _| changes.revision.base != planned.base)
    }

    #[cfg(feature = "server")]
    fn replace_unless_overtaken(
        &self,
        planned: Revision,
        f: impl FnOnce(&mut Changes, &mut Base<'_>),
    ) {
        self.lock_to_replace(|changes, base| {
            if changes.revision.base == planned.base {
                f(changes, base);
            }
        });
    }

    fn replace(&self, changes: &mut Changes, base: &mut Base<'_>, loaded: Option<Loaded>) {
        changes.revision.base = changes.revision.base.wrapping_add(1);
        self.inner.flags.set(Flag::Touched, Flag::Touched);
        base.replace(loaded);
        changes.is_over(base.newest().map(|loaded| &loaded.record));
    }

    /// Drops a session whose cookie is no longer valid. The cookie is left alone, because the
    /// client may have another one by now. Returns whether changes are lost.
    pub(crate) fn let_go(&self) -> bool {
        self.lock_to_replace(|changes, base| {
            let record = base.newest().map(|loaded| &loaded.record);
            let is_changed = View::new(record, changes).is_changed();
            *changes = changes.afresh();
            changes.lose();
            self.replace(changes, base, None);
            is_changed
        })
    }

    /// Refuses all further changes. A change that has begun is there when the session is locked
    /// next.
    #[cfg(feature = "tower")]
    pub(crate) fn close(&self) {
        self.ask_twin();
        self.inner.flags.set(Flag::Closed, Flag::Touched);
    }

    /// Whether the session came with a request, and not from [`new`](Self::new).
    pub(crate) fn is_of_a_request(&self) -> bool {
        self.inner.read_at.is_some()
    }

    pub(crate) fn is_ambiguous(&self) -> bool {
        self.inner.origin == Origin::Ambiguous
    }

    /// Whether a store with other bounds has loaded the session.
    pub(crate) fn is_of_another_store(&self, bounds: &Bounds) -> bool {
        let own = self.inner.bounds.as_ref();
        own.is_some_and(|own| own.store != bounds.store)
    }
}
