//! The sessions of one subject, for a page that shows them.

use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

use super::backend::Backend;
use super::{Inner, ServerStore};
use crate::envelope::Hidden;
use crate::error::BackendError;
use crate::record::{Record, SessionId};

/// One of a subject's sessions, as [`ServerStore::sessions_of`] lists it. That method has an
/// example.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id. It names the session and opens nothing, so a page may show it. Pass it to
    /// [`end_one_of`](ServerStore::end_one_of). The present request's session is the one with the
    /// same [`Session::id`](crate::Session::id).
    pub id: SessionId,
    /// When the session got this id: at its first save, at a login, or when it was renewed.
    pub issued_at: SystemTime,
    /// When somebody last logged in: [`Session::log_in`](crate::Session::log_in).
    pub logged_in_at: Option<SystemTime>,
    /// When the session was last used, as far as the store has written it down. Without an idle
    /// timeout, this is when it was last changed.
    pub last_seen_at: SystemTime,
    /// When the session ends at the latest.
    pub expires_at: SystemTime,
    /// The name that the application gave it: [`Session::set_label`](crate::Session::set_label).
    pub label: Option<String>,
}

impl<B: Backend> ServerStore<B> {
    /// Lists the live sessions of `subject`, the last used first. It reads only these, each with
    /// one call of the backend. Sessions that are whole in their cookies are not in the backend, so
    /// they are missing.
    ///
    /// ```
    /// # use sealed_session::AppKey;
    /// # use sealed_session::server::{Memory, MemoryStore};
    /// # pollster::block_on(async {
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let session = store.load_from::<str>([]).await?;
    /// // At the login:
    /// session.log_in()?;
    /// session.set_subject("ada")?;
    /// session.set_label("Firefox on Linux")?;
    /// # store.respond(&session).await?;
    ///
    /// // On the page "where you are logged in":
    /// for device in store.sessions_of("ada").await? {
    ///     let is_this_one = Some(device.id) == session.id();
    ///     # assert!(is_this_one);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot find sessions by their subject.
    pub async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionInfo>, BackendError> {
        let Inner { core, backend, .. } = &*self.inner;
        let mut seen = HashSet::new();
        for tag in &core.flow.placement.tags(Hidden::Subject, subject) {
            seen.extend(backend.tagged(tag).await?);
        }
        let mut found = Vec::new();
        for key in &seen {
            let Some(stored) = backend.load(key).await? else {
                continue;
            };
            let Ok((loaded, true)) = self.loaded(key, &stored) else {
                continue;
            };
            if loaded.record.subject() == subject {
                found.push(self.info(&loaded.record));
            }
        }
        found.sort_by(|one, other| {
            let by_use = other.last_seen_at.cmp(&one.last_seen_at);
            by_use.then_with(|| one.id.as_bytes().cmp(other.id.as_bytes()))
        });
        Ok(found)
    }

    fn info(&self, record: &Record) -> SessionInfo {
        let (header, label) = (record.header(), record.names().label);
        SessionInfo {
            id: header.id,
            issued_at: header.issued_at.into(),
            logged_in_at: header.logged_in_at.map(Into::into),
            last_seen_at: header.seen_at.into(),
            expires_at: self.inner.core.flow.policy.deadline(header).into(),
            label: (!label.is_empty()).then(|| label.to_owned()),
        }
    }
}

/// Shows the times. The label is the visitor's.
impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo")
            .field("issued_at", &self.issued_at)
            .field("logged_in_at", &self.logged_in_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
