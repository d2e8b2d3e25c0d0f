//! What the commands print, and how a session looks as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sealed_session::{KeyId, Session, Value};
use serde::{Serialize, Serializer};

use crate::Failure;

#[derive(Serialize)]
struct Opened<'a> {
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    issued_at: Option<String>,
    expires_at: Option<String>,
    key_id: String,
    values: Shown<'a>,
}

/// A value as JSON, also where JSON has none for it.
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
        // RFC 3339 has years of four digits, and a session has more.
        Err(_) => "9999-12-31T23:59:59.999Z".to_owned(),
    }
}

pub(crate) fn print_session(session: &Session, key_id: KeyId) -> Result<(), Failure> {
    print_json(&Opened {
        id: session.id().map(|id| id.to_string()),
        subject: session.subject(),
        issued_at: session.issued_at().map(rfc3339),
        expires_at: session.expires_at().map(rfc3339),
        key_id: key_id.to_string(),
        values: Shown(&session.to_map()?.into()),
    })
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value)?)
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyListens),
        outcome => outcome.map_err(|error| Failure::usage(format!("standard output: {error}"))),
    }
}
