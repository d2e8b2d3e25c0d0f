//! The rules of docs/format.md and of the Cookie header, said once more in the slowest and most
//! obvious way, without a line of the library. Whatever the library reads must come out as here.

use std::collections::{BTreeMap, BTreeSet};

use sealed_session::{Refusal, Value};

/// How deep lists and maps may stand in one another.
pub(crate) const MAX_DEPTH: usize = 32;

/// The bytes of null, which is no entry to a session.
pub(crate) const NULL: [u8; 1] = [0];

/// The values of the cookie `name`.
pub(crate) fn cookie_values(name: &[u8], fields: &[&[u8]]) -> Vec<Vec<u8>> {
    candidates(b';', fields, |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let is_ours = without_blanks(&pair[..equals]) == name;
        is_ours.then(|| without_blanks(&pair[equals + 1..]))
    })
}

/// The tokens in a header that has nothing else.
pub(crate) fn listed_values(fields: &[&[u8]]) -> Vec<Vec<u8>> {
    let some = |item: &[u8]| Some(without_blanks(item)).filter(|token| !token.is_empty());
    candidates(b',', fields, some)
}

/// The tokens of Authorization: behind the scheme and a blank.
pub(crate) fn bearer_values(fields: &[&[u8]]) -> Vec<Vec<u8>> {
    candidates(b',', fields, |item| {
        let item = without_blanks(item);
        let blank = item.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
        let is_ours = item[..blank].eq_ignore_ascii_case(b"bearer");
        is_ours.then(|| without_blanks(&item[blank..]))
    })
}

/// Different ones, at most four, within the bounds on bytes and parts.
fn candidates(
    separator: u8,
    fields: &[&[u8]],
    value: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut bytes = 0;
    for field in fields {
        let visible: Vec<u8> = field.iter().copied().take(65_536 - bytes).collect();
        bytes += visible.len();
        parts.extend(visible.split(|byte| *byte == separator).map(<[u8]>::to_vec));
    }
    let mut found = Vec::new();
    for value in parts.iter().take(4_096).filter_map(|part| value(part)) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found.truncate(4);
    found
}

fn without_blanks(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while matches!(bytes.first(), Some(b' ' | b'\t')) {
        bytes.remove(0);
    }
    while matches!(bytes.last(), Some(b' ' | b'\t')) {
        bytes.pop();
    }
    bytes
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A token's bytes, or why it is none: all that can be said without a key.
pub(crate) fn token_bytes(token: &[u8], max_length: usize) -> Result<Vec<u8>, Refusal> {
    if token.len() > max_length {
        return Err(Refusal::TooLong);
    }
    let bytes = base64url(token)
        .filter(|bytes| bytes.len() >= 77)
        .ok_or(Refusal::Malformed)?;
    if bytes[0] != 1 {
        return Err(Refusal::UnknownVersion);
    }
    Ok(bytes)
}

pub(crate) fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for character in text {
        let number = ALPHABET.iter().position(|known| known == character)?;
        bits.extend((0..6).rev().map(|bit| (number >> bit & 1) as u8));
    }
    let (bytes, loose) = bits.as_chunks::<8>();
    if loose.len() >= 6 || loose.contains(&1) {
        return None;
    }
    let byte = |bits: &[u8; 8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    Some(bytes.iter().map(byte).collect())
}

/// The text of a token's bytes.
pub(crate) fn base64url_text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |n, at| {
            n << 8 | usize::from(*group.get(at).unwrap_or(&0))
        });
        for place in 0..=group.len() {
            text.push(ALPHABET[number >> (18 - 6 * place) & 63]);
        }
    }
    text
}

/// A record as docs/format.md describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: [u8; 16],
    pub(crate) issued_at: u64,
    pub(crate) seen_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) transient: bool,
    /// The record is a stub.
    pub(crate) in_backend: bool,
    /// How long after its last use a backend keeps it; `seen_at` is then the time of issue.
    pub(crate) kept_for: Option<u64>,
    pub(crate) logged_in_at: Option<u64>,
    /// What a session needs that is bound to a device.
    pub(crate) binding: Option<[u8; 16]>,
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) sid: String,
    pub(crate) values: Vec<(String, Vec<u8>)>,
    pub(crate) flashes: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// When its lifetime began.
    pub(crate) fn began_at(&self) -> u64 {
        self.logged_in_at.unwrap_or(self.issued_at)
    }

    /// The record as a session has it, and as a save writes it.
    pub(crate) fn without_nulls(&self) -> Self {
        let mut record = self.clone();
        record.values.retain(|(_, value)| *value != NULL);
        record.flashes.retain(|(_, value)| *value != NULL);
        record
    }
}

pub(crate) fn read_record(bytes: &[u8]) -> Result<Record, Refusal> {
    read_known(bytes, 0x13)
}

/// The same for what a backend keeps.
pub(crate) fn read_stored_record(bytes: &[u8]) -> Result<Record, Refusal> {
    read_known(bytes, 0x17)
}

fn read_known(bytes: &[u8], known: u8) -> Result<Record, Refusal> {
    let flags = match bytes {
        [] | [1] => return Err(Refusal::BadRecord),
        [1, flags, ..] => *flags,
        _ => return Err(Refusal::Newer),
    };
    let further = bytes.get(36).filter(|_| flags & 0x10 != 0);
    if flags & !known != 0 || further.is_some_and(|further| further & !7 != 0) {
        return Err(Refusal::Newer);
    }
    read_fields(&bytes[2..], flags).ok_or(Refusal::BadRecord)
}

fn read_fields(bytes: &[u8], flags: u8) -> Option<Record> {
    let mut input = Input(bytes);
    let id = input.take(16)?.try_into().ok()?;
    let (issued_at, second) = (input.moment()?, input.moment()?);
    let is_kept = flags & 4 != 0;
    let expires_at = input.moment()?;
    let further = if flags & 0x10 != 0 {
        Some(input.take(1)?[0]).filter(|further| *further != 0)?
    } else {
        0
    };
    let is_named = further & 2 != 0;
    let record = Record {
        id,
        issued_at,
        seen_at: if is_kept { issued_at } else { second },
        kept_for: is_kept.then_some(second),
        expires_at,
        transient: flags & 2 != 0,
        in_backend: flags & 1 != 0,
        logged_in_at: match further & 1 {
            0 => None,
            _ => Some(input.moment()?),
        },
        binding: match further & 4 {
            0 => None,
            _ => Some(input.take(16)?.try_into().ok()?),
        },
        subject: input.text()?,
        label: if is_named {
            input.text()?
        } else {
            String::new()
        },
        sid: if is_named {
            input.text()?
        } else {
            String::new()
        },
        values: input.entries()?,
        flashes: input.entries()?,
    };
    let is_sound = input.0.is_empty()
        && [&record.subject, &record.label, &record.sid]
            .into_iter()
            .all(|name| name.len() <= 255)
        && (record.label.len() + record.sid.len() > 0) == is_named
        && record.began_at() <= record.issued_at
        && record.issued_at <= record.expires_at
        && [&record.values, &record.flashes].into_iter().all(|list| {
            list.len() <= 1024
                && list
                    .iter()
                    .zip(list.iter().skip(1))
                    .all(|(one, next)| one.0.as_bytes() < next.0.as_bytes())
        });
    is_sound.then_some(record)
}

/// The bytes of one value, read as a whole.
pub(crate) fn read_value(bytes: &[u8]) -> Option<Value> {
    let mut input = Input(bytes);
    let value = input.value(0)?;
    input.0.is_empty().then_some(value)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn moment(&mut self) -> Option<u64> {
        let bytes = self.take(6)?;
        Some(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Valid is what writing the number again gives.
    fn varint(&mut self) -> Option<u64> {
        let length = self.0.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let bytes = self.take(length.min(11))?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u128, |n, byte| n << 7 | u128::from(byte & 0x7f));
        let number = u64::try_from(number).ok()?;
        let mut again = Vec::new();
        write_varint(&mut again, number);
        (again == bytes).then_some(number)
    }

    fn length(&mut self) -> Option<usize> {
        Some(u32::try_from(self.varint()?).ok()? as usize)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.length()?;
        Some(self.take(length)?.to_vec())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn entries(&mut self) -> Option<Vec<(String, Vec<u8>)>> {
        let count = self.length()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push((self.text()?, self.bytes()?));
        }
        Some(entries)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        Some(match self.varint()? {
            0 => Value::Null,
            1 => match self.take(1)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return None,
            },
            2 => Value::Unsigned(self.varint()?),
            3 => match self.varint()? {
                zigzag if zigzag % 2 == 1 => Value::Negative(-1 - (zigzag / 2) as i64),
                _ => return None,
            },
            4 => Value::Float(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            5 => Value::String(self.text()?),
            6 => Value::Bytes(self.bytes()?),
            7 if depth < MAX_DEPTH => {
                let mut items = Vec::new();
                for _ in 0..self.length()? {
                    items.push(self.value(depth + 1)?);
                }
                Value::List(items)
            }
            8 if depth < MAX_DEPTH => {
                let mut entries = BTreeMap::new();
                for _ in 0..self.length()? {
                    let key = self.text()?;
                    let ascends = entries.last_key_value().is_none_or(|(last, _)| *last < key);
                    if !ascends {
                        return None;
                    }
                    entries.insert(key, self.value(depth + 1)?);
                }
                Value::Map(entries)
            }
            _ => return None,
        })
    }
}

/// The bytes of one value.
pub(crate) fn value_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_value(&mut bytes, value);
    bytes
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    let tag = |out: &mut Vec<u8>, tag: u8| out.push(tag);
    match value {
        Value::Null => tag(out, 0),
        Value::Bool(value) => out.extend([1, u8::from(*value)]),
        Value::Unsigned(value) => {
            tag(out, 2);
            write_varint(out, *value);
        }
        Value::Negative(value) => {
            tag(out, 3);
            write_varint(out, value.unsigned_abs().wrapping_mul(2).wrapping_sub(1));
        }
        Value::Float(value) => {
            tag(out, 4);
            out.extend(value.to_le_bytes());
        }
        Value::String(value) => {
            tag(out, 5);
            write_bytes(out, value.as_bytes());
        }
        Value::Bytes(value) => {
            tag(out, 6);
            write_bytes(out, value);
        }
        Value::List(items) => {
            tag(out, 7);
            write_varint(out, items.len() as u64);
            for item in items {
                write_value(out, item);
            }
        }
        Value::Map(entries) => {
            tag(out, 8);
            write_varint(out, entries.len() as u64);
            for (key, value) in entries {
                write_bytes(out, key.as_bytes());
                write_value(out, value);
            }
        }
        _ => panic!("a kind of value that docs/format.md does not know"),
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes of a cookie, name and value together, a session with these contents takes.
pub(crate) fn cookie_size<'a>(
    name: &str,
    has_login: bool,
    [subject, label, sid]: [&str; 3],
    values: impl Iterator<Item = (&'a str, &'a [u8])>,
    flashes: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> usize {
    let mut rest = Vec::new();
    write_bytes(&mut rest, subject.as_bytes());
    if label.len() + sid.len() > 0 {
        write_bytes(&mut rest, label.as_bytes());
        write_bytes(&mut rest, sid.as_bytes());
    }
    if has_login {
        rest.extend([0; 6]);
    }
    if has_login || label.len() + sid.len() > 0 {
        rest.push(0);
    }
    for list in [values.collect::<Vec<_>>(), flashes.collect()] {
        write_varint(&mut rest, list.len() as u64);
        for (key, value) in list {
            write_bytes(&mut rest, key.as_bytes());
            write_bytes(&mut rest, value);
        }
    }
    name.len() + (4 * (77 + 36 + rest.len())).div_ceil(3)
}

/// What a ring of keys says.
pub(crate) struct Ring {
    pub(crate) format: u64,
    pub(crate) ids: BTreeSet<String>,
    /// With material, and not disabled.
    pub(crate) usable: BTreeSet<String>,
    pub(crate) revoked: BTreeSet<String>,
}

/// The ring in a key store. `known`: the ids and texts of all keys that there are.
pub(crate) fn ring(bytes: &[u8], known: &[(String, String)]) -> Option<Ring> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    if text.len() > 49_152 || !text.ends_with('\n') {
        return None;
    }
    let lines: Vec<Vec<&str>> = text[..text.len() - 1]
        .split('\n')
        .map(|line| line.split(' ').collect())
        .collect();
    let [title, name, format] = lines.first()?[..] else {
        return None;
    };
    let format = number(format, 48)?;
    if (title, name) != ("sealed-session", "keys") || format == 0 {
        return None;
    }
    let has = |line: &[&str], count: usize| line.len() == count || format > 1 && line.len() > count;
    let settings = [
        "longest",
        "poll",
        "propagation",
        "timeout",
        "tolerance",
        "fence",
    ];
    let mut fence = 0;
    for (n, setting) in settings.iter().enumerate() {
        let line = lines.get(n + 1)?;
        if !has(line, 2) || line[0] != *setting {
            return None;
        }
        fence = number(line[1], 48)?;
    }
    let (end, keys) = lines.get(7..)?.split_last()?;
    let (mut ids, mut usable, mut revoked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut with_material = 0;
    for line in keys {
        if line[0] != "key" {
            // Also a second end, which nothing may follow.
            if format == 1 || line[0] == "end" && line.len() > 1 {
                return None;
            }
            continue;
        }
        let names = [
            "made", "from", "stops", "disabled", "revoked", "dropped", "material",
        ];
        if !has(line, 16) || (0..7).any(|n| line[2 + 2 * n] != names[n]) {
            return None;
        }
        let value = |n: usize| line[3 + 2 * n];
        let moment = |n: usize| match value(n) {
            "-" => Some(None),
            text => number(text, 48).map(Some),
        };
        let (id, made, from) = (
            line[1].to_owned(),
            number(value(0), 48)?,
            number(value(1), 48)?,
        );
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if id.len() != 8 || !id.chars().all(is_hex) || from < made {
            return None;
        }
        if ids.last().is_some_and(|last| *last >= id) {
            return None;
        }
        moment(2)?;
        let disabled = number(value(3), 32)?;
        let (is_revoked, is_dropped) = (moment(4)?.is_some(), moment(5)?.is_some());
        let is_revoked = is_revoked || made <= fence;
        if value(6) != "-" {
            let is_known = |(of, text): &(String, String)| *of == id && *text == value(6);
            if is_revoked || is_dropped || !known.iter().any(is_known) {
                return None;
            }
            with_material += 1;
            if disabled % 2 == 0 {
                usable.insert(id.clone());
            }
        }
        if is_revoked {
            revoked.insert(id.clone());
        }
        ids.insert(id);
    }
    let count = end.get(1).and_then(|count| number(count, 48));
    if end[0] != "end" || !has(end, 2) || count != u64::try_from(ids.len()).ok() {
        return None;
    }
    (ids.len() <= 128 && with_material <= 16).then_some(Ring {
        format,
        ids,
        usable,
        revoked,
    })
}

fn number(text: &str, bits: u32) -> Option<u64> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    let number: u64 = if is_plain {
        text.parse().ok()?
    } else {
        return None;
    };
    (is_short && number < 1 << bits).then_some(number)
}
