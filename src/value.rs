//! Self-describing values: the content of a session's entries.
//!
//! An entry's bytes are a [`Value`] in postcard's format: a tag, then the content. [`encode`] turns
//! any serde type into these bytes. [`decode`] reads any serde type straight from them.

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

/// The most levels of lists and maps inside one another: 32 pass, 33 do not.
pub(crate) const MAX_DEPTH: usize = 32;

/// The bytes of [`Value::Null`].
const NULL: &[u8] = &[tag::NULL];

/// Whether these are the bytes of null. An entry that holds null counts as missing: readers cannot
/// tell `None` from a missing value.
pub(crate) fn is_null(bytes: &[u8]) -> bool {
    bytes == NULL
}

/// A session's value without its Rust type. Use it to inspect, move or print sessions.
///
/// `Value` is itself a serde type, so you can `get` an entry of any type as a `Value`.
/// [`Session::to_map`](crate::Session::to_map) returns all entries.
///
/// ```
/// # use sealed_session::{Session, Value};
/// # let session = Session::new();
/// session.insert("cart", ["apple", "pear"])?;
/// let cart: Option<Value> = session.get("cart")?;
/// let items = cart.as_ref().and_then(Value::as_list).unwrap_or_default();
/// assert_eq!(items[0].as_str(), Some("apple"));
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
///
/// When you insert a serde type, it becomes one of these variants, much as it would become JSON:
///
/// - A non-negative integer of any width becomes [`Unsigned`](Self::Unsigned).
/// - A struct becomes a [`Map`](Self::Map) by field name.
/// - A unit variant of an enum becomes its name, any other variant a map with one entry.
/// - A type with a human-readable form uses it: UUIDs, times and addresses are text.
/// - A map's keys are text. Numbers and booleans are read back from that text.
///
/// Unlike in JSON, bytes stay bytes, and a float may be infinite or NaN.
///
/// # Limits of serde
///
/// `None`, `()` and a unit struct all become [`Null`](Self::Null), so `Some(None)` and `Some(())`
/// come back as `None`. Integers beyond 64 bits are refused.
///
/// serde reads flattened fields, untagged enums and internally tagged enums through its own buffer.
/// This buffer holds no 128-bit integers, and it cannot parse keys from text. So an `i128`, a
/// `u128` or a `HashMap<u64, _>` in such a place is an error when you read it, as with
/// `serde_json`. If the serialized form shows that such a map is flattened or in a tagged enum,
/// inserting it is an error.
///
/// # Debug and drop
///
/// `Debug` shows only kinds and sizes, never content. You can drop a value of any depth safely.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: `None`, `()`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A non-negative integer.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A floating-point number, bit by bit.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes, from types that serialize as bytes (`serde_bytes`).
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

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if this is one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if this is one that fits an `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).ok(),
            Self::Negative(value) => Some(*value),
            _ => None,
        }
    }

    /// The floating-point number, if this is one. Integers are not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if these are bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// Moves nested lists and maps out of `self`, because dropping them would recurse.
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

/// A value built by hand can be nested deeper than the stack, and the default drop would recurse.
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

/// A Rust type and a value that do not fit each other. The text names kinds and types, never
/// content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// The type reads another kind of value, or a value cannot hold the type.
    Mismatch(String),
    /// The value lacks this field, and the type has no default for it.
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
