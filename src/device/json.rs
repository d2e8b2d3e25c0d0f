//! Reads JSON strictly. An object that has a member twice is refused, at any depth, because two
//! readers could understand it in two ways.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The JSON values that matter in a JWT. Numbers, lists and the like are read and dropped.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Text(String),
    Object(BTreeMap<String, Json>),
    Other,
}

impl Json {
    /// Reads a whole object.
    pub(super) fn object(bytes: &[u8]) -> Option<Self> {
        let json: Self = serde_json::from_slice(bytes).ok()?;
        matches!(json, Self::Object(_)).then_some(json)
    }

    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        while access.next_element::<Json>()?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, json)) = access.next_entry::<String, Json>()? {
            if members.insert(name, json).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_members_are_found_and_others_are_not_text() {
        let json = Json::object(br#"{"a":"x","b":1,"c":{"a":"y"},"d":null,"e":[1.5,-1,true]}"#);
        let json = json.unwrap();
        assert_eq!(json.text("a"), Some("x"));
        for name in ["b", "c", "d", "e", "f"] {
            assert_eq!(json.text(name), None, "{name}");
        }
        assert_eq!(json.get("c").unwrap().text("a"), Some("y"));
        assert!(json.get("b").unwrap().get("a").is_none());
    }

    #[test]
    fn what_is_not_one_object_with_each_member_once_is_refused() {
        let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        for bad in [
            "",
            "1",
            "\"a\"",
            "[]",
            "null",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":"x","a":"x"}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a":"x",}"#,
            r#"{'a':"x"}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{0}\"}",
            &deep,
        ] {
            assert_eq!(Json::object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Json::object(b"{\"a\":\"\xff\"}"), None, "not UTF-8");
        assert_eq!(Json::object(b"\xef\xbb\xbf{}"), None, "a byte order mark");
        assert!(
            Json::object(b" {\n} ").is_some(),
            "white space around is JSON"
        );
    }
}
