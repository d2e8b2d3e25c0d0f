//! What stores do with a session when they save it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Session;
use super::base::{Base, Loaded};
use super::changes::{Birth, Changes, Over, Revision, View};
use super::state::Bounds;
#[cfg(feature = "tower")]
use super::status::Status;
#[cfg(feature = "server")]
use super::version::Version;
use crate::error::Origin;

/// What has become of changes that were to stand on a newer record.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebased {
    Done,
    /// Another save of the same session has come further.
    Overtaken,
    /// What was claimed is not there any more, or not as it was.
    Claimed,
}

/// What is lost with a session that somebody else has ended.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    Changes,
    /// What was claimed; the session is as it was, so that no later save succeeds without.
    Claims,
}

impl Session {
    /// Whether a backend has it.
    #[cfg(feature = "server")]
    pub(crate) fn is_held(&self) -> bool {
        self.lock_for_save(|_, loaded| loaded.is_some_and(|loaded| !loaded.is_in_cookie()))
    }

    /// Lets the changes stand on what a backend has by now. Not if another save of this session
    /// has come further since `planned`: what that one has is newer.
    #[cfg(feature = "server")]
    pub(crate) fn rebase(&self, planned: Revision, mut newer: Loaded) -> Rebased {
        let mut rebased = Rebased::Overtaken;
        self.replace_unless_overtaken(planned, |changes, base| {
            if !changes.claims_hold(&newer.record) {
                rebased = Rebased::Claimed;
                return;
            }
            // A first save whose answer got lost has set no cookie.
            let before = base.newest();
            newer.cookie_is_due |= before.is_none_or(|loaded| loaded.cookie_is_due);
            changes.keep_own_flashes_of(&newer.record);
            self.replace(changes, base, Some(newer));
            rebased = Rebased::Done;
        });
        rebased
    }

    /// A backend has written what was planned when the changes stood at `planned`: that is the
    /// base from now on, and what was changed since stands on it.
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

    /// The id of a new or renewed session is to be drawn again.
    #[cfg(feature = "server")]
    pub(crate) fn forget_birth(&self) {
        self.lock_for_save(|changes, _| changes.birth = None);
    }

    /// Somebody else has ended the session: nothing of it is left, and its cookie is left alone,
    /// because by now the browser may have another one. Not if another save of it has come
    /// further since `planned`.
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

    /// The mark that is in the way of a move does not count any more.
    #[cfg(feature = "server")]
    pub(crate) fn may_replace_mark(&self, mark: Version) {
        self.lock_for_save(|changes, _| changes.old_mark = Some(mark));
    }

    /// A session that this request was to end was over already. Tells whether that was somebody
    /// else, and no other save or attempt of this request; then its cookie is left alone.
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

    /// An attempt to end it has failed, or may have.
    #[cfg(feature = "server")]
    pub(crate) fn may_have_ended(&self) {
        self.lock_for_save(|changes, _| changes.may_have_ended = true);
    }

    /// What was in a cookie has ended by this request.
    pub(crate) fn has_ended(&self) {
        self.lock_to_replace(|changes, base| {
            changes.may_have_ended = true;
            changes.in_cookie = None;
            self.replace(changes, base, None);
        });
    }

    /// A response has the session wholly in its cookie.
    pub(crate) fn is_sent_as(&self, birth: Birth) {
        self.lock_for_save(|changes, _| changes.in_cookie = Some(birth));
    }

    /// Whether another save of this session has come further since `planned`.
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
        self.inner.was_touched.store(true, Ordering::Release);
        base.replace(loaded);
    }

    /// Its cookie is no longer worth anything, and is left alone: by now the client may have
    /// another one. Tells whether changes are lost with it.
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

    /// Refuses all changes from now on; tells what was to be saved.
    #[cfg(feature = "tower")]
    pub(crate) fn close(&self) -> Status {
        self.lock_for_save(|changes, _| changes.closed = true);
        self.status()
    }

    /// Whether it was taken out of a request, and not made by [`new`](Self::new).
    pub(crate) fn is_of_a_request(&self) -> bool {
        self.inner.read_at.is_some()
    }

    pub(crate) fn is_ambiguous(&self) -> bool {
        self.inner.origin == Origin::Ambiguous
    }

    /// Whether it was loaded by another store than the one with these bounds.
    pub(crate) fn is_of_another_store(&self, bounds: &Arc<Bounds>) -> bool {
        self.inner
            .bounds
            .as_ref()
            .is_some_and(|own| !Arc::ptr_eq(own, bounds))
    }
}
