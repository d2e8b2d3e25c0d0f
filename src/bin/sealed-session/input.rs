//! Reads standard input.

use std::io::{self, Read};

use sealed_session::{Token, Value};

use crate::Failure;

/// More than any token, and more than any session that fits one.
const MAX_INPUT: u64 = 1 << 20;

pub(crate) fn read() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    if bytes.len() as u64 > MAX_INPUT {
        let problem = format!("standard input has more than {MAX_INPUT} bytes");
        return Err(Failure::usage(problem));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("standard input is not UTF-8 text"))
}

pub(crate) fn read_json() -> Result<Value, Failure> {
    let input = read()?;
    let json = without_bom(&input);
    let value = serde_json::from_str(json).map_err(|error| {
        let what = if error.is_data() {
            "cannot be sealed"
        } else {
            "is not JSON"
        };
        Failure::usage(format!("standard input {what}: {error}"))
    })?;
    if has_integer_beyond_64_bits(json) {
        let problem = "standard input has an integer beyond 64 bits; write it as text";
        return Err(Failure::usage(problem));
    }
    Ok(value)
}

/// Some editors and shells begin every text with a byte order mark.
fn without_bom(input: &str) -> &str {
    input.trim_start_matches('\u{feff}')
}

/// Finds the token in pasted input: a value, a pair, or lines of either header.
pub(crate) fn token_in<'a>(input: &'a str, name: &str) -> Result<&'a str, Failure> {
    let text = without_bom(input).trim();
    if text.is_empty() {
        let problem = "standard input is empty; a cookie's value is needed";
        return Err(Failure::usage(problem));
    }
    let headers: Vec<&str> = text.lines().filter_map(pairs_of_header).collect();
    let in_headers = !headers.is_empty();
    let lines = if in_headers { headers } else { vec![text] };
    let pairs = || {
        let pairs = lines.iter().flat_map(|line| line.split(';'));
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.trim(), value.trim()))
    };
    let mut values = pairs().filter(|(found, _)| *found == name);
    if let Some((_, value)) = values.next() {
        if values.all(|(_, other)| other == value) {
            return Ok(value);
        }
        return Err(Failure::usage(format!(
            "standard input has several cookies named `{name}`; put in the value of one"
        )));
    }
    // Show the text before `=` only if the value is a token: otherwise that text may be a secret.
    let other = pairs().find(|(found, value)| !found.is_empty() && Token::parse(value).is_ok());
    match other {
        Some((other, _)) => Err(Failure::usage(format!(
            "standard input has no cookie named `{name}`, but `{other}` has a token; if that \
             is the name, set it with --cookie or SESSION_COOKIE_NAME"
        ))),
        None if in_headers => Err(Failure::usage(format!(
            "standard input has no cookie named `{name}`; set its name with --cookie"
        ))),
        // A value alone, or pasted together with its attributes.
        None => Ok(text.split(';').next().unwrap_or(text).trim_end()),
    }
}

/// The text after `Cookie:` or `Set-Cookie:`, also as curl and others show it.
fn pairs_of_header(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches(['<', '>']).trim_start();
    let (field, pairs) = line.split_once(':')?;
    let is_ours = ["cookie", "set-cookie"]
        .iter()
        .any(|name| field.eq_ignore_ascii_case(name));
    is_ours.then_some(pairs)
}

/// Explains why a text is no token, if its characters show it.
pub(crate) fn flaw(text: &str) -> Option<&'static str> {
    let strange = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c));
    let is_quoted = text.starts_with(QUOTES) || text.ends_with(QUOTES);
    Some(match strange {
        _ if is_quoted => "it has a quote around it; leave the quotes out",
        Some('\r' | '\n') => "it has a line end in it; put it on one line",
        Some(c) if c.is_whitespace() => "it has white space in it; put in the value alone",
        Some('%') => "it has a percent sign; it was percent-encoded, which no cookie of ours is",
        Some('…') => "it was cut short where it was copied, and ends in `…`",
        Some('.') if text.ends_with("...") => "it was cut short where it was copied",
        Some('+' | '/' | '=') => "it is base64 of another kind, with `+`, `/` or `=`",
        Some(':') => "it has a colon in it; put in the cookie's value alone",
        Some(_) => "it has a character in it that no token has",
        None if text.len() < SHORTEST => "it is shorter than any token",
        None => return None,
    })
}

const QUOTES: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];

/// The length of a token with no content.
const SHORTEST: usize = 103;

/// Expects valid JSON. The parser takes such an integer for a float and rounds it.
fn has_integer_beyond_64_bits(json: &str) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    let without_text: String = json
        .chars()
        .map(|character| {
            let was_in_text = in_text;
            match character {
                _ if escaped => escaped = false,
                '"' => in_text = !in_text,
                '\\' => escaped = in_text,
                _ => {}
            }
            if was_in_text { ' ' } else { character }
        })
        .collect();
    without_text
        .split(|character: char| !character.is_ascii_alphanumeric() && !"+-.".contains(character))
        .filter(|word| word.ends_with(|last: char| last.is_ascii_digit()))
        .filter(|number| !number.contains(['.', 'e', 'E']))
        .any(|integer| integer.parse::<u64>().is_err() && integer.parse::<i64>().is_err())
}
