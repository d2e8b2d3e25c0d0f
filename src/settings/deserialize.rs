//! Settings from a file, in any format that serde reads.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Settings;
use super::given::{FIELDS, Fields, Source, behind_session, called_here};
use crate::env;

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
                .ok_or_else(|| unknown(&key))?;
            if fields.insert(field, access.next_value()?).is_some() {
                return Err(Error::duplicate_field(field));
            }
        }
        Settings::read(&fields).map_err(Error::custom)
    }
}

/// Returns the error for an unknown field. It names the field that was probably meant, or all
/// fields.
fn unknown<E: Error>(key: &str) -> E {
    let name = key.escape_debug();
    let meant = env::meant(key, FIELDS, "SESSION");
    let fields = match &meant {
        Some(field) => std::slice::from_ref(field),
        None => match called_here(behind_session(key).unwrap_or(key)) {
            Some(fields) => fields,
            None => return Error::unknown_field(&name.to_string(), &FIELDS),
        },
    };
    let problem = Source::File.set_instead(fields);
    Error::custom(format_args!("unknown field `{name}`: {problem}"))
}
