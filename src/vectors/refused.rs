//! refused.json: tokens that are refused for the stated reason, and bytes that are no value.

use super::{File, vectors};
use crate::envelope::Kind;
use crate::error::Origin;
use crate::flow::{InCookie, Placement};
use crate::record::Record;
use crate::session::Status;
use crate::value::{self, Value, ValueError};

#[test]
fn every_refused_token_is_refused_for_the_stated_reason() {
    let file: File = vectors!("refused.json");
    assert_eq!(file.vectors.len(), 166);
    for vector in &file.vectors {
        let record = vector
            .open()
            .and_then(|opened| Record::decode(opened.plaintext));
        let admitted = record.and_then(|record| {
            InCookie.accept(record.header())?;
            vector.policy().admit(record.header(), vector.now())
        });
        assert_eq!(admitted.unwrap_err().as_str(), vector.reason, "{vector}");
    }
}

#[test]
fn every_refused_cookie_gives_a_handler_a_fresh_session_and_the_reason() {
    let file: File = vectors!("refused.json");
    let mut cookies = 0;
    for vector in file.vectors {
        if vector.kind != Kind::Cookie {
            continue;
        }
        cookies += 1;
        let flow = vector.flow(&vector.ring(), vector.policy());
        let session = flow.session([vector.cookie_field().as_bytes()], vector.now());
        let Origin::Refused(refusal) = session.origin() else {
            panic!("{vector}: {:?}", session.origin());
        };
        assert_eq!(refusal.as_str(), vector.reason, "{vector}");
        assert_eq!(session.status(), Status::Unmodified, "{vector}");
        assert!(session.is_empty() && session.id().is_none(), "{vector}");
    }
    assert_eq!(cookies, 162);
}

#[test]
fn bytes_that_are_no_value_are_refused() {
    let file: File = vectors!("refused.json");
    assert_eq!(file.values.len(), 60);
    for value in file.values {
        assert_eq!(value.reason, "bad_value");
        let decoded = value::decode::<Value>(&value.bytes);
        assert_eq!(
            decoded,
            Err(ValueError::Malformed),
            "{}: {}",
            value.name,
            value.why
        );
    }
}
