//! Checks that a [`KeyStore`] does what the trait promises.
//!
//! ```
//! use sealed_session::keys::{conformance, KeyFile};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("keys");
//! conformance::check(|| KeyFile::owned(&path))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Barrier;
use std::thread;

use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};

const AT_ONCE: usize = 8;
const ROUNDS: usize = 16;

/// Checks a store that holds nothing. `open` returns a new handle to the same store each time, as
/// another process would have it.
///
/// # Errors
///
/// If a promise is broken. The error says which.
pub fn check<S: KeyStore>(open: impl Fn() -> S + Sync) -> Result<(), KeyStoreError> {
    let store = open();
    let (one, two) = (b"one\n".as_slice(), b"two\n".as_slice());
    expect(
        load(&store)?.is_none(),
        "an empty store has something in it",
    )?;
    expect(!store.describe().is_empty(), "it has no name for errors")?;
    expect(
        !store.replace(Some(one), two)?,
        "it was written although nothing was there, and something had to be",
    )?;
    expect(
        load(&store)?.is_none(),
        "a write that was refused left something",
    )?;
    expect(store.replace(None, one)?, "the first write was refused")?;
    expect(
        load(&open())?.as_deref() == Some(one),
        "another process does not find what was written",
    )?;
    expect(
        !open().replace(None, two)?,
        "a first write took the place of what was there",
    )?;
    expect(
        !open().replace(Some(two), two)?,
        "it was written although something else was there",
    )?;
    expect(
        !open().replace(Some(b"one"), two)?,
        "it was written although a part of what had to be there was there",
    )?;
    expect(
        load(&store)?.as_deref() == Some(one),
        "writes that were refused left something",
    )?;
    expect(
        open().replace(Some(one), two)?,
        "a write that knew what is there was refused",
    )?;
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_STORED).collect();
    expect(
        store.replace(Some(two), &large)?,
        "the largest ring was refused",
    )?;
    expect(
        load(&open())?.as_deref() == Some(&large),
        "the largest ring, of all bytes, does not come back",
    )?;
    expect(
        store.replace(Some(&large), b"0")?,
        "the largest ring is not known again",
    )?;
    for round in 0..ROUNDS {
        let winners = race(&open, round)?;
        expect(
            winners == 1,
            "of several writes at once that know the same, not exactly one is done",
        )?;
    }
    Ok(())
}

/// Makes several writes at once, and returns how many succeed.
fn race<S: KeyStore>(open: &(impl Fn() -> S + Sync), round: usize) -> Result<usize, KeyStoreError> {
    let there = load(&open())?;
    let start = Barrier::new(AT_ONCE);
    let write = |writer: usize| {
        let store = open();
        start.wait();
        store.replace(there.as_deref(), format!("{round} {writer}").as_bytes())
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..AT_ONCE)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        writers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut winners = 0;
    for outcome in outcomes {
        let outcome = outcome.map_err(|_| broken("it panics when several write at once"))?;
        winners += usize::from(outcome?);
    }
    Ok(winners)
}

fn load(store: &impl KeyStore) -> Result<Option<Vec<u8>>, KeyStoreError> {
    Ok(store.load()?.map(|bytes| bytes.to_vec()))
}

fn broken(promise: &str) -> KeyStoreError {
    KeyStoreError::new(KeyStoreErrorKind::Other, promise)
}

fn expect(is_kept: bool, otherwise: &str) -> Result<(), KeyStoreError> {
    if is_kept {
        Ok(())
    } else {
        Err(broken(otherwise))
    }
}
