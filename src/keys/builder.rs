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
use super::worker::Worker;
use crate::envelope::{AppKey, KeyRing, MAX_LABEL, Root, check_context};
use crate::error::ConfigError;
use crate::policy::DEFAULT_LIFETIME;
use crate::store::Clock;

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROTATE_EVERY: Duration = Duration::from_secs(90 * 24 * 3600);
const POLL: Duration = Duration::from_secs(20);
const TOLERANCE: Duration = Duration::from_secs(60);

/// Builds [`ManagedKeys`]; `build` checks the settings together and asks the store.
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
    /// Keys in a file of this process's user, which is made with its first key if it is not there:
    /// see [`KeyFile::owned`](super::KeyFile::owned).
    ///
    /// # Errors
    ///
    /// As [`ManagedKeysBuilder::build`].
    #[cfg(unix)]
    pub fn file(path: impl Into<std::path::PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(super::KeyFile::owned(path)).build()
    }

    /// Keys in a file that others put there, such as a mounted secret: see
    /// [`KeyFile::mounted`](super::KeyFile::mounted).
    ///
    /// # Errors
    ///
    /// As [`ManagedKeysBuilder::build`].
    #[cfg(unix)]
    pub fn mounted(path: impl Into<std::path::PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(super::KeyFile::mounted(path)).build()
    }

    /// A builder over a key store that starts from the defaults.
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
    /// How long a key seals before the next one takes its place. Default 90 days. Every process
    /// that has this setting does it; the first comes first.
    pub fn rotate_every(mut self, every: Duration) -> Self {
        self.rotate_every = Some(every);
        self
    }

    /// Leaves rotation to you: `sealed-session keys add`, or [`ManagedKeys::add`].
    pub fn rotate_by_hand(mut self) -> Self {
        self.rotate_every = None;
        self
    }

    /// How long before it seals a key is made. Default a day, and never less than all processes
    /// need to hear of it.
    pub fn make_ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    /// How long a key that no longer opens stays in the store. Default a day.
    pub fn remove_after(mut self, time: Duration) -> Self {
        self.remove_after = time;
        self
    }

    /// How often the store is asked, give or take a quarter. Default 20 seconds. The ring is made
    /// for the poll of whoever makes it, and refuses processes that ask less often.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// How long until what is written to the store is read everywhere. Default what the store
    /// says: nothing for a local file or Redis, three minutes for a mounted secret. Say a minute
    /// for a file on a network.
    pub fn propagation(mut self, time: Duration) -> Self {
        self.propagation = Some(time);
        self
    }

    /// The most that the clocks of two processes may differ by. Default a minute.
    pub fn clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The longest that anything is sealed for. Default 24 hours. A store's builder declares its
    /// own lifetime, so this is for [`Sealer`](crate::Sealer): tokens of
    /// [`seal_for`](crate::Sealer::seal_for) live no longer.
    pub fn longest_lifetime(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Seals the ring as a whole under this key, so that whoever reads the store has no key. Of
    /// several keys whichever the ring is sealed under opens it and seals it again; the first is
    /// for a new ring, and for [`ManagedKeys::rewrap`].
    pub fn root(mut self, root: impl Into<KeyRing>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Lets the ring lie in a store unsealed that others may read. Beside the sessions that they
    /// seal, such keys protect nothing.
    pub fn insecure_without_root(mut self) -> Self {
        self.without_root = true;
        self
    }

    /// Which ring it is, if a root key seals several: 1 to 255 bytes. Default `keys`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Keeps stages apart that share a root key: at most 255 bytes. Default empty.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Makes no ring: one must be there, or [`build`](Self::build) fails. For containers, where a
    /// lost folder would otherwise mean new keys, and everybody logged out.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Takes in keys that were in use before, such as [`KeyRing::from_env`]: their sessions stay
    /// open. If there is no ring yet, the key that seals is its first one.
    pub fn adopt(mut self, ring: impl Into<KeyRing>) -> Self {
        self.adopted = Some(ring.into());
        self
    }

    /// Opens and seals nothing once the store has been out of reach for so long, because a
    /// revocation may have been missed. Default no limit: a process that is cut off goes on.
    pub fn max_staleness(mut self, limit: Duration) -> Self {
        self.max_staleness = Some(limit);
        self
    }

    /// Starts no thread: call [`ManagedKeys::refresh`] as often as [`poll`](Self::poll) says.
    pub fn without_thread(mut self) -> Self {
        self.has_thread = false;
        self
    }

    /// Where the time comes from. Default [`SystemTime::now`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Gets each [`KeyEvent`]. It is called from the thread that polls.
    pub fn on_event(mut self, hook: impl Fn(KeyEvent) + Send + Sync + 'static) -> Self {
        self.events.hook = Some(Box::new(hook));
        self
    }

    /// The finished keys. It asks the store, and blocks while it does.
    ///
    /// # Errors
    ///
    /// If a setting cannot be, if two contradict each other or the ring, if the store does not
    /// answer, or if what it has is not good; the error names the setting or the store.
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
                let problem = "it is shorter than a millisecond";
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
            .is_some_and(|limit| limit < self.poll * 2)
        {
            let problem = "it is shorter than two polls, so that one late answer would end all \
                           sessions; poll more often, or allow more";
            return Err(ConfigError::new("max_staleness", problem));
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
