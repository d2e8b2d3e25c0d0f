//! What a request costs, what it stores, and what its response gets.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, VARY};
use sealed_session::server::conformance::Call;
use sealed_session::server::{ServerStore, When};
use sealed_session::{CookieStore, Event, Origin, Refusal, Status};

use crate::now::now;
use crate::site::Site;
use crate::support::*;

#[test]
fn what_one_request_inserts_the_next_reads_with_one_load_and_one_put_each() {
    let mut site = Site::new();
    let response = site.visit(|session| {
        session.insert("user_id", 42).unwrap();
        session.flash("note", "hello").unwrap();
        session.set_subject("ada").unwrap();
    });
    assert_eq!(site.calls(), ["put"], "there was nothing to load");
    assert_eq!(response[CACHE_CONTROL], "private");
    assert_eq!(response[VARY], "Cookie");
    let response = site.visit(|session| {
        assert_eq!(session.origin(), Origin::Opened);
        assert_eq!(session.get("user_id"), Ok(Some(42)));
        assert_eq!(session.take_flash("note"), Ok(Some("hello".to_owned())));
        assert_eq!(session.subject().as_deref(), Some("ada"));
        session.insert("user_id", 43).unwrap();
    });
    assert_eq!(site.calls(), ["load", "put"]);
    assert!(sets_no_cookie(&response), "only values have changed");
    assert_eq!(response[VARY], "Cookie");
    site.visit(|session| {
        assert_eq!(session.get("user_id"), Ok(Some(43)));
        assert_eq!(session.take_flash::<String>("note"), Ok(None));
    });
    assert_eq!(site.calls(), ["load"]);
    assert_eq!(site.events(), []);
}

#[test]
fn an_untouched_session_costs_one_load_and_a_visitor_without_one_nothing() {
    let mut site = Site::new();
    assert!(sets_no_cookie(&site.visit(|_| ())));
    let new_and_empty = |session: &sealed_session::Session| {
        session.insert("a", 1).unwrap();
        session.remove("a");
    };
    assert!(sets_no_cookie(&site.visit(new_and_empty)));
    let junk = cookies(&["__Host-session=junk"]);
    let session = now(site.store.load(&junk)).unwrap();
    assert_eq!(session.origin(), refused(Refusal::Malformed));
    assert!(sets_no_cookie(&site.save(&session)));
    assert_eq!(site.calls(), [""; 0]);

    let mut site = Site::visited(|builder| builder);
    assert!(sets_no_cookie(&site.visit(|_| ())));
    assert_eq!(site.calls(), ["load"]);
    site.visit(|session| {
        session.insert("count", 1).unwrap();
        session.remove("absent");
        session.set_subject("ada").unwrap();
        session.remember(true);
        assert_eq!(session.status(), Status::Unmodified);
    });
    assert_eq!(site.calls(), ["load"], "what is there already is no change");
}

#[test]
fn the_cookie_is_a_stub_of_one_size_that_holds_no_values() {
    let mut site = Site::new();
    let mut sizes = Vec::new();
    for length in [1, 4000, 500_000] {
        site.browser = Browser::default();
        let response = site.visit(|session| {
            session.insert("text", "x".repeat(length)).unwrap();
            session.set_subject("ada").unwrap();
        });
        sizes.push(pair(&response).len());
        let read: Option<String> = site.load().get("text").unwrap();
        assert_eq!(read.unwrap().len(), length);
    }
    assert_eq!(sizes, [NAME.len() + 1 + 155; 3], "39 bytes, sealed");
}

#[test]
fn a_stub_opens_in_no_cookie_store_and_a_value_is_no_cookie() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let cookie_store = store(&clock, app_key, |builder| builder);
    assert_eq!(
        cookie_store.load(&site.request()).origin(),
        refused(Refusal::Elsewhere)
    );
    let slots = shelf.slots();
    let value = slots.values().next().unwrap().value.as_str();
    let as_cookie = cookies(&[format!("{NAME}={value}")]);
    for origin in [
        cookie_store.load(&as_cookie).origin(),
        now(site.store.load(&as_cookie)).unwrap().origin(),
    ] {
        assert_eq!(origin, refused(Refusal::Forged));
    }
}

#[test]
fn a_dump_of_the_backend_shows_neither_id_nor_subject_nor_values() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("secret", "Ada Lovelace").unwrap();
        session.set_subject("ada").unwrap();
    });
    let id = site.load().id().unwrap().to_string();
    let slots = site.shelf.slots();
    let (key, slot) = slots.iter().next().unwrap();
    let dump = format!("{key} {} {}", slot.value.as_str(), slot.tags[0]);
    for secret in [id.as_str(), "Lovelace", "secret", "616461"] {
        assert!(!dump.contains(secret), "{secret}");
    }
    let tags = slot.tags.clone();
    site.browser = Browser::default();
    site.visit(|session| session.set_subject("ada").unwrap());
    assert!(site.shelf.slots().values().all(|slot| slot.tags == tags));
}

#[test]
fn a_set_cookie_comes_with_what_the_browser_must_know_and_with_nothing_else() {
    type Handler = fn(&Site, &sealed_session::Session);
    let cases: [(&str, bool, Handler); 8] = [
        ("values", false, |_, session| {
            session.insert("b", 2).unwrap();
        }),
        ("a flash", false, |_, session| {
            session.flash("b", 2).unwrap();
        }),
        ("a subject", false, |_, session| {
            session.set_subject("eve").unwrap();
        }),
        ("cleared", false, |_, session| session.clear()),
        ("renewed", true, |_, session| session.renew()),
        ("not remembered", true, |_, session| session.remember(false)),
        ("another deadline", true, |site, session| {
            session.set_expiry(site.clock.now() + HOUR).unwrap();
        }),
        ("destroyed", true, |_, session| session.destroy()),
    ];
    for (what, is_sent, handler) in cases {
        let mut site = Site::visited(|builder| builder);
        let session = site.load();
        handler(&site, &session);
        let response = site.save(&session);
        assert_eq!(!sets_no_cookie(&response), is_sent, "{what}");
        site.receive(&response);
        let origin = site.load().origin();
        let expected = match what {
            "destroyed" => Origin::Absent,
            _ => Origin::Opened,
        };
        assert_eq!(origin, expected, "{what}");
    }
}

#[test]
fn persistence_and_deadline_are_those_of_the_last_stub() {
    let mut site = Site::visited(|builder| builder);
    let deadline = site.clock.now() + HOUR;
    let response = site.visit(|session| session.set_expiry(deadline).unwrap());
    assert_eq!(max_age(&response), Some(HOUR));
    let response = site.visit(|session| session.remember(false));
    assert_eq!(max_age(&response), None);
    assert!(sets_no_cookie(
        &site.visit(|session| session.insert("a", 1).unwrap())
    ));
    site.browser.close();
    assert_eq!(site.load().origin(), Origin::Absent);
}

#[test]
fn a_stub_that_got_lost_on_its_way_is_sent_again_by_the_next_request() {
    type Handler = fn(&Site, &sealed_session::Session);
    let handlers: [Handler; 2] = [
        |_, session| session.remember(false),
        |site, session| session.set_expiry(site.clock.now() + HOUR).unwrap(),
    ];
    for (handler, expected) in handlers.into_iter().zip([None, Some(HOUR)]) {
        let mut site = Site::visited(|builder| builder);
        let session = site.load();
        handler(&site, &session);
        site.save(&session);
        site.calls();
        let response = site.visit(|_| ());
        assert_eq!(max_age(&response), expected);
        assert_eq!(site.calls(), ["load", "load"], "if it is still there");
        assert!(sets_no_cookie(&site.visit(|_| ())));
    }
}

#[test]
fn a_stub_under_an_old_key_is_sealed_again_and_so_is_a_value() {
    let (old, new) = (key(), key());
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, old.clone(), |builder| builder);
    let first = site.visit(|session| session.insert("a", 1).unwrap());
    let (id, deadline) = (site.load().id(), site.load().expires_at());
    site.calls();
    site.store.replace_keys(ring(&[&new, &old]));

    let response = site.visit(|session| assert_eq!(session.get("a"), Ok(Some(1))));
    assert_eq!(site.calls(), ["load", "put"]);
    assert_eq!(pair(&response).len(), pair(&first).len());
    assert_eq!(site.events(), [Event::Resealed]);
    let response = site.visit(|_| ());
    assert!(sets_no_cookie(&response), "once is enough");
    assert_eq!(site.calls(), ["load"]);

    site.store.replace_keys(new.clone());
    let session = site.load();
    assert_eq!(session.get("a"), Ok(Some(1)), "nothing needs the old key");
    assert_eq!((session.id(), session.expires_at()), (id, deadline));
    site.calls();

    // A stub that another node has sealed under the old key, of a value that is under the new.
    let mut behind = site.rebuilt(ring(&[&old, &new]), |builder| builder);
    let response = behind.visit(|session| session.remember(false));
    site.receive(&response);
    let mut ahead = site.rebuilt(new.clone(), |builder| builder);
    assert_eq!(ahead.load().origin(), refused(Refusal::UnknownKey));
    let response = ahead.visit(|_| ());
    assert!(sets_no_cookie(&response), "the cookie is left alone");
    site.store.replace_keys(ring(&[&new, &old]));
    site.calls();
    site.visit(|_| ());
    assert_eq!(site.calls(), ["load", "put"]);
}

#[test]
fn keys_that_are_exchanged_between_a_load_and_its_save_log_nobody_out() {
    let (old, new) = (key(), key());
    let mut site = Site::new().rebuilt(old.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let session = site.load();
    session.insert("b", 2).unwrap();
    site.overtaken("put", |session| session.insert("c", 3).unwrap());
    site.store.replace_keys(ring(&[&new, &old]));
    let response = site.save(&session);
    site.receive(&response);
    site.visit(|_| ());
    site.store.replace_keys(new);
    assert_eq!(site.load().keys(), ["a", "b", "c"]);
}

#[test]
fn only_the_stub_is_sent_if_only_the_stub_is_under_an_old_key() {
    let (old, new) = (key(), key());
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, old.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    site.store.replace_keys(ring(&[&new, &old]));
    let session = site.load();
    site.save(&session); // the value is under the new key, and the response got lost
    site.calls();
    assert_eq!(site.events(), [Event::Resealed]);
    let response = site.visit(|_| ());
    assert_eq!(site.calls(), ["load", "load"], "if it is still there");
    assert!(!sets_no_cookie(&response));
    assert_eq!(site.events(), [Event::Resealed], "now the stub");
    assert!(sets_no_cookie(&site.visit(|_| ())));
    assert_eq!(site.events(), []);
}

#[test]
fn each_response_of_one_session_gets_its_cookie_and_the_second_save_writes_what_has_changed() {
    let mut site = Site::new();
    let session = site.load();
    session.insert("a", 1).unwrap();
    let first = site.save(&session);
    assert_eq!(session.status(), Status::Unmodified, "it is acknowledged");
    let second = site.save(&session);
    assert_eq!(site.calls(), ["put"], "nothing new");
    for response in [&first, &second] {
        let session = now(site.store.load(&cookies(&[pair(response)]))).unwrap();
        assert_eq!(session.get("a"), Ok(Some(1)));
    }
    session.insert("b", 2).unwrap();
    site.calls();
    let third = site.save(&session);
    assert_eq!(site.calls(), ["put"]);
    site.receive(&third);
    assert_eq!(site.load().to_map().unwrap().len(), 2);

    session.destroy();
    for response in [site.save(&session), site.save(&session)] {
        assert!(is_removal(set_cookie(&response)));
    }
    assert!(site.shelf.slots().is_empty());
    session.insert("c", 3).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().keys(), ["c"]);
}

#[test]
fn a_deadline_in_the_past_ends_the_session_in_the_backend_and_in_each_response() {
    let mut site = Site::visited(|builder| builder);
    let session = site.load();
    session.set_expiry(site.clock.now()).unwrap();
    for response in [site.save(&session), site.save(&session)] {
        assert!(is_removal(set_cookie(&response)));
    }
    assert!(site.shelf.slots().is_empty());
    session.insert("a", 1).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(
        site.load().keys(),
        ["a"],
        "and what is written then is a new one"
    );
}

#[test]
fn a_second_save_puts_over_the_first_and_not_over_what_is_there_by_chance() {
    let site = Site::new();
    let session = site.load();
    session.insert("a", 1).unwrap();
    site.save(&session);
    session.insert("a", 2).unwrap();
    site.save(&session);
    let puts: Vec<_> = site.store.backend().take();
    let [Call::Put(first, create), Call::Put(second, replace)] = &puts[..] else {
        panic!("{puts:?}")
    };
    assert_eq!(first, second);
    assert_eq!(create.when, When::Absent);
    assert_eq!(replace.when, When::Unchanged(create.value.version()));
}

#[test]
fn a_session_of_another_store_is_refused_and_merge_is_the_way_across() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut one = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    let two = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    one.visit(|session| session.insert("a", 1).unwrap());
    let session = one.load();
    session.insert("b", 2).unwrap();
    one.calls();
    let error = two.try_save(&session).unwrap_err();
    assert!(error.to_string().contains("`merge`"), "{error}");
    assert_eq!((one.calls(), two.calls()), (vec![], vec![]));
    assert_eq!(session.status(), Status::Modified);

    let cookie_store = CookieStore::new(app_key);
    let whole = cookie_store.load(&HeaderMap::new());
    whole.merge(&session).unwrap();
    let mut response = HeaderMap::new();
    cookie_store.save(&whole, &mut response).unwrap();
    assert!(two.try_save(&whole).is_err());
    let across = two.load();
    across.merge(&whole).unwrap();
    two.save(&across);
    assert_eq!(across.keys(), ["a", "b"]);
}

#[test]
fn the_fields_of_a_request_are_read_as_text_and_as_bytes_too() {
    let site = Site::visited(|builder| builder);
    let headers = site.request();
    let text = headers["cookie"].to_str().unwrap();
    let from_text = now(site.store.load_from(["theme=dark", text])).unwrap();
    let from_bytes = now(site.store.load_from([text.as_bytes()])).unwrap();
    assert_eq!(from_text.keys(), ["count", "name"]);
    assert_eq!(from_bytes.keys(), ["count", "name"]);
    let none = now(site.store.load_from::<str>([])).unwrap();
    assert_eq!(none.origin(), Origin::Absent);
}

#[test]
fn a_session_made_without_a_store_is_saved_by_any() {
    let mut site = Site::new();
    let session = sealed_session::Session::new();
    session.insert("a", 1).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().get("a"), Ok(Some(1)));
}

#[test]
fn another_name_context_or_key_opens_neither_the_stub_nor_the_value() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let other = Site::of(&clock, &shelf, app_key, |builder| builder.context("stage"));
    let session = now(other.store.load(&site.request())).unwrap();
    assert_eq!(session.origin(), refused(Refusal::Forged));
    assert_eq!(other.calls(), [""; 0]);
}

#[test]
fn debug_of_a_store_and_of_what_a_backend_sees_shows_no_session() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("a", "Ada Lovelace").unwrap();
        session.set_subject("ada").unwrap();
    });
    let calls = site.store.backend().take();
    let slots = site.shelf.slots();
    let (key, slot) = slots.iter().next().unwrap();
    let shown = format!(
        "{:?} {calls:?} {key:?} {:?} {:?}",
        site.store, slot.value, slot.tags
    );
    let secrets = [
        key.to_string(),
        slot.value.as_str()[..40].to_owned(),
        slot.tags[0].to_string(),
    ];
    for secret in secrets {
        assert!(!shown.contains(&secret), "{shown}");
    }
    assert!(!shown.contains("Ada"));
    assert!(shown.starts_with("ServerStore {") && shown.contains("Shelf"));
    let _: &ServerStore<_> = &site.store.clone();
}

#[test]
fn a_request_that_takes_long_seals_no_session_of_a_leaked_key_under_the_next_one() {
    let settings: [fn(crate::site::Builder) -> crate::site::Builder; 2] =
        [|it| it, sealed_session::StoreBuilder::small_in_cookie];
    for settings in settings {
        let site = Site::visited(settings);
        site.events();
        let held = site.load();
        site.store.replace_keys(key());
        held.insert("count", 2).unwrap();
        let response = site.save(&held);
        assert!(!response.contains_key("set-cookie"));
        assert_eq!(site.events(), [Event::Lost]);
        assert!(!site.calls().contains(&"put"), "nothing is written");
    }
}

#[test]
fn what_is_chosen_for_the_next_session_outlasts_the_save_that_ends_the_one_before() {
    let mut site = Site::visited(|builder| builder);
    let end = site.clock.now() + HOUR;
    let session = site.load();
    session.destroy();
    session.remember(false);
    session.set_expiry(end).unwrap();
    assert!(is_removal(set_cookie(&site.save(&session))));
    session.insert("a", 1).unwrap();
    let response = site.save(&session);
    assert_eq!(max_age(&response), None);
    site.receive(&response);
    assert_eq!(site.load().expires_at(), Some(end));
}
