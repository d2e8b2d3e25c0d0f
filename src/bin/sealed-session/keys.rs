//! `sealed-session keys`: changes managed keys by hand.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use sealed_session::keys::{Allowed, KeyInfo, KeyState, ManagedKeysBuilder, Revocation};
use sealed_session::{KeyId, KeyRing, ManagedKeys};

use crate::Failure;
use crate::duration;
use crate::output::print;

#[derive(Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Args)]
struct Place {
    /// The file that holds the keys.
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "redis")]
    file: Option<PathBuf>,
    /// The Redis server that holds the keys. APP_KEY is the root key that they are sealed under.
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
    /// The URL is a sentinel's, which names the master of this name.
    #[arg(
        long,
        global = true,
        value_name = "MASTER",
        requires = "redis",
        conflicts_with = "cluster"
    )]
    sentinel: Option<String>,
    /// The URL is one node of a cluster.
    #[arg(long, global = true, requires = "redis")]
    cluster: bool,
    /// The key in Redis that holds the ring.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "session:keys"
    )]
    redis_key: String,
    /// The file, too, is sealed under the root key in APP_KEY.
    #[arg(long, global = true)]
    root: bool,
    /// The name that the service gives its managed keys.
    #[arg(long, global = true, default_value = "keys")]
    name: String,
    /// The context that the service gives its managed keys.
    #[arg(long, global = true, default_value = "")]
    context: String,
}

#[derive(Subcommand)]
enum Action {
    /// Shows each key with its dates.
    List,
    /// Makes the next key, which seals a day from now. Makes the ring if there is none.
    ///
    /// Does nothing if the next key is there already.
    Add {
        /// Does nothing unless the newest key is older than this, such as `90d`. Use it in cron jobs.
        #[arg(long, value_name = "DURATION", conflicts_with = "waiting")]
        every: Option<String>,
        /// The key only opens until you promote it.
        #[arg(long)]
        waiting: bool,
    },
    /// Lets a key seal as soon as all processes can know it.
    Promote { id: String },
    /// Takes a key out of use, until you enable it again.
    Disable { id: String },
    /// Puts a disabled key back into use.
    Enable { id: String },
    /// Ends a leaked key and every key that was in the store with it. Everybody logs in again.
    Revoke {
        id: String,
        /// Ends this key alone. A forged session that was sealed again under another key survives.
        #[arg(long)]
        only: bool,
    },
    /// Removes a disabled or expired key for good.
    Drop { id: String },
    /// Seals the ring under APP_KEY. Run it once all processes accept that root key.
    Rewrap,
    /// Says whether the ring is in order, and changes nothing that is not due.
    Check,
    /// Raises the limits that all processes share.
    Allow {
        /// The longest lifetime of anything that is sealed.
        #[arg(long, value_name = "DURATION")]
        lifetime: Option<String>,
        /// The longest time between two polls of a process.
        #[arg(long, value_name = "DURATION")]
        poll: Option<String>,
        /// The longest time until every process can read what was written.
        #[arg(long, value_name = "DURATION")]
        propagation: Option<String>,
    },
}

impl Keys {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match (&self.action, &self.place.file, &self.place.redis) {
            (None, None, None) => crate::keys(),
            (Some(_), None, None) => {
                let problem = "say where the keys are, with --file or --redis";
                Err(Failure::usage(problem))
            }
            (action, ..) => self.place.act(action.as_ref().unwrap_or(&Action::List)),
        }
    }
}

impl Place {
    fn builder(&self) -> Result<ManagedKeysBuilder, Failure> {
        let builder = self.over_store()?;
        let builder = builder.name(&self.name).context(&self.context);
        let builder = builder.without_thread().rotate_by_hand();
        if self.root || self.redis.is_some() {
            return Ok(builder.root(KeyRing::from_env()?));
        }
        Ok(builder)
    }

    /// Declares no limits of its own, so that the ring's limits stay as they are.
    fn narrow(&self) -> Result<ManagedKeysBuilder, Failure> {
        let least = Duration::from_millis(1);
        let builder = self.builder()?.poll(least).longest_lifetime(least);
        Ok(builder.clock_tolerance(Duration::ZERO))
    }

    #[cfg(unix)]
    fn over_store(&self) -> Result<ManagedKeysBuilder, Failure> {
        match &self.file {
            Some(path) => {
                let file = sealed_session::keys::KeyFile::owned(path);
                Ok(ManagedKeys::builder(file))
            }
            None => self.over_redis(),
        }
    }

    #[cfg(not(unix))]
    fn over_store(&self) -> Result<ManagedKeysBuilder, Failure> {
        match &self.file {
            Some(_) => Err(Failure::usage("--file: keys in a file need Unix")),
            None => self.over_redis(),
        }
    }

    #[cfg(feature = "redis")]
    fn over_redis(&self) -> Result<ManagedKeysBuilder, Failure> {
        use redis::cluster::ClusterClient;
        use redis::sentinel::{SentinelClient, SentinelServerType};
        use sealed_session::keys::KeyRedis;

        let url = self.redis.as_deref().unwrap_or_default();
        // The URL may hold a password, which the client's error could quote.
        let bad =
            |error: redis::RedisError| Failure::usage(format!("--redis: {}", error.category()));
        let store = if let Some(master) = &self.sentinel {
            let (urls, role) = (vec![url], SentinelServerType::Master);
            let client = SentinelClient::build(urls, master.clone(), None, role);
            KeyRedis::sentinel(client.map_err(bad)?)
        } else if self.cluster {
            KeyRedis::cluster(ClusterClient::new([url]).map_err(bad)?)
        } else {
            KeyRedis::open(url)?
        };
        Ok(ManagedKeys::builder(store.key(&self.redis_key)))
    }

    #[cfg(not(feature = "redis"))]
    fn over_redis(&self) -> Result<ManagedKeysBuilder, Failure> {
        let _ = (&self.redis_key, &self.sentinel, self.cluster);
        let problem = "--redis: this command was built without the feature `redis`";
        Err(Failure::usage(problem))
    }

    fn act(&self, action: &Action) -> Result<(), Failure> {
        if let Action::Add { every, waiting } = action {
            return self.add(every.as_deref(), *waiting);
        }
        let keys = self.narrow()?.must_exist().build()?;
        let text = match action {
            Action::List | Action::Add { .. } => table(&keys.list()?),
            Action::Promote { id } => {
                let id = known(&keys, id)?;
                let from = keys.promote(id)?;
                with_table(&keys, &format!("{id} seals from {} on", date(from)))?
            }
            Action::Disable { id } => {
                let id = known(&keys, id)?;
                let done = format!("{id} is disabled; `keys enable {id}` takes it back");
                with_table(&keys, &told(keys.disable(id)?, &done))?
            }
            Action::Enable { id } => {
                let id = known(&keys, id)?;
                let done = format!("{id} is enabled");
                with_table(&keys, &told(keys.enable(id)?, &done))?
            }
            Action::Revoke { id, only } => {
                let id = known(&keys, id)?;
                let revocation = if *only {
                    keys.revoke_only(id)?
                } else {
                    keys.revoke(id)?
                };
                with_table(&keys, &revoked(&revocation))?
            }
            Action::Drop { id } => {
                let id = known(&keys, id)?;
                let done = format!("{id} is removed for good");
                with_table(&keys, &told(keys.drop_key(id)?, &done))?
            }
            Action::Rewrap => told(keys.rewrap()?, "the ring is sealed under APP_KEY"),
            Action::Check => check(&keys)?,
            Action::Allow {
                lifetime,
                poll,
                propagation,
            } => {
                let mut more = Allowed::default();
                more.longest_lifetime = length("--lifetime", lifetime.as_deref())?;
                more.poll = length("--poll", poll.as_deref())?;
                more.propagation = length("--propagation", propagation.as_deref())?;
                told(keys.allow(more)?, "the ring allows it")
            }
        };
        print(&text)
    }

    /// A missing ring is made with the default limits, because nobody has declared others yet.
    fn add(&self, every: Option<&str>, waiting: bool) -> Result<(), Failure> {
        let every = every.map(|every| length("--every", Some(every)));
        let every = every.transpose()?;
        let Ok(keys) = self.narrow()?.must_exist().build() else {
            let keys = self.builder()?.build()?;
            return print(&with_table(&keys, "a ring was made")?);
        };
        if let Some(every) = every {
            let list = keys.list()?;
            if let Some(newest) = list.iter().filter_map(|key| key.seals_from).max() {
                let due = newest.checked_add(every);
                if due.is_none_or(|due| due > SystemTime::now()) {
                    return print(&match due.map(date).as_deref() {
                        None | Some(NEVER) => "nothing is ever due".to_owned(),
                        Some(date) => format!("nothing is due before {date}"),
                    });
                }
            }
        }
        let added = if waiting {
            keys.add_waiting()?
        } else {
            keys.add()?
        };
        let text = match added {
            Some(id) => format!("{id} was made"),
            None => "nothing was done: the next key is there already".to_owned(),
        };
        print(&with_table(&keys, &text)?)
    }
}

/// What was done, and all keys with their dates.
fn with_table(keys: &ManagedKeys, done: &str) -> Result<String, Failure> {
    Ok(format!("{done}\n{}", table(&keys.list()?)))
}

fn told(is_changed: bool, done: &str) -> String {
    if is_changed {
        done.to_owned()
    } else {
        format!("nothing was done: {done} already")
    }
}

fn known(keys: &ManagedKeys, id: &str) -> Result<KeyId, Failure> {
    let list = keys.list()?;
    let found = list.iter().find(|key| key.id.to_string() == id);
    let problem = "the ring has no key of this id; `keys list` shows those that it has";
    found
        .map(|key| key.id)
        .ok_or_else(|| Failure::usage(problem))
}

fn length(option: &str, text: Option<&str>) -> Result<Duration, Failure> {
    let parse = |text| {
        let problem = || Failure::usage(format!("{option}: {}", duration::FORMS));
        duration::parse(text).ok_or_else(problem)
    };
    text.map_or(Ok(Duration::ZERO), parse)
}

/// The date of a moment beyond all dates.
const NEVER: &str = "never";

fn date(moment: SystemTime) -> String {
    let mut text = String::new();
    match write!(text, "{}", humantime::format_rfc3339_seconds(moment)) {
        Ok(()) => text,
        Err(_) => NEVER.to_owned(),
    }
}

fn table(keys: &[KeyInfo]) -> String {
    let mut text = format!(
        "{:<10}{:<10}{:<22}{:<22}{:<22}{}",
        "KEY", "STATE", "MADE", "SEALS FROM", "SEALS UNTIL", "OPENS UNTIL"
    );
    let perhaps = |moment: Option<SystemTime>| moment.map_or("-".to_owned(), date);
    for key in keys {
        // Writing to a `String` does not fail.
        let _ = write!(
            text,
            "\n{:<10}{:<10}{:<22}{:<22}{:<22}{}",
            key.id.to_string(),
            key.state.as_str(),
            date(key.made),
            perhaps(key.seals_from),
            perhaps(key.seals_until),
            perhaps(key.opens_until)
        );
    }
    text
}

fn ids(keys: &[KeyId]) -> String {
    let ids: Vec<_> = keys.iter().map(ToString::to_string).collect();
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}

fn revoked(revocation: &Revocation) -> String {
    let dead_by = date(revocation.dead_by);
    let mut text = format!("revoked: {}", ids(&revocation.revoked));
    let _ = write!(text, "\ngoes on to open: {}", ids(&revocation.surviving));
    if let Some(fresh) = revocation.fresh {
        let _ = write!(text, "\nseals from now on: {fresh}");
    }
    let _ = write!(
        text,
        "\nEvery process that reaches the keys knows it by {dead_by}."
    );
    text
}

fn check(keys: &ManagedKeys) -> Result<String, Failure> {
    let list = keys.list()?;
    let allowed = keys.allowed();
    let sealing = list.iter().find(|key| key.state == KeyState::Sealing);
    let Some(sealing) = sealing else {
        return Err(Failure::Refused(
            "no key seals; add one, or look at the clock".to_owned(),
        ));
    };
    let mut text = format!(
        "in order: {} seals; keys that open: {}\nlifetimes up to {}, a poll at least every {}\n\
         a revocation acts within {}",
        sealing.id,
        keys.opens().len(),
        humantime::format_duration(allowed.longest_lifetime),
        humantime::format_duration(allowed.poll),
        humantime::format_duration(keys.promise())
    );
    if let Some(next) = keys.next_change() {
        let _ = write!(text, "\nnext change: {}", date(next));
    }
    Ok(text)
}
