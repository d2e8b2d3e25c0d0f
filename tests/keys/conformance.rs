//! The suite for key stores: those that are there pass, and each broken promise is noticed.

use std::sync::{Arc, Mutex};

use sealed_session::keys::{KeyStore, KeyStoreError, Zeroizing, conformance};

use crate::shelf::Shelf;

#[test]
fn a_file_and_a_shelf_keep_their_promises() {
    let shelf = Shelf::default();
    conformance::check(|| shelf.clone()).unwrap();
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        conformance::check(|| sealed_session::keys::KeyFile::owned(&path)).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Broken {
    ComparesNothing,
    ComparesLengthOnly,
    ComparesTheBeginning,
    FirstWriteTakesAll,
    Forgets,
    Truncates,
    Races,
}

#[derive(Clone)]
struct Careless(Broken, Arc<Mutex<Option<Vec<u8>>>>);

impl KeyStore for Careless {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        Ok(self.1.lock().unwrap().clone().map(Zeroizing::new))
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        let found = self.1.lock().unwrap().clone();
        let is_same = match (self.0, there, found.as_deref()) {
            (Broken::ComparesNothing, ..) => true,
            (Broken::FirstWriteTakesAll, None, _) => true,
            (Broken::ComparesLengthOnly, Some(a), Some(b)) => a.len() == b.len(),
            (Broken::ComparesTheBeginning, Some(a), Some(b)) => b.starts_with(a),
            (_, there, found) => there == found,
        };
        if matches!(self.0, Broken::Races) {
            // As a store does that reads, and then writes.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let kept = match self.0 {
            Broken::Forgets => None,
            Broken::Truncates => Some(with[..with.len().min(4096)].to_vec()),
            _ => Some(with.to_vec()),
        };
        if is_same {
            *self.1.lock().unwrap() = kept;
        }
        Ok(is_same)
    }

    fn describe(&self) -> String {
        "careless".to_owned()
    }
}

#[test]
fn a_store_that_breaks_a_promise_is_found_out() {
    for (broken, told) in [
        (Broken::ComparesNothing, "something had to be"),
        (Broken::ComparesLengthOnly, "something else was there"),
        (
            Broken::ComparesTheBeginning,
            "a part of what had to be there",
        ),
        (Broken::FirstWriteTakesAll, "took the place"),
        (Broken::Forgets, "does not find"),
        (Broken::Truncates, "the largest ring"),
        (Broken::Races, "not exactly one"),
    ] {
        let store = Careless(broken, Arc::default());
        let error = conformance::check(|| store.clone()).unwrap_err();
        assert!(error.to_string().contains(told), "{broken:?}: {error}");
    }
}
