//! What the commands are given on standard input.

use std::io::{self, Read};

use sealed_session::Value;

use crate::Failure;

/// More than any token has, and than any session that fits one.
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
    let json = read()?;
    let value = serde_json::from_str(&json).map_err(|error| {
        let what = if error.is_data() {
            "cannot be sealed"
        } else {
            "is not JSON"
        };
        Failure::usage(format!("standard input {what}: {error}"))
    })?;
    if has_integer_beyond_64_bits(&json) {
        let problem = "standard input has an integer beyond 64 bits; write it as text";
        return Err(Failure::usage(problem));
    }
    Ok(value)
}

/// The token in what an operator pastes: a value, a pair, or a line of either header.
pub(crate) fn token_in<'a>(input: &'a str, name: &str) -> Result<&'a str, Failure> {
    let line = input.trim();
    if line.is_empty() {
        let problem = "standard input is empty; a cookie's value is needed";
        return Err(Failure::usage(problem));
    }
    let header = line.split_once(':').filter(|(field, _)| {
        field.eq_ignore_ascii_case("cookie") || field.eq_ignore_ascii_case("set-cookie")
    });
    let pairs = header.map_or(line, |(_, pairs)| pairs);
    let mut values = pairs.split(';').filter_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    });
    match (values.next(), header) {
        (Some(value), _) if values.all(|other| other == value) => Ok(value),
        (Some(_), _) => Err(Failure::usage(format!(
            "standard input has several cookies named `{name}`; put in the value of one"
        ))),
        (None, Some(_)) => Err(Failure::usage(format!(
            "standard input has no cookie named `{name}`; say its name with --cookie"
        ))),
        // A value that was pasted together with its attributes, or alone.
        (None, None) => Ok(line.split(';').next().unwrap_or(line).trim_end()),
    }
}

/// Valid JSON is assumed. The parser takes such an integer for a float and rounds it.
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
