//! Prints results, and a session as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sealed_session::{KeyId, Session, Value};
use serde::{Serialize, Serializer};

use crate::Failure;

/// The output of `open`.
#[derive(Serialize)]
struct Opened<'a> {
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    issued_at: Option<String>,
    expires_at: Option<String>,
    key_id: String,
    /// `None` if a backend has them.
    values: Option<Shown<'a>>,
}

/// A value as JSON, even where JSON has no such value.
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bytes(bytes) => {
                serializer.collect_map([("$bytes", BASE64_STANDARD.encode(bytes))])
            }
            Value::Float(float) if !float.is_finite() => {
                serializer.collect_map([("$float", float.to_string())])
            }
            Value::List(items) => serializer.collect_seq(items.iter().map(Shown)),
            Value::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, Shown(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

fn rfc3339(moment: SystemTime) -> String {
    let mut text = String::new();
    match write!(text, "{}", humantime::format_rfc3339_millis(moment)) {
        Ok(()) => text,
        // RFC 3339 has years of four digits, but sessions can have longer ones.
        Err(_) => "9999-12-31T23:59:59.999Z".to_owned(),
    }
}

pub(crate) fn print_session(
    session: &Session,
    key_id: KeyId,
    is_stub: bool,
) -> Result<(), Failure> {
    let values = session.to_map()?.into();
    print_json(&Opened {
        id: session.id().map(|id| id.to_string()),
        subject: session.subject(),
        issued_at: session.issued_at().map(rfc3339),
        expires_at: session.expires_at().map(rfc3339),
        key_id: key_id.to_string(),
        values: (!is_stub).then_some(Shown(&values)),
    })
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value)?;
    // In JSON, such characters occur only in text, where an escape means the same.
    print(&harmless(&json, "\n", |c, shown| {
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            // Writing to a `String` does not fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }))
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    let line = harmless(text, "", |c, shown| shown.extend(c.escape_unicode()));
    // If this fails, nobody is left who could read about it.
    let _ = writeln!(io::stderr(), "sealed-session: {line}");
}

/// Rewrites `text` with `escape` for each character that a terminal acts on or a reader cannot see,
/// except for those in `kept`.
fn harmless(text: &str, kept: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut carries_marks = false;
    for c in text.chars() {
        let is_mark = is_mark(c);
        if (is_hidden(c) && !kept.contains(c)) || (is_mark && !carries_marks) {
            escape(c, &mut shown);
            carries_marks = false;
        } else {
            shown.push(c);
            carries_marks = c.is_alphabetic() || is_mark;
        }
    }
    shown
}

/// Characters that fonts show as nothing, although Unicode counts them neither as format characters
/// nor as spaces: filler letters, variation selectors, the empty Braille cell.
const BLANK: [std::ops::RangeInclusive<char>; 10] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{16fe4}'..='\u{16fe4}',
    '\u{e0100}'..='\u{e01ef}',
];

/// Whether a character is hidden: control and format characters, separators, spaces other than the
/// usual one, and private or unassigned characters. `Debug` of text uses the same table.
fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // After a letter, a mark does not count as hidden.
    let behind = format!("x{c}");
    behind.escape_debug().nth(1) == Some('\\') || BLANK.iter().any(|blank| blank.contains(&c))
}

/// Whether a character is drawn onto the one before it. That one could be a quotation mark.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && !is_hidden(c) && c.escape_debug().len() > 1
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyListens),
        outcome => outcome.map_err(|error| Failure::usage(format!("standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> String {
        harmless(text, "", |c, shown| shown.extend(c.escape_unicode()))
    }

    #[test]
    fn what_is_seen_stays_and_what_acts_or_hides_is_written_out() {
        for text in [
            "plain ~ \"text\" \\ /",
            "Zoë ☃ 日本語 한국어 русский עברית العربية ไทยกำ हिन्दी 🦄",
            "e\u{301}a\u{308}\u{304}",
        ] {
            assert_eq!(line(text), text);
        }
        for (text, shown) in [
            (
                "a\u{1b}[2J\u{7}\r\n\t\0",
                r"a\u{1b}[2J\u{7}\u{d}\u{a}\u{9}\u{0}",
            ),
            (
                "\u{7f}\u{80}\u{9b}\u{9d}\u{9f}\u{ad}",
                r"\u{7f}\u{80}\u{9b}\u{9d}\u{9f}\u{ad}",
            ),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}",
                r"\u{202e}\u{2066}\u{200f}\u{61c}",
            ),
            (
                "\u{200b}\u{200d}\u{2060}\u{feff}",
                r"\u{200b}\u{200d}\u{2060}\u{feff}",
            ),
            (
                "\u{2028}\u{2029}\u{a0}\u{3000}",
                r"\u{2028}\u{2029}\u{a0}\u{3000}",
            ),
            (
                "\u{e0041}\u{e0100}\u{fe0f}\u{180e}",
                r"\u{e0041}\u{e0100}\u{fe0f}\u{180e}",
            ),
            (
                "\u{e000}\u{f8ff}\u{10ffff}\u{378}",
                r"\u{e000}\u{f8ff}\u{10ffff}\u{378}",
            ),
            (
                "\u{3164}\u{115f}\u{2800}\u{34f}",
                r"\u{3164}\u{115f}\u{2800}\u{34f}",
            ),
            ("\"\u{301}e\u{301} \u{338}", "\"\\u{301}e\u{301} \\u{338}"),
        ] {
            assert_eq!(line(text), shown);
        }
    }

    proptest! {
        /// Checks against Unicode's classes, a table that the code under test does not use.
        #[test]
        fn no_character_of_these_classes_gets_through(
            text in r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Mn}\p{Me}a ]{1,40}",
        ) {
            let shown = line(&format!("\"{text}"));
            prop_assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
            let is_mark = |c: char| !c.is_ascii();
            let beginning: String = shown.chars().take(2).collect();
            prop_assert!(!beginning.contains(is_mark), "{shown:?}");
            let json = harmless(&text, "", |c, shown| {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    shown.push_str(&format!("\\u{unit:04x}"));
                }
            });
            let read: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn each_of_these_is_written_out(
            c in r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Default_Ignorable_Code_Point}]",
        ) {
            prop_assert!(line(&c).is_ascii(), "{c:?}");
        }
    }
}
