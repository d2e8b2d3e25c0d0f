//! The record is the sealed content of a token: a fixed header, then values and flashes as entries.
//! An entry's bytes are decoded only when somebody asks for it.
//!
//! ```text
//! format      1     0x01
//! flags       1     0x01 the values are in a backend, 0x02 transient, 0x04 kept, 0x20 bound
//! id         16
//! issued_at   6     Unix milliseconds, big-endian
//! seen_at     6     with the flag 0x04, in a backend only: milliseconds that it keeps the record
//!                   after its last use
//! expires_at  6
//! binding    16     with the flag 0x20 only: names the device key that the session needs
//! subject     str   at most 64 bytes, empty if none
//! values      seq   of (key str, value bytes), keys ascending by bytes
//! flashes     seq   the same
//! ```
//!
//! A session's header has the same length in every save, except for the one that binds it. So a save
//! that only updates the header does not change the token's length. Everything with a length is laid out as in `postcard`. [`Reader`] reads it
//! all.

use std::fmt;
use std::time::Duration;

use crate::envelope::{Plaintext, Random};
use crate::error::{RandomError, Refusal};
use crate::reader::{Malformed, Reader};
use crate::time::Millis;
use crate::value::is_null;

const FORMAT: u8 = 1;

const IN_BACKEND: u8 = 0x01;
const TRANSIENT: u8 = 0x02;
const KEPT: u8 = 0x04;
const BOUND: u8 = 0x20;

/// The bytes before the subject, in a session that is not bound.
const HEADER: usize = 36;

/// The longest subject, in bytes.
pub(crate) const MAX_SUBJECT: usize = 64;

/// The most entries of each kind. No cookie holds so many. It limits what a store may return.
pub(crate) const MAX_ENTRIES: usize = 1024;

/// The random id of one session: 16 bytes that no client ever chooses.
///
/// `Display` shows 32 hexadecimal digits. `Debug` shows nothing, so no id gets into a log by
/// accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    pub(crate) fn random(random: Random<'_>) -> Result<Self, RandomError> {
        let mut id = [0; 16];
        random(&mut id)?;
        Ok(Self(id))
    }

    #[cfg(any(feature = "redis", feature = "device-bound"))]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads an id from the 32 digits that `Display` shows, in lower case. Use it to end a session
    /// that a log names.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.as_bytes().iter().all(is_digit) {
            return None;
        }
        let bytes = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
        Some(Self(bytes))
    }

    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// Names a device-bound session and what belongs to it: 16 random bytes, drawn when a browser
/// registers its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BindingId([u8; 16]);

impl BindingId {
    pub(crate) const LEN: usize = 16;

    #[cfg(any(test, feature = "redis", feature = "device-bound"))]
    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn random(random: Random<'_>) -> Result<Self, RandomError> {
        let mut id = [0; Self::LEN];
        random(&mut id)?;
        Ok(Self(id))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingId(..)")
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::BadRecord
    }
}

/// The part of a record that comes before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: SessionId,
    pub(crate) issued_at: Millis,
    pub(crate) seen_at: Millis,
    pub(crate) expires_at: Millis,
    /// Whether the browser forgets the cookie when it is closed.
    pub(crate) transient: bool,
    /// Whether a backend has the values, or had them. Then the record is a stub.
    pub(crate) in_backend: bool,
    /// How long a backend keeps the record after its last use. The session is touched more often
    /// than written, so the backend's remaining time shows when it was last used.
    ///
    /// The record stores this in place of `seen_at`. Until the last use [is
    /// known](Record::used_at), `seen_at` is the time of issue.
    pub(crate) kept_for: Option<Duration>,
    /// The binding of a session that needs a device's proof.
    pub(crate) binding: Option<BindingId>,
}

/// An opened record: its bytes, and the positions of its parts.
#[derive(Debug)]
pub(crate) struct Record {
    plaintext: Plaintext,
    header: Header,
    subject: Span,
    values: Span,
    flashes: Span,
}

/// The bytes from `start` to `end`. For entries, also their count.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    count: usize,
}

impl Record {
    /// Checks and indexes `plaintext`, without looking into the values.
    pub(crate) fn decode(plaintext: Plaintext) -> Result<Self, Refusal> {
        Self::decode_with(plaintext, IN_BACKEND | TRANSIENT | BOUND)
    }

    /// Decodes a record that a backend returned.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn decode_stored(plaintext: Plaintext) -> Result<Self, Refusal> {
        Self::decode_with(plaintext, IN_BACKEND | TRANSIENT | KEPT | BOUND)
    }

    fn decode_with(plaintext: Plaintext, known: u8) -> Result<Self, Refusal> {
        let mut reader = Reader::new(&plaintext);
        if reader.byte()? != FORMAT {
            return Err(Refusal::Newer);
        }
        let flags = reader.byte()?;
        if flags & !known != 0 {
            return Err(Refusal::Newer);
        }
        let (header, subject, values, flashes) = read_rest(reader, plaintext.len(), flags)?;
        Ok(Self {
            plaintext,
            header,
            subject,
            values,
            flashes,
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Sets the time when the session was last used, if a backend knows it.
    #[cfg(feature = "server")]
    pub(crate) fn used_at(&mut self, seen_at: Millis) {
        self.header.seen_at = seen_at;
    }

    pub(crate) fn subject(&self) -> &str {
        std::str::from_utf8(self.bytes(self.subject)).unwrap_or_default()
    }

    pub(crate) fn values(&self) -> Entries<'_> {
        self.entries(self.values)
    }

    pub(crate) fn flashes(&self) -> Entries<'_> {
        self.entries(self.flashes)
    }

    fn entries(&self, span: Span) -> Entries<'_> {
        Entries {
            reader: Reader::new(self.bytes(span)),
            remaining: span.count,
            skips_nulls: false,
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.plaintext.get(span.start..span.end).unwrap_or_default()
    }
}

fn read_rest(
    mut reader: Reader<'_>,
    length: usize,
    flags: u8,
) -> Result<(Header, Span, Span, Span), Malformed> {
    let id = SessionId(reader.array()?);
    let [issued_at, seen_at, expires_at] = [reader.array()?, reader.array()?, reader.array()?];
    let issued_at = Millis::from_be_bytes(issued_at);
    let seen_at = Millis::from_be_bytes(seen_at);
    let (seen_at, kept_for) = if flags & KEPT == 0 {
        (seen_at, None)
    } else {
        (issued_at, Some(seen_at.since(Millis::default())))
    };
    let header = Header {
        id,
        issued_at,
        seen_at,
        expires_at: Millis::from_be_bytes(expires_at),
        transient: flags & TRANSIENT != 0,
        in_backend: flags & IN_BACKEND != 0,
        kept_for,
        binding: if flags & BOUND == 0 {
            None
        } else {
            Some(BindingId(reader.array()?))
        },
    };
    let subject = reader.str()?.len();
    if subject > MAX_SUBJECT || header.expires_at < header.issued_at {
        return Err(Malformed);
    }
    let end = length - reader.rest().len();
    let subject = Span {
        start: end - subject,
        end,
        count: 0,
    };
    let (values, reader) = read_entries(reader, length)?;
    let (flashes, reader) = read_entries(reader, length)?;
    reader.finish()?;
    Ok((header, subject, values, flashes))
}

/// Skips a list of entries, whose keys must ascend.
fn read_entries<'a>(
    mut reader: Reader<'a>,
    length: usize,
) -> Result<(Span, Reader<'a>), Malformed> {
    let count = reader.count()?;
    if count > MAX_ENTRIES {
        return Err(Malformed);
    }
    let start = length - reader.rest().len();
    let mut last: &[u8] = &[];
    for nth in 0..count {
        let key = reader.bytes()?;
        let is_text = key.is_ascii() || std::str::from_utf8(key).is_ok();
        if !is_text || (nth > 0 && !ascends(last, key)) {
            return Err(Malformed);
        }
        last = key;
        reader.bytes()?;
    }
    let end = length - reader.rest().len();
    Ok((Span { start, end, count }, reader))
}

/// Whether `b` comes after `a`. Most keys differ in their first byte, and comparing more takes a
/// call.
fn ascends(a: &[u8], b: &[u8]) -> bool {
    match (a.first(), b.first()) {
        (x, y) if x != y => x < y,
        _ => a < b,
    }
}

/// The entries of a record in the order of their keys: each key with the value's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a> {
    reader: Reader<'a>,
    remaining: usize,
    skips_nulls: bool,
}

impl<'a> Entries<'a> {
    pub(crate) fn empty() -> Self {
        Self {
            reader: Reader::new(&[]),
            remaining: 0,
            skips_nulls: false,
        }
    }

    /// Leaves out the entries that hold null. This crate saves none, and a session takes them for
    /// missing.
    pub(crate) fn without_nulls(self) -> Self {
        Self {
            skips_nulls: true,
            ..self
        }
    }

    pub(crate) fn find(mut self, key: &str) -> Option<&'a [u8]> {
        let is_it = |(at, _): &(&[u8], _)| *at == key.as_bytes();
        Some(Iterator::find(&mut self, is_it)?.1)
    }

    /// Returns the keys as text, which `decode` has checked.
    #[cfg(any(test, fuzzing, feature = "server"))]
    pub(crate) fn texts(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.filter_map(|(key, value)| Some((std::str::from_utf8(key).ok()?, value)))
    }
}

/// The keys are bytes: only callers that want text pay for the check.
impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.remaining = self.remaining.checked_sub(1)?;
            let entry = (self.reader.bytes().ok()?, self.reader.bytes().ok()?);
            if !(self.skips_nulls && is_null(entry.1)) {
                return Some(entry);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let least = if self.skips_nulls { 0 } else { self.remaining };
        (least, Some(self.remaining))
    }
}

/// A record to be written. Its entries come in the order of their keys.
#[derive(Debug)]
pub(crate) struct Body<'a, V, F> {
    /// Whether the header has a binding.
    is_bound: bool,
    subject: &'a str,
    values: List<V>,
    flashes: List<F>,
}

impl<'a, V, F> Body<'a, V, F>
where
    V: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    pub(crate) fn new(subject: &'a str, values: V, flashes: F) -> Self {
        Self {
            is_bound: false,
            subject,
            values: List::of(values),
            flashes: List::of(flashes),
        }
    }

    /// The same content under a header with a binding, if there is one.
    pub(crate) fn bound(self, binding: Option<BindingId>) -> Self {
        let is_bound = binding.is_some();
        Self { is_bound, ..self }
    }

    /// The length of the written record in bytes.
    pub(crate) fn len(&self) -> usize {
        let binding = if self.is_bound { BindingId::LEN } else { 0 };
        HEADER + binding + with_length(self.subject.len()) + self.values.size + self.flashes.size
    }

    /// The length of the longer list. Each list may have [`MAX_ENTRIES`].
    pub(crate) fn entries(&self) -> usize {
        self.values.count.max(self.flashes.count)
    }

    /// Writes the record. The body must have been told whether the header [has a
    /// binding](Self::bound).
    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>, header: &Header) {
        debug_assert_eq!(self.is_bound, header.binding.is_some());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(header.transient, TRANSIENT)
            | flag(header.in_backend, IN_BACKEND)
            | flag(header.kept_for.is_some(), KEPT)
            | flag(header.binding.is_some(), BOUND);
        let kept_for = header.kept_for.map(|kept| Millis::default().plus(kept));
        let seen_at = kept_for.unwrap_or(header.seen_at);
        buffer.extend_from_slice(&[FORMAT, flags]);
        buffer.extend_from_slice(&header.id.0);
        for time in [header.issued_at, seen_at, header.expires_at] {
            buffer.extend_from_slice(&time.to_be_bytes());
        }
        if let Some(binding) = &header.binding {
            buffer.extend_from_slice(binding.as_bytes());
        }
        push_bytes(buffer, self.subject.as_bytes());
        self.values.append_to(buffer);
        self.flashes.append_to(buffer);
    }
}

/// Entries with their number and their written size, found in one pass.
#[derive(Debug)]
struct List<I> {
    entries: I,
    count: usize,
    size: usize,
}

impl<'a, I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone> List<I> {
    fn of(entries: I) -> Self {
        let (count, size) = entries.clone().fold((0, 0), |(count, size), (key, value)| {
            (
                count + 1,
                size + with_length(key.len()) + with_length(value.len()),
            )
        });
        Self {
            entries,
            count,
            size: size + varint_len(count),
        }
    }

    fn append_to(&self, buffer: &mut Vec<u8>) {
        push_varint(buffer, self.count);
        for (key, value) in self.entries.clone() {
            push_bytes(buffer, key);
            push_bytes(buffer, value);
        }
    }
}

/// The length of a varint: seven bits in each byte.
fn varint_len(n: usize) -> usize {
    1 + n.checked_ilog2().map_or(0, |bits| bits as usize / 7)
}

/// The length of a byte string, including its own length.
fn with_length(n: usize) -> usize {
    varint_len(n) + n
}

#[inline(always)]
fn push_varint(buffer: &mut Vec<u8>, n: usize) {
    // Nearly all are one byte long.
    if let Ok(byte @ 0..=0x7f) = u8::try_from(n) {
        buffer.push(byte);
        return;
    }
    // 64 bits fit, with seven in each byte.
    if let Ok(varint) = postcard::to_slice(&n, &mut [0; 10]) {
        buffer.extend_from_slice(varint);
    }
}

#[inline(always)]
fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Record, Refusal> {
        Record::decode(Plaintext::from_vec(bytes.to_vec()))
    }

    fn encode(record: &Record) -> Vec<u8> {
        let body = Body::new(record.subject(), record.values(), record.flashes());
        let body = body.bound(record.header().binding);
        let mut bytes = Vec::new();
        body.append_to(&mut bytes, record.header());
        assert_eq!(bytes.len(), body.len());
        bytes
    }

    /// A record's bytes before its subject.
    fn head() -> Vec<u8> {
        let mut bytes = vec![FORMAT, 0];
        bytes.extend_from_slice(&[0xab; 16]);
        for millis in [1000, 2000, 3000] {
            bytes.extend_from_slice(&Millis::from_raw(millis).to_be_bytes());
        }
        bytes
    }

    fn with(rest: &[u8]) -> Vec<u8> {
        [&head(), rest].concat()
    }

    #[test]
    fn a_record_is_read_as_it_stands() {
        let bytes = with(b"\x02me\x02\x01a\x01\x00\x02bc\x02\x01\x01\x01\x01f\x01\x00");
        let record = decode(&bytes).unwrap();
        assert_eq!(record.subject(), "me");
        assert_eq!(record.header().seen_at, Millis::from_raw(2000));
        assert!(!record.header().transient);
        let values: Vec<_> = record.values().texts().collect();
        assert_eq!(values, [("a", &[0][..]), ("bc", &[1, 1])]);
        assert_eq!(record.values().find("bc"), Some(&[1, 1][..]));
        assert_eq!(record.values().find("b"), None);
        assert_eq!(record.flashes().find("f"), Some(&[0][..]));
        assert_eq!(encode(&record), bytes);
    }

    #[test]
    fn an_empty_record_has_39_bytes() {
        assert_eq!(with(&[0, 0, 0]).len(), 39);
        assert_eq!(encode(&decode(&with(&[0, 0, 0])).unwrap()).len(), 39);
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_refused() {
        let bytes = with(b"\x02me\x02\x01a\x01\x00\x02bc\x02\x01\x01\x01\x01f\x01\x00");
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]).unwrap_err(), Refusal::BadRecord);
        }
        for byte in 0..=255 {
            assert_eq!(
                decode(&[&bytes[..], &[byte]].concat()).unwrap_err(),
                Refusal::BadRecord
            );
        }
    }

    #[test]
    fn a_newer_format_or_flag_is_told_apart_before_the_rest_is_read() {
        assert_eq!(decode(&[2]).unwrap_err(), Refusal::Newer);
        assert_eq!(decode(&[0]).unwrap_err(), Refusal::Newer);
        for flag in [0x04, 0x08, 0x10, 0x40, 0x80] {
            assert_eq!(decode(&[FORMAT, flag]).unwrap_err(), Refusal::Newer);
        }
        let mut stub = with(&[0, 0, 0]);
        stub[1] = IN_BACKEND;
        assert!(decode(&stub).unwrap().header().in_backend);
        stub.pop();
        assert_eq!(decode(&stub).unwrap_err(), Refusal::BadRecord);
    }

    #[test]
    fn a_binding_stands_after_the_times_and_takes_sixteen_bytes_where_there_is_one() {
        let mut bytes = with(b"\x02me\x00\x00");
        assert_eq!(decode(&bytes).unwrap().header().binding, None);
        bytes[1] = BOUND;
        bytes.splice(HEADER..HEADER, [0xcd; 16]);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.header().binding, Some(BindingId([0xcd; 16])));
        assert_eq!(record.subject(), "me");
        assert_eq!(encode(&record), bytes);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]).unwrap_err(), Refusal::BadRecord);
        }
        assert_eq!(
            format!("{:?}", record.header().binding),
            "Some(BindingId(..))"
        );
    }

    #[cfg(feature = "server")]
    #[test]
    fn only_a_backends_record_may_say_how_long_it_is_kept_and_then_not_when_it_was_seen() {
        let mut bytes = with(&[0, 0, 0]);
        bytes[1] = KEPT;
        assert_eq!(decode(&bytes).unwrap_err(), Refusal::Newer);
        let mut record = Record::decode_stored(Plaintext::from_vec(bytes.clone())).unwrap();
        let header = *record.header();
        assert_eq!(header.kept_for, Some(Duration::from_millis(2000)));
        assert_eq!(header.seen_at, header.issued_at);
        assert_eq!(encode(&record), bytes);
        record.used_at(Millis::from_raw(2500));
        assert_eq!(record.header().seen_at, Millis::from_raw(2500));
        assert_eq!(encode(&record), bytes, "it is as long, and says the same");
        bytes[1] |= 0x08;
        let newer = Record::decode_stored(Plaintext::from_vec(bytes));
        assert_eq!(newer.unwrap_err(), Refusal::Newer);
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let subject_of_65 = [&[65][..], &[b's'; 65], &[0, 0]].concat();
        for (rest, why) in [
            (&b"\x80\x00\x00\x00"[..], "an overlong length"),
            (b"\x01\xff\x00\x00", "a subject that is not UTF-8"),
            (b"\x00\x02\x01b\x01\x00\x01a\x01\x00\x00", "unsorted keys"),
            (b"\x00\x02\x01a\x01\x00\x01a\x01\x00\x00", "a key twice"),
            (b"\x00\x01\x01\xff\x01\x00\x00", "a key that is not UTF-8"),
            (
                b"\x00\x01\x01a\x02\x00\x00",
                "a value longer than what is left",
            ),
            (b"\x00\x80\x80\x80\x80\x04", "2^30 entries"),
            (&subject_of_65, "a subject of 65 bytes"),
        ] {
            assert_eq!(
                decode(&with(rest)).unwrap_err(),
                Refusal::BadRecord,
                "{why}"
            );
        }
        let mut many = vec![0];
        many.extend_from_slice(&[0x81, 0x08]);
        for n in 0..=MAX_ENTRIES {
            many.extend_from_slice(format!("\x04{n:04}\x00").as_bytes());
        }
        many.push(0);
        assert_eq!(
            decode(&with(&many)).unwrap_err(),
            Refusal::BadRecord,
            "1025 entries"
        );
        let mut backwards = with(&[0, 0, 0]);
        backwards[18 + 5] = 0xff;
        backwards[18 + 4] = 0xff;
        assert_eq!(
            decode(&backwards).unwrap_err(),
            Refusal::BadRecord,
            "expires before issued"
        );
    }

    #[test]
    fn a_record_at_its_limits_is_read() {
        let subject = "s".repeat(MAX_SUBJECT);
        let keys: Vec<String> = (0..MAX_ENTRIES).map(|n| format!("{n:04}")).collect();
        let entries = keys.iter().map(|key| (key.as_bytes(), &[][..]));
        let mut header = *decode(&with(&[0, 0, 0])).unwrap().header();
        header.expires_at = header.issued_at;
        let mut bytes = Vec::new();
        Body::new(&subject, entries.clone(), entries.clone()).append_to(&mut bytes, &header);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.subject(), subject);
        assert!(record.values().eq(entries.clone()));
        assert!(record.flashes().eq(entries));
        assert_eq!(record.header(), &header);
    }

    #[test]
    fn an_id_shows_in_text_and_not_in_debug() {
        let id = SessionId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(format!("{id:?}"), "SessionId(..)");
        assert_eq!(SessionId::from_hex(&id.to_string()), Some(id));
        let signed = format!("+{}", "a".repeat(31));
        for bad in [
            "",
            &"a".repeat(31),
            &"A".repeat(32),
            &"g".repeat(32),
            &signed,
        ] {
            assert_eq!(SessionId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn entries_know_how_many_are_left() {
        let record = decode(&with(b"\x00\x02\x01a\x00\x01b\x00\x00")).unwrap();
        let mut entries = record.values();
        for left in [2, 1, 0] {
            assert_eq!(entries.size_hint(), (left, Some(left)));
            entries.next();
        }
    }

    #[test]
    fn a_record_is_as_long_as_was_measured_wherever_a_length_gets_longer() {
        let header = *decode(&with(&[0, 0, 0])).unwrap().header();
        let keys: Vec<String> = (0..129).map(|n| format!("{n:03}")).collect();
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let bytes = vec![0; length];
            for count in [0, 1, 127, 128, 129] {
                let short = keys.iter().take(count).map(|key| (key.as_bytes(), &[][..]));
                let long = std::iter::once((&[][..], bytes.as_slice()));
                let body = Body::new("", long, short);
                let mut written = Vec::new();
                body.append_to(&mut written, &header);
                assert_eq!(body.len(), written.len(), "{length} bytes, {count} entries");
                assert_eq!(body.entries(), count.max(1));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_back_to_the_same_bytes(rest in any::<Vec<u8>>()) {
            let bytes = with(&rest);
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn what_is_written_is_read(
            subject in ".{0,16}",
            entries in prop::collection::btree_map(".*", any::<Vec<u8>>(), 0..20),
        ) {
            let values = entries.iter().map(|(key, value)| (key.as_bytes(), value.as_slice()));
            let header = *decode(&with(&[0, 0, 0])).unwrap().header();
            let body = Body::new(&subject, values.clone(), values.clone());
            let mut bytes = Vec::new();
            body.append_to(&mut bytes, &header);
            prop_assert_eq!(body.len(), bytes.len());
            let written = postcard::to_allocvec(&(&subject, &entries, &entries)).unwrap();
            prop_assert_eq!(&bytes[HEADER..], written);
            let record = decode(&bytes).unwrap();
            prop_assert_eq!(record.subject(), subject.as_str());
            prop_assert!(record.values().eq(values.clone()));
            prop_assert!(record.flashes().eq(values));
        }
    }
}
