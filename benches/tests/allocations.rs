//! What a request allocates, to the number: a change here is a change to what a request costs.

use allocation_counter::{AllocationInfo, measure};
use http::HeaderMap;
use sealed_session::{CookieStore, Origin, Refusal};
use sealed_session_benches::{Case, Device, SIZES, list_of, request, sealing_last};

/// An opened session owns its token's bytes and the state of its own.
const OPENED: u64 = 2;

/// A fresh session has the state alone.
const FRESH: u64 = 1;

fn allocations(f: impl FnOnce()) -> u64 {
    measure(f).count_total
}

/// A load that ends in this origin.
fn load(store: &CookieStore, request: &HeaderMap, origin: Origin) -> AllocationInfo {
    measure(|| assert_eq!(store.load(request).origin(), origin))
}

/// Everything that is set up once has happened.
fn warm(text: usize) -> Case {
    let case = Case::new(text);
    assert_eq!(case.changed().len(), 6 + usize::from(text > 0));
    case
}

#[test]
fn an_open_allocates_the_tokens_bytes_and_the_session_whatever_its_size() {
    for (size, text) in SIZES {
        let case = warm(text);
        let genuine = case.request();
        assert_eq!(
            load(&case.store, &genuine, Origin::Opened).count_total,
            OPENED,
            "{size}"
        );
        let many = CookieStore::new(sealing_last(16));
        assert_eq!(
            load(&many, &genuine, Origin::Opened).count_total,
            OPENED,
            "{size}"
        );
    }
}

#[test]
fn a_get_allocates_nothing_but_what_it_returns() {
    let case = warm(2400);
    let session = case.store.load(&case.request());
    let number = || assert_eq!(session.get("user_id").unwrap(), Some(48_213_u64));
    assert_eq!(allocations(number), 0);
    let absent = || assert_eq!(session.get::<u64>("theme").unwrap(), None);
    assert_eq!(allocations(absent), 0);
    let text = || assert_eq!(session.get::<String>("text").unwrap().unwrap().len(), 2400);
    assert_eq!(allocations(text), 1);
}

#[test]
fn a_save_without_a_change_allocates_nothing() {
    let case = warm(800);
    let session = case.store.load(&case.request());
    let mut response = HeaderMap::with_capacity(8);
    assert_eq!(
        allocations(|| case.store.save(&session, &mut response).unwrap()),
        0
    );
    assert_eq!(response.len(), 2, "Cache-Control, Vary");
    assert_eq!(
        allocations(|| case.store.save(&session, &mut response).unwrap()),
        0
    );
}

#[test]
fn an_insert_allocates_the_key_the_value_a_list_to_hold_them_and_the_changes() {
    let case = warm(800);
    let session = case.store.load(&case.request());
    assert_eq!(allocations(|| session.insert("cart", 4).unwrap()), 4);
    let another = || session.insert("cart", 5).unwrap();
    assert_eq!(allocations(another), 1, "all but the value is there");
}

#[test]
fn a_seal_allocates_the_plaintext_and_the_header() {
    for (size, text) in SIZES {
        let case = warm(text);
        let session = case.changed();
        let mut response = HeaderMap::with_capacity(8);
        let save = || case.store.save(&session, &mut response).unwrap();
        assert_eq!(allocations(save), 2, "{size}");
        assert_eq!(response.len(), 3, "Set-Cookie, Cache-Control, Vary");
    }
}

#[test]
fn a_refusal_allocates_no_more_than_an_open() {
    for (size, text) in SIZES {
        let case = warm(text);
        let genuine = load(&case.store, &case.request(), Origin::Opened);
        for (token, refusal) in [
            (case.forged(0), Refusal::Forged),
            (case.spliced(), Refusal::Corrupt),
            (case.junk(), Refusal::Malformed),
        ] {
            let refused = load(&case.store, &request(&token), Origin::Refused(refusal));
            assert_eq!(refused.count_total, OPENED, "{size}, {refusal:?}");
            assert_eq!(
                refused.bytes_total, genuine.bytes_total,
                "{size}, {refusal:?}"
            );
        }
    }
}

#[test]
fn junk_allocates_at_most_the_bytes_that_a_token_of_its_length_has() {
    let case = warm(0);
    let none = load(&case.store, &HeaderMap::new(), Origin::Absent);
    assert_eq!(none.count_total, FRESH);
    let refused = |junk: &str, refusal| {
        let request = request(junk);
        load(&case.store, &request, Origin::Refused(refusal))
    };
    for length in [103, 500, 4082] {
        let bytes = refused(&"!".repeat(length), Refusal::Malformed).bytes_total;
        let bound = none.bytes_total + (length as u64).div_ceil(4) * 3;
        assert!(
            bytes <= bound,
            "{length}: {bytes} bytes, and {bound} may be"
        );
    }
    for (junk, refusal) in [
        ("!".repeat(102), Refusal::Malformed),
        ("A".repeat(4083), Refusal::TooLong),
        ("A".repeat(65_000), Refusal::TooLong),
    ] {
        let used = refused(&junk, refusal);
        assert_eq!(
            (used.count_total, used.bytes_total),
            (FRESH, none.bytes_total),
            "{} bytes, {refusal:?}",
            junk.len()
        );
    }
}

#[test]
fn a_header_of_64_kib_allocates_as_much_as_none() {
    let case = warm(0);
    let none = load(&case.store, &HeaderMap::new(), Origin::Absent);
    for pair in [";", "a=b; ", "__Host-sessio=x;", "\u{e9}=\u{2000}; "] {
        let junk = pair.repeat(65_536 / pair.len());
        let used = measure(|| {
            let session = case.store.load_from([junk.as_str()]);
            assert_eq!(session.origin(), Origin::Absent);
        });
        assert_eq!(
            (used.count_total, used.bytes_total),
            (none.count_total, none.bytes_total),
            "{pair:?}"
        );
    }
}

#[test]
fn a_header_full_of_forged_tokens_allocates_as_much_as_four_of_them() {
    let case = warm(0);
    let forged = |count: usize| -> String {
        let pair = |byte| format!("__Host-session={}; ", case.forged(byte));
        (0..count).map(pair).collect()
    };
    let [four, all] = [4, 32].map(|count| {
        let header = forged(count);
        measure(|| {
            let session = case.store.load_from([header.as_str()]);
            assert_eq!(session.origin(), Origin::Refused(Refusal::Forged));
        })
    });
    assert_eq!(four.count_total, FRESH + 4);
    assert_eq!(
        (all.count_total, all.bytes_total),
        (four.count_total, four.bytes_total)
    );
}

#[test]
fn a_list_allocates_nothing_for_a_request_and_so_much_for_each_entry() {
    // As the list says of itself: without the text of a subject, and with what malloc adds to it.
    for (sessions, subjects, least, most) in [(20_000, 0, 38, 80), (0, 20_000, 28, 60)] {
        let mut list = None;
        let made = measure(|| list = Some(list_of(sessions, subjects)));
        let texts: usize = (0..subjects).map(|n| format!("user {n}").len()).sum();
        let bytes = usize::try_from(made.bytes_current).unwrap() - texts;
        let each = bytes / (sessions + subjects);
        assert!((least..=most).contains(&each), "{each} bytes");

        let case = warm(0);
        let builder = CookieStore::builder(sealing_last(1));
        let store = builder.revocations(list.unwrap()).build().unwrap();
        let opened = load(&store, &case.request(), Origin::Opened);
        assert_eq!(opened.count_total, OPENED);
    }
}

#[test]
fn an_unbound_session_allocates_no_more_where_sessions_are_bound_and_a_bound_one_two_more() {
    let device = Device::new(|session| session.insert("user_id", 48_213).unwrap());
    let store = &device.store;
    assert_eq!(
        load(store, &device.unbound, Origin::Opened).count_total,
        OPENED
    );
    assert_eq!(
        load(store, &device.bound, Origin::Opened).count_total,
        OPENED + 2
    );
}
