//! The layer and the guards: the application sees no JWT.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use sealed_session::frameworks::tower::{
    Failure, PendingSession, RequireDevice, RequireField, RequireSession, SessionLayer,
};
use sealed_session::{CookieConfig, CookieStore, DeviceBound};
use tower_layer::Layer;
use tower_service::Service as _;

use crate::client::*;
use crate::now::now;
use crate::service::service as handler;
use crate::support::*;

type Reply = Result<Response<String>, Infallible>;

fn store(service: &Service) -> CookieStore {
    match &service.store {
        Store::Cookie(store) => store.clone(),
        Store::Memory(_) => panic!("it is a cookie store"),
    }
}

/// What a page of this service says: who is logged in, and whether from the device.
pub(crate) async fn page(request: Request<()>) -> Reply {
    let pending = request.extensions().get::<PendingSession>().unwrap();
    let session = pending.session().await.unwrap();
    if request.uri().path() == "/login" {
        login(&session);
    }
    let text = format!("{:?} {}", user(&session), session.is_device_bound());
    Ok(Response::new(text))
}

pub(crate) fn request(
    visitor: &Visitor,
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
) -> Request<()> {
    let path = uri.split('?').next().unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in &visitor.headers(path, From::Here) {
        request = request.header(name, value);
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[test]
fn the_layer_answers_the_endpoints_and_the_application_sees_no_jwt() {
    let service = Service::new();
    let mut app = SessionLayer::new(store(&service)).layer(handler(page));
    let mut visitor = Visitor::new(&service);
    let response = now(app.call(request(&visitor, "GET", "/login", &[]))).unwrap();
    visitor.receive(response.headers());
    let jwt = registration(&visitor.device, &offered(response.headers()).unwrap());
    let fields = [
        ("sec-fetch-site", "same-origin"),
        ("secure-session-response", &*jwt),
    ];
    let response = now(app.call(request(&visitor, "POST", REGISTER, &fields))).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().starts_with('{'), "{}", response.body());
    assert!(response.headers().get_all("vary").iter().next().is_none());
    visitor.receive(response.headers());
    let response = now(app.call(request(&visitor, "GET", "/", &[]))).unwrap();
    assert_eq!(response.body(), "Some(42) true");
    visitor.receive(response.headers());
    // The refresh, and a page that a link on another site leads to.
    service.clock.forward(10 * MINUTE);
    let site = [("sec-fetch-site", "same-origin")];
    let response = now(app.call(request(&visitor, "POST", REFRESH, &site))).unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let response = now(app.call(request(&visitor, "GET", "/", &link))).unwrap();
    assert_eq!(response.headers()["refresh"], "0");
    let response = now(app.call(request(&visitor, "GET", "/", &[]))).unwrap();
    assert_eq!(response.body(), "None false");
}

#[test]
fn a_body_of_another_type_is_made_as_the_application_says() {
    #[derive(Debug, Default, PartialEq)]
    struct Full(Vec<u8>);
    let service = Service::new();
    let inner =
        || handler(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::default())));
    let visitor = Visitor::new(&service);
    let post = || {
        request(
            &visitor,
            "POST",
            REFRESH,
            &[("sec-fetch-site", "same-origin")],
        )
    };
    let layer = SessionLayer::new(store(&service));
    let mut app = layer
        .clone()
        .answer_devices_with(|text| Full(text.into_bytes()))
        .layer(inner());
    let response = now(app.call(post())).unwrap();
    assert_eq!(
        response.into_body(),
        Full(br#"{"continue":false}"#.to_vec())
    );
    // Without that, the browser keeps its session, and the operator sees why.
    let mut app = layer
        .on_error(|failure: &Failure| {
            assert_eq!(*failure, Failure::DeviceBody);
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
        .layer(inner());
    assert_eq!(now(app.call(post())).unwrap().status(), 500);
    let mut app = SessionLayer::new(store(&service)).layer(handler(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Vec::<u8>::new()))
    }));
    assert_eq!(
        now(app.call(post())).unwrap().into_body(),
        br#"{"continue":false}"#
    );
}

#[test]
fn several_layers_each_answer_at_their_own_endpoints() {
    struct Admin;
    let service = Service::new();
    let clock = service.clock.clone();
    let admins = CookieStore::builder(key())
        .cookie(
            CookieConfig::builder()
                .name("__Host-admin")
                .build()
                .unwrap(),
        )
        .device_bound(DeviceBound::default())
        .clock(move || clock.now())
        .build()
        .unwrap();
    let both = async |request: Request<()>| {
        let one = request.extensions().get::<PendingSession>().unwrap();
        login(&one.session().await.unwrap());
        let two = request.extensions().get::<PendingSession<Admin>>().unwrap();
        login(&two.session().await.unwrap());
        Ok::<_, Infallible>(Response::new(String::new()))
    };
    let inner = SessionLayer::new(admins)
        .named::<Admin>()
        .layer(handler(both));
    let mut app = SessionLayer::new(store(&service)).layer(inner);
    let visitor = Visitor::new(&service);
    let response = now(app.call(request(&visitor, "GET", "/", &[]))).unwrap();
    let offers = response.headers().get_all("secure-session-registration");
    let offers: Vec<_> = offers.iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(offers.len(), 2, "{offers:?}");
    for path in [REGISTER, "/.device-bound-admin/register"] {
        let is_it = |offer: &&&str| offer.contains(&format!("path=\"{path}\""));
        assert_eq!(offers.iter().filter(is_it).count(), 1, "{path}");
        let fields = [("sec-fetch-site", "same-origin")];
        let response = now(app.call(request(&visitor, "POST", path, &fields))).unwrap();
        assert_eq!(response.status(), 403, "{path}");
    }
}

#[test]
fn a_guard_lets_in_only_the_device_of_the_session() {
    let service = Service::new();
    let layer = SessionLayer::new(store(&service));
    let mut guarded = layer.layer(RequireDevice::new().layer(handler(page)));
    let mut any = layer.layer(RequireSession::new().layer(handler(page)));
    let mut user = layer.layer(RequireField::new("user_id").layer(handler(page)));
    let bound = Visitor::bound(&service);
    let mut unbound = Visitor::new(&service);
    unbound.request(login).unwrap();
    for (visitor, statuses) in [
        (&bound, [200, 200, 200]),
        (&unbound, [401, 200, 200]),
        (&Visitor::new(&service), [401, 401, 401]),
    ] {
        let get = || request(visitor, "GET", "/", &[]);
        let found = [
            now(guarded.call(get())).unwrap().status(),
            now(any.call(get())).unwrap().status(),
            now(user.call(get())).unwrap().status(),
        ];
        assert_eq!(found.map(|status| status.as_u16()), statuses);
    }
    service.clock.forward(10 * MINUTE);
    let get = || request(&bound, "GET", "/", &[]);
    assert_eq!(now(guarded.call(get())).unwrap().status(), 401);
    assert_eq!(now(any.call(get())).unwrap().status(), 401);
    assert_eq!(now(user.call(get())).unwrap().status(), 401);
}

#[test]
fn a_payment_asks_for_a_new_proof_of_requests_of_its_own_pages_alone() {
    let service = Service::new();
    let layer = SessionLayer::new(store(&service));
    let guard = RequireDevice::new().proven_within(Duration::from_secs(30));
    let mut app = layer.layer(guard.layer(handler(page)));
    let mut visitor = Visitor::bound(&service);
    let here = [("sec-fetch-site", "same-origin")];
    service.clock.forward(30 * SECOND);
    let response = now(app.call(request(&visitor, "POST", "/pay", &here))).unwrap();
    assert_eq!(response.status(), 200, "it is new enough");
    service.clock.forward(SECOND);
    for site in ["cross-site", "same-site", "none"] {
        let fields = [("sec-fetch-site", site)];
        let response = now(app.call(request(&visitor, "POST", "/pay", &fields))).unwrap();
        assert_eq!(response.status(), 401, "{site}");
        assert!(
            sets_no_cookie(response.headers()),
            "it must not use up the signatures"
        );
    }
    let response = now(app.call(request(&visitor, "POST", "/pay", &[]))).unwrap();
    assert_eq!(response.status(), 401, "without Sec-Fetch-Site");
    for (uri, to) in [
        ("/pay", "./pay"),
        ("/shop/pay?n=1", "./pay?n=1"),
        ("/shop/?n=1", "?n=1"),
        ("/", "?"),
        ("/a:b", "./a:b"),
    ] {
        let response = now(app.call(request(&visitor, "POST", uri, &here))).unwrap();
        assert_eq!(response.status(), 307, "{uri}");
        assert_eq!(response.headers()["location"], to, "{uri}");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 1);
        assert!(removes(response.headers(), PROOF), "{uri}");
    }
    let response = now(app.call(request(&visitor, "POST", "/pay", &here))).unwrap();
    visitor.receive(response.headers());
    // A browser that cannot sign any more is refused, and not sent round.
    let without = now(app.call(request(&visitor, "POST", "/pay", &here))).unwrap();
    assert_eq!(without.status(), 401);
    visitor.hold_back();
    let response = now(app.call(request(&visitor, "POST", "/pay", &here))).unwrap();
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (200, "Some(42) true")
    );
}

#[test]
fn a_write_of_an_unproven_session_is_answered_as_a_failure_and_its_cookies_stay() {
    let service = Service::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let kept = std::sync::Arc::clone(&seen);
    let csrf = async |request: Request<()>| {
        let pending = request.extensions().get::<PendingSession>().unwrap();
        let session = pending.session().await.unwrap();
        session.insert("csrf", "x").unwrap();
        Ok::<_, Infallible>(Response::new(String::new()))
    };
    let mut app = SessionLayer::new(store(&service))
        .on_error(move |failure: &Failure| {
            let Failure::Save(error) = failure else {
                panic!("{failure:?}");
            };
            *kept.lock().unwrap() = Some(error.is_conflict());
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::CONFLICT;
            response
        })
        .layer(handler(csrf));
    let visitor = Visitor::bound(&service);
    service.clock.forward(10 * MINUTE);
    let response = now(app.call(request(&visitor, "GET", "/", &[]))).unwrap();
    assert_eq!(response.status(), 409);
    assert!(sets_no_cookie(response.headers()));
    assert_eq!(*seen.lock().unwrap(), Some(true));
}
