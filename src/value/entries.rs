//! A struct as a session's entries: each field is one entry, and other entries are left alone.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::Serialize;
use zeroize::Zeroizing;

use super::de::{Decoder, Key, checked};
use super::{NULL, Value, ValueError, encode, is_null, ser};

type Bytes = Zeroizing<Vec<u8>>;

/// The content of each field. `None` stands for null: such a field has no entry.
pub(crate) type Fields = BTreeMap<String, Option<Bytes>>;

/// Reads a `T` from entries that are sorted by name. A struct sees only the entries that it has
/// fields for.
///
/// If a field has no entry, serde supplies its default. If it has no default, it is read from null,
/// because null has no entry.
pub(crate) fn decode_entries<T: DeserializeOwned>(
    entries: &[(String, Bytes)],
) -> Result<T, ValueError> {
    let mut nulls = Vec::new();
    let mut complaint = None;
    loop {
        let read = T::deserialize(Entries {
            entries,
            nulls: &nulls,
        });
        match read {
            Err(ValueError::Missing(name)) if !nulls.contains(&name) => {
                complaint = Some(ValueError::Missing(name));
                nulls.push(name);
            }
            Err(error) => return Err(complaint.unwrap_or(error)),
            Ok(value) => return Ok(value),
        }
    }
}

/// The fields of `value`, except those that it skips.
pub(crate) fn encode_fields<T: Serialize>(value: &T) -> Result<Fields, ValueError> {
    let mut value = ser::to_value(value)?;
    let Value::Map(fields) = &mut value else {
        let problem = format!(
            "it is of the kind {}, not a struct with named fields",
            value.kind()
        );
        return Err(ValueError::Mismatch(problem));
    };
    let fields = std::mem::take(fields).into_iter();
    let encoded = fields.map(|(name, field)| {
        let bytes = encode(&field).map_err(|error| error.within(&name))?;
        Ok((name, Some(bytes).filter(|bytes| !is_null(bytes))))
    });
    encoded.collect()
}

/// The changes to the entries `before` that make a `T` read from them equal to `value`: which
/// entries to set, and which to remove.
///
/// An entry belongs to the struct if it has the name of a field, if the present `T` has it, or if
/// the new `T` would read it. All other entries stay. The result is read back, and a value that
/// does not survive this is refused.
pub(crate) fn changes_to<T: Serialize + DeserializeOwned>(
    value: &T,
    before: &[(String, Bytes)],
) -> Result<Fields, ValueError> {
    let fields = encode_fields(value)?;
    let mut changes = fields.clone();
    for name in names_now::<T>(before) {
        changes.entry(name).or_insert(None);
    }
    loop {
        let after = Changed {
            before,
            by: &changes,
        };
        let read = after.read::<T>()?;
        let behind: Vec<String> = after
            .names()
            .filter(|name| read.contains_key(*name) && !fields.contains_key(*name))
            .map(str::to_owned)
            .collect();
        if behind.is_empty() {
            after.check::<T>(&fields, &read)?;
            return Ok(changes);
        }
        changes.extend(behind.into_iter().map(|name| (name, None)));
    }
}

/// The names of the entries that belong to the present `T`, whatever the new one is.
fn names_now<T: Serialize + DeserializeOwned>(before: &[(String, Bytes)]) -> Vec<String> {
    if let Some(names) = field_names::<T>() {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    // A struct with flattened fields, a map or an enum does not say which names it reads.
    let now = decode_entries::<T>(before).and_then(|now| encode_fields(&now));
    now.map(|now| now.into_keys().collect()).unwrap_or_default()
}

/// The names that a struct reads, aliases included. `None` for a type that reads any name.
fn field_names<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut names = None;
    // This fails for every `T`. Only the names that it leaves behind count.
    let _ = T::deserialize(Names(&mut names));
    names
}

/// The entries `before`, after the changes in `by`.
#[derive(Clone, Copy)]
struct Changed<'a> {
    before: &'a [(String, Bytes)],
    by: &'a Fields,
}

impl<'a> Changed<'a> {
    fn entries(self) -> BTreeMap<&'a str, &'a Bytes> {
        let before = self.before.iter().map(|(name, bytes)| (&**name, bytes));
        let mut entries: BTreeMap<_, _> = before.collect();
        for (name, bytes) in self.by {
            match bytes {
                Some(bytes) => entries.insert(name, bytes),
                None => entries.remove(&**name),
            };
        }
        entries
    }

    fn names(self) -> impl Iterator<Item = &'a str> {
        self.entries().into_keys()
    }

    fn read<T: Serialize + DeserializeOwned>(self) -> Result<Fields, ValueError> {
        self.read_without::<T>(None)
    }

    fn read_without<T: Serialize + DeserializeOwned>(
        self,
        missing: Option<&str>,
    ) -> Result<Fields, ValueError> {
        let entries = self.entries().into_iter();
        let entries: Vec<_> = entries
            .filter(|(name, _)| Some(*name) != missing)
            .map(|(name, bytes)| (name.to_owned(), bytes.clone()))
            .collect();
        decode_entries::<T>(&entries)
            .and_then(|value| encode_fields(&value))
            .map_err(|error| {
                ValueError::Mismatch(format!("it could not be read back, for then {error}"))
            })
    }

    /// Checks that `read` has the content of `fields`. Other bytes are fine if they come from the
    /// entry, because sets have no order.
    fn check<T: Serialize + DeserializeOwned>(
        self,
        fields: &Fields,
        read: &Fields,
    ) -> Result<(), ValueError> {
        let comes_from_the_entry = |name: &String| {
            let without = self.read_without::<T>(Some(name));
            without.is_err() || without.is_ok_and(|without| without.get(name) != read.get(name))
        };
        for name in fields.keys().chain(read.keys()) {
            let is_right = match (fields.get(name), read.get(name)) {
                (Some(Some(written)), Some(Some(read))) => {
                    written == read || comes_from_the_entry(name)
                }
                (written, read) => written == read,
            };
            if !is_right {
                let problem = format!(
                    "{name:?}: it could not be read back: `None` and skipped fields have no entry, \
                     so they must equal the field's default; and a field must be read under the \
                     name under which it is written"
                );
                return Err(ValueError::Mismatch(problem));
            }
        }
        Ok(())
    }
}

impl ValueError {
    fn within(self, name: &str) -> Self {
        Self::Mismatch(format!("{name:?}: {self}"))
    }
}

/// Entries from which a type is read.
struct Entries<'de> {
    entries: &'de [(String, Bytes)],
    /// Names that have no entry and are read from null.
    nulls: &'de [&'static str],
}

impl<'de> Entries<'de> {
    fn all(&self) -> Vec<(&'de str, &'de [u8])> {
        let entries = self.entries.iter();
        let nulls = self.nulls.iter().map(|name| (*name, NULL));
        entries
            .map(|(name, bytes)| (&**name, bytes.as_slice()))
            .chain(nulls)
            .collect()
    }

    /// In the order of the struct's fields: see [`Decoder::deserialize_struct`].
    fn of(&self, fields: &'static [&'static str]) -> Vec<(&'de str, &'de [u8])> {
        let all: BTreeMap<_, _> = self.all().into_iter().collect();
        let of_fields = fields.iter().filter_map(|name| all.get_key_value(name));
        of_fields.map(|(name, bytes)| (*name, *bytes)).collect()
    }
}

impl<'de> Deserializer<'de> for Entries<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(Access::to(self.all()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_map(Access::to(self.of(fields)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Gives serde the entries one by one.
struct Access<'de> {
    entries: std::vec::IntoIter<(&'de str, &'de [u8])>,
    /// The entry whose name has been read and whose value has not.
    next: Option<(&'de str, &'de [u8])>,
}

impl<'de> Access<'de> {
    fn to(entries: Vec<(&'de str, &'de [u8])>) -> Self {
        Self {
            entries: entries.into_iter(),
            next: None,
        }
    }
}

impl<'de> MapAccess<'de> for Access<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        self.next = self.entries.next();
        let name = self.next.map(|(name, _)| seed.deserialize(Key(name)));
        name.transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        let (name, bytes) = self.next.take().ok_or(ValueError::Malformed)?;
        let value = checked(bytes)
            .map_err(ValueError::from)
            .and_then(|mut reader| seed.deserialize(Decoder(&mut reader)));
        value.map_err(|error| error.within(name))
    }
}

/// Records which fields a struct asks for, and supplies none.
struct Names<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
