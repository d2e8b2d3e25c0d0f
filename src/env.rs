//! Reads environment variables and the files that some of them name, and finds misspelled names.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::ConfigError;

/// The end of a variable's name if it names a file with the content: `APP_KEY_FILE`.
const FILE: &str = "_FILE";

/// The most bytes of such a file. A thousand keys need less.
const MAX_FILE: usize = 64 * 1024;

/// A source of variables: the process, or a test.
pub(crate) trait Variables {
    fn get(&self, name: &str) -> Option<OsString>;

    /// The names of the variables that are not empty.
    fn names(&self) -> Vec<String>;
}

/// The process's own environment.
pub(crate) struct Process;

impl Variables for Process {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<String> {
        let is_set = |(name, content): (OsString, OsString)| {
            // The iterator also copies the variables' contents, and some of them are keys, so
            // overwrite the copies.
            let content = Zeroizing::new(content.into_encoded_bytes());
            let name = name.into_string().ok()?;
            (!content.trim_ascii().is_empty()).then_some(name)
        };
        std::env::vars_os().filter_map(is_set).collect()
    }
}

/// A variable's content, and where it came from.
pub(crate) struct Found {
    /// The variable that is set: the requested one, or the same with `_FILE`.
    pub(crate) variable: String,
    /// The file that the content was read from, if any.
    pub(crate) path: Option<PathBuf>,
    pub(crate) text: Zeroizing<String>,
}

/// Reads `variable`, or the file that is named by `variable` with `_FILE` at its end.
///
/// Returns `None` if neither is set. An empty variable counts as set only if the other one is
/// empty.
pub(crate) fn text(
    variables: &dyn Variables,
    variable: &str,
) -> Result<Option<Found>, ConfigError> {
    let direct = match variables.get(variable) {
        Some(content) => Some(in_utf8(variable, content)?),
        None => None,
    };
    let of_file = format!("{variable}{FILE}");
    let path = PathBuf::from(variables.get(&of_file).unwrap_or_default());
    let is_empty = direct.as_ref().is_none_or(|text| text.trim().is_empty());
    if path.as_os_str().is_empty() {
        return Ok(direct.map(|text| Found {
            variable: variable.to_owned(),
            path: None,
            text,
        }));
    }
    if !is_empty {
        let problem = format!("it and `{variable}` are both set; leave one of them out");
        return Err(ConfigError::new(of_file, problem));
    }
    match read(&path) {
        Ok(text) => Ok(Some(Found {
            variable: of_file,
            path: Some(path),
            text,
        })),
        Err(error) => {
            let remedy = "name a text file that this process can read";
            let problem = format!("{path:?}: {error}; {remedy}");
            Err(ConfigError::new(of_file, problem))
        }
    }
}

fn in_utf8(variable: &str, content: OsString) -> Result<Zeroizing<String>, ConfigError> {
    let bytes = Zeroizing::new(content.into_encoded_bytes());
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ConfigError::new(
            variable,
            "it is not UTF-8 text; set it again",
        )),
    }
}

/// Reads a file's text, without one line end at its end, and without the byte order mark that some
/// editors put at its beginning.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // Full capacity from the start, because a growing buffer would leave copies of the content
    // behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    let mut file = File::open(path)?.take(MAX_FILE as u64 + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        let problem = format!("it has more than {MAX_FILE} bytes");
        return Err(io::Error::other(problem));
    }
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| io::Error::other("it is not UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Zeroizing::new(line.to_owned()))
}

/// Refuses a variable whose name was probably meant to be one of `known`: a misspelling, or a
/// common name for the same thing. For the second, `elsewhere` returns the problem.
pub(crate) fn refuse_strays(
    variables: &dyn Variables,
    known: &[&str],
    family: &str,
    elsewhere: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    // On Windows, upper and lower case are the same in names of variables.
    let is_read = |name: &str, known: &str| match cfg!(windows) {
        true => name.eq_ignore_ascii_case(known),
        false => name == known,
    };
    let strays = variables.names().into_iter().filter_map(|name| {
        if known.iter().any(|known| is_read(&name, known)) {
            return None;
        }
        let problem = elsewhere(&name).or_else(|| {
            let ours = meant(&name, known.iter().copied(), family)?;
            Some(set_instead(&[ours.to_owned()]))
        })?;
        Some(ConfigError::new(name.escape_debug().to_string(), problem))
    });
    // The environment has no order, so report the name that comes first in the alphabet.
    match strays.min_by(|one, other| one.setting().cmp(other.setting())) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The problem with a name that nothing reads, and the fix: set one of `names`, or nothing.
pub(crate) fn set_instead(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match &names[..] {
        [] => "nothing reads it, and every session is sealed anyway; leave it out".to_owned(),
        names => {
            let names = names.join(" or ");
            format!("nothing reads it; set {names} instead, or leave it out")
        }
    }
}

/// Whether two names differ only in case, dashes and underscores.
#[cfg(feature = "settings")]
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    letters_of(one) == letters_of(other)
}

/// The name in `known` that `name` was probably meant to be. It may differ in case, dashes and
/// underscores, and by one slip from 4 letters on, or two from 10.
///
/// `family` is the prefix that names of one kind share. Its letters do not count for the slips, so
/// that another name of the family is not taken for one of ours.
pub(crate) fn meant<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
    family: &str,
) -> Option<&'k str> {
    let (letters, family) = (letters_of(name), letters_of(family));
    let distances = known.into_iter().filter_map(|known| {
        let own = letters_of(known);
        let (significant, letters) = match own.strip_prefix(&family) {
            Some(significant) => (significant, letters.as_str()),
            // Names in a file have no prefix, but people may write it.
            None => (
                own.as_str(),
                letters.strip_prefix(&family).unwrap_or(&letters),
            ),
        };
        let slips = match significant.len() {
            0..4 => 0,
            4..10 => 1,
            _ => 2,
        };
        let distance = distance(letters, &own);
        (distance <= slips).then_some((distance, known))
    });
    let closest = distances.min_by_key(|(distance, _)| *distance);
    closest.map(|(_, known)| known)
}

fn letters_of(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The number of letters to add, remove, replace, or swap with the next one, to make one word the
/// other.
///
/// The default features need this, and a dependency would serve nothing else.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // The distances to each prefix of `to`: `row` after the last letter, `before` after the one
    // before.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (count, letter) in from.chars().enumerate() {
        let mut next = vec![count + 1];
        let mut left = None;
        for (n, other) in to.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX - 1);
            let exchanged = at(&row, n) + usize::from(letter != *other);
            let mut least = exchanged.min(at(&row, n + 1) + 1).min(at(&next, n) + 1);
            if last == Some(*other) && left == Some(letter) {
                least = least.min(at(&before, n.saturating_sub(1)) + 1);
            }
            next.push(least);
            left = Some(*other);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The variables of a test.
    impl Variables for &[(&str, &str)] {
        fn get(&self, name: &str) -> Option<OsString> {
            let found = self.iter().find(|(known, _)| *known == name);
            found.map(|(_, content)| content.into())
        }

        fn names(&self) -> Vec<String> {
            let set = self
                .iter()
                .filter(|(_, content)| !content.trim().is_empty());
            set.map(|(name, _)| (*name).to_owned()).collect()
        }
    }

    fn found(variables: &[(&str, &str)]) -> Result<Option<(String, String)>, String> {
        let found = text(&variables, "X").map_err(|error| error.to_string())?;
        Ok(found.map(|found| (found.variable, found.text.to_string())))
    }

    #[test]
    fn content_comes_from_the_variable_or_from_the_file_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let plain = file("plain", b"a b");
        let found_in = |variable: &str, text: &str| Ok(Some((variable.into(), text.into())));
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[("X", "")]), found_in("X", ""));
        assert_eq!(found(&[("X", "a"), ("X_FILE", "")]), found_in("X", "a"));
        for direct in ["", " \t"] {
            let variables = [("X", direct), ("X_FILE", &plain)];
            assert_eq!(found(&variables), found_in("X_FILE", "a b"));
        }
        for (content, text) in [
            ("", ""),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("\u{feff}a\r\n", "a"),
            ("\u{feff}\u{feff}a", "\u{feff}a"),
            ("a\n\n", "a\n"),
            (" a\nb\n", " a\nb"),
        ] {
            let path = file("lines", content.as_bytes());
            assert_eq!(found(&[("X_FILE", &path)]), found_in("X_FILE", text));
        }
        let largest = file("largest", &vec![b'x'; MAX_FILE]);
        let (_, text) = found(&[("X_FILE", &largest)]).unwrap().unwrap();
        assert_eq!(text.len(), MAX_FILE);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_variable_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, "hunter2".repeat(MAX_FILE)).unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, b"hunter2\xff").unwrap();
        let folder = folder.path().to_str().unwrap();
        for (path, problem) in [
            (format!("{folder}/none"), ""),
            (folder.to_owned(), ""),
            (format!("{folder}/large"), "more than 65536 bytes"),
            (format!("{folder}/binary"), "not UTF-8 text"),
            (format!("{folder}/\u{202e}"), ""),
        ] {
            let error = found(&[("X_FILE", &path)]).unwrap_err();
            assert!(error.starts_with(&format!("X_FILE: {path:?}: ")), "{error}");
            assert!(
                error.contains(problem) && !error.contains("hunter2"),
                "{error}"
            );
            assert!(!error.contains('\u{202e}'), "{error}");
        }
        let both = found(&[("X", "hunter2"), ("X_FILE", folder)]).unwrap_err();
        assert_eq!(
            both,
            "X_FILE: it and `X` are both set; leave one of them out"
        );
    }

    #[test]
    fn a_distance_counts_what_a_hand_does_wrong() {
        for (from, to, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("abc", "abxc", 1),
            ("abc", "acb", 1),
            ("abcd", "badc", 2),
            ("ca", "abc", 3),
            ("timout", "timeout", 1),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(from, to), wanted, "{from} {to}");
            assert_eq!(distance(to, from), wanted, "{to} {from}");
        }
    }
}
