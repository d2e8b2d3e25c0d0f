//! A Sealer against sealer.json, in both directions, and at its limits.

use super::super::AppKey;
use super::*;
use crate::error::RandomError;
use crate::vectors::{File, Vector, given, vectors};

/// The Sealer that opens the vector's token, at the vector's time.
fn sealer(vector: &Vector, ring: KeyRing) -> Sealer {
    let now = vector.now();
    Sealer::with_context(ring, &vector.cookie, &vector.context)
        .unwrap()
        .clock(move || now.into())
}

#[test]
fn every_token_opens_to_its_bytes() {
    let file: File = vectors!("sealer.json");
    assert_eq!(file.vectors.len(), 16);
    for vector in file.vectors {
        let opened = sealer(&vector, vector.ring()).open(&vector.token);
        assert_eq!(*opened.unwrap(), *vector.data, "{vector}");
    }
}

#[test]
fn the_same_bytes_nonce_and_time_make_the_same_token() {
    let file: File = vectors!("sealer.json");
    let mut timed = 0;
    for vector in file.vectors {
        let sealer = sealer(&vector, vector.app_key().into());
        let random = &mut given([&*vector.nonce]);
        let token = match vector.expires_at.map(Millis::from_raw) {
            None => sealer.seal_with(&vector.data, random),
            Some(expires_at) => {
                timed += 1;
                sealer.seal_for_with(&vector.data, expires_at.since(vector.now()), random)
            }
        };
        assert_eq!(token.unwrap(), vector.token, "{vector}");
    }
    assert_eq!(timed, 6);
}

/// A Sealer finds out by the mac which of its two kinds a token is. So it opens tokens that are
/// refused only because they are stated as the other kind.
#[test]
fn every_refused_token_is_refused_for_the_stated_reason() {
    let file: File = vectors!("sealer.json");
    assert_eq!(file.refused.len(), 22);
    let mut of_the_other_kind = Vec::new();
    for vector in file.refused {
        let sealer = sealer(&vector, vector.ring());
        let opened = match vector.kind {
            Kind::Timed => sealer.open_timed(&vector.token),
            _ => vector.open().map(|opened| opened.plaintext),
        };
        assert_eq!(opened.unwrap_err().as_str(), vector.reason, "{vector}");
        match sealer.open(&vector.token) {
            Err(error) => assert_eq!(error.reason().as_str(), vector.reason, "{vector}"),
            Ok(_) => of_the_other_kind.push(vector.name),
        }
    }
    let names = [
        "a timed token as a plain one",
        "a plain token as a timed one",
    ];
    assert_eq!(of_the_other_kind, names);
}

#[test]
fn the_most_bytes_that_a_sealer_takes_it_also_opens_and_not_one_more() {
    let sealer = Sealer::new(AppKey::generate().unwrap(), "export").unwrap();
    let lifetime = Duration::from_secs(1);
    let sealer = sealer.clock(|| SystemTime::UNIX_EPOCH);
    let most = vec![b'x'; Sealer::MAX_PLAINTEXT];
    let (plain, timed) = (
        sealer.seal(&most).unwrap(),
        sealer.seal_for(&most, lifetime).unwrap(),
    );
    assert_eq!((plain.len(), timed.len()), (87_484, 87_492));
    assert_eq!(*sealer.open(&plain).unwrap(), *most);
    assert_eq!(*sealer.open(&timed).unwrap(), *most);
    let longer = sealer.open(&format!("{timed}A")).unwrap_err();
    assert_eq!(longer.reason(), Refusal::TooLong);

    let more = [&most[..], b"x"].concat();
    let too_large = Err(SealError::TooLarge {
        size: 65_537,
        limit: 65_536,
    });
    assert_eq!(sealer.seal(&more), too_large);
    assert_eq!(sealer.seal_for(&more, lifetime), too_large);
}

#[test]
fn a_purpose_or_context_of_a_length_that_is_not_possible_is_refused_by_name() {
    let key = AppKey::generate().unwrap();
    let longer = "x".repeat(256);
    for (purpose, context, setting) in [
        ("", "", "purpose"),
        (longer.as_str(), "", "purpose"),
        ("export", longer.as_str(), "context"),
    ] {
        let error = Sealer::with_context(key.clone(), purpose, context).unwrap_err();
        assert_eq!(error.setting(), setting);
    }
    let longest = longer.split_at(1).1;
    assert!(Sealer::with_context(key, longest, longest).is_ok());
}

#[test]
fn a_failing_random_source_is_a_typed_error_and_no_token() {
    let sealer = Sealer::new(AppKey::generate().unwrap(), "invitation").unwrap();
    let failing: Random<'_> = &mut |_| Err(RandomError(()));
    let error = Err(SealError::Random(RandomError(())));
    assert_eq!(sealer.seal_with(b"42", failing), error);
    let lifetime = Duration::from_secs(60);
    assert_eq!(sealer.seal_for_with(b"42", lifetime, failing), error);
}
