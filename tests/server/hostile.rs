//! What a backend returns is an attacker's until it has opened.

use proptest::prelude::*;
use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Cursor, Entry, Outcome, Promise, ServerStore,
    StoreKey, Stored, Tag, Value,
};
use sealed_session::{CookieStore, Event, Origin, Refusal};
use std::sync::Mutex;
use std::time::Duration;

use crate::now::now;
use crate::site::Site;
use crate::support::*;

#[test]
fn values_that_are_altered_exchanged_or_not_ours_give_a_fresh_session() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    let victim = |site: &mut Site, text: &str| {
        site.browser = Browser::default();
        site.visit(|session| session.insert("who", text).unwrap());
        let slots = site.shelf.slots();
        let key = *slots.keys().next().unwrap();
        let value = slots[&key].value.as_str().to_owned();
        site.shelf.lose(&key);
        (key, value)
    };
    let (_, others) = victim(&mut site, "Eve");
    let mut stage = Site::of(&clock, &shelf, app_key.clone(), |builder| {
        builder.context("stage")
    });
    let (_, of_stage) = victim(&mut stage, "Ada");
    let mut stranger = Site::of(&clock, &shelf, key(), |builder| builder);
    let (_, of_stranger) = victim(&mut stranger, "Ada");
    let cookie_store = CookieStore::new(app_key);
    let whole = cookie_store.load(&http::HeaderMap::new());
    whole.insert("who", "Ada").unwrap();
    let outgoing = cookie_store.respond(&whole).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap();
    let cookie = cookie.split(';').next().unwrap().split_once('=').unwrap().1;

    let (key, own) = victim(&mut site, "Ada");
    let stub = site.request()["cookie"]
        .to_str()
        .unwrap()
        .split_once('=')
        .unwrap()
        .1
        .to_owned();
    let mut spliced = own.clone();
    spliced.replace_range(60..80, &others[60..80]);
    for (what, value, refusal) in [
        ("nothing at all", String::new(), Refusal::BadValue),
        ("junk", "junk".to_owned(), Refusal::BadValue),
        ("no ASCII", "é".repeat(200), Refusal::BadValue),
        (
            "cut short",
            own[..own.len() - 1].to_owned(),
            Refusal::BadValue,
        ),
        ("one more", format!("{own}A"), Refusal::BadValue),
        ("another mac", forged(&own, 0), Refusal::BadValue),
        ("spliced", spliced, Refusal::BadValue),
        ("a megabyte", "A".repeat(4 << 20), Refusal::BadValue),
        ("another session's", others, Refusal::Swapped),
        ("of another context", of_stage, Refusal::BadValue),
        ("under a strange key", of_stranger, Refusal::UnknownKey),
        ("a cookie", cookie.to_owned(), Refusal::BadValue),
        ("its own stub", stub, Refusal::BadValue),
    ] {
        shelf.force(key, &value, HOUR);
        let session = site.load();
        assert_eq!(session.origin(), refused(refusal), "{what}");
        assert!(session.is_empty() && session.id().is_none(), "{what}");
        assert_eq!(site.events(), [Event::Refused(refusal)], "{what}");
        assert!(
            sets_no_cookie(&site.save(&session)),
            "{what}: it is left alone"
        );
    }
    shelf.force(key, &own, HOUR);
    assert_eq!(site.load().get("who"), Ok(Some("Ada".to_owned())));
    shelf.lose(&key);
    assert_eq!(site.load().origin(), refused(Refusal::Gone));
}

#[test]
fn what_replaced_a_session_while_it_was_held_is_not_believed_either() {
    let mut site = Site::visited(|builder| builder);
    let theirs = {
        let before = site.browser.clone();
        site.browser = Browser::default();
        site.visit(|session| session.insert("who", "Eve").unwrap());
        site.browser = before;
        site.shelf.slots()
    };
    let session = site.load();
    session.insert("a", 1).unwrap();
    let own = session.id().unwrap();
    let key = *theirs
        .keys()
        .find(|key| {
            site.shelf.lose(key);
            let is_own = site.load().origin() == refused(Refusal::Gone);
            site.shelf.force(**key, theirs[*key].value.as_str(), HOUR);
            is_own
        })
        .unwrap();
    let other = theirs.iter().find(|(other, _)| **other != key).unwrap().1;
    for (value, why) in [
        (other.value.as_str(), "another session's"),
        ("junk", "does not open"),
    ] {
        site.shelf.force(key, value, HOUR);
        let error = site.try_save(&session).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(session.id(), Some(own));
        assert!(!session.contains("who"));
    }
}

/// Answers with whatever it was given, in turn.
struct Liar {
    answers: Mutex<Vec<Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    text: String,
    ttl: Duration,
    outcome: Outcome,
    is_error: bool,
    keys: Vec<[u8; 32]>,
}

impl Liar {
    /// The last answer is for ever.
    fn next(&self) -> Result<Answer, BackendError> {
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        if answer.is_error {
            return Err(BackendError::new(BackendErrorKind::Other, answer.text));
        }
        Ok(answer)
    }
}

impl Backend for Liar {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, _: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let Answer {
            text, ttl, outcome, ..
        } = self.next()?;
        let value = Value::new(text);
        Ok((outcome != Outcome::Absent).then_some(Stored { value, ttl }))
    }

    async fn put(&self, _: &StoreKey, _: &Entry) -> Result<Outcome, BackendError> {
        Ok(self.next()?.outcome)
    }

    async fn touch(&self, _: &StoreKey, _: Duration) -> Result<(), BackendError> {
        self.next().map(drop)
    }

    async fn remove(&self, _: &StoreKey) -> Result<Option<Value>, BackendError> {
        self.next().map(|_| None)
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let answer = self.next()?;
        let next = after.is_none().then_some(Cursor(answer.text));
        let keys = answer.keys.into_iter().map(StoreKey::from_bytes);
        Ok((keys.collect(), next))
    }

    async fn tagged(&self, _: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let keys = self.next()?.keys.into_iter().map(StoreKey::from_bytes);
        Ok(keys.collect())
    }
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let text = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_-]{0,200}",
        "AQ[A-Za-z0-9_-]{101,150}"
    ];
    let outcome = prop_oneof![
        Just(Outcome::Stored),
        Just(Outcome::Conflict),
        Just(Outcome::Absent)
    ];
    let ttl = prop_oneof![
        Just(Duration::MAX),
        any::<u64>().prop_map(Duration::from_millis)
    ];
    let keys = prop::collection::vec(any::<[u8; 32]>(), 0..3);
    let answer = (text, ttl, outcome, any::<bool>(), keys).prop_map(
        |(text, ttl, outcome, is_error, keys)| Answer {
            text,
            ttl,
            outcome,
            is_error,
            keys,
        },
    );
    prop::collection::vec(answer, 1..12)
}

proptest! {
    #[test]
    fn no_answers_make_a_store_panic_or_believe_in_a_session(
        answers in answers(),
        idle in prop::option::of(2_u64..1_000_000),
        handler in 0..8,
    ) {
        let app_key = key();
        let shelf = {
            let clock = Clock::at(std::time::SystemTime::now());
            crate::shelf::Shelf::new(&clock)
        };
        let genuine = ServerStore::new(app_key.clone(), shelf);
        let session = now(genuine.load(&http::HeaderMap::new())).unwrap();
        session.insert("a", 1).unwrap();
        let mut response = http::HeaderMap::new();
        now(genuine.save(&session, &mut response)).unwrap();
        let request = cookies(&[pair(&response)]);

        let mut builder = ServerStore::builder(app_key, Liar { answers: Mutex::new(answers) });
        if let Some(idle) = idle {
            builder = builder.idle_timeout(Duration::from_millis(idle));
        }
        let store = builder.build().unwrap();
        let session = now(store.load(&request));
        let fresh = now(store.load(&http::HeaderMap::new())).unwrap();
        for session in session.iter().chain([&fresh]) {
            prop_assert!(session.is_empty());
            prop_assert_ne!(session.origin(), Origin::Opened);
            session.insert("b", 2).unwrap();
            if handler & 1 != 0 {
                session.destroy();
            }
            if handler & 2 != 0 {
                session.renew();
            }
            if handler & 4 != 0 {
                session.insert("c", 2).unwrap();
            }
            for _ in 0..3 {
                let _ = now(store.save(session, &mut http::HeaderMap::new()));
                session.remove("b");
            }
        }
        let _ = now(store.end_all_of("ada"));
        let _ = now(store.retain(|_| false));
    }
}
