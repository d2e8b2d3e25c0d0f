//! A link on another site leads to a page: the browser does not hold that request back.

use http::{HeaderMap, HeaderName};
use sealed_session::{DeviceBound, DeviceStage, RevocationList};

use crate::client::*;
use crate::support::*;

/// A request as a link on another site makes it.
const LINK: [(&str, &str); 3] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

fn followed(visitor: &Visitor) -> HeaderMap {
    with(visitor, &LINK)
}

fn with(visitor: &Visitor, fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = visitor.headers("/", From::Here);
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

fn unproven(service: &Service) -> Visitor {
    let visitor = Visitor::bound(service);
    service.clock.forward(10 * MINUTE);
    visitor
}

#[test]
fn the_page_loads_itself_again_without_a_script_and_only_once() {
    for service in [
        Service::new(),
        Service::in_memory(|it| it),
        Service::with(|it| it.revocations(RevocationList::new())),
    ] {
        let mut visitor = unproven(&service);
        let answer = service
            .answer("GET", "/account?tab=2", &followed(&visitor))
            .unwrap();
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        assert_eq!(headers["refresh"], "0", "the same address");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert!(
            headers["vary"]
                .to_str()
                .unwrap()
                .starts_with("Cookie, Sec-Fetch-Site")
        );
        assert!(!answer.body().contains("script") && !answer.body().contains("style"));
        assert!(!sets(headers, NAME) && !removes(headers, NAME));
        visitor.receive(headers);
        // A browser that sends the second request as cross-site too gets the handler's answer.
        assert!(
            service
                .answer("GET", "/account", &followed(&visitor))
                .is_none()
        );
        service.clock.forward(11 * SECOND);
        assert!(
            service
                .answer("GET", "/account", &followed(&visitor))
                .is_some()
        );
    }
}

#[test]
fn every_other_request_gets_its_handlers_answer() {
    let service = Service::new();
    let visitor = unproven(&service);
    for method in ["POST", "HEAD", "PUT", "OPTIONS"] {
        assert!(
            service.answer(method, "/", &followed(&visitor)).is_none(),
            "{method}"
        );
    }
    let [site, mode, dest] = LINK;
    for fields in [
        vec![("sec-fetch-site", "same-origin"), mode, dest],
        vec![("sec-fetch-site", "none"), mode, dest],
        vec![mode, dest],
        vec![site, ("sec-fetch-mode", "no-cors"), dest],
        vec![site, ("sec-fetch-mode", "cors"), dest],
        vec![site, dest],
        vec![site, mode, ("sec-fetch-dest", "iframe")],
        vec![site, mode, ("sec-fetch-dest", "image")],
        vec![site, mode],
        vec![site, site, mode, dest],
        vec![],
    ] {
        let headers = with(&visitor, &fields);
        assert!(service.answer("GET", "/", &headers).is_none(), "{fields:?}");
    }
    let sibling = [("sec-fetch-site", "same-site"), mode, dest];
    assert!(
        service
            .answer("GET", "/", &with(&visitor, &sibling))
            .is_some()
    );
}

#[test]
fn visitors_who_lack_no_proof_are_not_sent_round() {
    let service = Service::new();
    let bound = Visitor::bound(&service);
    let mut unbound = Visitor::new(&service);
    unbound.request(login).unwrap();
    let mut other = Visitor::new(&service);
    other.set(NAME, "junk", "/");
    for visitor in [&bound, &unbound, &other, &Visitor::new(&service)] {
        assert!(service.answer("GET", "/", &followed(visitor)).is_none());
    }
}

#[test]
fn it_can_be_turned_off_and_stays_out_of_excluded_paths_and_other_stages() {
    let app_key = key();
    let clock = start();
    let with = |settings: DeviceBound| {
        Service::of(&clock, app_key.clone(), |builder| {
            builder.device_bound(settings)
        })
    };
    let visitor = unproven(&with(DeviceBound::default()));
    let request = followed(&visitor);
    let is_answered =
        |settings: DeviceBound, path: &str| with(settings).answer("GET", path, &request).is_some();
    let settings = DeviceBound::default;
    assert!(is_answered(settings(), "/"));
    assert!(!is_answered(settings().reload_foreign_links(false), "/"));
    for stage in [DeviceStage::Off, DeviceStage::Serve, DeviceStage::Offer] {
        assert!(!is_answered(stage.into(), "/"), "{stage:?}");
    }
    for (excluded, path, answered) in [
        ("/public", "/public", false),
        ("/public", "/public/x", false),
        ("/public/", "/public/x", false),
        ("/public", "/publicity", true),
        ("/public", "/x/public", true),
        ("/public", "/?/public", true),
    ] {
        assert_eq!(
            is_answered(settings().exclude(excluded), path),
            answered,
            "{path}"
        );
    }
}

#[test]
fn a_proof_that_is_worth_nothing_does_not_keep_the_browser_from_waiting_for_another() {
    for is_over in [true, false] {
        let service = Service::new();
        let mut visitor = Visitor::bound(&service);
        visitor.clock = Clock::at(service.clock.now());
        if is_over {
            // The browser's clock is behind.
            service.clock.forward(10 * MINUTE);
        } else {
            // The server's clock was ahead when it made the proof.
            service.clock.forward(5 * MINUTE);
            visitor.refresh(From::Here);
            service.clock.back(5 * MINUTE);
        }
        let headers = followed(&visitor);
        let answer = service.answer("GET", "/account", &headers).unwrap();
        assert!(removes(answer.headers(), PROOF));
        visitor.receive(answer.headers());
        visitor.hold_back();
        assert_eq!(user(&visitor.load()), Some(42));
    }
    // Without a proof, there is none to remove.
    let visitor = unproven(&Service::new());
    let answer = visitor.service.answer("GET", "/", &followed(&visitor));
    assert!(!removes(answer.unwrap().headers(), PROOF));
}
