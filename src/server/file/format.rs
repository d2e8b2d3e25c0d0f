//! The format of a session's file: a header line of fixed length with the expiry and the tag, then
//! the value. A file of format 2 has a second tag, and only a session with a sid has such a file.
//!
//! ```text
//! 1 001763697785123 3f…64 digits or dashes…a0
//! AeFmn…
//!
//! 2 001763697785123 3f…64 digits or dashes…a0 77…64 digits…1b
//! AeFmn…
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::super::backend::{Tag, Value};
use crate::session::Version;
use crate::time::Millis;

/// The most bytes that a value may have.
pub(super) const MAX_VALUE: usize = 16 << 20;

const FORMAT: &str = "1 ";
const TWO_TAGS: &str = "2 ";
const EXPIRES_LEN: usize = 15;
const TAG_LEN: usize = 64;
const HEADER_LEN: usize = FORMAT.len() + EXPIRES_LEN + 1 + TAG_LEN + 1;
const LONG_HEADER_LEN: usize = HEADER_LEN + 1 + TAG_LEN;

/// The expiry is at the same place in both formats.
const _: () = assert!(FORMAT.len() == TWO_TAGS.len());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) expires: Millis,
    pub(super) tag: Option<Tag>,
    pub(super) sid_tag: Option<Tag>,
}

/// The content of a session's file: its header, and its value or the beginning of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) header: Header,
    pub(super) value: String,
}

impl Content {
    pub(super) fn into_stored(self) -> (Value, Millis) {
        (Value::new(self.value), self.header.expires)
    }
}

impl Header {
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        let (rest, sid_tag) = match line.strip_prefix(FORMAT) {
            Some(rest) => (rest, None),
            None => {
                let (rest, tag) = line.strip_prefix(TWO_TAGS)?.rsplit_once(' ')?;
                (rest, Some(Tag::from_hex(tag)?))
            }
        };
        let (expires, tag) = rest.split_once(' ')?;
        if expires.len() != EXPIRES_LEN || !expires.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let tag = if tag == "-".repeat(TAG_LEN) {
            None
        } else {
            Some(Tag::from_hex(tag)?)
        };
        let expires = Millis::from_raw(expires.parse().ok()?);
        Some(Self {
            expires,
            tag,
            sid_tag,
        })
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> + use<> {
        self.tag.into_iter().chain(self.sid_tag)
    }
}

pub(super) fn write(mut file: &fs::File, header: &Header, value: &Value) -> io::Result<()> {
    let expires = header.expires.raw();
    let tag = match header.tag {
        Some(tag) => tag.to_string(),
        None => "-".repeat(TAG_LEN),
    };
    let (format, sid_tag) = match header.sid_tag {
        Some(tag) => (TWO_TAGS, format!(" {tag}")),
        None => (FORMAT, String::new()),
    };
    let value = value.as_str();
    file.write_all(format!("{format}{expires:0EXPIRES_LEN$} {tag}{sid_tag}\n{value}").as_bytes())
}

/// Overwrites the expiry, and nothing else.
pub(super) fn write_expiry(file: &fs::File, expires: Millis) -> io::Result<()> {
    let digits = format!("{:0EXPIRES_LEN$}", expires.raw());
    file.write_all_at(digits.as_bytes(), FORMAT.len() as u64)
}

/// Reads the whole file. Returns `None` if it is not a session's file.
pub(super) fn read(file: &fs::File) -> io::Result<Option<Content>> {
    let content = read_up_to(file, MAX_VALUE + 1)?;
    Ok(content.filter(|content| content.value.len() <= MAX_VALUE))
}

/// Reads the header and the beginning of the value, which is enough to know its version.
pub(super) fn read_head(file: &fs::File) -> io::Result<Option<Content>> {
    read_up_to(file, Version::LEN)
}

fn read_up_to(file: &fs::File, value_len: usize) -> io::Result<Option<Content>> {
    let limit = (LONG_HEADER_LEN + value_len) as u64;
    // One allocation and few reads, whatever the session's size.
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(parse(bytes))
}

fn parse(bytes: Vec<u8>) -> Option<Content> {
    let mut text = String::from_utf8(bytes).ok()?;
    let length = if text.starts_with(TWO_TAGS) {
        LONG_HEADER_LEN
    } else {
        HEADER_LEN
    };
    let header = Header::parse(text.get(..length)?)?;
    text.drain(..length);
    Some(Content {
        header,
        value: text,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    fn file(bytes: &[u8]) -> fs::File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn written(header: &Header, value: &str) -> Vec<u8> {
        let path = tempfile::NamedTempFile::new().unwrap();
        write(path.as_file(), header, &Value::new(value.to_owned())).unwrap();
        fs::read(path.path()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let [tag, sid_tag] = [0x3f, 0x77].map(|byte| Some(Tag::from_bytes([byte; 32])));
        for (tag, sid_tag) in [(None, None), (tag, None), (None, sid_tag), (tag, sid_tag)] {
            for millis in [0, 1_763_697_785_123, Millis::MAX.raw()] {
                let expires = Millis::from_raw(millis);
                let header = Header {
                    expires,
                    tag,
                    sid_tag,
                };
                for value in ["", "a", &"v".repeat(MAX_VALUE)] {
                    let bytes = written(&header, value);
                    let value = value.to_owned();
                    let content = Content { header, value };
                    assert_eq!(read(&file(&bytes)).unwrap(), Some(content));
                }
            }
        }
    }

    #[test]
    fn an_exchanged_expiry_leaves_the_rest() {
        let mut header = Header {
            expires: Millis::MAX,
            tag: Some(Tag::from_bytes([0xa0; 32])),
            sid_tag: Some(Tag::from_bytes([0x77; 32])),
        };
        let file = file(&written(&header, "value"));
        header.expires = Millis::from_raw(7);
        write_expiry(&file, header.expires).unwrap();
        let content = read(&file).unwrap().unwrap();
        assert_eq!((content.header, &*content.value), (header, "value"));
    }

    #[test]
    fn what_is_not_a_sessions_file_is_none() {
        let expires = Millis::from_raw(1_763_697_785_123);
        let mut header = Header {
            expires,
            tag: None,
            sid_tag: Some(Tag::from_bytes([0x77; 32])),
        };
        let two_tags = written(&header, "value");
        header.sid_tag = None;
        let good = written(&header, "value");
        let text = String::from_utf8(good.clone()).unwrap();
        for (good, header_len) in [(&good, HEADER_LEN), (&two_tags, LONG_HEADER_LEN)] {
            for length in 0..header_len {
                let cut = file(&good[..length]);
                assert_eq!(read(&cut).unwrap(), None, "{length} bytes");
            }
        }
        let text_of_two = String::from_utf8(two_tags).unwrap();
        let dashes = "-".repeat(TAG_LEN);
        for (why, bad) in [
            ("another format", text.replacen("1 ", "3 ", 1)),
            (
                "a second tag that is not there",
                text.replacen("1 ", "2 ", 1),
            ),
            ("a second tag too many", text_of_two.replacen("2 ", "1 ", 1)),
            (
                "a second tag of dashes",
                text_of_two.replacen(&"77".repeat(32), &dashes, 1),
            ),
            ("a sign", text.replacen(" 0017", " +017", 1)),
            ("a space", text.replacen(" 0017", "  017", 1)),
            ("no line's end", text.replacen('\n', " ", 1)),
            ("a longer number", text.replacen(" 0", " 00", 1)),
            (
                "upper case",
                text.replacen(&dashes, &"A".repeat(TAG_LEN), 1),
            ),
            ("a short tag", text.replacen("--", "-", 1)),
            (
                "characters of two bytes",
                text.replacen(&dashes, &"é".repeat(32), 1),
            ),
            ("one across the header's end", text.replacen("-\n", "é", 1)),
            ("nothing but zeros", "\0".repeat(200)),
        ] {
            assert_ne!(bad, text, "{why}");
            assert_eq!(read(&file(bad.as_bytes())).unwrap(), None, "{why}");
            assert_eq!(read_head(&file(bad.as_bytes())).unwrap(), None, "{why}");
        }
        assert_eq!(read(&file(&[&*good, b"\xff"].concat())).unwrap(), None);
    }

    #[test]
    fn no_more_is_read_than_a_value_may_be_long() {
        let huge = file(&written(
            &Header {
                expires: Millis::MAX,
                tag: None,
                sid_tag: None,
            },
            "value",
        ));
        huge.set_len(1 << 40).unwrap();
        let used = allocation_counter::measure(|| assert_eq!(read(&huge).unwrap(), None));
        assert!(used.bytes_max < 4 * MAX_VALUE as u64, "{}", used.bytes_max);
        (&huge).rewind().unwrap();
        let used = allocation_counter::measure(|| assert!(read_head(&huge).unwrap().is_some()));
        assert!(used.bytes_max < 1024, "{}", used.bytes_max);
    }
}
