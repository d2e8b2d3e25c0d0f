//! Saving a session to a backend while other requests may change it too.

use super::backend::{Backend, Entry, Outcome, Promise, StoreKey, Stored};
use super::placement::{Trail, Write};
use super::{Inner, ServerStore};
use crate::envelope::os_random;
use crate::error::{BackendError, BackendErrorKind, Origin, Refusal, SaveError, SaveErrorKind};
use crate::event::Event;
use crate::flow::Outgoing;
use crate::session::changes::Revision;
use crate::session::{Lost, Rebased, Session, Status};
use crate::time::Millis;

/// How often a save tries again after another request has saved the same session in between.
const ATTEMPTS: usize = 16;

impl<B: Backend> ServerStore<B> {
    /// Returns the header changes that [`save`](Self::save) makes, for frameworks with other header
    /// types.
    ///
    /// # Errors
    ///
    /// The same as [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        let is_unknown = session.origin() == Origin::Refused(Refusal::Unavailable);
        if is_unknown && session.status() != Status::Unmodified {
            let what = "the backend was unavailable when the session was loaded, so saving would \
                        replace the session that it has";
            return Err(BackendError::new(BackendErrorKind::Unavailable, what).into());
        }
        let core = &self.inner.core;
        let flow = &core.flow;
        for _ in 0..ATTEMPTS {
            let now = core.now();
            let mut plan = core.plan(session, now, &mut os_random)?;
            let moving = match flow.begin(plan.old_id, now) {
                Ok(moving) => moving,
                Err(late) => {
                    core.give_way(session, late)?;
                    continue;
                }
            };
            let planned = plan.planned;
            let new = plan.write.as_ref().and_then(|write| write.new_key());
            match self.write(session, plan.write.take(), now).await? {
                Written::All => {}
                Written::Nothing => {
                    // If its time is over, the backend has forgotten it, and nobody has ended it.
                    let was_alive = session.is_forgotten(now);
                    core.ended(session, &mut plan, was_alive);
                }
                Written::Behind(key) => {
                    self.catch_up(session, planned, &key).await?;
                    continue;
                }
                Written::Taken => {
                    session.forget_birth();
                    continue;
                }
                Written::Ended => {
                    self.lose(session, planned)?;
                    continue;
                }
            }
            if moving.is_some_and(|moving| !moving.finish(now)) {
                // The session has ended since the check a moment ago, so the new record must go
                // too.
                if let Some(new) = new {
                    self.end(Trail::Backend(new), now).await?;
                }
                core.let_go(session);
                continue;
            }
            core.bind(plan.bound);
            return Ok(core.sent(session, plan));
        }
        Err(SaveError(SaveErrorKind::Conflict))
    }

    async fn write(
        &self,
        session: &Session,
        write: Option<Box<Write>>,
        now: Millis,
    ) -> Result<Written, SaveError> {
        let backend = &self.inner.backend;
        let Some(write) = write else {
            return Ok(Written::All);
        };
        if let Some(trail) = write.end {
            let was_alive = self.end(trail, now).await;
            if was_alive.is_err() {
                session.may_have_ended();
            }
            if !was_alive? {
                return Ok(Written::Nothing);
            }
        }
        if let Some(key) = write.find {
            let found = backend.load(&key).await?;
            let is_there = |it: &Stored| self.inner.core.flow.placement.is_record(&key, it);
            if !found.as_ref().is_some_and(is_there) {
                return Ok(Written::Ended);
            }
        }
        if let Some((key, entry)) = &write.put {
            match backend.put(key, entry).await? {
                Outcome::Stored => {}
                // An earlier save got further than it knew, and has used this id already.
                Outcome::Conflict if write.mark.is_some() => return Ok(Written::Taken),
                Outcome::Conflict => return Ok(Written::Behind(*key)),
                Outcome::Absent => return Ok(Written::Ended),
            }
        }
        if let Some((key, entry)) = &write.mark {
            let outcome = self.put_mark(key, entry).await;
            if outcome != Ok(Outcome::Stored)
                && let Some((new, _)) = &write.put
            {
                // The removal may fail: nobody has the new id, and the record expires. Report
                // the first error instead.
                let _ = backend.remove(new).await;
            }
            match outcome? {
                Outcome::Stored => {}
                Outcome::Conflict => return Ok(Written::Behind(*key)),
                Outcome::Absent => return Ok(Written::Ended),
            }
        }
        if let Some((key, ttl)) = write.touch {
            // Respond anyway: the only loss is that the session may end from idleness earlier.
            if let Err(error) = backend.touch(&key, ttl).await {
                self.events().report(Event::BackendFailed, Some(&error));
            }
        }
        if let Some(then) = write.then {
            session.acknowledge(then.planned, then.base);
        }
        Ok(Written::All)
    }

    /// Ends a session, and the successors that other requests have given it. Returns `false` if it
    /// had ended before, as far as the backend knows.
    pub(super) async fn end(&self, mut trail: Trail, now: Millis) -> Result<bool, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        // Without a list, a cookie that holds the whole session opens whatever has become of it.
        let opens = matches!(trail, Trail::Cookie(_)) && core.flow.revocations.is_none();
        loop {
            let (key, in_cookie) = match trail {
                Trail::Backend(key) => (key, None),
                Trail::Cookie(id) | Trail::Over(id) => (StoreKey::of(id), Some(id)),
            };
            let listed = in_cookie.zip(core.flow.revocations.as_ref());
            // End first, then look for a successor. A request that moves the session works in
            // reverse order.
            let was_alive = match (trail, listed) {
                (Trail::Over(_), _) => Some(false),
                (_, Some((id, list))) => Some(list.end(id, list.last_copy_of_new(now), now)),
                (_, None) => None,
            };
            let removed = backend.remove(&key).await?;
            let moved_to = removed
                .as_ref()
                .and_then(|removed| core.flow.placement.moved_to(&key, removed));
            let next = match moved_to {
                Some(next) => next,
                None => listed
                    .and_then(|(id, list)| list.moved(id, now))
                    .map(|(next, _)| Trail::Cookie(next)),
            };
            match next {
                Some(next) => trail = next,
                None if opens => return Ok(true),
                None if moved_to.is_some() => return Ok(false),
                None => {
                    let is_unknown = B::PROMISE == Promise::Upsert;
                    let by_default = is_unknown || in_cookie.is_some();
                    return Ok(removed.is_some() || was_alive.unwrap_or(by_default));
                }
            }
        }
    }

    /// If the answer to a put was lost, the mark may be there. Then the old id is gone, and the new
    /// record must stay.
    async fn put_mark(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let backend = &self.inner.backend;
        let outcome = backend.put(key, entry).await;
        if outcome.is_err()
            && let Ok(Some(stored)) = backend.load(key).await
            && stored.value == entry.value
        {
            return Ok(Outcome::Stored);
        }
        outcome
    }

    /// Moves the session's changes onto the record that another request has written.
    async fn catch_up(
        &self,
        session: &Session,
        planned: Revision,
        key: &StoreKey,
    ) -> Result<(), SaveError> {
        let Inner { core, backend, .. } = &*self.inner;
        let found = backend.load(key).await?;
        if session.is_overtaken(planned) {
            return Ok(());
        }
        let Some(stored) = found else {
            return self.lose(session, planned);
        };
        let now = core.now();
        let (placement, policy) = (&core.flow.placement, &core.flow.policy);
        let is_whole = session.is_whole();
        match placement.open(key, &stored, now, policy) {
            // A save has left it that failed, or was cancelled, before its response had the stub.
            Ok(_) if is_whole => session.may_replace(stored.value.version()),
            Ok(newer) => match session.rebase(planned, newer) {
                Rebased::Done => self.events().report(Event::Replayed, None),
                Rebased::Overtaken => {}
                Rebased::Claimed => return Err(SaveError(SaveErrorKind::Claimed)),
            },
            Err(Refusal::Moved) => {
                if is_whole && !placement.is_recent(key, &stored, now) {
                    // The session must not wait until the mark expires.
                    session.may_replace(stored.value.version());
                } else if session.status() == Status::Unmodified {
                    session.let_go();
                } else {
                    return Err(SaveError(SaveErrorKind::Moved));
                }
            }
            Err(Refusal::Expired | Refusal::Cutoff) => return self.lose(session, planned),
            Err(refusal) => return Err(SaveError(SaveErrorKind::Unreadable(refusal))),
        }
        Ok(())
    }

    fn lose(&self, session: &Session, planned: Revision) -> Result<(), SaveError> {
        match session.lose(planned) {
            Lost::Nothing => {}
            Lost::Changes => self.events().report(Event::Lost, None),
            Lost::Claims => return Err(SaveError(SaveErrorKind::Claimed)),
        }
        Ok(())
    }
}

/// The result of a write.
enum Written {
    All,
    /// Another request has written under this key.
    Behind(StoreKey),
    /// The new id is already in use.
    Taken,
    /// The record to write over is gone.
    Ended,
    /// The session to end had ended before.
    Nothing,
}
