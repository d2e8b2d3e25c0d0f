//! Sealed bytes through the whole of a load: what opens, what it holds, and that saving and
//! loading it again changes nothing.

use std::sync::LazyLock;

use sealed_session::fuzzing::Envelope;
use sealed_session::{CookieStore, Origin, Refusal, Session, Status, Value};

use crate::reference::{Record, read_record, read_value, value_bytes};
use crate::terms::{NAME, NOW, TERMS, Terms, moment, ring, sealing};

/// A store and what it was told, beside the envelope under which its cookies come in.
struct Setup {
    terms: Terms,
    store: CookieStore,
    incoming: Envelope,
}

static SETUPS: LazyLock<[Setup; 4]> = LazyLock::new(|| {
    TERMS.map(|terms| Setup {
        terms,
        store: terms
            .tell(CookieStore::builder(ring()))
            .build()
            .expect("settings that can be"),
        incoming: Envelope::new(&terms.incoming(), NAME),
    })
});

static SEALING: LazyLock<Envelope> = LazyLock::new(|| Envelope::new(&sealing(), NAME));

/// `data`: a byte that chooses the settings, then what is sealed in the cookie.
pub fn load(data: &[u8]) {
    let Some((choice, plaintext)) = data.split_first() else {
        return;
    };
    let setup = &SETUPS[usize::from(*choice) % SETUPS.len()];
    let token = setup.incoming.seal(plaintext, 1);
    let session = setup.store.load_from([&format!("{NAME}={token}")]);

    match setup.expected(&token, plaintext) {
        Err(refusal) => {
            assert_eq!(session.origin(), Origin::Refused(refusal));
            assert!(session.is_empty() && session.is_new() && session.id().is_none());
            assert_eq!(session.status(), Status::Unmodified);
            let outgoing = setup.store.respond(&session).expect("nothing to save");
            assert_eq!(
                outgoing.set_cookies().count(),
                0,
                "a refused cookie is left alone"
            );
        }
        Ok(record) => {
            holds(&session, &record, setup.terms.deadline(&record));
            setup.saves(&session, &record, plaintext);
        }
    }
}

impl Setup {
    /// The record in the cookie, if it is one and is admitted.
    fn expected(&self, token: &str, plaintext: &[u8]) -> Result<Record, Refusal> {
        if NAME.len() + token.len() > 4096 {
            return Err(Refusal::TooLong);
        }
        let record = read_record(plaintext)?;
        if record.in_backend {
            return Err(Refusal::Elsewhere);
        }
        self.terms.admit(&record)?;
        let timeout = self.terms.idle_timeout;
        if timeout.is_some_and(|timeout| NOW >= record.seen_at + timeout) {
            return Err(Refusal::Idle);
        }
        Ok(record)
    }

    /// What a save writes is what came in, but for what the save is about.
    fn saves(&self, session: &Session, record: &Record, plaintext: &[u8]) {
        let is_stale = self
            .terms
            .idle_timeout
            .is_some_and(|timeout| NOW.saturating_sub(record.seen_at) >= timeout / 10);
        let outgoing = self.store.respond(session).expect("a session that fits");
        let is_due = self.terms.is_under_old_key || is_stale;
        assert_eq!(outgoing.set_cookies().count(), usize::from(is_due));

        session.remember(record.transient);
        assert_eq!(session.status(), Status::Modified);
        let outgoing = self.store.respond(session).expect("a session that fits");
        let cookie = outgoing
            .set_cookies()
            .next()
            .expect("a cookie for a change");
        let pair = cookie.split(';').next().unwrap_or_default();
        if self.terms.deadline(record) <= record.issued_at {
            // A node whose clock is ahead issued it for no time at all: the change ends it.
            assert!(pair.ends_with('=') && cookie.contains("; Max-Age=0"));
            return;
        }
        let max_age = cookie
            .split("; Max-Age=")
            .nth(1)
            .map(|seconds| seconds.parse());
        let seconds = (self.terms.deadline(record) - NOW).div_ceil(1000);
        assert_eq!(max_age, record.transient.then_some(Ok(seconds)));

        let changed = Record {
            transient: !record.transient,
            seen_at: record.seen_at.max(NOW),
            ..record.without_nulls()
        };
        let token = pair.strip_prefix("__Host-session=").expect("our cookie");
        let sealed = SEALING
            .open(token.as_bytes(), 4096)
            .expect("sealed under the sealing key");
        let is_as_long = record.without_nulls() == *record;
        assert_eq!(sealed.len() == plaintext.len(), is_as_long);
        assert_eq!(read_record(&sealed), Ok(changed.clone()));

        let again = self.store.load_from([pair]);
        holds(&again, &changed, self.terms.deadline(&changed));
        for (key, bytes) in &changed.flashes {
            let taken = again.take_flash::<Value>(key);
            let expected = read_value(bytes);
            assert_eq!(taken.is_ok(), expected.is_some());
            if expected.is_some() {
                assert_eq!(
                    taken.ok().flatten().map(|value| value_bytes(&value)),
                    Some(bytes.clone())
                );
                assert!(
                    again
                        .take_flash::<Value>(key)
                        .is_ok_and(|flash| flash.is_none())
                );
            }
        }
    }
}

/// That the session is that of the record, to the last value.
pub(crate) fn holds(session: &Session, record: &Record, deadline: u64) {
    let record = &record.without_nulls();
    assert_eq!(session.origin(), Origin::Opened);
    assert!(!session.is_new());
    assert_eq!(session.id().expect("an id").as_bytes(), &record.id);
    assert_eq!(session.issued_at(), Some(moment(record.issued_at)));
    assert_eq!(session.expires_at(), Some(moment(deadline)));
    assert_eq!(session.subject().unwrap_or_default(), record.subject);
    assert_eq!(session.label().unwrap_or_default(), record.label);
    assert_eq!(session.sid().unwrap_or_default(), record.sid);
    assert_eq!(session.logged_in_at(), record.logged_in_at.map(moment));
    let keys: Vec<&String> = record.values.iter().map(|(key, _)| key).collect();
    assert!(session.keys().iter().eq(keys));
    for (key, bytes) in &record.values {
        let value = session.get::<Value>(key);
        let expected = read_value(bytes);
        assert_eq!(value.is_ok(), expected.is_some(), "{value:?}");
        assert_eq!(
            value.ok().flatten().map(|value| value_bytes(&value)),
            expected.map(|_| bytes.clone())
        );
    }
    let are_all_sound = record
        .values
        .iter()
        .all(|(_, bytes)| read_value(bytes).is_some());
    assert_eq!(session.to_map().is_ok(), are_all_sound);
    assert_eq!(session.status(), Status::Unmodified);
}
