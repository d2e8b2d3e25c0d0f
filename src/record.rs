//! The record is the sealed content of a token: a fixed header, then values and flashes as entries.
//! An entry's bytes are decoded only when somebody asks for it.
//!
//! ```text
//! format      1     0x01
//! flags       1     0x01 the values are in a backend, 0x02 transient, 0x04 kept, 0x10 further
//! id         16
//! issued_at   6     Unix milliseconds, big-endian
//! seen_at     6     with the flag 0x04, in a backend only: milliseconds that it keeps the record
//!                   after its last use
//! expires_at  6
//! further     1     with the flag 0x10 only: 0x01 login, 0x02 named, 0x04 bound
//! login       6     with the further flag 0x01 only: Unix milliseconds
//! binding    16     with the further flag 0x04 only: names the device key that the session needs
//! subject     str   at most 255 bytes, empty if none
//! label       str   with the further flag 0x02 only: the same
//! sid         str   with the further flag 0x02 only: the same
//! values      seq   of (key str, value bytes), keys ascending by bytes
//! flashes     seq   the same
//! ```
//!
//! A save that only updates the times does not change the token's length. Everything with a length is laid out as in `postcard`. [`Reader`] reads it
//! all.

use std::fmt;
use std::ops::Range;
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
const FURTHER: u8 = 0x10;

// Further flags.
const LOGIN: u8 = 0x01;
const NAMED: u8 = 0x02;
const BOUND: u8 = 0x04;

/// The bytes that every record has before the subject.
const HEADER: usize = 36;

/// The bytes of a moment.
const MOMENT: usize = 6;

/// The longest subject, label or sid, in bytes: OpenID Connect's limit for a subject.
pub(crate) const MAX_NAME: usize = 255;

/// The most entries of each kind. No cookie holds so many. It limits what a store may return.
pub(crate) const MAX_ENTRIES: usize = 1024;

/// From this many entries on, an index finds one faster than a look at each.
const MANY: usize = 32;

/// The random id of one session: 16 bytes that no client ever chooses.
///
/// `Display` shows 32 hexadecimal digits. `Debug` shows nothing, so no id gets into a log by
/// accident.
///
/// ```
/// # use sealed_session::{AppKey, CookieStore, Session, SessionId};
/// # let store = CookieStore::new(AppKey::generate()?);
/// # let session = Session::new();
/// # session.insert("user_id", 42)?;
/// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
/// let id = session.id().ok_or("not saved yet")?;
/// let digits = id.to_string(); // for a log
/// assert_eq!(SessionId::from_hex(&digits), Some(id));
/// assert_eq!(format!("{id:?}"), "SessionId(..)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// that a log names. `None` if `text` is anything else.
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

/// Everything in a record but its text and its entries.
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
    /// When somebody last proved who they are. The lifetime counts from then, and not from the
    /// later moment when the session got its present id.
    pub(crate) logged_in_at: Option<Millis>,
    /// The binding of a session that needs a device's proof.
    pub(crate) binding: Option<BindingId>,
}

/// Which of its optional parts a header has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Optional {
    pub(crate) login: bool,
    pub(crate) binding: bool,
}

impl Header {
    /// When the session's lifetime began.
    pub(crate) fn began_at(&self) -> Millis {
        self.logged_in_at.unwrap_or(self.issued_at)
    }

    pub(crate) fn optional(&self) -> Optional {
        Optional {
            login: self.logged_in_at.is_some(),
            binding: self.binding.is_some(),
        }
    }
}

/// A record's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    /// Whose session it is.
    pub(crate) subject: &'a str,
    /// How the application calls it in a list, such as by the device.
    pub(crate) label: &'a str,
    /// What the identity provider calls it.
    pub(crate) sid: &'a str,
}

impl Names<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn are_optional(&self) -> bool {
        !(self.label.is_empty() && self.sid.is_empty())
    }

    fn len(&self) -> usize {
        let optional = if self.are_optional() {
            with_length(self.label.len()) + with_length(self.sid.len())
        } else {
            0
        };
        with_length(self.subject.len()) + optional
    }
}

/// An opened record: its bytes, and the positions of its parts.
#[derive(Debug)]
pub(crate) struct Record {
    plaintext: Plaintext,
    header: Header,
    parts: Parts,
}

/// Where a record's parts are.
#[derive(Debug)]
struct Parts {
    subject: Range<usize>,
    /// Whether label and sid come after the subject. Where they are is not kept, because few
    /// requests ask.
    is_named: bool,
    values: List,
    flashes: List,
}

/// The bytes from `start` to `end`.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// The position of a list of entries.
#[derive(Debug)]
struct List {
    span: Span,
    count: usize,
    /// Whether entries among them hold null.
    has_nulls: bool,
    /// Where each entry starts in the span, if there are many.
    starts: Box<[usize]>,
}

impl Record {
    /// Checks and indexes `plaintext`, without looking into the values.
    pub(crate) fn decode(plaintext: Plaintext) -> Result<Self, Refusal> {
        Self::decode_with(plaintext, IN_BACKEND | TRANSIENT | FURTHER)
    }

    /// Decodes a record that a backend returned.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn decode_stored(plaintext: Plaintext) -> Result<Self, Refusal> {
        Self::decode_with(plaintext, IN_BACKEND | TRANSIENT | KEPT | FURTHER)
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
        let (header, parts) = read_rest(reader, plaintext.len(), flags)?;
        Ok(Self {
            plaintext,
            header,
            parts,
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
        let subject = self.plaintext.get(self.parts.subject.clone());
        std::str::from_utf8(subject.unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn names(&self) -> Names<'_> {
        let (label, sid) = self.optional_names().unwrap_or_default();
        Names {
            subject: self.subject(),
            label,
            sid,
        }
    }

    fn optional_names(&self) -> Option<(&str, &str)> {
        let after = self.plaintext.get(self.parts.subject.end..);
        let mut reader = Reader::new(after.filter(|_| self.parts.is_named)?);
        // `decode` has read them before.
        Some((reader.str().ok()?, reader.str().ok()?))
    }

    pub(crate) fn values(&self) -> Entries<'_> {
        self.entries(&self.parts.values)
    }

    pub(crate) fn flashes(&self) -> Entries<'_> {
        self.entries(&self.parts.flashes)
    }

    fn entries<'a>(&'a self, list: &'a List) -> Entries<'a> {
        Entries {
            bytes: self.bytes(list.span),
            count: list.count,
            has_nulls: list.has_nulls,
            starts: &list.starts,
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.plaintext.get(span.start..span.end).unwrap_or_default()
    }
}

fn read_rest(mut reader: Reader<'_>, length: usize, flags: u8) -> Result<(Header, Parts), Refusal> {
    let id = SessionId(reader.array()?);
    let [issued_at, seen_at, expires_at] = [reader.array()?, reader.array()?, reader.array()?];
    let issued_at = Millis::from_be_bytes(issued_at);
    let seen_at = Millis::from_be_bytes(seen_at);
    let (seen_at, kept_for) = if flags & KEPT == 0 {
        (seen_at, None)
    } else {
        (issued_at, Some(seen_at.since(Millis::default())))
    };
    let further = if flags & FURTHER == 0 {
        0
    } else {
        reader.byte()?
    };
    if further & !(LOGIN | NAMED | BOUND) != 0 {
        return Err(Refusal::Newer);
    }
    let logged_in_at = if further & LOGIN == 0 {
        None
    } else {
        Some(Millis::from_be_bytes(reader.array()?))
    };
    let binding = if further & BOUND == 0 {
        None
    } else {
        Some(BindingId(reader.array()?))
    };
    let header = Header {
        id,
        issued_at,
        seen_at,
        expires_at: Millis::from_be_bytes(expires_at),
        logged_in_at,
        transient: flags & TRANSIENT != 0,
        in_backend: flags & IN_BACKEND != 0,
        kept_for,
        binding,
    };
    let times_are_in_order = header.began_at() <= issued_at && issued_at <= header.expires_at;
    let subject = read_name(&mut reader)?;
    let end = length - reader.rest().len();
    let subject = end - subject..end;
    let is_named = further & NAMED != 0;
    let lacks_flags = flags & FURTHER != 0 && further == 0;
    let lacks_names = is_named && read_name(&mut reader)? + read_name(&mut reader)? == 0;
    if lacks_flags || lacks_names || !times_are_in_order {
        return Err(Refusal::BadRecord);
    }
    let (values, reader) = read_entries(reader, length)?;
    let (flashes, reader) = read_entries(reader, length)?;
    reader.finish()?;
    let parts = Parts {
        subject,
        is_named,
        values,
        flashes,
    };
    Ok((header, parts))
}

/// Reads a text that may be empty, and returns its length.
fn read_name(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let length = reader.str()?.len();
    if length > MAX_NAME {
        return Err(Malformed);
    }
    Ok(length)
}

/// Skips a list of entries, whose keys must ascend.
fn read_entries<'a>(
    mut reader: Reader<'a>,
    length: usize,
) -> Result<(List, Reader<'a>), Malformed> {
    let count = reader.count()?;
    if count > MAX_ENTRIES {
        return Err(Malformed);
    }
    let start = length - reader.rest().len();
    let mut entries = reader.clone();
    let mut has_nulls = false;
    let mut last: &[u8] = &[];
    for nth in 0..count {
        let key = reader.bytes()?;
        let is_text = key.is_ascii() || std::str::from_utf8(key).is_ok();
        if !is_text || (nth > 0 && !ascends(last, key)) {
            return Err(Malformed);
        }
        last = key;
        has_nulls |= is_null(reader.bytes()?);
    }
    let end = length - reader.rest().len();
    let mut starts = Vec::new();
    if count >= MANY {
        starts.reserve_exact(count);
        for _ in 0..count {
            starts.push(length - entries.rest().len() - start);
            entries.bytes()?;
            entries.bytes()?;
        }
    }
    let list = List {
        span: Span { start, end },
        count,
        has_nulls,
        starts: starts.into(),
    };
    Ok((list, reader))
}

/// Whether `b` comes after `a`. Most keys differ in their first byte, and comparing more takes a
/// call.
fn ascends(a: &[u8], b: &[u8]) -> bool {
    match (a.first(), b.first()) {
        (x, y) if x != y => x < y,
        _ => a < b,
    }
}

/// The entries of a record, sorted by key: each key with the value's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    count: usize,
    has_nulls: bool,
    starts: &'a [usize],
}

impl<'a> Entries<'a> {
    pub(crate) fn iter(self) -> Iter<'a> {
        Iter {
            reader: Reader::new(self.bytes),
            remaining: self.count,
        }
    }

    /// All entries but those that hold null. This crate saves none, and a session takes them for
    /// missing.
    pub(crate) fn without_nulls(self) -> impl Iterator<Item = Entry<'a>> + Clone {
        self.iter().filter(|(_, value)| !is_null(value))
    }

    /// The value under `key`, unless it is null.
    pub(crate) fn find(self, key: &str) -> Option<&'a [u8]> {
        let is_it = |(at, value): &Entry<'_>| *at == key.as_bytes() && !is_null(value);
        let found = if self.starts.is_empty() {
            self.iter().find(is_it)
        } else {
            let at = self.at(self.seek(0, key.as_bytes()));
            at.map(|(entry, _)| entry).filter(is_it)
        };
        Some(found?.1)
    }

    /// The start of the first entry from `start` on whose key is not before `key`.
    fn seek(self, start: usize, key: &[u8]) -> usize {
        let is_before = |at: usize| {
            self.at(at)
                .is_some_and(|((found, _), _)| ascends(found, key))
        };
        if self.starts.is_empty() {
            let mut at = start;
            while let Some(((found, _), end)) = self.at(at) {
                if !ascends(found, key) {
                    break;
                }
                at = end;
            }
            return at;
        }
        let nth = self.starts.partition_point(|&at| is_before(at));
        self.starts.get(nth).copied().unwrap_or(self.bytes.len())
    }

    /// The entry that starts at `start`, and its end.
    #[inline(always)]
    fn at(self, start: usize) -> Option<(Entry<'a>, usize)> {
        let mut reader = Reader::new(self.bytes.get(start..)?);
        let entry = (reader.bytes().ok()?, reader.bytes().ok()?);
        Some((entry, self.bytes.len() - reader.rest().len()))
    }

    /// The entries that do not hold null.
    fn measure(self) -> Measured {
        if self.has_nulls {
            return self.without_nulls().measure();
        }
        Measured {
            count: self.count,
            size: self.bytes.len(),
        }
    }

    /// Appends the entries from `start` to `end`, without those that hold null.
    fn copy_to(self, buffer: &mut Vec<u8>, start: usize, end: usize) {
        if !self.has_nulls {
            buffer.extend_from_slice(self.bytes.get(start..end).unwrap_or_default());
            return;
        }
        let mut at = start;
        while let Some((entry, next)) = self.at(at).filter(|_| at < end) {
            if !is_null(entry.1) {
                push_entry(buffer, entry.0, entry.1);
            }
            at = next;
        }
    }

    /// Returns the keys as text, which `decode` has checked.
    #[cfg(any(test, fuzzing, feature = "server"))]
    pub(crate) fn texts(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let texts = |(key, value)| Some((std::str::from_utf8(key).ok()?, value));
        self.iter().filter_map(texts)
    }
}

/// The bytes of a key and of its value.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8]);

/// The keys are bytes: only callers that want text pay for the check.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    reader: Reader<'a>,
    remaining: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Entry<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        Some((self.reader.bytes().ok()?, self.reader.bytes().ok()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

/// A list of entries to be written.
pub(crate) trait Content {
    /// The number of entries, and their written size without that number.
    fn measure(&self) -> Measured;

    /// Writes the entries without their number.
    fn append_to(&self, buffer: &mut Vec<u8>);
}

/// The number of entries in a list, and their written size.
///
/// The difference between two lists is one too, modulo a power of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl Measured {
    /// Of a single entry.
    pub(crate) fn of(key: &[u8], value: &[u8]) -> Self {
        Self {
            count: 1,
            size: with_length(key.len()) + with_length(value.len()),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            size: self.size.wrapping_add(other.size),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_sub(other.count),
            size: self.size.wrapping_sub(other.size),
        }
    }
}

/// Entries, sorted by key.
impl<'a, I: Iterator<Item = Entry<'a>> + Clone> Content for I {
    fn measure(&self) -> Measured {
        self.clone().fold(Measured::default(), |sum, (key, value)| {
            sum.plus(Measured::of(key, value))
        })
    }

    fn append_to(&self, buffer: &mut Vec<u8>) {
        for (key, value) in self.clone() {
            push_entry(buffer, key, value);
        }
    }
}

/// A record's entries, and what is to be written in place of some of them.
#[derive(Clone, Debug)]
pub(crate) struct Amended<'a, I> {
    pub(crate) entries: Entries<'a>,
    /// The new value under each changed key, in the order of the keys; `None` leaves the entry out.
    pub(crate) changes: I,
    /// How much larger than `entries` the result is.
    pub(crate) growth: Measured,
}

/// Leaves out the entries that hold null, and copies those between two changed keys as they are.
impl<'a, I> Content for Amended<'a, I>
where
    I: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
{
    fn measure(&self) -> Measured {
        self.entries.measure().plus(self.growth)
    }

    fn append_to(&self, buffer: &mut Vec<u8>) {
        let mut copied = 0;
        for (key, value) in self.changes.clone() {
            let until = self.entries.seek(copied, key);
            self.entries.copy_to(buffer, copied, until);
            copied = match self.entries.at(until) {
                Some(((there, _), end)) if there == key => end,
                _ => until,
            };
            if let Some(value) = value {
                push_entry(buffer, key, value);
            }
        }
        let end = self.entries.bytes.len();
        self.entries.copy_to(buffer, copied, end);
    }
}

/// A record to be written.
#[derive(Debug)]
pub(crate) struct Body<'a, V, F> {
    names: Names<'a>,
    values: Listed<V>,
    flashes: Listed<F>,
}

impl<'a, V: Content, F: Content> Body<'a, V, F> {
    pub(crate) fn new(names: Names<'a>, values: V, flashes: F) -> Self {
        Self {
            names,
            values: Listed::of(values),
            flashes: Listed::of(flashes),
        }
    }

    /// The length of the written record in bytes, under a header with these parts.
    pub(crate) fn len(&self, optional: Optional) -> usize {
        let Optional { login, binding } = optional;
        let further = usize::from(login || binding || self.names.are_optional());
        let login = if login { MOMENT } else { 0 };
        let binding = if binding { BindingId::LEN } else { 0 };
        let fixed = HEADER + further + login + binding;
        fixed + self.names.len() + self.values.len() + self.flashes.len()
    }

    /// The length of the longer list. Each list may have [`MAX_ENTRIES`].
    pub(crate) fn entries(&self) -> usize {
        self.values.measured.count.max(self.flashes.measured.count)
    }

    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>, header: &Header) {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let further = flag(header.logged_in_at.is_some(), LOGIN)
            | flag(self.names.are_optional(), NAMED)
            | flag(header.binding.is_some(), BOUND);
        let flags = flag(header.transient, TRANSIENT)
            | flag(header.in_backend, IN_BACKEND)
            | flag(header.kept_for.is_some(), KEPT)
            | flag(further != 0, FURTHER);
        let kept_for = header.kept_for.map(|kept| Millis::default().plus(kept));
        let seen_at = kept_for.unwrap_or(header.seen_at);
        buffer.extend_from_slice(&[FORMAT, flags]);
        buffer.extend_from_slice(&header.id.0);
        for time in [header.issued_at, seen_at, header.expires_at] {
            buffer.extend_from_slice(&time.to_be_bytes());
        }
        if further != 0 {
            buffer.push(further);
        }
        if let Some(time) = header.logged_in_at {
            buffer.extend_from_slice(&time.to_be_bytes());
        }
        if let Some(binding) = &header.binding {
            buffer.extend_from_slice(binding.as_bytes());
        }
        push_bytes(buffer, self.names.subject.as_bytes());
        if self.names.are_optional() {
            push_bytes(buffer, self.names.label.as_bytes());
            push_bytes(buffer, self.names.sid.as_bytes());
        }
        self.values.append_to(buffer);
        self.flashes.append_to(buffer);
    }
}

/// A list whose size is known.
#[derive(Debug)]
struct Listed<C> {
    content: C,
    measured: Measured,
}

impl<C: Content> Listed<C> {
    fn of(content: C) -> Self {
        Self {
            measured: content.measure(),
            content,
        }
    }

    fn len(&self) -> usize {
        varint_len(self.measured.count) + self.measured.size
    }

    fn append_to(&self, buffer: &mut Vec<u8>) {
        push_varint(buffer, self.measured.count);
        self.content.append_to(buffer);
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
fn push_entry(buffer: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_bytes(buffer, key);
    push_bytes(buffer, value);
}

#[inline(always)]
fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Record, Refusal> {
        Record::decode(Plaintext::from_vec(bytes.to_vec()))
    }

    fn encode(record: &Record) -> Vec<u8> {
        let body = Body::new(
            record.names(),
            record.values().iter(),
            record.flashes().iter(),
        );
        let mut bytes = Vec::new();
        body.append_to(&mut bytes, record.header());
        assert_eq!(bytes.len(), body.len(record.header().optional()));
        bytes
    }

    fn named(subject: &str) -> Names<'_> {
        Names {
            subject,
            ..Names::default()
        }
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

    /// A record with further flags.
    fn with_further(further: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = with(&[&[further], rest].concat());
        bytes[1] = TRANSIENT | FURTHER;
        bytes
    }

    fn with(rest: &[u8]) -> Vec<u8> {
        [&head(), rest].concat()
    }

    #[test]
    fn a_record_is_read_as_it_stands() {
        let bytes = with(b"\x02me\x02\x01a\x01\x00\x02bc\x02\x01\x01\x01\x01f\x01\x02");
        let record = decode(&bytes).unwrap();
        assert_eq!(record.subject(), "me");
        assert_eq!(record.header().seen_at, Millis::from_raw(2000));
        assert!(!record.header().transient);
        let values: Vec<_> = record.values().texts().collect();
        assert_eq!(values, [("a", &[0][..]), ("bc", &[1, 1])]);
        assert_eq!(record.values().find("bc"), Some(&[1, 1][..]));
        assert_eq!(record.values().find("b"), None);
        assert_eq!(record.values().find("a"), None, "it is null");
        assert_eq!(record.flashes().find("f"), Some(&[2][..]));
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
        for flag in [0x04, 0x08, 0x20, 0x40, 0x80] {
            assert_eq!(decode(&[FORMAT, flag]).unwrap_err(), Refusal::Newer);
        }
        let mut stub = with(&[0, 0, 0]);
        stub[1] = IN_BACKEND;
        assert!(decode(&stub).unwrap().header().in_backend);
        stub.pop();
        assert_eq!(decode(&stub).unwrap_err(), Refusal::BadRecord);
    }

    #[test]
    fn a_binding_stands_after_the_login_and_takes_sixteen_bytes_where_there_is_one() {
        let login = Millis::from_raw(900).to_be_bytes();
        let without = with(b"\x02me\x00\x00");
        assert_eq!(decode(&without).unwrap().header().binding, None);
        for (further, before) in [(BOUND, &b""[..]), (BOUND | LOGIN, &login)] {
            let rest = [before, &[0xcd; 16], b"\x02me\x00\x00"].concat();
            let bytes = with_further(further, &rest);
            let record = decode(&bytes).unwrap();
            assert_eq!(record.header().binding, Some(BindingId([0xcd; 16])));
            assert_eq!(record.header().logged_in_at.is_some(), !before.is_empty());
            assert_eq!(record.names().subject, "me");
            assert_eq!(encode(&record), bytes);
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]).unwrap_err(), Refusal::BadRecord);
            }
            assert_eq!(
                format!("{:?}", record.header().binding),
                "Some(BindingId(..))"
            );
        }
    }

    #[test]
    fn a_login_and_names_are_read_where_their_flags_say_so_and_written_back() {
        let login = Millis::from_raw(900).to_be_bytes();
        for (further, before, after) in [
            (LOGIN, &login[..], &b""[..]),
            (NAMED, b"", b"\x05phone\x02s1"),
            (NAMED, b"", b"\x05phone\x00"),
            (NAMED, b"", b"\x00\x02s1"),
            (LOGIN | NAMED, &login, b"\x05phone\x02s1"),
        ] {
            let rest = [before, b"\x02me", after, b"\x01\x01a\x01\x02\x00"].concat();
            let bytes = with_further(further, &rest);
            let record = decode(&bytes).unwrap();
            let expected = (further & LOGIN != 0).then(|| Millis::from_raw(900));
            assert_eq!(record.header().logged_in_at, expected);
            assert_eq!(
                record.header().began_at().raw(),
                if further & LOGIN == 0 { 1000 } else { 900 }
            );
            let names = record.names();
            assert_eq!(names.subject, "me");
            assert_eq!(
                names.label,
                if after.starts_with(b"\x05") {
                    "phone"
                } else {
                    ""
                }
            );
            assert_eq!(names.sid, if after.ends_with(b"s1") { "s1" } else { "" });
            assert_eq!(record.values().find("a"), Some(&[2][..]));
            assert_eq!(encode(&record), bytes);
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]).unwrap_err(), Refusal::BadRecord);
            }
        }
    }

    #[test]
    fn a_login_after_the_issue_and_names_that_are_not_there_are_refused() {
        let long = [&[0x80, 2][..], &[b's'; 256]].concat();
        let (late, early) = (Millis::from_raw(1001), Millis::from_raw(1000));
        for (further, rest) in [
            (0, vec![0, 0, 0]),
            (LOGIN, [&late.to_be_bytes()[..], &[0, 0, 0]].concat()),
            (NAMED, vec![0, 0, 0, 0, 0]),
            (NAMED, [&[0][..], &long, &[0, 0, 0]].concat()),
            (NAMED, [&[0, 0][..], &long, &[0, 0]].concat()),
            (NAMED, b"\x00\x01\xff\x00\x00\x00".to_vec()),
        ] {
            let bytes = with_further(further, &rest);
            assert_eq!(decode(&bytes).unwrap_err(), Refusal::BadRecord, "{rest:?}");
        }
        let bytes = with_further(LOGIN, &[&early.to_be_bytes()[..], &[0, 0, 0]].concat());
        assert!(decode(&bytes).is_ok());
        for further in [0x08, 0x10, 0x20, 0x40, 0x80] {
            let bytes = with_further(further, &[]);
            assert_eq!(decode(&bytes).unwrap_err(), Refusal::Newer);
        }
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
        let subject_of_256 = [&[0x80, 2][..], &[b's'; 256], &[0, 0]].concat();
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
            (&subject_of_256, "a subject of 256 bytes"),
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
        let subject = "s".repeat(MAX_NAME);
        let keys: Vec<String> = (0..MAX_ENTRIES).map(|n| format!("{n:04}")).collect();
        let entries = keys.iter().map(|key| (key.as_bytes(), &[][..]));
        let mut header = *decode(&with(&[0, 0, 0])).unwrap().header();
        header.expires_at = header.issued_at;
        let mut bytes = Vec::new();
        let names = named(&subject);
        Body::new(names, entries.clone(), entries.clone()).append_to(&mut bytes, &header);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.subject(), subject);
        assert!(record.values().iter().eq(entries.clone()));
        assert!(record.flashes().iter().eq(entries));
        assert_eq!(record.header(), &header);
    }

    fn entries_of(map: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = Entry<'_>> + Clone {
        map.iter()
            .map(|(key, value)| (key.as_bytes(), value.as_slice()))
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
        let mut entries = record.values().iter();
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
                let body = Body::new(Names::default(), long, short);
                let mut written = Vec::new();
                body.append_to(&mut written, &header);
                assert_eq!(
                    body.len(Optional::default()),
                    written.len(),
                    "{length} bytes, {count} entries"
                );
                assert_eq!(body.entries(), count.max(1));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_back_to_the_same_bytes(
            rest in any::<Vec<u8>>(),
            further in prop::option::of(0..=LOGIN | NAMED),
        ) {
            let bytes = match further {
                Some(further) => with_further(further, &rest),
                None => with(&rest),
            };
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn an_amended_list_is_what_the_changed_map_is(
            names in prop::collection::btree_set("[a-d]{0,4}", 0..80),
            lengths in prop::collection::vec(0_usize..200, 80),
            changed in prop::collection::btree_map(
                "[a-d]{0,4}", prop::option::of(any::<Vec<u8>>()), 0..20
            ),
        ) {
            // A value of one byte is a null: only another program writes it.
            let value = |length: &usize| vec![0; *length];
            let mut map: BTreeMap<String, Vec<u8>> =
                names.into_iter().zip(lengths.iter().map(value)).collect();
            let header = *decode(&with(&[0, 0, 0])).unwrap().header();
            let mut bytes = Vec::new();
            Body::new(named(""), entries_of(&map), std::iter::empty()).append_to(&mut bytes, &header);
            let record = decode(&bytes).unwrap();
            let entries = record.values();
            for key in map.keys().chain(changed.keys()) {
                let there = map.get(key).filter(|value| !is_null(value));
                prop_assert_eq!(entries.find(key), there.map(Vec::as_slice));
            }

            map.retain(|_, value| !is_null(value));
            let before = entries_of(&map).measure();
            for (key, value) in &changed {
                match value {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
            let changes = changed.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
            let growth = entries_of(&map).measure().minus(before);
            let amended = Amended { entries, changes, growth };
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            amended.append_to(&mut written);
            entries_of(&map).append_to(&mut expected);
            prop_assert_eq!(written, expected);
            prop_assert_eq!(amended.measure(), entries_of(&map).measure());
        }

        #[test]
        fn what_is_written_is_read(
            subject in ".{0,16}",
            entries in prop::collection::btree_map(".*", any::<Vec<u8>>(), 0..20),
        ) {
            let values = entries.iter().map(|(key, value)| (key.as_bytes(), value.as_slice()));
            let header = *decode(&with(&[0, 0, 0])).unwrap().header();
            let body = Body::new(named(&subject), values.clone(), values.clone());
            let mut bytes = Vec::new();
            body.append_to(&mut bytes, &header);
            prop_assert_eq!(body.len(Optional::default()), bytes.len());
            let written = postcard::to_allocvec(&(&subject, &entries, &entries)).unwrap();
            prop_assert_eq!(&bytes[HEADER..], written);
            let record = decode(&bytes).unwrap();
            prop_assert_eq!(record.subject(), subject.as_str());
            prop_assert!(record.values().iter().eq(values.clone()));
            prop_assert!(record.flashes().iter().eq(values));
        }
    }
}
