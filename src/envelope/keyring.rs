//! Key rings: one key that seals, and older or newer ones that only open.

use std::fmt;

#[cfg(feature = "managed-keys")]
use super::guard::Guard;
use super::key::{AppKey, KeyError, KeyId, Problem};
use crate::env::{self, Process, Variables};

const SEALING: &str = "APP_KEY";
const SEALING_FILE: &str = "APP_KEY_FILE";
const ACCEPTED: &str = "APP_PREVIOUS_KEYS";

/// All variables that hold keys, or name a file with keys.
pub(crate) const KEY_VARIABLES: [&str; 4] =
    [SEALING, SEALING_FILE, ACCEPTED, "APP_PREVIOUS_KEYS_FILE"];

/// Other names that people give these variables, and the right name.
const ALSO_CALLED: [(&str, &str); 14] = [
    ("APP_KEYS", SEALING),
    ("APP_KEY_PATH", SEALING_FILE),
    ("APP_PREVIOUS", ACCEPTED),
    ("APP_KEY_PREV", ACCEPTED),
    ("APP_FORMER_KEYS", ACCEPTED),
    ("APP_RETIRED_KEYS", ACCEPTED),
    ("APP_PREV_KEY", ACCEPTED),
    ("APP_PREV_KEYS", ACCEPTED),
    ("APP_OLD_KEY", ACCEPTED),
    ("APP_OLD_KEYS", ACCEPTED),
    ("APP_KEY_OLD", ACCEPTED),
    ("APP_KEYS_OLD", ACCEPTED),
    ("APP_KEY_PREVIOUS", ACCEPTED),
    ("APP_KEYS_PREVIOUS", ACCEPTED),
];

/// The keys of an application: one seals, the others only open.
///
/// To rotate the key of a fleet without logging anyone out, deploy three times:
///
/// 1. Accept the new key everywhere.
/// 2. Make it the sealing key, and accept the old one.
/// 3. When the longest lifetime has passed, drop the old one.
///
/// ```
/// use sealed_session::{AppKey, KeyRing};
///
/// let (old, new) = (AppKey::generate()?, AppKey::generate()?);
/// let ring = KeyRing::new(new.clone()).accept(old)?;
/// assert_eq!(ring.ids().next(), Some(new.id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A ring is valid from the start, so no method that takes one can fail because of it.
#[derive(Clone)]
pub struct KeyRing {
    sealing: AppKey,
    accepted: Vec<AppKey>,
    #[cfg(feature = "managed-keys")]
    guard: Option<Guard>,
}

impl KeyRing {
    /// Makes a ring of one key. If you have only one, you can also pass the [`AppKey`] itself
    /// wherever a ring is taken.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, KeyRing};
    /// # let key = AppKey::generate()?;
    /// assert_eq!(KeyRing::new(key.clone()).ids().count(), 1);
    /// let store = CookieStore::new(key); // the same as with KeyRing::new(key)
    /// # let _ = store;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(sealing: AppKey) -> Self {
        Self {
            sealing,
            accepted: Vec::new(),
            #[cfg(feature = "managed-keys")]
            guard: None,
        }
    }

    /// Adds a key that opens and never seals. A key that is already in the ring keeps its role.
    ///
    /// ```
    /// # use sealed_session::{AppKey, KeyRing, Sealer};
    /// # let (old, new) = (AppKey::generate()?, AppKey::generate()?);
    /// let token = Sealer::new(old.clone(), "invitation")?.seal(b"42")?;
    ///
    /// let sealer = Sealer::new(KeyRing::new(new).accept(old)?, "invitation")?;
    /// assert_eq!(&*sealer.open(&token)?, b"42");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a different key of the ring has the same key id. This happens to one pair of random keys
    /// in four billion.
    pub fn accept(mut self, key: AppKey) -> Result<Self, KeyError> {
        let same_id = self.keys().find(|known| known.id() == key.id());
        match same_id.map(|known| known.is_same_as(&key)) {
            Some(true) => {}
            Some(false) => return Err(Problem::SameId(key.id()).into()),
            None => self.accepted.push(key),
        }
        Ok(self)
    }

    /// Reads the ring from the environment. The key in `APP_KEY` seals. Those in
    /// `APP_PREVIOUS_KEYS` only open: this is a list, separated by commas or line ends, and may be
    /// absent or empty.
    ///
    /// ```no_run
    /// use sealed_session::{CookieStore, KeyRing};
    ///
    /// // APP_KEY=base64:… APP_PREVIOUS_KEYS=base64:…,base64:…
    /// let store = CookieStore::new(KeyRing::from_env()?);
    /// # Ok::<(), sealed_session::KeyError>(())
    /// ```
    ///
    /// Each may be in a file instead. Then put its path into `APP_KEY_FILE` or
    /// `APP_PREVIOUS_KEYS_FILE`.
    ///
    /// # Errors
    ///
    /// If `APP_KEY` is absent, a key is refused, a file cannot be read, or a variable is set whose
    /// name is close to one of these four. The error names the variable, the file and the item.
    pub fn from_env() -> Result<Self, KeyError> {
        Self::from_variables(&Process)
    }

    pub(super) fn from_variables(variables: &dyn Variables) -> Result<Self, KeyError> {
        env::refuse_strays(variables, &KEY_VARIABLES, "APP", |name| {
            let (_, ours) = ALSO_CALLED.iter().find(|(other, _)| *other == name)?;
            Some(env::set_instead(&[(*ours).to_owned()]))
        })?;
        let mut ring = Self::new(AppKey::from_variables(variables, SEALING)?);
        if let Some(found) = env::text(variables, ACCEPTED)? {
            for (item, key) in parse_list(&found.text).enumerate() {
                let at = |error: KeyError| error.found_in(&found, Some(item + 1));
                ring = ring.accept(key.map_err(at)?).map_err(at)?;
            }
        }
        Ok(ring)
    }

    /// The ids of all keys. The first is that of the key that seals.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys().map(AppKey::id)
    }

    /// The same ring, as one of managed keys.
    #[cfg(feature = "managed-keys")]
    pub(crate) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    #[cfg(feature = "managed-keys")]
    pub(super) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    pub(super) fn sealing(&self) -> &AppKey {
        &self.sealing
    }

    pub(super) fn accepted(&self) -> &[AppKey] {
        &self.accepted
    }

    /// All keys, the sealing key first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &AppKey> {
        std::iter::once(&self.sealing).chain(&self.accepted)
    }
}

fn parse_list(list: &str) -> impl Iterator<Item = Result<AppKey, KeyError>> + '_ {
    let items = if list.trim().is_empty() {
        None
    } else {
        Some(list.split(','))
    };
    items.into_iter().flatten().flat_map(|item| {
        let lines = item.lines().filter(|line| !line.trim().is_empty());
        let mut keys: Vec<_> = lines.map(str::parse).collect();
        if keys.is_empty() {
            keys.push(Err(Problem::EmptyItem.into()));
        }
        keys
    })
}

impl From<AppKey> for KeyRing {
    fn from(sealing: AppKey) -> Self {
        Self::new(sealing)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigError;

    #[test]
    fn a_list_is_split_at_commas_and_an_empty_item_is_refused() {
        let key = AppKey::generate().unwrap().to_base64();
        let count = |list: &str| {
            parse_list(list)
                .collect::<Result<Vec<_>, _>>()
                .map(|k| k.len())
        };
        assert_eq!(count(""), Ok(0));
        assert_eq!(count("  "), Ok(0));
        assert_eq!(count(&format!("{0} , {0}", *key)), Ok(2));
        for list in [
            ",",
            &format!("{},", *key),
            &format!(",{}", *key),
            &format!("{0},,{0}", *key),
        ] {
            assert_eq!(
                count(list),
                Err(Problem::EmptyItem.into()),
                "{}",
                list.len()
            );
        }
    }

    #[test]
    fn a_list_may_have_a_line_for_each_key() {
        let keys: Vec<AppKey> = (0..3).map(|_| AppKey::generate().unwrap()).collect();
        let [a, b, c] = [0, 1, 2].map(|n: usize| keys[n].to_base64());
        let (a, b, c) = (a.as_str(), b.as_str(), c.as_str());
        for list in [
            format!("{a},{b},{c}"),
            format!("{a}\n{b}\n{c}\n"),
            format!("{a}\r\n{b}\r\n\r\n  {c}\r\n\r\n"),
            format!("\n{a},\n{b}\n{c}"),
        ] {
            let read = parse_list(&list).collect::<Result<Vec<_>, _>>().unwrap();
            let ids = |keys: &[AppKey]| keys.iter().map(AppKey::id).collect::<Vec<_>>();
            assert_eq!(ids(&read), ids(&keys));
        }
        for list in [format!("{a},\n"), format!("{a},\n,\n{b}"), "\n,".to_owned()] {
            let read = parse_list(&list).collect::<Result<Vec<_>, _>>();
            assert_eq!(read.unwrap_err(), Problem::EmptyItem.into());
        }
    }

    #[test]
    fn keys_may_be_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let [a, b, c] = [0; 3].map(|_| AppKey::generate().unwrap());
        let (in_a, in_b) = (a.to_base64(), b.to_base64());
        let sealing = file("sealing", &format!("{}\n", *in_a));
        let previous = file("previous", &format!("{}\n{}\n", *in_b, *c.to_base64()));
        let all = [a.id(), b.id(), c.id()];
        let sealing = ("APP_KEY_FILE", sealing.as_str());
        let previous = ("APP_PREVIOUS_KEYS_FILE", previous.as_str());
        let direct = ("APP_KEY", in_a.as_str());
        for (variables, ids) in [
            (vec![sealing], &all[..1]),
            (vec![sealing, previous], &all),
            (vec![direct, previous], &all),
            (vec![sealing, ("APP_PREVIOUS_KEYS", &in_b)], &all[..2]),
            (
                vec![sealing, ("APP_KEY", ""), ("APP_PREVIOUS_KEYS", "")],
                &all[..1],
            ),
            (vec![direct, ("APP_KEY_FILE", "")], &all[..1]),
            (
                vec![direct, ("APP_PREVIOUS_KEYS_FILE", &file("none", "\n"))],
                &all[..1],
            ),
        ] {
            let ring = KeyRing::from_variables(&&variables[..]).unwrap();
            assert_eq!(ring.ids().collect::<Vec<_>>(), ids, "{variables:?}");
        }
        let bad = file("bad", &format!("{}\nhunter2\n", *in_b));
        let shown = |path: &str| std::path::PathBuf::from(path);
        for (variables, error) in [
            (
                vec![direct, sealing],
                "APP_KEY_FILE: it and `APP_KEY` are both set; leave one of them out".to_owned(),
            ),
            (
                vec![direct, previous, ("APP_PREVIOUS_KEYS", "x")],
                "APP_PREVIOUS_KEYS_FILE: it and `APP_PREVIOUS_KEYS` are both set".to_owned(),
            ),
            (
                vec![("APP_KEY_FILE", "/nowhere/key")],
                "APP_KEY_FILE: \"/nowhere/key\": ".to_owned(),
            ),
            (
                vec![("APP_KEY_FILE", &bad)],
                format!(
                    "APP_KEY_FILE: {:?}: what follows `base64:` is not base64",
                    shown(&bad)
                ),
            ),
            (
                vec![direct, ("APP_PREVIOUS_KEYS_FILE", &bad)],
                format!(
                    "APP_PREVIOUS_KEYS_FILE, item 2: {:?}: it starts with neither",
                    shown(&bad)
                ),
            ),
        ] {
            let refused = KeyRing::from_variables(&&variables[..]).unwrap_err();
            let shown = refused.to_string();
            assert!(shown.starts_with(&error), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(ConfigError::from(refused).to_string(), shown);
        }
    }

    #[test]
    fn a_variable_that_was_meant_to_have_keys_is_refused_and_ours_is_named() {
        let key = AppKey::generate().unwrap().to_base64();
        for (stray, ours) in [
            ("APPKEY", "APP_KEY"),
            ("App_Key", "APP_KEY"),
            ("APP_KEYS", "APP_KEY"),
            ("APP_KEYFILE", "APP_KEY_FILE"),
            ("APP_KEY_FIEL", "APP_KEY_FILE"),
            ("APP_PREVIOUS_KEY", "APP_PREVIOUS_KEYS"),
            ("APP_PREVIUOS_KEYS", "APP_PREVIOUS_KEYS"),
            ("APP_PERVIOUS_KEYS", "APP_PREVIOUS_KEYS"),
            ("APP_PREVIOUSKEYS", "APP_PREVIOUS_KEYS"),
            ("APP_PREV_KEYS", "APP_PREVIOUS_KEYS"),
            ("APP_RETIRED_KEYS", "APP_PREVIOUS_KEYS"),
            ("APP_KEY_PATH", "APP_KEY_FILE"),
            ("APP_OLD_KEYS", "APP_PREVIOUS_KEYS"),
            ("APP_PREVIOUS_KEY_FILE", "APP_PREVIOUS_KEYS_FILE"),
        ] {
            let variables = [("APP_KEY", key.as_str()), (stray, "hunter2")];
            let error = KeyRing::from_variables(&&variables[..]).unwrap_err();
            let error = ConfigError::from(error);
            assert_eq!(error.setting(), stray);
            assert!(
                error.problem().contains(&format!("set `{ours}`")),
                "{error}"
            );
            assert!(!error.problem().contains("hunter2"), "{error}");
            let variables = [("APP_KEY", key.as_str()), (stray, " ")];
            assert!(KeyRing::from_variables(&&variables[..]).is_ok(), "{stray}");
        }
        for stranger in [
            "APP_NAME",
            "APP_ENV",
            "APP_URL",
            "APP_KEY_ID",
            "APP_SECRET",
            "APP_KEYRING",
            "APP_API_KEY",
            "APP_PUBLIC_KEY",
            "APP_PREVIOUS_VERSION",
            "AWS_KEY",
            "MYAPP_KEY",
            "KEY",
            "APP",
            "_",
            "",
        ] {
            let variables = [("APP_KEY", key.as_str()), (stranger, "x")];
            assert!(
                KeyRing::from_variables(&&variables[..]).is_ok(),
                "{stranger}"
            );
        }
    }

    #[test]
    fn debug_shows_ids_only() {
        let key = AppKey::generate().unwrap();
        assert_eq!(
            format!("{:?}", KeyRing::new(key.clone())),
            format!("[{}]", key.id())
        );
    }
}
