//! The values of the fields before they are typed, from either source, and how each is parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use cookie::time::OffsetDateTime;
use cookie::time::format_description::well_known::Rfc3339;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::driver::{Driver, RedisUrl};
use super::duration;
#[cfg(feature = "device-bound")]
use crate::binding::DeviceStage;
use crate::cookie::SameSite;
use crate::env::{self, Variables};
use crate::error::ConfigError;

pub(super) const FIELDS: [&str; 24] = [
    "driver",
    "cookie_name",
    "max_age",
    "max_lifetime",
    "idle_timeout",
    "refresh_after",
    "secure",
    "http_only",
    "same_site",
    "domain",
    "path",
    "partitioned",
    "persistent",
    "context",
    "not_before",
    "device_bound",
    "max_size",
    "empty_if_unavailable",
    "adopt_cookies",
    "small_in_cookie",
    "memory_max_bytes",
    "file_path",
    "redis_url",
    "redis_prefix",
];

/// The field whose value may be in a file that a variable names, because it holds a password.
pub(super) const IN_A_FILE: &str = "redis_url";

/// Other names of settings, after `SESSION_` or in a file, with the fields here: the names of
/// PHP's, Python's and JavaScript's frameworks, and plain words. It has no name that another
/// program on the machine might use.
pub(super) const ALSO_CALLED: [(&str, &[&str]); 76] = [
    ("ABSOLUTE_LIFETIME", &["max_age"]),
    ("ABSOLUTE_TIMEOUT", &["max_age"]),
    ("BACKEND", &["driver"]),
    ("CONNECTION", &["redis_url"]),
    ("COOKIE", &["cookie_name"]),
    ("COOKIE_AGE", &["max_age"]),
    ("COOKIE_DOMAIN", &["domain"]),
    ("COOKIE_EXPIRES", &["max_age"]),
    ("COOKIE_EXPIRY", &["max_age"]),
    ("COOKIE_HTTP_ONLY", &["http_only"]),
    ("COOKIE_KEY", &["APP_KEY"]),
    ("COOKIE_LIFETIME", &["max_age"]),
    ("COOKIE_MAX_AGE", &["max_age"]),
    ("COOKIE_PARTITIONED", &["partitioned"]),
    ("COOKIE_PATH", &["path"]),
    ("COOKIE_PERSISTENT", &["persistent"]),
    ("COOKIE_SAME_SITE", &["same_site"]),
    ("COOKIE_SECRET", &["APP_KEY"]),
    ("COOKIE_SECURE", &["secure"]),
    ("DIRECTORY", &["file_path"]),
    ("DURATION", &["max_age"]),
    ("ENCRYPT", &[]),
    ("ENCRYPTION_KEY", &["APP_KEY"]),
    ("ENGINE", &["driver"]),
    ("EXPIRATION", &["max_age"]),
    ("EXPIRATION_TIME", &["max_age"]),
    ("EXPIRE", &["max_age"]),
    ("EXPIRES", &["max_age"]),
    ("EXPIRES_AFTER", &["max_age"]),
    ("EXPIRES_IN", &["max_age"]),
    ("EXPIRE_AFTER", &["max_age"]),
    ("EXPIRE_AT_BROWSER_CLOSE", &["persistent"]),
    ("EXPIRE_ON_CLOSE", &["persistent"]),
    ("EXPIRY", &["max_age"]),
    ("FILES", &["file_path"]),
    ("FILE_DIR", &["file_path"]),
    ("FILE_DIRECTORY", &["file_path"]),
    ("IDLE", &["idle_timeout"]),
    ("IDLE_EXPIRY", &["idle_timeout"]),
    ("IDLE_TIME", &["idle_timeout"]),
    ("INACTIVITY", &["idle_timeout"]),
    ("INACTIVITY_TIMEOUT", &["idle_timeout"]),
    ("KEY", &["APP_KEY"]),
    ("KEY_PREFIX", &["redis_prefix"]),
    ("LIFESPAN", &["max_age"]),
    ("LIFETIME", &["max_age", "idle_timeout"]),
    ("MAX_AGE_SECONDS", &["max_age"]),
    ("MAX_IDLE", &["idle_timeout"]),
    ("MAX_IDLE_TIME", &["idle_timeout"]),
    ("MAX_INACTIVITY", &["idle_timeout"]),
    ("PARTITIONED_COOKIE", &["partitioned"]),
    ("PERMANENT", &["persistent"]),
    ("PERSISTENT_COOKIE", &["persistent"]),
    ("PREFIX", &["redis_prefix"]),
    ("REDIS", &["redis_url"]),
    ("REDIS_ADDRESS", &["redis_url"]),
    ("REDIS_CONNECTION", &["redis_url"]),
    ("REDIS_DB", &["redis_url"]),
    ("REDIS_HOST", &["redis_url"]),
    ("REDIS_PASSWORD", &["redis_url"]),
    ("REDIS_PORT", &["redis_url"]),
    ("SAVE_PATH", &["file_path"]),
    ("SECRET", &["APP_KEY"]),
    ("SECRETS", &["APP_KEY"]),
    ("SECRET_KEY", &["APP_KEY"]),
    ("SECRET_KEY_BASE", &["APP_KEY"]),
    ("SECURE_COOKIE", &["secure"]),
    ("SECURE_COOKIES", &["secure"]),
    ("SIGNING_KEY", &["APP_KEY"]),
    ("STORAGE", &["driver"]),
    ("STORE", &["driver"]),
    ("STORE_DRIVER", &["driver"]),
    ("STORE_PATH", &["file_path"]),
    ("TIMEOUT", &["idle_timeout"]),
    ("TTL", &["max_age"]),
    ("VALID_FOR", &["max_age"]),
];

/// Returns the part after `SESSION_`, in upper or lower case.
pub(super) fn behind_session(name: &str) -> Option<&str> {
    let (family, rest) = name.split_at_checked("SESSION_".len())?;
    family.eq_ignore_ascii_case("SESSION_").then_some(rest)
}

/// Returns the fields here for another framework's `name`, without `SESSION_`.
pub(super) fn called_here(name: &str) -> Option<&'static [&'static str]> {
    let mut others = ALSO_CALLED.iter();
    let (_, fields) = others.find(|(other, _)| env::is_same(name, other))?;
    Some(fields)
}

/// The source of the settings, which decides how errors name a field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Source {
    #[default]
    File,
    Environment,
    /// The environment, with the Redis URL in a file.
    EnvironmentAndFile,
}

impl Source {
    pub(super) fn name_of(self, field: &str) -> String {
        match self {
            Self::File => field.to_owned(),
            Self::EnvironmentAndFile if field == IN_A_FILE => {
                format!("{}_FILE", Self::Environment.name_of(field))
            }
            Self::Environment | Self::EnvironmentAndFile => {
                format!("SESSION_{}", field.to_ascii_uppercase())
            }
        }
    }

    /// Says what to set instead of a name that nothing reads.
    pub(super) fn set_instead(self, fields: &[&str]) -> String {
        let is_field = |name: &str| FIELDS.contains(&name);
        let names = fields.iter().map(|name| match is_field(name) {
            true => self.name_of(name),
            // Anything else is a variable's name already, whatever the source.
            false => (*name).to_owned(),
        });
        env::set_instead(&names.collect::<Vec<_>>())
    }

    /// Rewords a builder's error with the names that the settings' author knows.
    pub(super) fn respell(self, error: &ConfigError) -> ConfigError {
        let attribute = error.setting();
        let method = attribute.strip_prefix("cookie ").unwrap_or(attribute);
        let mut problem = error.problem().to_owned();
        for other in [
            "name",
            "domain",
            "lifetime",
            "max_lifetime",
            "idle_timeout",
            "device_bound",
        ] {
            let name = format!("`{}`", self.name_of(field_of(other)));
            problem = problem.replace(&format!("`{other}`"), &name);
        }
        ConfigError::new(self.name_of(field_of(method)), problem)
    }
}

/// Refuses variables that look like settings but that nothing reads.
pub(super) fn refuse_strays(variables: &dyn Variables) -> Result<(), ConfigError> {
    let known: Vec<String> = FIELDS
        .into_iter()
        .map(|field| Source::Environment.name_of(field))
        .chain([Source::EnvironmentAndFile.name_of(IN_A_FILE)])
        .collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    env::refuse_strays(variables, &known, "SESSION", |name| {
        let rest = behind_session(name)?;
        // Only secrets can be in a file.
        let in_file = rest.strip_suffix("_FILE").unwrap_or_default();
        let field = FIELDS
            .into_iter()
            .find(|field| env::is_same(field, in_file));
        let fields = match &field {
            Some(field) => std::slice::from_ref(field),
            None => called_here(rest).or_else(|| called_here(in_file))?,
        };
        Some(Source::Environment.set_instead(fields))
    })
}

/// Returns the field that belongs to a builder's method.
fn field_of(method: &str) -> &str {
    match method {
        "name" => "cookie_name",
        "lifetime" => "max_age",
        same => same,
    }
}

/// All fields of a source.
pub(super) struct Fields {
    pub(super) source: Source,
    given: BTreeMap<&'static str, Given>,
}

impl Fields {
    pub(super) fn of(source: Source) -> Self {
        Self {
            source,
            given: BTreeMap::new(),
        }
    }

    /// Returns the field's previous value, if it had one.
    pub(super) fn insert(&mut self, field: &'static str, given: Given) -> Option<Given> {
        self.given.insert(field, given)
    }

    pub(super) fn get<T>(
        &self,
        field: &str,
        understand: impl Fn(&Given) -> Understood<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.given.get(field) {
            None | Some(Given::Nothing) => Ok(None),
            Some(given) => understand(given)
                .map(Some)
                .map_err(|problem| ConfigError::new(self.source.name_of(field), problem)),
        }
    }
}

/// A field's value before it is parsed.
pub(super) enum Given {
    Text(Zeroizing<String>),
    Truth(bool),
    Whole(u64),
    /// Null or empty, which counts as unset.
    Nothing,
    /// A value that no field can have: a list, a fraction, text that is not UTF-8.
    Other,
}

/// A field's parsed value, or a text that says which values are possible.
type Understood<T> = Result<T, &'static str>;

impl Given {
    pub(super) fn from_text(text: &str) -> Self {
        match text.trim() {
            "" => Self::Nothing,
            text => Self::Text(Zeroizing::new(text.to_owned())),
        }
    }

    pub(super) fn driver(&self) -> Understood<Driver> {
        let text = self.text().unwrap_or_default();
        let known = |driver: &Driver| text.eq_ignore_ascii_case(driver.as_str());
        let driver = Driver::ALL.into_iter().find(known);
        driver.ok_or("it must be `cookie`, `memory`, `file` or `redis`")
    }

    pub(super) fn text(&self) -> Understood<String> {
        match self {
            Self::Text(text) => Ok(text.to_string()),
            _ => Err("it must be UTF-8 text; in a file, in quotes"),
        }
    }

    /// The stage of device-bound sessions.
    #[cfg(feature = "device-bound")]
    pub(super) fn stage(&self) -> Understood<DeviceStage> {
        let text = self.text().unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(DeviceStage::Off),
            "serve" => Ok(DeviceStage::Serve),
            "offer" => Ok(DeviceStage::Offer),
            "enforce" => Ok(DeviceStage::Enforce),
            _ => Err("it must be `off`, `serve`, `offer` or `enforce`"),
        }
    }

    /// Without the feature, sessions can only stay unbound.
    #[cfg(not(feature = "device-bound"))]
    pub(super) fn stage(&self) -> Understood<()> {
        match self.text() {
            Ok(text) if text.eq_ignore_ascii_case("off") => Ok(()),
            _ => Err("this build can only have it `off`; turn on the feature `device-bound`"),
        }
    }

    pub(super) fn redis_url(&self) -> Understood<RedisUrl> {
        self.text().map(RedisUrl::from)
    }

    pub(super) fn duration(&self) -> Understood<Duration> {
        match self {
            Self::Whole(seconds) => Some(Duration::from_secs(*seconds)),
            Self::Text(text) => duration::parse(text),
            _ => None,
        }
        .ok_or(duration::FORMS)
    }

    pub(super) fn truth(&self) -> Understood<bool> {
        match self {
            Self::Truth(truth) => Some(*truth),
            Self::Whole(0) => Some(false),
            Self::Whole(1) => Some(true),
            Self::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
        .ok_or("it must be `true`, `yes`, `on` or `1`, or `false`, `no`, `off` or `0`")
    }

    pub(super) fn size(&self) -> Understood<usize> {
        match self {
            Self::Whole(bytes) => usize::try_from(*bytes).ok(),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
        .ok_or("it must be a number of bytes such as `1048576`")
    }

    pub(super) fn same_site(&self) -> Understood<SameSite> {
        let text = self.text().unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "lax" => Ok(SameSite::Lax),
            "strict" => Ok(SameSite::Strict),
            "none" => Ok(SameSite::None),
            _ => Err("it must be `lax`, `strict` or `none`"),
        }
    }

    pub(super) fn moment(&self) -> Understood<SystemTime> {
        let text = self.text().unwrap_or_default();
        OffsetDateTime::parse(&text, &Rfc3339)
            .ok()
            .and_then(|moment| {
                let seconds = u64::try_from(moment.unix_timestamp()).ok()?;
                let since_epoch = Duration::new(seconds, moment.nanosecond());
                SystemTime::UNIX_EPOCH.checked_add(since_epoch)
            })
            .ok_or(
                "it must be a moment of RFC 3339 since 1970, such as `2026-01-31T12:00:00Z`; \
                 in a file, in quotes",
            )
    }
}

/// Accepts any type of a format, so that the error for a wrong type can name the field.
impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::from_text(text))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Given, E> {
        Ok(Given::Truth(truth))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Given, E> {
        Ok(Given::Whole(whole))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Given, E> {
        Ok(u64::try_from(whole).map_or(Given::Other, Given::Whole))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_none<E>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        Given::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Given, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Given, A::Error> {
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
}
