use super::*;
use crate::envelope::AppKey;
use crate::envelope::os_random;

use crate::error::{Origin, RandomError, SaveErrorKind};
use crate::flow::Unplanned;
use crate::time::Millis;

fn moment() -> Millis {
    Millis::from_raw(1_700_000_000_000)
}

/// How many calls of the random source a save makes, found by letting each fail in turn.
fn calls_until_it_succeeds(store: &MemoryStore, session: &Session) -> usize {
    let flow = &store.inner.core.flow;
    for successes in 0.. {
        let mut left: usize = successes;
        let mut random = |bytes: &mut [u8]| {
            left = left.checked_sub(1).ok_or(RandomError(()))?;
            os_random(bytes)
        };
        let id = session.id();
        match flow.plan(session, moment(), &mut random) {
            Ok(_) => return successes,
            Err(error) => {
                assert!(matches!(
                    error,
                    Unplanned::Failed(SaveError(SaveErrorKind::Random(RandomError(()))))
                ));
                assert_eq!(session.id(), id, "no id that was not random");
            }
        }
    }
    unreachable!()
}

#[test]
fn a_random_source_that_fails_is_an_error_before_anything_is_written() {
    let builder = MemoryStore::builder(AppKey::generate().unwrap(), Memory::new());
    let store = builder.clock(|| moment().into()).build().unwrap();
    let session = pollster::block_on(store.load(&HeaderMap::new())).unwrap();
    session.insert("a", 1).unwrap();
    assert_eq!(
        calls_until_it_succeeds(&store, &session),
        3,
        "id, stub, value"
    );
    let _ = pollster::block_on(store.respond(&session)).unwrap();
    session.insert("a", 2).unwrap();
    let is_new = "its stub, for this response too, and the value";
    assert_eq!(calls_until_it_succeeds(&store, &session), 2, "{is_new}");
    session.renew();
    assert_eq!(calls_until_it_succeeds(&store, &session), 4, "and the mark");
    session.destroy();
    assert_eq!(calls_until_it_succeeds(&store, &session), 0);
}

#[test]
fn a_value_of_a_newer_format_is_told_from_junk_and_left_alone() {
    let builder = MemoryStore::builder(AppKey::generate().unwrap(), Memory::new());
    let store = builder.clock(|| moment().into()).build().unwrap();
    let session = pollster::block_on(store.load(&HeaderMap::new())).unwrap();
    session.insert("a", 1).unwrap();
    let outgoing = pollster::block_on(store.respond(&session)).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap().to_owned();

    let (placement, backend) = (&store.inner.core.flow.placement, store.backend());
    let key = StoreKey::of(session.id().unwrap());
    let stored = pollster::block_on(backend.load(&key)).unwrap().unwrap();
    let text = stored.value.as_str().as_bytes();
    let opened = placement.envelope.open(text, text.len()).unwrap();
    let mut newer = opened.plaintext.to_vec();
    newer[0] += 1;
    let value = placement.seal(&newer, &mut os_random).unwrap();
    let when = When::Unchanged(stored.value.version());
    let entry = Entry::new(value, stored.ttl, when);
    let outcome = pollster::block_on(backend.put(&key, &entry));
    assert_eq!(outcome, Ok(Outcome::Stored));

    let (pair, _) = cookie.split_once(';').unwrap();
    let session = pollster::block_on(store.load_from([pair])).unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Newer));
    let outgoing = pollster::block_on(store.respond(&session)).unwrap();
    assert_eq!(outgoing.set_cookies().count(), 0);
}
