//! The settings of managed keys.

use std::fmt;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use super::event::{KeyEvent, KeyEvents};
use super::managed::ManagedKeys;
use super::process::{Inner, Present, Work};
use super::ring::Bounds;
use super::schedule::{Rules, check};
use super::signals::Signals;
use super::store::KeyStore;
use super::text::check_key;
use super::worker::Worker;
use crate::envelope::{AppKey, KeyRing, MAX_LABEL, Root, check_context};
use crate::error::ConfigError;
use crate::policy::DEFAULT_LIFETIME;
use crate::store::Clock;

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROTATE_EVERY: Duration = Duration::from_secs(90 * 24 * 3600);
const POLL: Duration = Duration::from_secs(20);
const TOLERANCE: Duration = Duration::from_secs(60);

/// Builds [`ManagedKeys`]. [`build`](Self::build) checks the settings and loads the ring.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::keys::KeyFile;
/// use sealed_session::ManagedKeys;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("session.keys");
/// let keys = ManagedKeys::builder(KeyFile::owned(path))
///     .rotate_every(Duration::from_secs(30 * 24 * 3600))
///     .on_event(|event| eprintln!("{event}"))
///     .build()?;
/// assert_eq!(keys.opens().len(), 1); // the first key
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct ManagedKeysBuilder {
    store: Box<dyn KeyStore>,
    name: String,
    context: String,
    root: Option<KeyRing>,
    without_root: bool,
    must_exist: bool,
    adopted: Option<KeyRing>,
    rotate_every: Option<Duration>,
    ahead: Duration,
    remove_after: Duration,
    poll: Duration,
    propagation: Option<Duration>,
    tolerance: Duration,
    longest: Duration,
    max_staleness: Option<Duration>,
    has_thread: bool,
    clock: Box<Clock>,
    events: KeyEvents,
}

impl ManagedKeys {
    /// Keeps the keys in a file that belongs to this process's user. If the file is missing, it is
    /// made with its first key: see [`KeyFile::owned`](super::KeyFile::owned).
    ///
    /// # Errors
    ///
    /// As [`ManagedKeysBuilder::build`].
    #[cfg(unix)]
    pub fn file(path: impl Into<std::path::PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(super::KeyFile::owned(path)).build()
    }

    /// Reads the keys from a file that somebody else provides, such as a mounted secret: see
    /// [`KeyFile::mounted`](super::KeyFile::mounted).
    ///
    /// # Errors
    ///
    /// As [`ManagedKeysBuilder::build`].
    #[cfg(unix)]
    pub fn mounted(path: impl Into<std::path::PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(super::KeyFile::mounted(path)).build()
    }

    /// Returns a builder with the defaults, over a key store.
    pub fn builder(store: impl KeyStore) -> ManagedKeysBuilder {
        ManagedKeysBuilder {
            store: Box::new(store),
            name: "keys".to_owned(),
            context: String::new(),
            root: None,
            without_root: false,
            must_exist: false,
            adopted: None,
            rotate_every: Some(ROTATE_EVERY),
            ahead: DAY,
            remove_after: DAY,
            poll: POLL,
            propagation: None,
            tolerance: TOLERANCE,
            longest: DEFAULT_LIFETIME,
            max_staleness: None,
            has_thread: true,
            clock: Box::new(SystemTime::now),
            events: KeyEvents::default(),
        }
    }
}

impl ManagedKeysBuilder {
    /// Sets how long a key seals before the next one takes its place. Default 90 days. Any process
    /// with this setting may make the next key.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// let builder = ManagedKeys::builder(KeyFile::owned(path));
    /// let error = builder.rotate_every(Duration::from_secs(60)).build().unwrap_err();
    /// assert_eq!(error.setting(), "rotate_every"); // other processes need longer to find a new key
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_every(mut self, every: Duration) -> Self {
        self.rotate_every = Some(every);
        self
    }

    /// Leaves rotation to you: use `sealed-session keys add` or [`ManagedKeys::add`].
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// let keys = ManagedKeys::builder(KeyFile::owned(path)).rotate_by_hand().build()?;
    /// assert_eq!(keys.next_change(), None); // until you call `keys.add()`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_by_hand(mut self) -> Self {
        self.rotate_every = None;
        self
    }

    /// Sets how long a key exists before it seals. Default a day, and never less than all processes
    /// need to find it.
    pub fn make_ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    /// Sets how long a key stays in the store after it has stopped opening. Default a day.
    pub fn remove_after(mut self, time: Duration) -> Self {
        self.remove_after = time;
        self
    }

    /// Sets the time between two polls of the store, plus or minus a quarter. Default 20 seconds.
    /// The ring remembers the setting of the process that makes it. A process that polls less often
    /// fails to build; [`ManagedKeys::allow`] raises the limit.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets how long it takes until every process can read what was written to the store. The
    /// default is the store's: none for a local file or Redis, three minutes for a mounted secret.
    /// For a file on a network, set a minute.
    pub fn propagation(mut self, time: Duration) -> Self {
        self.propagation = Some(time);
        self
    }

    /// Sets how far the clocks of two processes may be apart. Default a minute.
    pub fn clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the longest lifetime of anything that is sealed. Default 24 hours. A store's builder
    /// declares the lifetime of its sessions, so you need this only for the tokens of
    /// [`Sealer::seal_for`](crate::Sealer::seal_for).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{ManagedKeys, Sealer, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// const DAY: Duration = Duration::from_secs(24 * 3600);
    /// let keys = ManagedKeys::builder(KeyFile::owned(path)).longest_lifetime(7 * DAY).build()?;
    ///
    /// let invitations = Sealer::new(keys, "invitation")?;
    /// let token = invitations.seal_for(b"user 42", 7 * DAY)?;
    /// assert!(invitations.seal_for(b"user 42", 8 * DAY).is_err()); // its key would end before
    /// # assert!(invitations.open(&token).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn longest_lifetime(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Seals the whole ring under this root key, so that someone who reads the store learns no key.
    ///
    /// If you pass several root keys, the ring stays under the one that it is sealed under. A new
    /// ring is sealed under the first, and [`ManagedKeys::rewrap`] changes to the first.
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// # use sealed_session::AppKey;
    /// let root = AppKey::generate()?; // in a service: KeyRing::from_env()?
    /// let keys = ManagedKeys::builder(KeyFile::owned(&path)).root(root).build()?;
    ///
    /// // Nobody opens the ring without the root key:
    /// assert!(ManagedKeys::builder(KeyFile::owned(&path)).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root(mut self, root: impl Into<KeyRing>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Allows an unsealed ring in a store that others may read. Such keys protect nothing if they
    /// are next to the sessions that they seal.
    pub fn insecure_without_root(mut self) -> Self {
        self.without_root = true;
        self
    }

    /// Names the ring, for a root key that seals several rings: 1 to 255 bytes. Default `keys`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Separates applications or stages that share a root key: at most 255 bytes. Default empty.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Makes [`build`](Self::build) fail if there is no ring yet. Use this in containers: without
    /// it, a lost folder means new keys, and everybody has to log in again.
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// let built = ManagedKeys::builder(KeyFile::owned(path)).must_exist().build();
    /// assert!(built.is_err()); // nothing is there, and nothing was made
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Takes over keys that were in use before, such as [`KeyRing::from_env`], so that their
    /// sessions still open. If there is no ring yet, the key that seals becomes its first key.
    ///
    /// A ring holds keys of at most 255 bytes, and only keys that the
    /// [text forms](AppKey#impl-FromStr-for-AppKey) accept.
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let app_key = AppKey::generate()?;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let before = CookieStore::new(app_key.clone());
    /// let cookie = before.respond(&session)?.cookie_header(); // sealed under APP_KEY
    ///
    /// let keys = ManagedKeys::builder(KeyFile::owned(path)).adopt(app_key).build()?;
    /// assert!(CookieStore::new(keys).load_from([&cookie]).contains("user_id"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt(mut self, ring: impl Into<KeyRing>) -> Self {
        self.adopted = Some(ring.into());
        self
    }

    /// Opens and seals nothing once the store has been unreachable for this long, because the
    /// process may have missed a revocation. Sessions then come as
    /// [`Refusal::StaleKeys`](crate::Refusal::StaleKeys). At least two [polls](Self::poll). Default
    /// no limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    ///
    /// let builder = || ManagedKeys::builder(KeyFile::owned(&path));
    /// let keys = builder().max_staleness(Duration::from_secs(120)).build()?;
    ///
    /// // Too short: one late answer would end all sessions.
    /// let error = builder().max_staleness(Duration::from_secs(30)).build().unwrap_err();
    /// assert_eq!(error.setting(), "max_staleness");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_staleness(mut self, limit: Duration) -> Self {
        self.max_staleness = Some(limit);
        self
    }

    /// Starts no thread. Call [`ManagedKeys::refresh`] as often as [`poll`](Self::poll) says: every
    /// 20 seconds by default.
    ///
    /// ```
    /// # use sealed_session::{ManagedKeys, keys::KeyFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// let keys = ManagedKeys::builder(KeyFile::owned(path)).without_thread().build()?;
    /// keys.refresh()?; // from a timer of yours; it blocks
    /// assert!(keys.seals().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_thread(mut self) -> Self {
        self.has_thread = false;
        self
    }

    /// Sets the clock. Default [`SystemTime::now`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Calls `hook` with each [`KeyEvent`], on the thread that polls. [`KeyEvent`] has an example.
    pub fn on_event(mut self, hook: impl Fn(KeyEvent) + Send + Sync + 'static) -> Self {
        self.events.hook = Some(Box::new(hook));
        self
    }

    /// Loads the ring, or makes it, and returns the keys. This blocks.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, if settings contradict each other or the ring, if the store does
    /// not answer, or if it holds no good ring. The error names the setting or the store.
    pub fn build(self) -> Result<ManagedKeys, ConfigError> {
        let (rules, wanted) = self.check()?;
        let root = self.envelope()?;
        let nobody =
            AppKey::generate().map_err(|error| ConfigError::new("keys", error.to_string()))?;
        let where_it_is = self.store.describe();
        let inner = Arc::new(Inner {
            store: self.store,
            root,
            rules,
            must_exist: self.must_exist,
            adopted: self.adopted,
            present: RwLock::new(Present::empty(&nobody, wanted)),
            nobody,
            signals: Arc::new(Signals::new(self.clock, self.max_staleness)),
            events: self.events,
            work: Mutex::new(Work::new(wanted)),
            takers: Mutex::default(),
        });
        inner.poll().map_err(|error| {
            let text = error.to_string();
            let problem = text
                .strip_prefix(&format!("{where_it_is}: "))
                .unwrap_or(&text);
            ConfigError::new(where_it_is.as_str(), problem)
        })?;
        inner.check_bounds()?;
        let thread = if self.has_thread {
            Worker::start(&inner)?
        } else {
            Worker::none(&inner)
        };
        Ok(ManagedKeys {
            inner,
            thread: Arc::new(thread),
        })
    }

    fn check(&self) -> Result<(Rules, Bounds), ConfigError> {
        let is_zero = |setting: &'static str, length: Duration| {
            if length < Duration::from_millis(1) {
                let problem = "it is shorter than a millisecond; make it longer";
                return Err(ConfigError::new(setting, problem));
            }
            Ok(())
        };
        is_zero("poll", self.poll)?;
        is_zero("longest_lifetime", self.longest)?;
        for (setting, length) in [
            ("rotate_every", self.rotate_every),
            ("max_staleness", self.max_staleness),
        ] {
            length.map_or(Ok(()), |length| is_zero(setting, length))?;
        }
        if self
            .max_staleness
            .is_some_and(|limit| limit < self.poll.saturating_mul(2))
        {
            let problem = "it is shorter than two polls, so that one late answer would end all \
                           sessions; poll more often, or allow more";
            return Err(ConfigError::new("max_staleness", problem));
        }
        for key in self.adopted.iter().flat_map(KeyRing::keys) {
            // Otherwise this process would write a ring that nobody can read.
            check_key(key).map_err(|problem| ConfigError::new("adopt", problem))?;
        }
        let bounds = Bounds {
            longest: self.longest,
            poll: self.poll,
            propagation: self.propagation.unwrap_or(self.store.propagation()),
            timeout: self.store.timeout(),
            tolerance: self.tolerance,
        };
        let bounds = bounds.whole();
        let rules = Rules {
            rotate_every: self.rotate_every,
            ahead: self.ahead,
            remove_after: self.remove_after,
        };
        check(bounds, &rules).map_err(|(setting, problem)| ConfigError::new(setting, problem))?;
        Ok((rules, bounds))
    }

    fn envelope(&self) -> Result<Option<Root>, ConfigError> {
        check_context(&self.context)?;
        if self.name.is_empty() || self.name.len() > MAX_LABEL {
            let length = self.name.len();
            let problem = format!("it has {length} bytes, 1 to {MAX_LABEL} are possible");
            return Err(ConfigError::new("name", problem));
        }
        if self.root.is_none() && !self.store.is_private() && !self.without_root {
            let problem = "others may read this store, so it needs a root key: \
                           `root(KeyRing::from_env()?)`, with APP_KEY set";
            return Err(ConfigError::new("root", problem));
        }
        let root = |root| Root::new(root, &self.name, &self.context);
        Ok(self.root.as_ref().map(root))
    }
}

impl fmt::Debug for ManagedKeysBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeysBuilder")
            .field("store", &self.store.describe())
            .field("root", &self.root)
            .field("rotate_every", &self.rotate_every)
            .finish_non_exhaustive()
    }
}
