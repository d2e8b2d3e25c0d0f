//! The ring as text: one spelling for each ring, a line for each key.
//!
//! ```text
//! sealed-session keys 1
//! longest 86400000
//! poll 20000
//! propagation 0
//! timeout 5000
//! tolerance 60000
//! fence 0
//! key 0a1b2c3d made 1764212452000 from 1764212452000 stops - disabled 0 revoked - dropped - material base64:…
//! end 1
//! ```
//!
//! Lengths of time and moments since 1970 are milliseconds. Keys are sorted by id, and counted at
//! the end, so that what is torn is no ring. A newer format may add lines between the first key and
//! the end, and fields at the end of a line, which an older reader passes over; it never writes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::ring::{Bounds, Entry, FORMAT, MAX_ENTRIES, MAX_KEYS, Ring, millis};
use crate::envelope::{AppKey, KeyId};
use crate::time::Millis;

/// The most bytes of a ring, before it is sealed.
pub(super) const MAX_TEXT: usize = 48 * 1024;

const TITLE: &str = "sealed-session keys ";
const MATERIAL: &str = "base64:";

/// The most characters of a key's material: those of 255 bytes.
const MAX_MATERIAL: usize = MATERIAL.len() + 340;

/// What is wrong with the text, and the number of the line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadText {
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

pub(super) fn write(ring: &Ring) -> Zeroizing<String> {
    // Large enough that the text never moves: a growing buffer would leave copies of keys behind.
    let length = 256 + ring.entries.len() * 192 + ring.live().count() * MAX_MATERIAL;
    let mut text = Zeroizing::new(String::with_capacity(length));
    write_into(&mut text, ring);
    text
}

fn write_into(text: &mut String, ring: &Ring) {
    // Writing to a `String` does not fail.
    let _ = writeln!(text, "{TITLE}{FORMAT}");
    let Bounds {
        longest,
        poll,
        propagation,
        timeout,
        tolerance,
    } = ring.bounds;
    for (name, length) in [
        ("longest", longest),
        ("poll", poll),
        ("propagation", propagation),
        ("timeout", timeout),
        ("tolerance", tolerance),
    ] {
        let _ = writeln!(text, "{name} {}", millis(length).raw());
    }
    let _ = writeln!(text, "fence {}", ring.fence.raw());
    for (id, entry) in &ring.entries {
        let (made, from) = (entry.made.raw(), entry.from.raw());
        let _ = write!(text, "key {id} made {made} from {from} stops ");
        write_moment(text, entry.stops);
        let _ = write!(text, " disabled {} revoked ", entry.disabled);
        write_moment(text, entry.revoked);
        text.push_str(" dropped ");
        write_moment(text, entry.dropped);
        text.push_str(" material ");
        match &entry.key {
            Some(key) => text.push_str(&key.to_base64()),
            None => text.push('-'),
        }
        text.push('\n');
    }
    let _ = writeln!(text, "end {}", ring.entries.len());
}

fn write_moment(text: &mut String, moment: Option<Millis>) {
    let _ = match moment {
        Some(moment) => write!(text, "{}", moment.raw()),
        None => write!(text, "-"),
    };
}

/// Checks that a key which was not made for a ring can be read from one.
pub(super) fn check_key(key: &AppKey) -> Result<(), String> {
    let material = key.to_base64();
    if material.len() > MAX_MATERIAL {
        let id = key.id();
        return Err(format!(
            "the key {id} has more than the 255 bytes that a ring keeps; seal under a shorter one \
             until all that this one has sealed is over"
        ));
    }
    material
        .parse::<AppKey>()
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(super) fn read(text: &[u8]) -> Result<Ring, BadText> {
    let whole = |problem| BadText { line: 1, problem };
    if text.len() > MAX_TEXT {
        return Err(whole("it is longer than a ring of keys can be"));
    }
    let text = std::str::from_utf8(text).map_err(|_| whole("it is not text"))?;
    let Some(body) = text.strip_suffix('\n') else {
        let line = text.lines().count().max(1);
        let problem = "its last line does not end: it was cut short";
        return Err(BadText { line, problem });
    };
    let mut lines = (1..).zip(body.split('\n'));
    let mut next = |missing: &'static str| match lines.next() {
        Some((line, text)) => Ok(Line { line, text }),
        None => Err(BadText {
            line: body.split('\n').count(),
            problem: missing,
        }),
    };
    let title = next("it is empty")?;
    let format = title
        .text
        .strip_prefix(TITLE)
        .ok_or_else(|| title.bad("it does not begin with `sealed-session keys`"))?;
    let format = number(format).ok_or_else(|| title.bad("it has no number of its format"))?;
    let is_newer = format > FORMAT;
    if format < FORMAT {
        return Err(title.bad("no ring has this format"));
    }
    let mut setting = |name: &str| {
        let line = next("it ends before its keys")?;
        let value = line.text.strip_prefix(name);
        let value = value.and_then(|value| value.strip_prefix(' '));
        let value = value.and_then(|value| first(value, is_newer));
        value.and_then(number).ok_or_else(|| {
            line.bad("it is not the setting that stands here, with a number of milliseconds")
        })
    };
    let mut length = |name| setting(name).map(Duration::from_millis);
    let bounds = Bounds {
        longest: length("longest")?,
        poll: length("poll")?,
        propagation: length("propagation")?,
        timeout: length("timeout")?,
        tolerance: length("tolerance")?,
    };
    let mut ring = Ring::new(bounds);
    ring.format = format;
    ring.fence = Millis::from_raw(setting("fence")?);
    let (mut latest, mut is_ended) = (None, false);
    for (line, text) in lines {
        let line = Line { line, text };
        if is_ended {
            return Err(line.bad("something follows the end"));
        }
        if let Some(fields) = text.strip_prefix("end ") {
            let count = first(fields, is_newer).and_then(number);
            if count != u64::try_from(ring.entries.len()).ok() {
                return Err(line.bad("it is not the number of the keys before it"));
            }
            is_ended = true;
            continue;
        }
        let Some(fields) = text.strip_prefix("key ") else {
            if is_newer {
                continue;
            }
            return Err(line.bad("it is neither a key nor the end"));
        };
        let (id, entry) = line.entry(fields, is_newer)?;
        if latest.replace(id).is_some_and(|latest| latest >= id) {
            return Err(line.bad("its key id is there before, or out of order"));
        }
        // No program writes such a key.
        if entry.key.is_some() && (entry.dropped.is_some() || ring.is_revoked(&entry)) {
            return Err(line.bad("its key is revoked or dropped, and still has its material"));
        }
        ring.entries.insert(id, entry);
        if ring.entries.len() > MAX_ENTRIES || ring.live().count() > MAX_KEYS {
            return Err(line.bad("there are more keys than a ring can have"));
        }
    }
    if !is_ended {
        let line = body.split('\n').count();
        let problem = "its end is missing: it was cut short";
        return Err(BadText { line, problem });
    }
    Ok(ring)
}

struct Line<'a> {
    line: usize,
    text: &'a str,
}

impl Line<'_> {
    fn bad(&self, problem: &'static str) -> BadText {
        let line = self.line;
        BadText { line, problem }
    }

    fn entry(&self, fields: &str, is_newer: bool) -> Result<(KeyId, Entry), BadText> {
        let mut fields = fields.split(' ');
        let bad = || self.bad("it is not a key with its dates");
        let id = fields.next().and_then(KeyId::from_hex).ok_or_else(bad)?;
        let mut field = |name: &str| {
            let is_named = fields.next() == Some(name);
            fields.next().filter(|_| is_named).ok_or_else(bad)
        };
        let moment = |text: &str| number(text).map(Millis::from_raw).ok_or_else(bad);
        let perhaps = |text: &str| match text {
            "-" => Ok(None),
            text => moment(text).map(Some),
        };
        let made = moment(field("made")?)?;
        let from = moment(field("from")?)?;
        let stops = perhaps(field("stops")?)?;
        let disabled = number(field("disabled")?).and_then(|times| u32::try_from(times).ok());
        let disabled = disabled.ok_or_else(bad)?;
        let revoked = perhaps(field("revoked")?)?;
        let dropped = perhaps(field("dropped")?)?;
        let key = match field("material")? {
            "-" => None,
            material => Some(Arc::new(self.key(material)?)),
        };
        if fields.next().is_some() && !is_newer {
            return Err(bad());
        }
        if from < made {
            return Err(self.bad("its key seals before it was made"));
        }
        if key.as_ref().is_some_and(|key| key.id() != id) {
            return Err(self.bad("its key has another id: the line was altered"));
        }
        let entry = Entry {
            made,
            from,
            stops,
            disabled,
            revoked,
            dropped,
            key,
        };
        Ok((id, entry))
    }

    fn key(&self, material: &str) -> Result<AppKey, BadText> {
        let bad = || self.bad("its material is not a key");
        if material.len() > MAX_MATERIAL || !material.starts_with(MATERIAL) {
            return Err(bad());
        }
        let key: AppKey = material.parse().map_err(|_| bad())?;
        // A key has only one spelling.
        if *key.to_base64() != *material {
            return Err(bad());
        }
        Ok(key)
    }
}

/// The first of the fields. More fields are an error, unless others may be there.
fn first(fields: &str, others_may_be_there: bool) -> Option<&str> {
    match fields.split_once(' ') {
        None => Some(fields),
        Some((first, _)) => others_may_be_there.then_some(first),
    }
}

/// A number in its shortest form, of at most 48 bits.
fn number(text: &str) -> Option<u64> {
    let is_short = text == "0" || !text.starts_with('0');
    let is_plain = is_short && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_plain { text.parse().ok() } else { None };
    number.filter(|&number| number <= Millis::MAX.raw())
}
