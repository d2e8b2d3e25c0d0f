//! Self-describing values: what an entry of a session holds.
//!
//! An entry's bytes are postcard of [`Value`]: a tag, then the content. [`encode`] makes them
//! from any serde type, [`decode`] reads them as any serde type, straight from the bytes.

mod de;
mod entries;
mod ser;
mod tag;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

pub(crate) use de::decode;
pub(crate) use entries::{changes_to, decode_entries, encode_fields};
pub(crate) use ser::encode;

/// How deep lists and maps may stand in one another: 32 pass, 33 do not.
pub(crate) const MAX_DEPTH: usize = 32;

/// The bytes of [`Value::Null`].
const NULL: &[u8] = &[tag::NULL];

/// Whether these are the bytes of null. An entry that holds it is none: `None` and a value that
/// is not there look the same to everybody.
pub(crate) fn is_null(bytes: &[u8]) -> bool {
    bytes == NULL
}

/// A session's value without a Rust type: for looking at a session, moving it, printing it.
///
/// Every serde type becomes one of these when it is inserted, as it would become JSON: a
/// non-negative integer of any width is [`Unsigned`](Self::Unsigned), a struct is a
/// [`Map`](Self::Map) by field name, a unit variant its name, any other variant a map with one
/// entry. Types that have a form for people take that one: UUIDs, times and addresses are text.
/// The keys of a map are text, from which numbers and truth values are read again. Unlike in JSON,
/// bytes are bytes, and a float may be infinite or not a number.
///
/// # What serde cannot tell apart, or not read back
///
/// `None`, `()` and a unit struct are all [`Null`](Self::Null), so `Some(None)` comes back as
/// `None`, and so does `Some(())`. An integer beyond 64 bits is refused.
///
/// serde reads flattened fields and untagged and internally tagged enums through a buffer of its
/// own, which can hold neither integers of 128 bits nor keys that are to be read from text: in
/// there an `i128`, a `u128` and a `HashMap<u64, _>` are errors when they are read, as they are
/// with `serde_json`. Where it shows in what is written that a map of such keys is flattened or
/// in a tagged enum, it is refused when it is inserted.
///
/// `Value` is itself a serde type: `session.get::<Value>("cart")` reads an entry whatever it
/// holds, and [`Session::to_map`](crate::Session::to_map) gives all of them.
///
/// `Debug` shows kinds and sizes only, never content. Dropping a value of any depth is safe.
///
/// ```
/// # use sealed_session::{Session, Value};
/// let session = Session::new();
/// session.insert("cart", [("apple", 3), ("pear", 1)].iter().collect::<Vec<_>>())?;
/// assert_eq!(session.get::<Value>("cart")?.unwrap().as_list().unwrap().len(), 2);
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: `None`, `()`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A non-negative integer.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A floating-point number, bit by bit.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes, of types that serialize as bytes (`serde_bytes`).
    Bytes(Vec<u8>),
    /// A sequence or tuple.
    List(Vec<Value>),
    /// A map or struct, sorted by the bytes of its keys.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The kind's name: `null`, `boolean`, `integer`, `float`, `string`, `bytes`, `list`, `map`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Unsigned(_) | Self::Negative(_) => "integer",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one of `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).ok(),
            Self::Negative(value) => Some(*value),
            _ => None,
        }
    }

    /// The floating-point number, if it is one. An integer is not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// Moves what could make dropping recurse out of `self`.
    fn unnest(&mut self, nested: &mut Vec<Value>) {
        match self {
            Self::List(items) => nested.extend(items.drain(..).filter(Self::is_container)),
            Self::Map(entries) => {
                nested.extend(
                    std::mem::take(entries)
                        .into_values()
                        .filter(Self::is_container),
                );
            }
            _ => {}
        }
    }
}

/// A hand-made value can be nested deeper than the stack is; the default drop would recurse.
impl Drop for Value {
    fn drop(&mut self) {
        let mut nested = Vec::new();
        self.unnest(&mut nested);
        while let Some(mut value) = nested.pop() {
            value.unnest(&mut nested);
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.len(),
            Self::Map(entries) => entries.len(),
            _ => return write!(f, "Value({})", self.kind()),
        };
        write!(f, "Value({}, {size})", self.kind())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Negative(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value with string keys and integers of 64 bits")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_owned()))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            if entries.insert(key, value).is_some() {
                return Err(A::Error::custom("a map has one key twice"));
            }
        }
        Ok(Value::Map(entries))
    }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

value_from! {
    bool => |value| Self::Bool(value);
    u64 => |value| Self::Unsigned(value);
    i64 => |value| u64::try_from(value).map_or(Self::Negative(value), Self::Unsigned);
    f64 => |value| Self::Float(value);
    &str => |value| Self::String(value.to_owned());
    String => |value| Self::String(value);
    Vec<Self> => |value| Self::List(value);
    BTreeMap<String, Self> => |value| Self::Map(value);
}

/// Why a Rust type and a value did not meet. The text names kinds and types, never content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// The value is not what the type reads, or the type is not what a value can hold.
    Mismatch(String),
    /// The value has no such field, and the type no default for it.
    Missing(&'static str),
    /// The bytes are not a canonical value.
    Malformed,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(text) => f.write_str(text),
            Self::Missing(field) => write!(f, "it has no field {field}"),
            Self::Malformed => f.write_str("the stored bytes are not a value"),
        }
    }
}

impl std::error::Error for ValueError {}

impl From<crate::reader::Malformed> for ValueError {
    fn from(_: crate::reader::Malformed) -> Self {
        Self::Malformed
    }
}

fn too_deep() -> ValueError {
    ValueError::Mismatch(format!("it is nested deeper than {MAX_DEPTH} levels"))
}

#[cfg(test)]
mod tests;
