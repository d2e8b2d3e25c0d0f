use super::*;
use crate::envelope::AppKey;
use crate::error::RandomError;
use crate::time::Millis;

fn moment() -> Millis {
    Millis::from_raw(1_700_000_000_000)
}

/// The random source's calls that a save makes, found by letting each fail in turn.
fn calls_until_it_succeeds(store: &MemoryStore, session: &Session) -> usize {
    let flow = &store.inner.shell.flow;
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
                assert_eq!(error, SaveError(SaveErrorKind::Random(RandomError(()))));
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
