//! A cookie's name and value have at most 4096 bytes, counted on what is sent.

use http::HeaderMap;
use proptest::prelude::*;
use sealed_session::{CookieConfig, ErrorKind, Session, Status, Token};

use crate::support::*;

/// A site whose cookie's name has this many bytes.
fn site(name: usize) -> Site {
    let cookie = CookieConfig::builder()
        .name("n".repeat(name))
        .build()
        .unwrap();
    Site::with(|builder| builder.cookie(cookie))
}

/// Bytes of name and value, if a browser keeps the cookie.
fn sent(site: &mut Site, session: &Session) -> usize {
    let response = site.save(session);
    site.receive(&response);
    let size = pair(&response).len() - "=".len();
    assert_eq!(site.browser.names().len(), 1, "{size}");
    size
}

/// Bytes of name and value of a session that has just this text under `k`.
fn size_with(name: usize, text: usize) -> usize {
    let varint = |n: usize| if n < 128 { 1 } else { 2 };
    let value = 1 + varint(text) + text;
    let record = 36 + 3 + 1 + 1 + varint(value) + value;
    name + (4 * (77 + record)).div_ceil(3)
}

#[test]
fn what_fits_in_4096_bytes_is_sent_and_the_next_byte_is_refused() {
    // The largest cookie that base64 allows for each length of the name, and the next one.
    for (name, largest, next) in [
        (12, 4096, 4098),
        (13, 4096, 4097),
        (14, 4096, 4097),
        (15, 4095, 4097),
    ] {
        let mut site = site(name);
        let fits = (2500..3100)
            .take_while(|text| size_with(name, *text) <= MAX_NAME_AND_VALUE)
            .last()
            .unwrap();
        let session = site.load();
        session.insert("k", "x".repeat(fits)).unwrap();
        assert_eq!(sent(&mut site, &session), largest);
        let error = session.insert("k", "x".repeat(fits + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(error.sizes(), Some((next, MAX_NAME_AND_VALUE)));
        assert!(error.to_string().contains(&next.to_string()), "{error}");
        let there = site.load().get::<String>("k").unwrap().unwrap();
        assert_eq!(there.len(), fits);
    }
}

#[test]
fn a_default_cookie_holds_2984_bytes_of_session_of_which_an_empty_one_takes_39() {
    let plaintext = |response: &HeaderMap| {
        let (_, token) = pair(response).split_once('=').unwrap();
        Token::parse(token).unwrap().plaintext_len()
    };
    let mut site = Site::new();
    let full = site.visit(|session| {
        let mut text = 2900;
        while session.insert("k", "x".repeat(text)).is_ok() {
            text += 1;
        }
    });
    let empty = site.visit(Session::clear);
    assert_eq!([plaintext(&full), plaintext(&empty)], [2984, 39]);
}

#[test]
fn what_is_refused_leaves_the_session_as_it_was() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("big", "x".repeat(2800)).unwrap();
        session.insert("small", 1).unwrap();
        session.flash("note", "old").unwrap();
        session.set_subject("me").unwrap();
    });
    let large = "y".repeat(3000);
    let other = Session::new();
    other.insert("a", 1).unwrap();
    other.insert("small", 2).unwrap();
    other.flash("note", "new").unwrap();
    other.insert("large", "y".repeat(200)).unwrap();
    type Attempt<'a> = Box<dyn Fn(&Session) -> Result<(), sealed_session::SessionError> + 'a>;
    let attempts: [Attempt<'_>; 8] = [
        Box::new(|session| session.insert("new", &large)),
        Box::new(|session| session.insert("small", &large)),
        Box::new(|session| session.update("new", |_: Option<String>| large.clone())),
        Box::new(|session| session.update("big", |old: Option<String>| old.unwrap() + &large)),
        Box::new(|session| session.flash("later", &large)),
        Box::new(|session| session.flash("note", &large)),
        Box::new(|session| session.merge(&other)),
        Box::new(|session| session.insert(&"k".repeat(3000), 1)),
    ];
    for attempt in &attempts {
        let session = site.load();
        let before = session.to_map().unwrap();
        let error = attempt(&session).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(session.status(), Status::Unmodified);
        assert_eq!(session.to_map().unwrap(), before);
        assert!(sets_no_cookie(&site.save(&session)));
        let note = session.take_flash("note").unwrap();
        assert_eq!(note, Some("old".to_owned()));
    }
    let session = site.load();
    session.remove("small");
    session.flash("new", 1).unwrap();
    for attempt in &attempts {
        attempt(&session).unwrap_err();
    }
    assert!(!session.contains("small"), "what was removed stays removed");
    let response = site.save(&session);
    site.receive(&response);
    let after = site.load();
    assert_eq!(after.keys(), ["big"]);
    assert_eq!(after.take_flash("new").unwrap(), Some(1));
    assert_eq!(after.take_flash("note").unwrap(), Some("old".to_owned()));
}

#[test]
fn a_full_session_shrinks_in_every_way_and_changes_in_its_size() {
    type Shrink = fn(&Session);
    let ways: [Shrink; 9] = [
        |session| session.insert("k", "").unwrap(),
        |session| {
            session
                .insert(
                    "k",
                    "y".repeat(session.get::<String>("k").unwrap().unwrap().len()),
                )
                .unwrap();
        },
        |session| session.remove("k"),
        |session| assert!(session.take::<String>("k").unwrap().is_some()),
        |session| {
            session
                .update("k", |_: Option<String>| String::new())
                .unwrap();
        },
        |session| assert!(session.take_flash::<u8>("f").unwrap().is_some()),
        |session| session.set_subject("").unwrap(),
        Session::clear,
        Session::renew,
    ];
    for shrink in ways {
        let mut site = Site::new();
        site.visit(|session| {
            session.flash("f", 1).unwrap();
            session.set_subject("me").unwrap();
            let mut text = 2900;
            while session.insert("k", "x".repeat(text)).is_ok() {
                text += 1;
            }
        });
        let session = site.load();
        assert!(session.insert("more", 1).is_err(), "it is full");
        shrink(&session);
        assert!(sent(&mut site, &session) <= MAX_NAME_AND_VALUE);
    }
}

#[test]
fn a_subject_has_at_most_255_bytes() {
    let mut site = Site::new();
    site.visit(|session| {
        session.set_subject("s".repeat(255)).unwrap();
        for long in ["s".repeat(256), "é".repeat(128)] {
            let error = session.set_subject(long.as_str()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert_eq!(error.sizes(), Some((long.len(), 255)));
        }
        assert_eq!(session.subject(), Some("s".repeat(255)));
    });
    assert_eq!(site.load().subject(), Some("s".repeat(255)));
}

#[test]
fn a_subject_that_no_longer_fits_is_refused() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("k", "x".repeat(2930)).unwrap();
        session.set_subject("m").unwrap();
        let error = session.set_subject("s".repeat(64)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(session.subject().as_deref(), Some("m"));
    });
    assert_eq!(site.load().subject().as_deref(), Some("m"));
}

#[test]
fn a_session_of_no_store_that_does_not_fit_the_stores_cookie_is_not_saved() {
    let session = Session::new();
    session.insert("k", "x".repeat(2930)).unwrap();
    let mut response = HeaderMap::new();
    let error = site(200).store.save(&session, &mut response).unwrap_err();
    assert!(error.to_string().contains("4096"), "{error}");
    assert!(response.is_empty());
    assert_eq!(session.id(), None, "it was not saved");
    site(14).store.save(&session, &mut response).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_insert_is_refused_if_and_only_if_the_cookie_would_be_too_long(
        name in 1_usize..=255,
        text in prop_oneof![0_usize..300, 2600_usize..3100],
    ) {
        let mut site = site(name);
        let session = site.load();
        let expected = size_with(name, text);
        match session.insert("k", "x".repeat(text)) {
            Ok(()) => prop_assert_eq!(sent(&mut site, &session), expected),
            Err(error) => {
                prop_assert!(expected > MAX_NAME_AND_VALUE);
                prop_assert_eq!(error.sizes(), Some((expected, MAX_NAME_AND_VALUE)));
                prop_assert!(session.is_empty());
            }
        }
    }
}
