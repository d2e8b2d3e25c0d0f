//! The cookie store: the flow with keys and the time, and nothing that waits.

mod builder;
mod core;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

pub use builder::StoreBuilder;
#[cfg(any(feature = "managed-keys", feature = "server"))]
pub(crate) use core::Clock;
pub(crate) use core::StoreCore;

use crate::envelope::{KeyRing, Keys, Random, os_random};
#[cfg(feature = "cli")]
use crate::error::Refusal;
use crate::error::{ConfigError, SaveError};
#[cfg(feature = "tower")]
use crate::event::Events;
use crate::flow::{InCookie, Opened, Outgoing};
use crate::policy::Policy;
use crate::revocation::{OldId, RevocationList};
use crate::session::Session;

/// Sessions that live wholly in their cookie: loads them from requests, saves them into
/// responses, and keeps nothing in between.
///
/// Nothing waits, nothing can fail while loading. Cloning is cheap, and clones share the keys.
///
/// ```
/// use sealed_session::{AppKey, CookieStore};
///
/// # let request = http::Request::new(());
/// # let mut response = http::Response::new(());
/// let store = CookieStore::new(AppKey::generate()?); // in a service: KeyRing::from_env()?
///
/// let session = store.load(request.headers());
/// session.insert("user_id", 42)?;
/// store.save(&session, response.headers_mut())?;
/// assert!(response.headers().contains_key("set-cookie"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CookieStore {
    core: Arc<StoreCore<InCookie>>,
}

/// Builds a [`CookieStore`].
pub type CookieStoreBuilder = StoreBuilder<InCookie>;

impl CookieStore {
    /// A store with the default settings: see [`builder`](Self::builder).
    pub fn new(keys: impl Into<Keys>) -> Self {
        let builder = Self::builder(keys);
        // A managed ring that cannot take it yet lets nothing be sealed until it can.
        let _ = builder.declare(Policy::by_default().max_lifetime);
        Self::of(builder.assemble(Policy::by_default(), |_, _| InCookie))
    }

    fn of(core: StoreCore<InCookie>) -> Self {
        let core = Arc::new(core);
        core.kept.tell(&core);
        Self { core }
    }

    /// A builder that starts from the defaults: cookie `__Host-session`, a lifetime of 24 hours,
    /// no idle timeout.
    pub fn builder(keys: impl Into<Keys>) -> CookieStoreBuilder {
        StoreBuilder::new(keys.into(), InCookie)
    }

    /// The session of a request. A cookie that is absent, junk, expired or of another key gives
    /// a fresh, empty session; [`Session::origin`] tells which.
    pub fn load(&self, headers: &HeaderMap) -> Session {
        self.load_from(headers.get_all(self.request_header()))
    }

    /// The session of a request, from the values of its Cookie fields as text or bytes; with a
    /// [`Transport`](crate::Transport) other than a cookie, of its
    /// [`request_header`](Self::request_header).
    pub fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Session {
        self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref))
    }

    /// Not generic, so that the whole way is compiled in this crate and not in its callers'.
    fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Session {
        let Opened::Ready(session) = self.core.flow.open(fields, self.core.now());
        self.core.report_origin(&session);
        session
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.core.flow.transport.request_header()
    }

    /// Writes into the response's headers what the session needs: a Set-Cookie if one is due,
    /// and what caches are told ([`Outgoing::apply`]). For them, a session that was loaded was
    /// read.
    ///
    /// It does not mark the session clean. Each response that is saved into gets the cookie.
    ///
    /// # Errors
    ///
    /// If the random source fails, or the session was loaded by another store. With
    /// [`revocations`](StoreBuilder::revocations) also if the session is changed here and has got
    /// a new id in another request: [`SaveError::is_conflict`]. The headers are as they were then.
    pub fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session)?.apply_once(headers);
        Ok(())
    }

    /// The header changes that [`save`](Self::save) makes, for frameworks with header types of
    /// their own.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        self.respond_with(session, &mut os_random)
    }

    pub(crate) fn respond_with(
        &self,
        session: &Session,
        random: Random<'_>,
    ) -> Result<Outgoing, SaveError> {
        let flow = &self.core.flow;
        let asked = flow.policy.refreshes().then(|| self.core.now());
        if let Some(outgoing) = flow.nothing_due(session, asked.unwrap_or_default()) {
            return Ok(outgoing);
        }
        let now = asked.unwrap_or_else(|| self.core.now());
        loop {
            self.core.check(session, now)?;
            let mut plan = flow.plan(session, now, random)?;
            match (&flow.revocations, plan.old_id) {
                (Some(list), Some(OldId::Ended { id, until })) => {
                    let was_alive = list.end_all(id, until, list.last_copy_of_new(now), now);
                    self.core.ended(session, &mut plan, was_alive);
                }
                (_, Some(OldId::Over)) => self.core.ended(session, &mut plan, false),
                (Some(_), Some(OldId::Moved { .. })) => {
                    let begun = flow.begin(plan.old_id, now);
                    let is_finished = begun.map(|it| it.is_none_or(|moving| moving.finish(now)));
                    match is_finished {
                        Ok(true) => {}
                        // It has ended since the look a moment ago.
                        Ok(false) => {
                            self.core.let_go(session);
                            continue;
                        }
                        Err(late) => {
                            self.core.give_way(session, late)?;
                            continue;
                        }
                    }
                }
                _ => {}
            }
            return Ok(self.core.sent(session, plan));
        }
    }

    /// What a token has of a session, and whether that is a stub whose values are in a backend.
    /// For the command, which shows cookies of services with any store.
    ///
    /// # Errors
    ///
    /// Why the token does not open.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn look_at(&self, token: &str) -> Result<(Session, bool), Refusal> {
        self.core.flow.look_at(token.as_bytes(), self.core.now())
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.core.flow.replace_keys(&ring.into());
    }

    /// Refuses all sessions that were issued before `not_before`, from now on: everybody logs in
    /// again.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.core.flow.policy.set_not_before(not_before.into());
    }

    /// What an answer needs for which the session was handed out and not saved.
    #[cfg(feature = "tower")]
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        self.core.flow.handed_out(session)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn events(&self) -> &Events {
        self.core.events()
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStore")
            .field("flow", &self.core.flow)
            .finish_non_exhaustive()
    }
}

impl CookieStoreBuilder {
    /// Refuses what is on `list`, and puts sessions on it that are destroyed or renewed. Default
    /// none: then a copy of a cookie opens until its deadline, whatever became of the session.
    pub fn revocations(mut self, list: RevocationList) -> Self {
        self.revocations = Some(list);
        self
    }

    /// The finished store.
    ///
    /// # Errors
    ///
    /// If a setting cannot be, or two contradict each other; the error names it.
    pub fn build(self) -> Result<CookieStore, ConfigError> {
        let policy = self.policy()?;
        Ok(CookieStore::of(self.assemble(policy, |_, _| InCookie)))
    }
}
