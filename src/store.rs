//! The cookie store: the flow with keys and a clock. It never waits.

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

use crate::envelope::{KeyRing, Keys, Random, TakesKeys, os_random};
#[cfg(feature = "cli")]
use crate::error::Refusal;
use crate::error::{ConfigError, SaveError};
#[cfg(feature = "tower")]
use crate::event::Events;
use crate::flow::{InCookie, Opened, Outgoing};
use crate::policy::Policy;
use crate::revocation::{OldId, RevocationList};
use crate::session::Session;
use crate::transport::Transport;

/// A store for sessions that live entirely in their cookie. It loads them from requests, saves them
/// into responses, and keeps nothing in between.
///
/// No method waits, and loading never fails. Cloning is cheap, and clones share the keys.
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
    pub(crate) core: Arc<StoreCore<InCookie>>,
}

/// Builds a [`CookieStore`].
pub type CookieStoreBuilder = StoreBuilder<InCookie>;

impl CookieStore {
    /// Creates a store with the default settings: see [`builder`](Self::builder).
    pub fn new(keys: impl Into<Keys>) -> Self {
        let builder = Self::builder(keys);
        // Managed keys may not allow the lifetime yet. Until they do, nothing is sealed.
        builder.insist(Policy::by_default().max_lifetime);
        Self::of(builder.assemble(Policy::by_default(), |_, _| InCookie))
    }

    fn of(core: StoreCore<InCookie>) -> Self {
        let core = Arc::new(core);
        core.kept.tell(&core);
        Self { core }
    }

    /// Returns a builder with the defaults: cookie `__Host-session`, a lifetime of 24 hours, no
    /// idle timeout.
    pub fn builder(keys: impl Into<Keys>) -> CookieStoreBuilder {
        StoreBuilder::new(keys.into(), InCookie)
    }

    /// Returns a request's session. If the cookie is missing, junk, expired or sealed with another
    /// key, you get a new, empty session, and [`Session::origin`] says why.
    pub fn load(&self, headers: &HeaderMap) -> Session {
        self.load_from(headers.get_all(self.request_header()))
    }

    /// Returns a request's session, from the values of its Cookie fields as text or bytes. Use it
    /// if your framework has header types of its own.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let session = store.load_from(["theme=dark; __Host-session=junk"]);
    /// assert_eq!(session.origin(), Origin::Refused(Refusal::Malformed));
    /// assert!(session.is_empty()); // new, and ready to use
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// If the store has another [`Transport`] than a cookie, pass the values of its
    /// [`request_header`](Self::request_header).
    pub fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Session {
        self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref))
    }

    /// Not generic, so that it is compiled once, in this crate, and not in each caller's.
    fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Session {
        let Opened::Ready(session) = self.core.flow.open(fields, self.core.now());
        self.core.report_origin(&session);
        session
    }

    /// The request header that holds the session: `cookie`, unless the store has another
    /// [`Transport`].
    pub fn request_header(&self) -> HeaderName {
        self.core.flow.transport.request_header()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.core.flow.transport
    }

    /// Saves the session into a response. The response gets a Set-Cookie if one is due, and the
    /// headers for caches: see [`Outgoing::apply`]. For caching, a loaded session counts as read.
    ///
    /// The session stays changed: if you save it into several responses, each gets the cookie.
    ///
    /// # Errors
    ///
    /// If the random source fails, or another store loaded the session. With
    /// [`revocations`](StoreBuilder::revocations) also if this request changed the session and
    /// another request gave it a new id: [`SaveError::is_conflict`]. On an error, the headers stay
    /// unchanged.
    pub fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session)?.apply_once(headers);
        Ok(())
    }

    /// Returns the header changes that [`save`](Self::save) makes, for frameworks with header types
    /// of their own: [`Outgoing`] shows how to make the changes.
    ///
    /// # Errors
    ///
    /// The same as [`save`](Self::save).
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
            let mut plan = self.core.plan(session, now, random)?;
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
                        // The session has ended since the check a moment ago.
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
            self.core.bind(plan.bound);
            return Ok(self.core.sent(session, plan));
        }
    }

    /// Returns a token's part of a session, and whether it is a stub whose values are in a backend.
    /// For the command, which shows cookies of services with any store.
    ///
    /// # Errors
    ///
    /// The reason why the token does not open.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn look_at(&self, token: &str) -> Result<(Session, bool), Refusal> {
        self.core.flow.look_at(token.as_bytes(), self.core.now())
    }

    /// Replaces the keys of this store and all its clones, while requests run:
    /// [`guide::rotation`](crate::guide::rotation) has an example.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.core.take_keys(&ring.into());
    }

    /// Refuses all sessions issued before `not_before`, from now on. All their visitors have to log
    /// in again.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, Session};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// // A second ahead, so that sessions which are saved at this very moment end too.
    /// store.set_not_before(SystemTime::now() + Duration::from_secs(1));
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Cutoff));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.core.flow.policy.set_not_before(not_before.into());
    }

    /// The headers for a response whose session was handed out and not saved.
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
    /// Refuses the sessions on `list`, and puts destroyed and renewed sessions on it:
    /// [`RevocationList`] has an example. Default: no list. A copy of a cookie then opens until its
    /// deadline, even if the session has ended.
    pub fn revocations(mut self, list: RevocationList) -> Self {
        self.revocations = Some(list);
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or two contradict each other. The error names it.
    pub fn build(self) -> Result<CookieStore, ConfigError> {
        let policy = self.policy()?;
        Ok(CookieStore::of(self.assemble(policy, |_, _| InCookie)))
    }
}

#[cfg(test)]
mod tests;
