//! The endpoints, row by row, and what stands between them and the browser.

use http::HeaderMap;
use sealed_session::{DeviceBound, DeviceRefusal, DeviceStage, Event};

use crate::client::*;
use crate::support::*;

fn refused(why: DeviceRefusal) -> Vec<Event> {
    vec![Event::DeviceRefused(why)]
}

#[test]
fn each_row_of_the_refresh_has_its_answer() {
    let service = Service::new();
    let bound = Visitor::bound(&service);
    let mut unbound = Visitor::new(&service);
    unbound.request(login).unwrap();
    let mut keyless = bound.clone();
    keyless.forget(KEY);
    let good = proof(&bound.device, &bound.asked());
    let wrong = proof(&device(9), &bound.asked());
    let old = {
        let asked = bound.asked();
        service.clock.forward(2 * MINUTE);
        proof(&bound.device, &asked)
    };
    let foreign = proof(&bound.device, &Visitor::bound(&service).asked());
    let fresh = proof(&bound.device, &bound.asked());
    let nobody = Visitor::new(&service);
    let other = Visitor::bound(&service);
    let mut late = bound.clone();
    late.set(NAME, other.cookie(NAME).unwrap(), "/");
    let mut early = bound.clone();
    early.set(NAME, unbound.cookie(NAME).unwrap(), "/");
    let mut alone = bound.clone();
    alone.forget(NAME);
    service.device_events();
    let none: Vec<Event> = Vec::new();
    for (row, visitor, jwt, status, asks, proves, events) in [
        ("no proof", &bound, None, 403, true, false, none.clone()),
        (
            "no JWT",
            &bound,
            Some("junk"),
            200,
            true,
            false,
            refused(DeviceRefusal::Malformed),
        ),
        (
            "bad signature",
            &bound,
            Some(&*wrong),
            200,
            true,
            false,
            refused(DeviceRefusal::Signature),
        ),
        (
            "old challenge",
            &bound,
            Some(&*old),
            403,
            true,
            false,
            none.clone(),
        ),
        (
            "older",
            &bound,
            Some(&*good),
            403,
            true,
            false,
            none.clone(),
        ),
        (
            "foreign challenge",
            &bound,
            Some(&*foreign),
            403,
            true,
            false,
            refused(DeviceRefusal::Challenge),
        ),
        (
            "good",
            &bound,
            Some(&*fresh),
            200,
            false,
            true,
            vec![Event::DeviceRefreshed],
        ),
        (
            "not bound yet, no key",
            &unbound,
            Some(&*fresh),
            200,
            false,
            false,
            none.clone(),
        ),
        (
            "not bound yet, no key, no proof",
            &unbound,
            None,
            200,
            false,
            false,
            none,
        ),
        (
            "bound, no key",
            &keyless,
            Some(&*fresh),
            0,
            false,
            false,
            vec![Event::DeviceEnded],
        ),
        (
            "bound, no key, no proof",
            &keyless,
            None,
            0,
            false,
            false,
            vec![Event::DeviceEnded],
        ),
        (
            "a key, no session",
            &alone,
            Some(&*fresh),
            200,
            false,
            true,
            vec![Event::DeviceRefreshed],
        ),
        (
            "another's session",
            &late,
            Some(&*fresh),
            200,
            false,
            false,
            refused(DeviceRefusal::OtherSession),
        ),
        (
            "a new session",
            &early,
            Some(&*fresh),
            200,
            false,
            false,
            refused(DeviceRefusal::OtherSession),
        ),
        (
            "nothing",
            &nobody,
            Some(&*fresh),
            0,
            false,
            false,
            vec![Event::DeviceEnded],
        ),
        (
            "nothing at all",
            &nobody,
            None,
            0,
            false,
            false,
            vec![Event::DeviceEnded],
        ),
    ] {
        let jwt: Vec<_> = jwt
            .map(|jwt| ("secure-session-response", jwt))
            .into_iter()
            .collect();
        let answer = visitor.post(REFRESH, From::Here, &jwt);
        assert_eq!(is_end(&answer), status == 0, "{row}");
        if status != 0 {
            assert_eq!(
                (answer.status().as_u16(), answer.body()),
                (status, ""),
                "{row}"
            );
        }
        assert_eq!(challenge(&answer).is_some(), asks, "{row}");
        assert_eq!(sets(answer.headers(), PROOF), proves, "{row}");
        assert!(
            !sets(answer.headers(), KEY) && !sets(answer.headers(), NAME),
            "{row}"
        );
        assert_eq!(answer.headers()["cache-control"], "no-store", "{row}");
        assert_eq!(service.device_events(), events, "{row}");
    }
}

#[test]
fn a_key_ends_when_no_session_that_it_proves_can_be_alive() {
    let service = Service::with(|builder| builder.lifetime(HOUR));
    let mut visitor = Visitor::bound(&service);
    visitor.forget(NAME);
    let key = visitor.cookie(KEY).unwrap().to_owned();
    service.clock.forward(100 * MINUTE - SECOND);
    assert!(sets(visitor.refresh(From::Elsewhere).headers(), PROOF));
    service.clock.forward(SECOND);
    visitor.set(KEY, &key, "/.device-bound-session");
    let answer = visitor.refresh(From::Elsewhere);
    assert!(is_end(&answer));
    assert!(removes(answer.headers(), KEY) && removes(answer.headers(), PROOF));
}

#[test]
fn each_fault_of_a_registration_is_refused_for_good() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    let bound = Visitor::bound(&service);
    let good = registration(&visitor.device, &challenge);
    let header = r#"{"alg":"ES256","typ":"dbsc+jwt"}"#;
    let keyless = signed(
        &visitor.device,
        header,
        &format!(r#"{{"jti":"{challenge}"}}"#),
    );
    let stolen = {
        let header = format!(
            r#"{{"alg":"ES256","jwk":{},"typ":"dbsc+jwt"}}"#,
            jwk(&device(5))
        );
        signed(
            &visitor.device,
            &header,
            &format!(r#"{{"jti":"{challenge}"}}"#),
        )
    };
    let refreshing = registration(&visitor.device, &bound.asked());
    service.device_events();
    for (what, fields, why) in [
        ("nothing", vec![], DeviceRefusal::Malformed),
        ("junk", vec!["junk"], DeviceRefusal::Malformed),
        ("twice", vec![&*good, &*good], DeviceRefusal::Malformed),
        ("no key", vec![&*keyless], DeviceRefusal::Malformed),
        (
            "somebody else's key",
            vec![&*stolen],
            DeviceRefusal::Signature,
        ),
        (
            "a refresh's challenge",
            vec![&*refreshing],
            DeviceRefusal::Challenge,
        ),
    ] {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|jwt| ("secure-session-response", jwt))
            .collect();
        let answer = visitor.post(REGISTER, From::Here, &fields);
        assert_eq!(
            (answer.status().as_u16(), answer.body()),
            (403, ""),
            "{what}"
        );
        assert!(sets_no_cookie(answer.headers()), "{what}");
        assert_eq!(service.device_events(), refused(why), "{what}");
    }
    let quoted = format!("\"{good}\"");
    let answer = visitor.post(
        REGISTER,
        From::Here,
        &[("secure-session-response", &quoted)],
    );
    assert_eq!(answer.status(), 200, "as the draft has it");
}

#[test]
fn a_key_in_a_refresh_is_not_looked_at() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let other = device(9);
    for (device, header, is_good) in [
        (&visitor.device, jwk(&other), true),
        (&other, jwk(&other), false),
    ] {
        let header = format!(r#"{{"alg":"ES256","jwk":{header},"typ":"dbsc+jwt"}}"#);
        let claims = format!(r#"{{"jti":"{}"}}"#, visitor.asked());
        let jwt = signed(device, &header, &claims);
        let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
        assert_eq!(sets(answer.headers(), PROOF), is_good);
    }
}

#[test]
fn only_pages_of_this_origin_reach_the_endpoints() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let mut registering = Visitor::new(&service);
    let response = registering.request(login).unwrap();
    let jwt = registration(&registering.device, &offered(&response).unwrap());
    let signed = proof(&visitor.device, &visitor.asked());
    service.device_events();
    for site in [
        None,
        Some("cross-site"),
        Some("same-site"),
        Some("none"),
        Some(""),
    ] {
        for (visitor, path, jwt) in [(&registering, REGISTER, &jwt), (&visitor, REFRESH, &signed)] {
            let mut headers = visitor.headers(path, From::Here);
            headers.insert("secure-session-response", jwt.parse().unwrap());
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            let answer = service.answer("POST", path, &headers).unwrap();
            assert_eq!(answer.status(), 403, "{site:?} {path}");
            assert!(sets_no_cookie(answer.headers()));
            assert!(challenge(&answer).is_none());
            assert_eq!(
                service.device_events(),
                refused(DeviceRefusal::NotSameOrigin)
            );
        }
    }
}

#[test]
fn only_post_and_only_the_exact_path_is_answered() {
    let service = Service::new();
    let headers = HeaderMap::new();
    for method in ["GET", "HEAD", "PUT", "post", "OPTIONS"] {
        for path in [REGISTER, REFRESH] {
            let answer = service.answer(method, path, &headers).unwrap();
            assert_eq!(answer.status(), 405, "{method}");
            assert_eq!(answer.headers()["allow"], "POST");
        }
    }
    assert!(
        service
            .answer("POST", &format!("{REFRESH}?x=1"), &headers)
            .is_some()
    );
    for path in [
        "/",
        "/.device-bound-session",
        "/.device-bound-session/",
        "/.device-bound-session/refresh/",
        "/.device-bound-session/other",
        "/.device-bound-sessions/refresh",
        "/.device-bound-admin/refresh",
        "/x/.device-bound-session/refresh",
        "/.DEVICE-bound-session/refresh",
    ] {
        assert!(service.answer("POST", path, &headers).is_none(), "{path}");
    }
    let off = Service::of(&start(), key(), |builder| {
        builder.device_bound(DeviceStage::Off)
    });
    assert!(off.answer("POST", REFRESH, &headers).is_none());
    let without = Service::of(&start(), key(), |builder| builder);
    assert!(without.answer("POST", REFRESH, &headers).is_none());
}

#[test]
fn a_browser_that_answers_late_by_its_clock_or_a_servers_is_let_in_for_a_minute_more() {
    // Two servers whose clocks are 60 seconds apart.
    let app_key = key();
    let clocks = [start(), start()];
    clocks[1].forward(MINUTE);
    let services = clocks.clone().map(|clock| {
        Service::of(&clock, app_key.clone(), |it| {
            it.device_bound(DeviceBound::default())
        })
    });
    for (asking, answering) in [(0, 1), (1, 0)] {
        let mut visitor = Visitor::bound(&services[asking]);
        let jwt = proof(&visitor.device, &visitor.asked());
        clocks.iter().for_each(|clock| clock.forward(59 * SECOND));
        visitor.service = services[answering].clone();
        let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
        assert!(sets(answer.headers(), PROOF), "{asking} asks");
        visitor.receive(answer.headers());
        assert_eq!(user(&visitor.load()), Some(42));
        visitor.service = services[asking].clone();
        assert_eq!(user(&visitor.load()), Some(42));
    }
}

#[test]
fn a_proof_lasts_as_long_as_its_cookie_whichever_server_is_ahead() {
    let app_key = key();
    let clocks = [start(), start()];
    clocks[1].forward(MINUTE);
    let services = clocks.clone().map(|clock| {
        Service::of(&clock, app_key.clone(), |it| {
            it.device_bound(DeviceBound::default())
        })
    });
    for (making, reading) in [(0, 1), (1, 0)] {
        let mut visitor = Visitor::bound(&services[making]);
        let headers = visitor.headers("/", From::Here);
        clocks
            .iter()
            .for_each(|clock| clock.forward(9 * MINUTE - SECOND));
        visitor.service = services[reading].clone();
        assert_eq!(
            user(&services[reading].load(&headers)),
            Some(42),
            "{making} made it"
        );
    }
}
