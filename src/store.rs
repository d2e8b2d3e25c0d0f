//! The cookie store: the synchronous shell around the flow.

#[cfg(all(feature = "server", feature = "settings"))]
mod any;
mod builder;
mod shell;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

#[cfg(all(feature = "server", feature = "settings", feature = "tower"))]
pub(crate) use any::each;
#[cfg(all(feature = "server", feature = "settings"))]
pub use any::{AnyStore, Chosen};
pub use builder::StoreBuilder;
#[cfg(any(feature = "managed-keys", feature = "server"))]
pub(crate) use shell::Clock;
pub(crate) use shell::Shell;

use crate::envelope::{KeyRing, Keys, Random, os_random};
use crate::error::{ConfigError, SaveError};
use crate::event::{Event, Events};
use crate::flow::{InCookie, Opened, Outgoing};
use crate::policy::Policy;
use crate::revocation::RevocationList;
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
    shell: Arc<Shell<InCookie>>,
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

    fn of(shell: Shell<InCookie>) -> Self {
        let shell = Arc::new(shell);
        shell.kept.tell(&shell);
        Self { shell }
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
        let Opened::Ready(session) = self.shell.flow.open(fields, self.shell.now());
        self.shell.report_origin(&session);
        session
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.shell.flow.transport.request_header()
    }

    /// Writes into the response's headers what the session needs: a Set-Cookie if one is due,
    /// and what keeps the response out of shared caches.
    ///
    /// It does not mark the session clean. Each response that is saved into gets the cookie.
    ///
    /// # Errors
    ///
    /// If the random source fails, or the session was loaded by another store. The headers are
    /// as they were then.
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
        if let Some(outgoing) = self.shell.flow.nothing_due(session) {
            return Ok(outgoing);
        }
        let now = self.shell.now();
        self.shell.let_go_if_over(session, now);
        let mut plan = self.shell.flow.plan(session, now, random)?;
        if !self.shell.flow.retire(plan.left.take(), now) {
            // It has ended since the look a moment ago.
            self.shell.let_go(session);
            plan = self.shell.flow.plan(session, now, random)?;
        }
        if plan.is_resealed {
            self.events().report(Event::Resealed, None);
        }
        Ok(plan.outgoing)
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.shell.flow.replace_keys(&ring.into());
    }

    /// Refuses all sessions that were issued before `not_before`, from now on: everybody logs in
    /// again.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.shell.flow.policy.set_not_before(not_before.into());
    }

    pub(crate) fn events(&self) -> &Events {
        self.shell.events()
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStore")
            .field("flow", &self.shell.flow)
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
