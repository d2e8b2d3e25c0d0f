//! Ending sessions in a backend outside of their requests: a subject's, or those that match.

use std::collections::HashSet;

use super::backend::{Backend, StoreKey, Stored};
use super::{Inner, ServerStore};
use crate::error::{BackendError, BackendErrorKind, Refusal};
use crate::session::{Loaded, Session};
use crate::store::StoreCore;

impl<B: Backend> ServerStore<B> {
    /// Ends all sessions of `subject`, on all devices: "log out everywhere". Returns how many of
    /// them were in the backend. Sessions that are whole in their cookies end only if the store has
    /// a list of [`revocations`](crate::StoreBuilder::revocations).
    ///
    /// Sessions that begin during the call may end too.
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot find sessions by their subject.
    pub async fn end_all_of(&self, subject: &str) -> Result<usize, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        if let Some(list) = &core.flow.revocations {
            list.revoke_subject(subject, core.now().into());
        }
        // Sessions that others began under a key which this process has not met are found only by
        // that key.
        self.know_all_keys().await?;
        let tags = core.flow.placement.tags(subject);
        let (mut seen, mut ended) = (HashSet::new(), 0);
        // Repeat until nothing new turns up: a session may get a new id while the others end.
        loop {
            let mut found = Vec::new();
            for tag in &tags {
                found.extend(backend.tagged(tag).await?);
            }
            found.retain(|key| seen.insert(*key));
            if found.is_empty() {
                return Ok(ended);
            }
            for key in &found {
                let Some(stored) = backend.load(key).await? else {
                    continue;
                };
                let loaded = self.loaded(key, &stored);
                // Keep a session that has another subject by now.
                if loaded
                    .as_ref()
                    .map_or(true, |(loaded, _)| loaded.record.subject() == subject)
                {
                    backend.remove(key).await?;
                    ended += usize::from(loaded.is_ok_and(|(_, is_alive)| is_alive));
                }
            }
        }
    }

    /// Ends all sessions for which `keep` returns `false`, and returns how many it ended. It sees
    /// each session that exists during the whole call at least once. Changes that `keep` makes to a
    /// session are not saved.
    ///
    /// It does not see sessions that were idle for too long, which requests no longer get. A
    /// request that began before that time and still runs can save such a session all the same.
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot list its sessions.
    pub async fn retain(
        &self,
        mut keep: impl FnMut(&Session) -> bool,
    ) -> Result<usize, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        let (mut cursor, mut ended, mut has_caught_up) = (None, 0, false);
        loop {
            let (keys, next) = backend.scan(cursor).await?;
            for key in &keys {
                let Some(stored) = backend.load(key).await? else {
                    continue;
                };
                let mut loaded = self.loaded(key, &stored);
                if matches!(loaded, Err(Refusal::UnknownKey)) && !has_caught_up {
                    has_caught_up = true;
                    self.know_all_keys().await?;
                    loaded = self.loaded(key, &stored);
                }
                let Ok((loaded, true)) = loaded else {
                    continue;
                };
                if !keep(&core.flow.opened(loaded, core.now())) {
                    backend.remove(key).await?;
                    ended += 1;
                }
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(ended);
            }
        }
    }

    /// Learns of every key that other processes may have sealed under.
    async fn know_all_keys(&self) -> Result<(), BackendError> {
        let caught_up = self.inner.core.kept.catch_up().await;
        caught_up.map_err(|problem| BackendError::new(BackendErrorKind::Unavailable, problem))
    }

    /// Returns a session in the backend, and whether a request would get it. A request that began
    /// earlier can still save a session that was idle for too long.
    fn loaded(&self, key: &StoreKey, stored: &Stored) -> Result<(Loaded, bool), Refusal> {
        let StoreCore { flow, .. } = &self.inner.core;
        let now = self.inner.core.now();
        let loaded = flow.placement.open(key, stored, now, &flow.policy)?;
        let is_alive = flow.policy.admit(loaded.record.header(), now).is_ok();
        Ok((loaded, is_alive))
    }
}
