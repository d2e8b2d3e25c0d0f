//! The cookies beside the session's own.

use std::time::Duration;

use http::HeaderValue;

use super::names::Names;
use crate::cookie::{CookieConfig, SameSite};
use crate::error::ConfigError;
use crate::policy::LONGEST_MAX_AGE;

#[derive(Debug)]
pub(crate) struct Cookies {
    pub(crate) proof: Jar,
    pub(crate) key: Jar,
    pub(crate) offer: Jar,
    pub(crate) again: Jar,
}

/// One cookie: its attributes, and what removes it.
#[derive(Debug)]
pub(crate) struct Jar {
    config: CookieConfig,
    around: (String, String),
}

impl Cookies {
    /// The cookies with the key and the offer go to the endpoints alone. The browser must send them
    /// even if a page of another site caused the request, so they are `SameSite=None`.
    pub(crate) fn of(names: &Names, session: &CookieConfig) -> Result<Self, ConfigError> {
        let everywhere = |name: &str| CookieConfig::builder().name(name);
        let at_endpoint = |name: &str| {
            let cookie = everywhere(name).path(&names.path);
            Jar::of(cookie.same_site(SameSite::None).build()?)
        };
        let proof = everywhere(&names.proof).same_site(session.same_site());
        Ok(Self {
            proof: Jar::of(proof.build()?)?,
            key: at_endpoint(&names.key)?,
            offer: at_endpoint(&names.offer)?,
            again: Jar::of(everywhere(&names.again).build()?)?,
        })
    }
}

impl Jar {
    fn of(config: CookieConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            around: config.around_value(),
            config,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.config.name()
    }

    /// The attributes as Set-Cookie spells them, without Max-Age.
    pub(crate) fn attributes(&self) -> &str {
        let (_, attributes) = &self.around;
        attributes.trim_start_matches("; ")
    }

    /// The Set-Cookie header. It never is `None`, because name, token and attributes are ASCII.
    pub(crate) fn set(&self, token: &str, max_age: Option<Duration>) -> Option<HeaderValue> {
        let (before, after) = &self.around;
        let max_age =
            max_age.map(|age| format!("; Max-Age={}", age.min(LONGEST_MAX_AGE).as_secs()));
        let max_age = max_age.unwrap_or_default();
        sensitive(format!("{before}{token}{after}{max_age}"))
    }

    /// The Set-Cookie header that removes the cookie.
    pub(crate) fn remove(&self) -> Option<HeaderValue> {
        sensitive(self.config.removal())
    }
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
