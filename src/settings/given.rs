//! What stands under each field, in whichever source, and how it is understood.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use cookie::time::OffsetDateTime;
use cookie::time::format_description::well_known::Rfc3339;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Driver, Settings};
use crate::cookie::SameSite;
use crate::error::ConfigError;

pub(super) const FIELDS: [&str; 23] = [
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
    "max_size",
    "empty_if_unavailable",
    "adopt_cookies",
    "small_in_cookie",
    "memory_max_bytes",
    "file_path",
    "redis_url",
    "redis_prefix",
];

/// Where settings come from, and so what their reader calls them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Source {
    #[default]
    File,
    Environment,
}

impl Source {
    pub(super) fn name_of(self, field: &str) -> String {
        match self {
            Self::File => field.to_owned(),
            Self::Environment => format!("SESSION_{}", field.to_ascii_uppercase()),
        }
    }

    /// An error of the builders, in the words of whoever wrote the settings.
    pub(super) fn respell(self, error: &ConfigError) -> ConfigError {
        let attribute = error.setting();
        let method = attribute.strip_prefix("cookie ").unwrap_or(attribute);
        let mut problem = error.problem().to_owned();
        for other in ["name", "lifetime", "max_lifetime", "idle_timeout"] {
            let name = format!("`{}`", self.name_of(field_of(other)));
            problem = problem.replace(&format!("`{other}`"), &name);
        }
        ConfigError::new(self.name_of(field_of(method)), problem)
    }
}

/// The field that a builder's method is for.
fn field_of(method: &str) -> &str {
    match method {
        "name" => "cookie_name",
        "lifetime" => "max_age",
        same => same,
    }
}

/// All fields that a source has.
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

    /// Gives back what the field was before, if it was there.
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

/// What stands under a field before it is understood.
pub(super) enum Given {
    Text(String),
    Truth(bool),
    Whole(u64),
    /// Null or empty: as if it were not there.
    Nothing,
    /// What no field can be: a list, a fraction, text that is not UTF-8.
    Other,
}

/// What a field means, or what it could be.
type Understood<T> = Result<T, &'static str>;

impl Given {
    pub(super) fn from_text(text: &str) -> Self {
        match text.trim() {
            "" => Self::Nothing,
            text => Self::Text(text.to_owned()),
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
            Self::Text(text) => Ok(text.clone()),
            _ => Err("it must be UTF-8 text; in a file, in quotes"),
        }
    }

    pub(super) fn duration(&self) -> Understood<Duration> {
        match self {
            Self::Whole(seconds) => Some(Duration::from_secs(*seconds)),
            Self::Text(text) => match text.parse() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => humantime::parse_duration(text).ok(),
            },
            _ => None,
        }
        .ok_or("it must be a length of time such as `24h`, `30m` or `1h 30m`, or whole seconds")
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

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Settings", &FIELDS, SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a session store by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Settings, A::Error> {
        let mut fields = Fields::of(Source::File);
        while let Some(key) = access.next_key::<String>()? {
            let field = FIELDS
                .into_iter()
                .find(|field| *field == key)
                .ok_or_else(|| Error::unknown_field(&key, &FIELDS))?;
            if fields.insert(field, access.next_value()?).is_some() {
                return Err(Error::duplicate_field(field));
            }
        }
        Settings::read(&fields).map_err(Error::custom)
    }
}

/// Takes whatever a format has, so that the error for a wrong kind can name the field.
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
