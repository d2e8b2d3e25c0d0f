//! One service with many host names, each with a store of its own, made when the host is first
//! seen.

mod name;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Uri};

use crate::error::{ConfigError, HostError, HostErrorKind};
#[cfg(feature = "redis")]
use crate::fleet::RevocableCookieStore;
#[cfg(feature = "server")]
use crate::server::{Backend, ServerStore};
#[cfg(all(feature = "server", feature = "settings"))]
use crate::settings::AnyStore;
use crate::store::CookieStore;
use crate::transport::Transport;
#[cfg(feature = "tower")]
pub(crate) use name::named_by;

/// How many hosts' stores are kept, unless the application says otherwise.
const KEPT: usize = 1024;

/// The stores of a service with many host names, such as one for each tenant: each host has a
/// cookie with its own name and Domain. Tenants can come and go while requests run.
///
/// You give a function that returns a host's store, or `None` if there is no such host. It runs
/// when a host is first seen, and its store is kept. At that moment the cookie is checked too:
/// browsers would refuse a cookie whose Domain is not the host's.
///
/// At most 1,024 stores are kept, unless you set another [number](Self::keep_at_most); the one that
/// was not used for longest makes room. If your function returns `None` or an error, nothing is
/// kept, so made-up host names take no memory. But the function then runs for each such request, so
/// look the host up in something fast.
///
/// ```
/// use sealed_session::{AppKey, CookieConfig, CookieStore, HostStores};
///
/// # let key = AppKey::generate()?; // in a service: KeyRing::from_env()?
/// let stores = HostStores::new(move |host| {
///     let Some(tenant) = host.strip_suffix(".example.org") else {
///         return Ok(None); // in a service: ask the table of tenants
///     };
///     let cookie = CookieConfig::builder()
///         .name(format!("__Secure-{tenant}"))
///         .domain(host)
///         .build()?;
///     let store = CookieStore::builder(key.clone()).cookie(cookie).context(tenant).build()?;
///     Ok(Some(store))
/// });
///
/// let store = stores.store("shop.example.org")?; // once for each request
/// let session = store.load(&http::HeaderMap::new());
/// # assert!(session.is_new());
/// # assert!(stores.store("evil.example").unwrap_err().is_unknown());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With a `SessionLayer` (feature `tower`), give it the stores in place of one store:
/// `SessionLayer::new(stores)`. It takes the host from the request's URI or `Host` header, never
/// from `X-Forwarded-Host` or `Forwarded`, which clients can send. If a proxy in front of you
/// replaces `Host`, configure it to pass the original on.
///
/// # What keeps tenants apart
///
/// A cookie opens at another host if that host's store has the same key, name and
/// [context](crate::StoreBuilder::context). Give each tenant a context of its own, as above, so
/// that no tenant's cookie ever opens at another.
///
/// The stores are otherwise independent. To change a setting of all of them while requests run,
/// such as the keys, let your function use the new one, and call [`forget_all`](Self::forget_all):
/// your function then makes all stores anew.
pub struct HostStores<S> {
    shared: Arc<Shared<S>>,
    /// The store of the request's host. Only the copy that belongs to a request has one.
    #[cfg(feature = "tower")]
    here: Option<Result<S, HostError>>,
}

type Make<S> = dyn Fn(&str) -> Result<Option<S>, ConfigError> + Send + Sync;

struct Shared<S> {
    make: Box<Make<S>>,
    known: Mutex<Known<S>>,
}

struct Known<S> {
    stores: HashMap<String, Kept<S>>,
    most: usize,
    /// Counts the uses, so that the oldest is known.
    uses: u64,
    /// Counts the calls that forget stores, so that a store made before such a call is not kept
    /// after it.
    forgotten: u64,
}

struct Kept<S> {
    store: S,
    last_use: u64,
}

impl<S: HasCookie> HostStores<S> {
    /// Returns stores that `make` makes. `make` gets a host name in lower case, without a port.
    pub fn new(
        make: impl Fn(&str) -> Result<Option<S>, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        let known = Known {
            stores: HashMap::new(),
            most: KEPT,
            uses: 0,
            forgotten: 0,
        };
        Self {
            shared: Arc::new(Shared {
                make: Box::new(make),
                known: Mutex::new(known),
            }),
            #[cfg(feature = "tower")]
            here: None,
        }
    }

    /// Sets how many hosts' stores are kept: at least one. Default 1,024.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, HostStores};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let stores = HostStores::new(move |_host| Ok(Some(store.clone()))).keep_at_most(2);
    /// for host in ["a.example", "b.example", "c.example"] {
    ///     stores.store(host)?;
    /// }
    /// assert_eq!(stores.len(), 2); // the store of `a.example` is made again when it is needed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep_at_most(self, stores: usize) -> Self {
        self.shared.known().most = stores.max(1);
        self
    }

    /// Returns the store of a host: `shop.example.org`, `localhost:3000`, `[::1]:3000`. Case, port
    /// and a final dot do not matter. Ask once for each request, because a session is saved by the
    /// store that loaded it.
    ///
    /// # Errors
    ///
    /// If the host is [unknown](HostError::is_unknown), is not a host's name, or its store cannot
    /// be made: your function's error, or a Domain that is not the host's.
    pub fn store(&self, host: &str) -> Result<S, HostError> {
        let unknown = || HostError(HostErrorKind::Unknown);
        let host = name::normalized(host).ok_or_else(unknown)?;
        let forgotten = {
            let mut known = self.shared.known();
            if let Some(store) = known.find(&host) {
                return Ok(store);
            }
            known.forgotten
        };
        // Do not hold the lock here, because this calls the application's code.
        let made =
            (self.shared.make)(&host).map_err(|error| HostError(HostErrorKind::Config(error)))?;
        let store = made.ok_or_else(unknown)?;
        check(&store, &host)?;
        Ok(self.shared.known().keep(host, store, forgotten))
    }

    /// Returns the store of a request's host, from its URI or its `Host` header.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store). If the request names no host, or several, the host is unknown.
    ///
    /// ```
    /// # use http::{Request, StatusCode};
    /// # use sealed_session::{AppKey, CookieStore, HostStores};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let known = move |host: &str| (host == "example.org").then(|| store.clone());
    /// # let stores = HostStores::new(move |host| Ok(known(host)));
    /// let request = Request::builder().uri("/").header("host", "evil.example").body(())?;
    /// let status = match stores.store_of(request.uri(), request.headers()) {
    ///     Ok(_) => StatusCode::OK,
    ///     Err(error) if error.is_unknown() => StatusCode::NOT_FOUND,
    ///     Err(_) => StatusCode::INTERNAL_SERVER_ERROR, // its settings are wrong: log the error
    /// };
    /// assert_eq!(status, StatusCode::NOT_FOUND);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn store_of(&self, uri: &Uri, headers: &HeaderMap) -> Result<S, HostError> {
        let host = name::of_request(uri, headers);
        self.store(host.as_deref().unwrap_or_default())
    }

    /// Forgets a host's store. Call it when a tenant leaves or changes its settings. The next
    /// request makes the store anew; requests that run keep theirs.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, HostStores};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let stores = HostStores::new(move |_| Ok(Some(store.clone())));
    /// stores.store("shop.example.org")?;
    /// assert_eq!(stores.len(), 1);
    ///
    /// stores.forget("shop.example.org");
    /// assert!(stores.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&self, host: &str) {
        if let Some(host) = name::normalized(host) {
            let mut known = self.shared.known();
            known.forgotten = known.forgotten.wrapping_add(1);
            known.stores.remove(&host);
        }
    }

    /// Forgets all stores. Call it when the keys have changed.
    pub fn forget_all(&self) {
        let mut known = self.shared.known();
        known.forgotten = known.forgotten.wrapping_add(1);
        known.stores.clear();
    }

    /// Returns how many stores are kept.
    pub fn len(&self) -> usize {
        self.shared.known().stores.len()
    }

    /// Returns whether no store is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy for one request, with the store of its host.
    #[cfg(feature = "tower")]
    pub(crate) fn here(&self, host: Option<String>) -> Self {
        let here = self.store(host.as_deref().unwrap_or_default());
        Self {
            shared: Arc::clone(&self.shared),
            here: Some(here),
        }
    }

    /// The store of the request's host. The layer has put it here.
    #[cfg(feature = "tower")]
    pub(crate) fn found(&self) -> Result<&S, HostError> {
        match &self.here {
            Some(Ok(store)) => Ok(store),
            Some(Err(error)) => Err(error.clone()),
            None => Err(HostError(HostErrorKind::Unknown)),
        }
    }
}

/// Checks that browsers take the store's cookie from this host.
fn check<S: HasCookie>(store: &S, host: &str) -> Result<(), HostError> {
    let cookie = store.transport().cookie();
    let Some(domain) = cookie.and_then(|cookie| cookie.domain()) else {
        return Ok(());
    };
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let above = host.strip_suffix(&domain);
    if above.is_some_and(|above| above.is_empty() || above.ends_with('.')) {
        return Ok(());
    }
    let problem = "it is neither the request's host nor a domain above it, so browsers would \
                   refuse the cookie";
    Err(HostError(HostErrorKind::Config(ConfigError::new(
        "domain", problem,
    ))))
}

impl<S> Shared<S> {
    fn known(&self) -> MutexGuard<'_, Known<S>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Known<S> {
    fn find(&mut self, host: &str) -> Option<S> {
        self.uses += 1;
        let kept = self.stores.get_mut(host)?;
        kept.last_use = self.uses;
        Some(kept.store.clone())
    }

    /// Keeps a store that was made when `forgotten` was the count. Returns the store to use: if
    /// another request was faster, its store.
    fn keep(&mut self, host: String, store: S, forgotten: u64) -> S {
        if self.forgotten != forgotten {
            return store;
        }
        if let Some(there) = self.find(&host) {
            return there;
        }
        while self.stores.len() >= self.most {
            let oldest = self.stores.iter().min_by_key(|(_, kept)| kept.last_use);
            let Some(oldest) = oldest.map(|(host, _)| host.clone()) else {
                break;
            };
            self.stores.remove(&oldest);
        }
        let kept = Kept {
            store: store.clone(),
            last_use: self.uses,
        };
        self.stores.insert(host, kept);
        store
    }
}

impl<S: Clone> Clone for HostStores<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            #[cfg(feature = "tower")]
            here: self.here.clone(),
        }
    }
}

impl<S> fmt::Debug for HostStores<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStores")
            .field("len", &self.shared.known().stores.len())
            .finish_non_exhaustive()
    }
}

/// A store whose sessions are named by a cookie or a header: every store of this crate.
pub trait HasCookie: sealed::HasTransport {}

impl HasCookie for CookieStore {}

#[cfg(feature = "redis")]
impl HasCookie for RevocableCookieStore {}

#[cfg(feature = "server")]
impl<B: Backend> HasCookie for ServerStore<B> {}

#[cfg(all(feature = "server", feature = "settings"))]
impl HasCookie for AnyStore {}

mod sealed {
    use super::Transport;

    pub trait HasTransport: Clone + Send + Sync + 'static {
        fn transport(&self) -> &Transport;
    }
}

impl sealed::HasTransport for CookieStore {
    fn transport(&self) -> &Transport {
        self.transport()
    }
}

#[cfg(feature = "redis")]
impl sealed::HasTransport for RevocableCookieStore {
    fn transport(&self) -> &Transport {
        self.transport()
    }
}

#[cfg(feature = "server")]
impl<B: Backend> sealed::HasTransport for ServerStore<B> {
    fn transport(&self) -> &Transport {
        self.transport()
    }
}

#[cfg(all(feature = "server", feature = "settings"))]
impl sealed::HasTransport for AnyStore {
    fn transport(&self) -> &Transport {
        self.transport()
    }
}

#[cfg(test)]
mod tests;
