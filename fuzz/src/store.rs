//! What a backend returns, to a request that loads its session and to one that catches up with
//! another: sealed bytes or any text, against the slow readers.

use std::collections::VecDeque;
use std::mem::take;
use std::pin::pin;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sealed_session::fuzzing::Envelope;
use sealed_session::server::{
    Backend, BackendError, Entry, Outcome, Promise, ServerStore, StoreKey, Stored, Value, When,
};
use sealed_session::{ErrorKind, Origin, Outgoing, Refusal, SaveError, Session};

use crate::load::holds;
use crate::reference::{Record, read_stored_record, token_bytes};
use crate::terms::{DAY, MINUTE, NAME, NOW, TERMS, Terms, keys, ring, sealing};

const MAX_SIZE: usize = 4096;

/// How long a mark counts whose age the backend does not tell: ten seconds, and what clocks may
/// differ by.
const MARK_COUNTS: u64 = 70_000;

/// The token of so many bytes.
const MAX_TOKEN: usize = (4 * (77 + MAX_SIZE)).div_ceil(3);

/// In how long the backend forgets whatever it returns.
const LEFT: u64 = 30 * MINUTE;

/// What the handler adds, and its encoded value.
const OURS: (&str, [u8; 2]) = ("ours", [2, 1]);

const RAW: u8 = 0x04;
const CATCHES_UP: u8 = 0x08;
const FIXED_ID: u8 = 0x10;

struct Setup {
    terms: Terms,
    store: ServerStore<Scripted>,
    /// Of cookies, and under the sealing key and the one of the incoming values.
    stubs: Envelope,
    sealing: Envelope,
    incoming: Envelope,
}

static SETUPS: LazyLock<[Setup; 4]> = LazyLock::new(|| {
    TERMS.map(|terms| {
        let builder = ServerStore::builder(ring(), Scripted::default()).max_size(MAX_SIZE);
        Setup {
            terms,
            store: terms.tell(builder).build().expect("settings that can be"),
            stubs: Envelope::new(&sealing(), NAME),
            sealing: Envelope::of_store(&sealing(), NAME),
            incoming: Envelope::of_store(&terms.incoming(), NAME),
        }
    })
});

/// Answers loads with what it was given, refuses one put if it is told to, and keeps the others.
#[derive(Default)]
struct Scripted {
    loads: Mutex<VecDeque<Value>>,
    refuses: Mutex<bool>,
    puts: Mutex<Vec<Entry>>,
    removed: Mutex<usize>,
}

impl Backend for Scripted {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, _: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let value = self.loads.lock().expect("one thread").pop_front();
        let ttl = Duration::from_millis(LEFT);
        Ok(value.map(|value| Stored { value, ttl }))
    }

    async fn put(&self, _: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        if take(&mut *self.refuses.lock().expect("one thread")) {
            return Ok(Outcome::Conflict);
        }
        self.puts.lock().expect("one thread").push(entry.clone());
        Ok(Outcome::Stored)
    }

    async fn touch(&self, _: &StoreKey, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn remove(&self, _: &StoreKey) -> Result<Option<Value>, BackendError> {
        *self.removed.lock().expect("one thread") += 1;
        // Something is there, and it is no mark.
        Ok(Some(Value::new(String::new())))
    }
}

/// `data`: a byte of choices, then what the backend returns, which is sealed first or is text.
pub fn store(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let setup = &SETUPS[usize::from(*choice) % SETUPS.len()];
    let own_id = bytes.get(2..18).filter(|_| choice & FIXED_ID == 0);
    let id = own_id.map_or([0xab; 16], |id| id.try_into().expect("sixteen bytes"));
    let (text, expected) = if choice & RAW == 0 {
        let text = setup.incoming.seal(bytes, 1);
        let expected = setup.expected(&text, bytes, id);
        (text, expected)
    } else {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let refusal = junk(&text);
        (text, Err(refusal))
    };
    setup.reset();
    if choice & CATCHES_UP == 0 {
        let seen_at = read_stored_record(bytes).map(|record| record.seen_at).ok();
        setup.loads(id, text, expected, seen_at);
    } else {
        setup.catches_up(id, text, expected);
    }
}

/// Why text that nobody has sealed is refused.
fn junk(text: &str) -> Refusal {
    match token_bytes(text.as_bytes(), MAX_TOKEN) {
        Err(Refusal::UnknownVersion) => Refusal::UnknownVersion,
        Ok(bytes) if keys().iter().all(|key| key.id().as_bytes() != &bytes[1..5]) => {
            Refusal::UnknownKey
        }
        _ => Refusal::BadValue,
    }
}

/// A record of this session without content.
fn empty(flags: u8, id: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![1, flags];
    bytes.extend(id);
    for moment in [NOW, NOW, NOW + DAY] {
        bytes.extend(&moment.to_be_bytes()[2..]);
    }
    bytes.extend([0; 3]);
    bytes
}

impl Setup {
    fn reset(&self) {
        let backend = self.store.backend();
        backend.loads.lock().expect("one thread").clear();
        backend.puts.lock().expect("one thread").clear();
        *backend.refuses.lock().expect("one thread") = false;
        *backend.removed.lock().expect("one thread") = 0;
    }

    fn expected(&self, token: &str, plaintext: &[u8], id: [u8; 16]) -> Result<Record, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::BadValue);
        }
        let record = match read_stored_record(plaintext) {
            Ok(record) => record,
            Err(Refusal::Newer) => return Err(Refusal::Newer),
            Err(_) => return Err(Refusal::BadValue),
        };
        if record.id != id {
            Err(Refusal::Swapped)
        } else if record.in_backend {
            Err(Refusal::Moved)
        } else {
            self.terms.admit(&record)?;
            Ok(record)
        }
    }

    /// A request with the stub of `id`, to which the backend returns these in turn.
    fn request<const N: usize>(&self, id: [u8; 16], returned: [String; N]) -> Session {
        let values = returned.map(Value::new);
        *self.store.backend().loads.lock().expect("one thread") = values.into();
        let stub = self.stubs.seal(&empty(1, id), 2);
        now(self.store.load_from([&format!("{NAME}={stub}")])).expect("a backend that answers")
    }

    fn save(&self, session: &Session) -> Result<Outgoing, SaveError> {
        now(self.store.respond(session))
    }

    fn loads(
        &self,
        id: [u8; 16],
        text: String,
        expected: Result<Record, Refusal>,
        seen_at: Option<u64>,
    ) {
        let returned = Value::new(text.clone());
        // The second is for the look before only the stub is sent again.
        let session = self.request(id, [text.clone(), text]);
        let is_idle = |record: &Record| {
            let timeout = self
                .terms
                .idle_timeout
                .filter(|_| record.kept_for.is_some());
            timeout.is_some_and(|timeout| NOW >= used_at(record) + timeout)
        };
        let expected = match expected {
            Ok(record) if is_idle(&record) => Err(Refusal::Idle),
            expected => expected,
        };
        let record = match expected {
            Ok(record) => record,
            Err(refusal) => {
                assert_eq!(session.origin(), Origin::Refused(refusal));
                assert!(session.is_empty() && session.is_new() && session.id().is_none());
                let outgoing = self.save(&session).expect("nothing to save");
                assert_eq!(outgoing.set_cookies().count(), 0, "it is left alone");
                assert!(self.puts().is_empty());
                if refusal == Refusal::Moved {
                    session.insert(OURS.0, 1).expect("the first value");
                    let is_recent = seen_at.is_some_and(|at| at + MARK_COUNTS > NOW);
                    match self.save(&session) {
                        Err(error) => assert!(error.is_conflict() && is_recent, "{error}"),
                        Ok(outgoing) => assert!(
                            !is_recent && outgoing.set_cookies().count() == 1,
                            "one that lost the answer goes on"
                        ),
                    }
                }
                return;
            }
        };
        holds(&session, &record, self.terms.deadline(&record));
        let outgoing = self.save(&session).expect("a backend that answers");
        let puts = self.puts();
        let is_put_due = self.terms.is_under_old_key || self.is_kept_otherwise(&record);
        let is_stub_due =
            record.expires_at != NOW + DAY || record.transient || record.binding.is_some();
        if (is_put_due || is_stub_due) && self.ends(&record, &outgoing) {
            return;
        }
        assert_eq!(outgoing.set_cookies().count(), usize::from(is_stub_due));
        assert_eq!(puts.len(), usize::from(is_put_due));
        let mut version = returned.version();
        if let [put] = &puts[..] {
            assert_eq!(put.when, When::Unchanged(version));
            self.holds_what_was_put(put, &record);
            version = put.value.version();
        }
        let changed = changed(&record);
        if let Err(error) = session.insert(OURS.0, 1) {
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(is_too_large(&changed));
            return;
        }
        let outgoing = self.save(&session).expect("a session that fits");
        if changed == record.without_nulls() || self.ends(&record, &outgoing) {
            return;
        }
        let puts = self.puts();
        let [put] = &puts[..] else {
            panic!("{} puts for a change", puts.len())
        };
        assert_eq!(put.when, When::Unchanged(version));
        self.holds_what_was_put(put, &changed);
    }

    fn catches_up(&self, id: [u8; 16], text: String, expected: Result<Record, Refusal>) {
        let returned = Value::new(text.clone());
        let session = self.request(id, [self.sealing.seal(&empty(0, id), 3), text]);
        assert_eq!(session.origin(), Origin::Opened);
        session.insert(OURS.0, 1).expect("the first value");
        *self.store.backend().refuses.lock().expect("one thread") = true;
        let saved = self.save(&session);
        let puts = self.puts();
        match (expected, saved) {
            (Ok(record), Err(error)) => {
                assert!(is_too_large(&changed(&record)), "{error}");
                assert!(puts.is_empty());
            }
            (Ok(record), Ok(outgoing)) => {
                if self.ends(&record, &outgoing) {
                    return;
                }
                let [put] = &puts[..] else {
                    panic!("{} puts for a change", puts.len())
                };
                assert_eq!(put.when, When::Unchanged(returned.version()));
                self.holds_what_was_put(put, &changed(&record));
            }
            (Err(Refusal::Expired | Refusal::Cutoff), Ok(outgoing)) => {
                assert_eq!(outgoing.set_cookies().count(), 0, "it is left alone");
                assert!(puts.is_empty());
            }
            (Err(refusal), Err(error)) => {
                assert!(puts.is_empty());
                let text = error.to_string();
                assert!(text.contains(match refusal {
                    Refusal::Moved => "new id",
                    _ => "cannot be read",
                }));
                assert_eq!(session.keys(), [OURS.0], "nothing of it is believed");
            }
            (Err(refusal), Ok(_)) => panic!("saved over what is refused: {refusal}"),
        }
    }

    /// Whether the store would keep it for another time than the backend does.
    fn is_kept_otherwise(&self, record: &Record) -> bool {
        let kept_for = self.terms.kept_for();
        if record.kept_for.is_some() || kept_for.is_some() {
            return record.kept_for != kept_for;
        }
        let rest = self.terms.deadline(record) - NOW;
        rest.saturating_sub(LEFT) >= (rest / 10).max(1000)
    }

    /// Whether what is sent ends it, because a node whose clock is ahead issued it for no time.
    fn ends(&self, record: &Record, outgoing: &Outgoing) -> bool {
        let ends = self.terms.deadline(record) <= record.issued_at && record.issued_at >= NOW;
        if ends {
            assert!(is_removal(outgoing));
            assert_eq!(*self.store.backend().removed.lock().expect("one thread"), 1);
        }
        ends
    }

    fn puts(&self) -> Vec<Entry> {
        take(&mut *self.store.backend().puts.lock().expect("one thread"))
    }

    fn holds_what_was_put(&self, put: &Entry, record: &Record) {
        let token = put.value.as_str().as_bytes();
        let sealed = self
            .sealing
            .open(token, MAX_TOKEN)
            .expect("a genuine value");
        let kept_for = self.terms.kept_for();
        let seen_at = match record.kept_for {
            // It was written without an idle timeout, and counts from this use.
            None if kept_for.is_some() => NOW,
            _ => used_at(record).max(NOW),
        };
        let expected = Record {
            seen_at: kept_for.map_or(seen_at, |_| record.issued_at),
            kept_for,
            ..record.without_nulls()
        };
        assert_eq!(read_stored_record(&sealed), Ok(expected));
        assert_eq!(put.tag.is_some(), !record.subject.is_empty());
        let until = kept_for.map_or(self.terms.deadline(record), |kept_for| seen_at + kept_for);
        assert_eq!(put.ttl, Duration::from_millis(until - NOW));
    }
}

fn is_removal(outgoing: &Outgoing) -> bool {
    let mut set_cookies = outgoing.set_cookies();
    set_cookies.any(|cookie| cookie.starts_with(&format!("{NAME}=;")))
}

/// The record once the handler has added its own.
fn changed(record: &Record) -> Record {
    let mut changed = record.without_nulls();
    let (name, value) = (OURS.0.to_owned(), OURS.1.to_vec());
    match changed.values.iter_mut().find(|(key, _)| *key == name) {
        Some(entry) => entry.1 = value,
        None => changed.values.push((name, value)),
    }
    changed.values.sort();
    changed
}

/// When a record that the backend returns now was last used, by what is left of its time.
fn used_at(record: &Record) -> u64 {
    let by_the_backend = |kept_for| (NOW + LEFT).saturating_sub(kept_for);
    let used_at = record.kept_for.map_or(record.seen_at, by_the_backend);
    used_at.min(NOW.max(record.seen_at))
}

/// Whether so many entries or bytes may be too many; to the byte the target `session` knows.
fn is_too_large(record: &Record) -> bool {
    let entries = record.values.iter().chain(&record.flashes);
    let size: usize = entries
        .map(|(key, value)| key.len() + value.len() + 2)
        .sum();
    record.values.len() > 1024 || size + 36 + 65 + 4 + 200 > MAX_SIZE
}

/// What `future` gives: nothing here waits.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
