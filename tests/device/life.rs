//! The life of a bound session, as a browser and its visitor have it.

use sealed_session::{CookieConfig, Event, Origin, RevocationList, Session, StoreBuilder};

use crate::client::*;
use crate::support::*;

#[test]
fn a_login_is_offered_a_registration_and_the_first_page_after_it_binds_the_session() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    assert!(sets(&response, OFFER));
    assert!(!visitor.load().is_device_bound());

    let session = visitor.cookie(NAME).unwrap().to_owned();
    let answer = visitor.register(&challenge, From::Here);
    assert_eq!(answer.status(), 200);
    assert!(
        !sets(answer.headers(), NAME),
        "a late one would undo a logout"
    );
    assert!(sets(answer.headers(), KEY) && sets(answer.headers(), PROOF));
    assert!(removes(answer.headers(), OFFER));
    visitor.registered(&answer);
    assert_eq!(service.device_events(), [Event::DeviceRegistered]);

    // It only reads, and is bound all the same.
    let response = visitor.request(|session| {
        assert!(session.is_device_bound());
        assert_eq!(user(session), Some(42));
    });
    assert!(sets(&response.unwrap(), NAME));
    assert_ne!(visitor.cookie(NAME), Some(&*session));
    // From now on there is nothing to do.
    let response = visitor.request(|session| assert!(session.is_device_bound()));
    assert!(sets_no_cookie(&response.unwrap()));
}

#[test]
fn the_instructions_are_those_of_the_draft_and_the_proof_has_their_attributes() {
    let service = Service::with(|builder| {
        let settings = sealed_session::DeviceBound::default();
        builder.device_bound(settings.exclude("/public").refresh_from("partner.example"))
    });
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let answer = visitor.register(&offered(&response).unwrap(), From::Here);
    let told: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
    let attributes = "HttpOnly; SameSite=Lax; Secure; Path=/";
    let expected = serde_json::json!({
        "session_identifier": "session",
        "refresh_url": REFRESH,
        "scope": {
            "include_site": false,
            "scope_specification": [{ "type": "exclude", "domain": "*", "path": "/public" }],
        },
        "credentials": [{ "type": "cookie", "name": PROOF, "attributes": attributes }],
        "allowed_refresh_initiators": ["partner.example"],
    });
    assert_eq!(told, expected);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let set = answer.headers().get_all("set-cookie").iter();
    let set: Vec<&str> = set.map(|field| field.to_str().unwrap()).collect();
    let proof = set.iter().find(|field| field.starts_with(PROOF)).unwrap();
    assert!(
        proof.ends_with(&format!("; {attributes}; Max-Age=540")),
        "{proof}"
    );
    let key = set.iter().find(|field| field.starts_with(KEY)).unwrap();
    let path = "Path=/.device-bound-session; Max-Age=130200";
    assert!(
        key.ends_with(&format!("SameSite=None; Secure; {path}")),
        "{key}"
    );
    let value = |field: &str| field.split(['=', ';']).nth(1).unwrap().len();
    assert_eq!(value(key), 200);
}

#[test]
fn only_a_login_is_offered_a_registration_and_only_once() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let mut is_offered = |handler: fn(&Session)| {
        let response = visitor.request(handler).unwrap();
        assert_eq!(offered(&response).is_some(), sets(&response, OFFER));
        offered(&response).is_some()
    };
    assert!(
        !is_offered(|session| session.insert("cart", 1).unwrap()),
        "anonymous"
    );
    assert!(
        !is_offered(|session| session.flash("note", 1).unwrap()),
        "anonymous"
    );
    assert!(is_offered(|session| session.set_subject("ada").unwrap()));
    assert!(!is_offered(|_| {}), "a page");
    assert!(
        !is_offered(|session| session.insert("cart", 2).unwrap()),
        "a change"
    );
    assert!(
        !is_offered(|session| session.set_subject("eve").unwrap()),
        "the same id"
    );
    assert!(is_offered(login), "the next login");
    assert!(!is_offered(Session::destroy));
    assert!(is_offered(login), "a new session");
    assert!(
        is_offered(Session::renew),
        "of an application without subjects"
    );
}

#[test]
fn a_response_that_is_saved_twice_offers_once() {
    let service = Service::new();
    let session = service.load(&http::HeaderMap::new());
    login(&session);
    let mut response = service.save(&session).unwrap();
    let Store::Cookie(store) = &service.store else {
        panic!("it is a cookie store");
    };
    let other = "(ES256);path=\"/another/layer\";challenge=\"x\"";
    response.append("secure-session-registration", other.parse().unwrap());
    session.insert("more", 1).unwrap();
    store.save(&session, &mut response).unwrap();
    let fields: Vec<_> = response
        .get_all("secure-session-registration")
        .iter()
        .collect();
    assert_eq!(fields.len(), 2, "ours once, and the other layer's");
    assert!(fields.iter().any(|field| *field == other));
    assert_eq!(
        response.get_all("set-cookie").iter().count(),
        2,
        "session and offer"
    );
}

#[test]
fn a_proof_that_is_over_is_made_anew_without_instructions() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    for _ in 0..50 {
        service.clock.forward(9 * MINUTE);
        assert_eq!(visitor.cookie(PROOF), None);
        service.device_events();
        let answer = visitor.refresh(From::Here);
        assert_eq!((answer.status().as_u16(), answer.body()), (200, ""));
        assert_eq!(service.device_events(), [Event::DeviceRefreshed]);
        assert!(!sets(answer.headers(), NAME));
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
}

#[test]
fn ten_requests_at_once_are_all_bound_by_the_same_proof() {
    let service = Service::with(|builder| builder.revocations(RevocationList::new()));
    let mut visitor = Visitor::logged_in(&service);
    let sessions: Vec<_> = (0..10).map(|_| visitor.load()).collect();
    for session in &sessions {
        let response = service.save(session).unwrap();
        assert!(sets(&response, NAME));
        visitor.receive(&response);
    }
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn who_logs_in_again_keeps_the_binding_and_is_offered_none() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    let before = visitor.load().id();
    let response = visitor.visit(login);
    assert!(offered(&response).is_none());
    assert_ne!(visitor.load().id(), before);
    assert!(visitor.load().is_device_bound());
    service.clock.forward(11 * MINUTE);
    assert_eq!(
        visitor.load().origin(),
        refused(sealed_session::Refusal::Unproven)
    );
    visitor.visit(|session| assert_eq!(user(session), Some(42)));
}

#[test]
fn a_logout_removes_all_four_cookies_and_the_browser_then_forgets_its_key() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    let response = visitor.visit(Session::destroy);
    for name in [NAME, PROOF, KEY, OFFER] {
        assert!(removes(&response, name), "{name}");
    }
    assert!(visitor.jar.is_empty());
    service.device_events();
    let answer = visitor.refresh(From::Here);
    assert!(is_end(&answer));
    assert_eq!(service.device_events(), [Event::DeviceEnded]);
    visitor.visit(|session| assert_eq!(session.origin(), Origin::Absent));
}

#[test]
fn a_late_refresh_of_the_old_key_does_not_end_the_next_login() {
    for has_list in [false, true] {
        let service = Service::with(|builder| match has_list {
            true => builder.revocations(RevocationList::new()),
            false => builder,
        });
        let mut visitor = Visitor::bound(&service);
        let before = visitor.clone();
        visitor.visit(Session::destroy);
        visitor.device = device(2);
        visitor.bound = None;
        let response = visitor.request(login).unwrap();

        // Before the new key is registered: no key, and a session that is not bound yet.
        let answer = visitor.post(REFRESH, From::Here, &[]);
        assert_eq!((answer.status().as_u16(), answer.body()), (200, ""));
        assert!(sets_no_cookie(answer.headers()));

        visitor.follow(&response);
        visitor.visit(|session| assert!(session.is_device_bound()));
        // After it: the old key signs, good or bad, over whatever it was asked.
        let old = challenge(&before.post(REFRESH, From::Elsewhere, &[]));
        assert_eq!(old.is_none(), has_list, "a list knows that it is over");
        for asked in [visitor.asked(), old.unwrap_or_default(), "junk".to_owned()] {
            let jwt = proof(&before.device, &asked);
            let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
            assert_eq!((answer.status().as_u16(), answer.body()), (200, ""));
            assert!(sets_no_cookie(answer.headers()));
            assert!(challenge(&answer).is_some());
        }
        // And it arrives with the old key's cookie, in a race.
        let mut mixed = visitor.clone();
        let key = before.cookie(KEY).unwrap();
        mixed.set(KEY, key, "/.device-bound-session");
        mixed.device = device(1);
        let answer = mixed.refresh(From::Here);
        if !is_end(&answer) {
            assert_eq!((answer.status().as_u16(), answer.body()), (200, ""));
        }
        assert!(!sets(answer.headers(), PROOF) && !sets(answer.headers(), KEY));
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
}

#[test]
fn a_registration_whose_answer_is_lost_leaves_a_session_that_works() {
    for has_list in [false, true] {
        let service = Service::with(|builder| match has_list {
            true => builder.revocations(RevocationList::new()),
            false => builder,
        });
        let mut visitor = Visitor::new(&service);
        let response = visitor.request(login).unwrap();
        let _lost = visitor.register(&offered(&response).unwrap(), From::Here);
        for _ in 0..20 {
            service.clock.forward(HOUR);
            let response = visitor.request(|session| {
                assert_eq!(user(session), Some(42));
                assert!(!session.is_device_bound());
            });
            assert!(offered(&response.unwrap()).is_none());
        }
    }
}

#[test]
fn a_registration_that_comes_after_the_logout_is_refused_or_binds_nothing() {
    let service = Service::with(|builder| builder.revocations(RevocationList::new()));
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    let before = visitor.clone();
    visitor.visit(Session::destroy);
    // Sent after the logout's answer, and before it.
    assert_eq!(visitor.register(&challenge, From::Here).status(), 403);
    assert_eq!(before.register(&challenge, From::Here).status(), 403);

    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let late = visitor.register(&offered(&response).unwrap(), From::Here);
    visitor.visit(Session::destroy);
    visitor.registered(&late);
    assert_eq!(visitor.cookie(NAME), None, "it is still logged out");
    // The next login is another session, and not bound by what is left of the old one.
    let response = visitor.request(login).unwrap();
    assert!(!visitor.load().is_device_bound());
    visitor.follow(&response);
    visitor.visit(|_| {});
    assert!(visitor.load().is_device_bound());
    service.clock.forward(9 * MINUTE);
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn a_login_that_ends_in_a_navigation_from_another_site_binds_too() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    let headers = visitor.headers(REGISTER, From::Elsewhere);
    assert!(!headers["cookie"].to_str().unwrap().contains(NAME));
    let answer = visitor.register(&challenge, From::Elsewhere);
    visitor.registered(&answer);
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn a_refresh_without_the_lax_cookies_proves_the_key_too() {
    let service = Service::new();
    for mut visitor in [Visitor::logged_in(&service), Visitor::bound(&service)] {
        service.clock.forward(9 * MINUTE);
        let answer = visitor.refresh(From::Elsewhere);
        assert_eq!(answer.status(), 200);
        assert!(sets(answer.headers(), PROOF));
        assert!(
            !sets(answer.headers(), KEY),
            "whose session it is is not known"
        );
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
}

#[test]
fn two_tabs_that_log_in_one_after_the_other_end_up_with_one_binding() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let one = visitor.request(login).unwrap();
    let two = visitor.request(login).unwrap();
    let first = visitor.register(&offered(&one).unwrap(), From::Here);
    assert_eq!(first.status(), 403, "its offer was replaced");
    visitor.follow(&two);
    visitor.visit(|session| assert!(session.is_device_bound()));
    // Both registrations are answered, the first one last.
    let mut visitor = Visitor::new(&service);
    let one = visitor.request(login).unwrap();
    let first = visitor.register(&offered(&one).unwrap(), From::Here);
    let two = visitor.request(login).unwrap();
    visitor.follow(&two);
    visitor.registered(&first);
    visitor
        .request(|session| assert_eq!(user(session), Some(42)))
        .unwrap();
    assert_eq!(
        visitor.cookie(PROOF),
        None,
        "another session's proof is taken away"
    );
}

#[test]
fn the_proof_of_another_session_is_taken_away_at_the_next_answer() {
    let service = Service::new();
    let other = Visitor::bound(&service);
    let mut visitor = Visitor::bound(&service);
    visitor.set(PROOF, other.cookie(PROOF).unwrap(), "/");
    let response = visitor.request(|session| assert_eq!(user(session), None));
    assert!(removes(&response.unwrap(), PROOF));
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn keys_are_rotated_while_a_session_is_bound() {
    let [old, new] = app_keys();
    let clock = start();
    let service = Service::of(&clock, old.clone(), |builder| {
        builder.device_bound(sealed_session::DeviceBound::default())
    });
    let mut visitor = Visitor::bound(&service);
    service.replace_keys(ring(&[&new, &old]));
    clock.forward(9 * MINUTE);
    let key = visitor.cookie(KEY).unwrap().to_owned();
    let answer = visitor.refresh(From::Here);
    assert!(sets(answer.headers(), KEY), "sealed under the new key");
    assert_ne!(visitor.cookie(KEY), Some(&*key));
    visitor.visit(|session| assert!(session.is_device_bound()));
    service.replace_keys(ring(&[&new]));
    clock.forward(9 * MINUTE);
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn a_server_that_has_not_heard_of_the_new_key_ends_nothing() {
    let [old, new] = app_keys();
    let clock = start();
    let settings = sealed_session::DeviceBound::default;
    let ahead = Service::of(&clock, ring(&[&new, &old]), |it| {
        it.device_bound(settings())
    });
    let behind = Service::of(&clock, old, |it| it.device_bound(settings()));
    let mut visitor = Visitor::bound(&ahead);
    clock.forward(9 * MINUTE);
    visitor.service = behind;
    let answer = visitor.refresh(From::Here);
    assert_eq!(answer.status(), 500);
    let unknown = sealed_session::DeviceRefusal::UnknownKey;
    assert_eq!(
        visitor.service.device_events(),
        [Event::DeviceRefused(unknown)]
    );
    assert!(sets_no_cookie(answer.headers()));
    visitor.service = ahead;
    visitor.visit(|session| assert!(session.is_device_bound()));
}

#[test]
fn a_key_lasts_as_long_as_a_session_that_is_renewed_or_extended() {
    let service = Service::with(|builder| builder.lifetime(HOUR).max_lifetime(2 * HOUR));
    let mut visitor = Visitor::bound(&service);
    let later = service.clock.now() + 2 * HOUR;
    visitor.visit(|session| session.set_expiry(later).unwrap());
    for _ in 0..11 {
        service.clock.forward(10 * MINUTE);
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
    // Renewed shortly before its end, many times over.
    for _ in 0..20 {
        visitor.visit(login);
        service.clock.forward(50 * MINUTE);
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
}

#[test]
fn a_key_outlasts_a_session_that_was_renewed_after_the_last_refresh() {
    for lifetime in [15 * MINUTE, HOUR, DAY] {
        let service = Service::with(|builder| builder.lifetime(lifetime));
        let mut visitor = Visitor::bound(&service);
        // At half of its lifetime, the key is not sealed anew yet.
        let steps = u32::try_from(lifetime.as_secs() / 2 / 60 / 7).unwrap();
        for _ in 0..steps {
            service.clock.forward(7 * MINUTE);
            visitor.visit(|_| {});
            visitor.refresh(From::Here);
        }
        // Somebody logs in again, and closes the browser before the proof is over.
        service.clock.forward(9 * MINUTE - SECOND);
        visitor.visit(login);
        service.clock.forward(lifetime - SECOND);
        visitor.visit(|session| assert_eq!(user(session), Some(42), "{lifetime:?}"));
        assert!(visitor.load().is_device_bound());
    }
}

#[test]
fn a_return_from_idleness_shortly_before_the_proof_ends_is_a_return() {
    let service = Service::with(|builder| builder.idle_timeout(10 * MINUTE));
    let mut visitor = Visitor::bound(&service);
    for _ in 0..20 {
        service.clock.forward(9 * MINUTE - SECOND);
        assert!(visitor.cookie(PROOF).is_some());
        // The browser refreshes beside the request; the session's cookie is the request's.
        let session = visitor.load();
        visitor.refresh(From::Here);
        let response = service.save(&session).unwrap();
        visitor.receive(&response);
        assert!(session.is_device_bound());
        assert!(visitor.load().is_device_bound());
    }
    service.clock.forward(10 * MINUTE);
    visitor.hold_back();
    let idle = refused(sealed_session::Refusal::Idle);
    assert_eq!(
        visitor.load().origin(),
        idle,
        "a refresh is no use of the session"
    );
}

#[test]
fn several_stores_of_one_origin_do_not_meet() {
    let clock = start();
    let app_key = key();
    let of = |name: &str| {
        Service::of(&clock, app_key.clone(), |builder| {
            builder
                .cookie(CookieConfig::builder().name(name).build().unwrap())
                .device_bound(sealed_session::DeviceBound::default())
        })
    };
    let (one, two) = (of("__Host-session"), of("__Host-admin"));
    let visitor = Visitor::bound(&one);
    let headers = visitor.headers("/", From::Here);
    assert!(two.answer("POST", REFRESH, &headers).is_none());
    // Cookies under the other's names do not open there.
    let mut other = Visitor::new(&two);
    for (from, to) in [(NAME, "__Host-admin"), (PROOF, "__Host-device-proof-admin")] {
        other.set(to, visitor.cookie(from).unwrap(), "/");
    }
    let key = visitor.cookie(KEY).unwrap();
    other.set("__Secure-device-key-admin", key, "/.device-bound-admin");
    assert_eq!(user(&other.load()), None);
    let answer = other.post("/.device-bound-admin/refresh", From::Here, &[]);
    assert!(is_end(&answer));
}

#[test]
fn a_session_that_takes_the_place_of_another_in_one_request_is_bound_by_its_own_key() {
    let services = [
        ("cookie", Service::new()),
        ("backend", Service::in_memory(|builder| builder)),
        (
            "small in a cookie",
            Service::in_memory(StoreBuilder::small_in_cookie),
        ),
    ];
    for (name, service) in services {
        for is_bound in [false, true] {
            let mut visitor = Visitor::logged_in(&service);
            if is_bound {
                visitor.visit(|_| {});
            }
            let session = visitor.load();
            session.destroy();
            assert!(!session.is_device_bound(), "{name}");
            login(&session);
            let offer = service.save(&session).unwrap();
            visitor.receive(&offer);
            // The same request saves the new session once more.
            session.insert("n", 1).unwrap();
            visitor.receive(&service.save(&session).unwrap());
            assert_eq!(user(&visitor.load()), Some(42), "{name}");
            visitor.follow(&offer);
            for _ in 0..3 {
                visitor.visit(|session| assert_eq!(user(session), Some(42), "{name}"));
                assert!(visitor.load().is_device_bound(), "{name}");
                service.clock.forward(9 * MINUTE);
            }
        }
    }
}

#[test]
fn a_clock_that_was_ahead_for_a_while_ends_no_bound_session() {
    for ahead in [5 * MINUTE, 70 * MINUTE, 10 * HOUR] {
        let service = Service::with(|builder| builder.lifetime(20 * HOUR));
        // One logs in before, and one while the clock is wrong.
        let mut before = Visitor::bound(&service);
        service.clock.forward(9 * MINUTE + ahead);
        let mut meanwhile = Visitor::bound(&service);
        before.visit(|session| assert_eq!(user(session), Some(42)));
        service.clock.back(ahead);
        before.request(|_| {}).unwrap();
        before.visit(|session| {
            // Its key was sealed anew when half of its lifetime seemed to be over.
            let is_ahead = ahead >= 10 * HOUR;
            assert_eq!(user(session).is_none(), is_ahead, "{ahead:?}");
        });
        meanwhile.forget(PROOF);
        meanwhile.visit(|session| assert!(session.is_new()));
        service.clock.forward(ahead);
        meanwhile.visit(|session| assert_eq!(user(session), Some(42), "{ahead:?}"));
        before.visit(|session| assert_eq!(user(session), Some(42), "{ahead:?}"));
    }
}

#[test]
fn a_key_lasts_as_long_as_a_session_that_browsers_could_forget() {
    for years in [1, 2, 3, 10] {
        let service = Service::with(|builder| builder.lifetime(years * 365 * DAY));
        for pause in [199, 250, 395] {
            let mut visitor = Visitor::bound(&service);
            for _ in 0..(years * 365 - 1) / pause {
                service.clock.forward(pause * DAY);
                visitor.visit(|session| assert_eq!(user(session), Some(42), "{years} {pause}"));
            }
        }
    }
}

#[test]
fn a_slow_answer_from_before_the_binding_makes_no_guest_of_a_visitor_with_a_later_proof() {
    let service = Service::with(|builder| builder.revocations(RevocationList::new()));
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let slow = visitor.load();
    visitor.follow(&response);
    visitor.visit(|_| {});
    service.clock.forward(10 * MINUTE);
    visitor.visit(|session| assert!(session.is_device_bound()));
    slow.insert("slow", true).unwrap();
    visitor.receive(&service.save(&slow).unwrap());
    for _ in 0..3 {
        let session = visitor.load();
        assert!(session.contains("slow") && session.is_device_bound());
        visitor.receive(&service.save(&session).unwrap());
        visitor.refresh(From::Here);
    }
    // It says again what the browser's cookie had lost.
    let mut thief = visitor.clone();
    thief.forget(PROOF);
    assert_eq!(
        thief.load().origin(),
        refused(sealed_session::Refusal::Unproven)
    );
}
