//! A key store that returns anything: at the start, and to a process that has a good ring.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use sealed_session::keys::{KeyState, KeyStore, KeyStoreError, ManagedKeysBuilder, Zeroizing};
use sealed_session::{AppKey, KeyId, ManagedKeys};

use crate::reference;

/// In the order of their ids, each as id and text. An input names them `ID0` and `KEY0` to `ID3`
/// and `KEY3`, because no input can guess the id of a key.
static KEYS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let keys = (0..4).map(|_| AppKey::generate().expect("a random source"));
    let mut keys: Vec<_> = keys
        .map(|key| (key.id().to_string(), key.to_base64().to_string()))
        .collect();
    keys.sort();
    keys
});

#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Option<Vec<u8>>>>);

impl Shelf {
    fn with(bytes: &[u8]) -> Self {
        let shelf = Self::default();
        shelf.put(bytes);
        shelf
    }

    fn put(&self, bytes: &[u8]) {
        *self.0.lock().expect("nobody panics") = Some(bytes.to_vec());
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = self.0.lock().expect("nobody panics").clone();
        bytes.unwrap_or_default()
    }

    fn keys(&self) -> ManagedKeysBuilder {
        // A clock that stands still makes a finding happen again.
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let builder = ManagedKeys::builder(self.clone()).without_thread();
        builder.rotate_by_hand().clock(move || now)
    }
}

impl KeyStore for Shelf {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let bytes = self.0.lock().expect("nobody panics").clone();
        Ok(bytes.map(Zeroizing::new))
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        let mut bytes = self.0.lock().expect("nobody panics");
        let is_unchanged = bytes.as_deref() == there;
        if is_unchanged {
            *bytes = Some(with.to_vec());
        }
        Ok(is_unchanged)
    }

    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn is_private(&self) -> bool {
        true
    }
}

/// `data`: what the store returns.
pub fn keys(data: &[u8]) {
    let bytes = with_keys(data);
    let stated = reference::ring(&bytes, &KEYS);
    at_the_start(&bytes, stated.as_ref());
    later(&bytes, stated.as_ref());
}

fn with_keys(data: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(data) else {
        return data.to_vec();
    };
    let mut text = text.to_owned();
    for (n, (id, key)) in KEYS.iter().enumerate() {
        text = text.replace(&format!("ID{n}"), id);
        text = text.replace(&format!("KEY{n}"), key);
    }
    text.into_bytes()
}

fn at_the_start(bytes: &[u8], stated: Option<&reference::Ring>) {
    let shelf = Shelf::with(bytes);
    match (shelf.keys().must_exist().build(), stated) {
        (Err(error), stated) => {
            is_told_well(&error.to_string());
            // What is refused for a setting may have been written with the largest of all.
            assert!(stated.is_some() || shelf.bytes() == bytes);
        }
        (Ok(_), None) => panic!("a ring that is none"),
        (Ok(keys), Some(stated)) => {
            let open: BTreeSet<String> = keys.opens().iter().map(ToString::to_string).collect();
            // If nothing can seal, it has made a key of its own.
            let of_the_ring: BTreeSet<_> = open.intersection(&stated.ids).cloned().collect();
            assert!(of_the_ring.is_subset(&stated.usable), "{open:?}");
            assert!(open.len() <= of_the_ring.len() + 1, "{open:?}");
            if stated.format > 1 {
                assert_eq!(shelf.bytes(), bytes, "a newer ring is left alone");
                return;
            }
            let written = shelf.bytes();
            let written = reference::ring(&written, &keys_in(&written)).expect("it writes rings");
            assert!(stated.ids.is_subset(&written.ids));
            assert!(stated.revoked.is_subset(&written.revoked));
        }
    }
}

/// Each key in a text, with its id.
fn keys_in(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let materials = text.lines().filter_map(|line| line.rsplit(' ').next());
    let keys = materials.filter_map(|material| Some((material.parse::<AppKey>().ok()?, material)));
    keys.map(|(key, material)| (key.id().to_string(), material.to_owned()))
        .collect()
}

/// A good ring stays, unless what comes says that its key is revoked.
fn later(bytes: &[u8], stated: Option<&reference::Ring>) {
    let shelf = Shelf::default();
    let keys = shelf.keys().build().expect("an empty shelf");
    let ours: KeyId = keys.seals().expect("a first key");
    shelf.put(bytes);
    match keys.refresh() {
        Err(error) => {
            is_told_well(&error.to_string());
            assert_eq!(keys.seals(), Some(ours));
            assert_eq!(keys.opens(), [ours]);
        }
        Ok(()) => {
            assert!(stated.is_some(), "a ring that is none");
            let list = keys.list().expect("it was good a moment ago");
            let info = list.iter().find(|key| key.id == ours);
            let info = info.expect("what is known is not forgotten");
            assert!(keys.opens().contains(&ours) || info.state == KeyState::Revoked);
        }
    }
}

fn is_told_well(error: &str) {
    assert!(
        error.starts_with("shelf: ") || error.contains(": "),
        "{error}"
    );
    assert!(error.is_ascii(), "{error}");
    for (_, key) in KEYS.iter() {
        assert!(!error.contains(&key[7..]), "an error shows a key");
    }
}
