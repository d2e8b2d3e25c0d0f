//! Threats to nonces: one that comes twice, one that somebody else chose. A random source that
//! fails is tried in `src/envelope/tests/attacks.rs`, where it can be replaced.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use sealed_session::{AppKey, CookieStore, Sealer};

/// A million where the code is optimized (`cargo test --release`), else a tenth of it.
#[test]
fn the_nonces_of_very_many_seals_all_differ() {
    let seals = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let sealer = Sealer::new(AppKey::generate().unwrap(), "invitation").unwrap();
    let mut nonces = HashSet::with_capacity(seals);
    for _ in 0..seals {
        let token = URL_SAFE_NO_PAD.decode(sealer.seal(b"").unwrap()).unwrap();
        let nonce: [u8; 24] = token[5..29].try_into().unwrap();
        nonces.insert(nonce);
    }
    assert_eq!(nonces.len(), seals);
}

#[test]
fn one_session_saved_twice_is_sealed_under_two_nonces() {
    let store = CookieStore::new(AppKey::generate().unwrap());
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let [one, other] = [(); 2].map(|()| {
        let outgoing = store.respond(&session).unwrap();
        let set_cookie = outgoing.set_cookies().next().unwrap();
        let token = set_cookie.split(['=', ';']).nth(1).unwrap();
        URL_SAFE_NO_PAD.decode(token).unwrap()
    });
    assert_eq!(one.len(), other.len());
    assert_eq!(one[..5], other[..5]);
    assert_ne!(one[5..29], other[5..29]);
}

/// Signatures of the crate's public functions, from its sources. What is there for the fuzzers is
/// compiled under their flag alone, which no dependent's feature can set.
fn public_functions(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            public_functions(&path, found);
        } else if !path.ends_with("src/fuzzing.rs") {
            let source = fs::read_to_string(&path).unwrap();
            let functions = source.split("pub fn ").skip(1);
            found.extend(functions.filter_map(|f| Some(f.split_once('{')?.0.to_owned())));
        }
    }
}

#[test]
fn no_public_function_takes_a_nonce_or_a_random_source() {
    let modules = include_str!("../../src/lib.rs");
    assert!(modules.contains("#[cfg(fuzzing)]\n#[doc(hidden)]\npub mod fuzzing;\n"));
    assert_eq!(modules.matches("fuzzing;").count(), 1);

    let mut functions = Vec::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    public_functions(&sources, &mut functions);
    for known in ["seal(", "seal_for(", "save(", "generate("] {
        assert!(functions.iter().any(|function| function.starts_with(known)));
    }
    for function in functions {
        let function = function.to_lowercase();
        for word in ["nonce", "random<", "rng", "fn(&mut [u8])"] {
            assert!(!function.contains(word), "{function}");
        }
    }
}
