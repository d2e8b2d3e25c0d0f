//! Ending sessions in a backend outside of their requests: a subject's, those of a login at the
//! identity provider, or those that match.

use std::collections::HashSet;

use super::backend::{Backend, StoreKey, Stored, Tag};
use super::placement::Trail;
use super::{Inner, ServerStore};
use crate::envelope::Hidden;
use crate::error::{BackendError, BackendErrorKind, Refusal};
use crate::record::{Names, SessionId};
use crate::revocation::MARKED;
use crate::session::{Loaded, Session};
use crate::store::StoreCore;

impl<B: Backend> ServerStore<B> {
    /// Ends all sessions of `subject`, on all devices: "log out everywhere". Returns how many of
    /// them were in the backend. Sessions that are whole in their cookies end only if the store has
    /// a list of [`revocations`](crate::StoreBuilder::revocations).
    ///
    /// Sessions that begin during the call may end too.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let session = store.load_from::<str>([]).await?;
    /// session.set_subject("ada")?; // at the login
    /// let cookie = store.respond(&session).await?.cookie_header();
    ///
    /// assert_eq!(store.end_all_of("ada").await?, 1);
    /// assert!(store.load_from([&cookie]).await?.is_new()); // the cookie is worth nothing now
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the backend or the store of managed keys fails, or the backend cannot find sessions by
    /// their subject.
    pub async fn end_all_of(&self, subject: &str) -> Result<usize, BackendError> {
        let core = &self.inner.core;
        if let Some(list) = &core.flow.revocations {
            list.revoke_subject(subject, core.now().into());
        }
        let is_meant = |names: Names<'_>| names.subject == subject;
        // Other processes may have saved sessions under a key that this process does not know yet.
        // They are found only with that key.
        self.know_all_keys().await?;
        let tags = core.flow.placement.tags(Hidden::Subject, subject);
        self.end_tagged(&tags, is_meant, None).await
    }

    /// Ends all sessions of `subject` except for `keep`, the session of the present request: "log
    /// out everywhere else". Returns how many it ended in the backend. You can log in, renew `keep`
    /// or save it before this call or after it.
    ///
    /// Sessions that are whole in their cookies end only if the store has a list of
    /// [`revocations`](crate::StoreBuilder::revocations). `keep` then gets a new id with its next
    /// save, so save it.
    ///
    /// Other sessions that begin during the call may end too.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let phone = store.load_from::<str>([]).await?;
    /// # let laptop = store.load_from::<str>([]).await?;
    /// # phone.set_subject("ada")?;
    /// # laptop.set_subject("ada")?;
    /// # store.respond(&phone).await?;
    /// # let cookie = store.respond(&laptop).await?.cookie_header();
    /// // Ada is logged in on her phone and on the laptop, and changes her password on the laptop:
    /// assert_eq!(store.end_others_of("ada", &laptop).await?, 1);
    /// assert!(!store.load_from([&cookie]).await?.is_new()); // she stays logged in here
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot find sessions by their subject. Also if the store has a list
    /// of revocations and a layer has saved `keep` already: then no session ends.
    pub async fn end_others_of(
        &self,
        subject: &str,
        keep: &Session,
    ) -> Result<usize, BackendError> {
        let core = &self.inner.core;
        if let Some(list) = &core.flow.revocations {
            let ended = list.end_others_of(subject, keep, core.now().into());
            ended.map_err(|closed| BackendError::new(BackendErrorKind::Other, closed))?;
        }
        let is_meant = |names: Names<'_>| names.subject == subject;
        // Other processes may have saved sessions under a key that this process does not know yet.
        // They are found only with that key.
        self.know_all_keys().await?;
        let tags = core.flow.placement.tags(Hidden::Subject, subject);
        self.end_tagged(&tags, is_meant, Some(keep)).await
    }

    /// Ends the session with this id, if it is one of `subject`'s. Use it for a button beside each
    /// of the [`sessions_of`](Self::sessions_of) a visitor. If the session has got a new id in the
    /// last five minutes, it ends under that one. Returns whether there was such a session in the
    /// backend.
    ///
    /// The id comes from a form, so anybody can send any id. Pass the subject of the visitor who
    /// sent the form: then nobody else's session ends.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore, SessionId, server::Memory};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let session = store.load_from::<str>([]).await?;
    /// # session.set_subject("ada")?;
    /// # store.respond(&session).await?;
    /// # let form = session.id().ok_or("no id")?.to_string();
    /// let id = SessionId::from_hex(&form).ok_or("not an id")?;
    /// assert!(!store.end_one_of("eve", id).await?); // it is not Eve's
    /// assert!(store.end_one_of("ada", id).await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the backend fails, or the store of managed keys when a record is under an unknown key.
    pub async fn end_one_of(&self, subject: &str, id: SessionId) -> Result<bool, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        let mut key = StoreKey::of(id);
        while let Some(stored) = backend.load(&key).await? {
            if matches!(self.loaded(&key, &stored), Err(Refusal::UnknownKey)) {
                self.know_all_keys().await?;
            }
            if let Some(next) = core.flow.placement.moved_to(&key, &stored.value) {
                let Some(Trail::Backend(next)) = next else {
                    return Ok(false);
                };
                key = next;
                continue;
            }
            let loaded = self.loaded(&key, &stored);
            let is_theirs =
                |loaded: &Loaded| !subject.is_empty() && loaded.record.subject() == subject;
            return match loaded {
                Ok((loaded, is_alive)) if is_theirs(&loaded) => {
                    let was_there = self.end(Trail::Backend(key), core.now()).await?;
                    Ok(is_alive && was_there)
                }
                _ => Ok(false),
            };
        }
        Ok(false)
    }

    /// Ends all sessions of one login at the identity provider: those with this
    /// [sid](Session::set_sid). Returns how many were in the backend.
    ///
    /// Call it when you get a logout token of OpenID Connect's back-channel logout. Check the
    /// token's signature, issuer and audience first. If the token has no sid, call
    /// [`end_all_of`](Self::end_all_of) with its subject.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let session = store.load_from::<str>([]).await?;
    /// session.set_sid("08a5019c")?; // at the login, from the ID token
    /// store.respond(&session).await?;
    ///
    /// assert_eq!(store.end_all_of_sid("08a5019c").await?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`end_all_of`](Self::end_all_of).
    #[doc(alias = "backchannel_logout")]
    pub async fn end_all_of_sid(&self, sid: &str) -> Result<usize, BackendError> {
        let core = &self.inner.core;
        if let Some(list) = &core.flow.revocations {
            list.revoke_sid(sid, core.now().into());
        }
        let is_meant = |names: Names<'_>| names.sid == sid;
        self.know_all_keys().await?;
        let tags = core.flow.placement.tags(Hidden::Sid, sid);
        self.end_tagged(&tags, is_meant, None).await
    }

    /// Ends the sessions under these tags that are meant, except for one, and returns how many
    /// there were.
    async fn end_tagged(
        &self,
        tags: &[Tag],
        is_meant: impl Fn(Names<'_>) -> bool,
        keep: Option<&Session>,
    ) -> Result<usize, BackendError> {
        let backend = &self.inner.backend;
        let (mut seen, mut ended) = (HashSet::new(), 0);
        // Repeat until nothing new turns up: a session may get a new id while the others end.
        loop {
            let mut found = Vec::new();
            for tag in tags {
                found.extend(backend.tagged(tag).await?);
            }
            found.retain(|key| seen.insert(*key));
            if found.is_empty() {
                return Ok(ended);
            }
            let kept = match keep {
                Some(keep) => self.keys_of(keep).await?,
                None => HashSet::new(),
            };
            for key in found.iter().filter(|key| !kept.contains(key)) {
                let Some(stored) = backend.load(key).await? else {
                    continue;
                };
                let loaded = self.loaded(key, &stored);
                // Keep a session that has other names by now.
                let names = loaded.as_ref().map(|(loaded, _)| loaded.record.names());
                if names.map_or(true, &is_meant) {
                    backend.remove(key).await?;
                    ended += usize::from(loaded.is_ok_and(|(_, is_alive)| is_alive));
                }
            }
        }
    }

    /// Where a request's session is, also if another request has just given it a new id.
    async fn keys_of(&self, session: &Session) -> Result<HashSet<StoreKey>, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        let ids = session.ids().into_iter().flatten();
        let mut keys: Vec<StoreKey> = ids.map(StoreKey::of).collect();
        let mut known = HashSet::new();
        while let Some(key) = keys.pop() {
            if !known.insert(key) {
                continue;
            }
            let found = backend.load(&key).await?;
            let moved = found.and_then(|it| core.flow.placement.moved_to(&key, &it.value));
            if let Some(Some(Trail::Backend(next))) = moved {
                keys.push(next);
            }
        }
        Ok(known)
    }

    /// Ends all sessions for which `keep` returns `false`, and returns how many it ended. It sees
    /// each session that exists during the whole call at least once. If the call takes longer than
    /// five minutes, it can miss one that gets a new id meanwhile. Changes that `keep` makes to a
    /// session are not saved.
    ///
    /// It does not see sessions that were idle for too long, which requests no longer get. A
    /// request that began before that time and still runs can save such a session all the same.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let session = store.load_from::<str>([]).await?;
    /// # session.insert("trial", true)?;
    /// # store.respond(&session).await?;
    /// let ended = store.retain(|session| !session.contains("trial")).await?;
    /// assert_eq!(ended, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
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
        let start = core.now();
        loop {
            let (mut keys, next) = backend.scan(cursor).await?;
            while let Some(key) = keys.pop() {
                let Some(stored) = backend.load(&key).await? else {
                    continue;
                };
                let mut loaded = self.loaded(&key, &stored);
                if matches!(loaded, Err(Refusal::UnknownKey)) && !has_caught_up {
                    has_caught_up = true;
                    self.know_all_keys().await?;
                    loaded = self.loaded(&key, &stored);
                }
                match loaded {
                    Ok((loaded, true)) => {
                        if !keep(&core.flow.opened(loaded, core.now())) {
                            self.end(Trail::Backend(key), core.now()).await?;
                            ended += 1;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => {
                        // If it has moved since the start, its new key may be on an earlier page.
                        let age = MARKED.saturating_sub(stored.ttl);
                        let moved_to = core.flow.placement.moved_to(&key, &stored.value);
                        if let Some(Some(Trail::Backend(next))) = moved_to
                            && age <= core.now().since(start)
                        {
                            keys.push(next);
                        }
                    }
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
    pub(super) fn loaded(
        &self,
        key: &StoreKey,
        stored: &Stored,
    ) -> Result<(Loaded, bool), Refusal> {
        let StoreCore { flow, .. } = &self.inner.core;
        let now = self.inner.core.now();
        let loaded = flow.placement.open(key, stored, now, &flow.policy)?;
        let is_alive = flow.policy.admit(loaded.record.header(), now).is_ok();
        Ok((loaded, is_alive))
    }
}
