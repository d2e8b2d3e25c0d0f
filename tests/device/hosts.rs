//! One service with many host names, whose sessions are bound.

use http::header::HOST;
use http::{Request, Response};
use sealed_session::frameworks::tower::SessionLayer;
use sealed_session::{CookieConfig, CookieStore, DeviceBound, HostStores};
use tower_layer::Layer;
use tower_service::Service as _;

use crate::client::*;
use crate::layer::{page, request as request_of};
use crate::now::now;
use crate::service::service as handler;
use crate::support::*;

type App = HostStores<CookieStore>;

/// Each host below example.org is a tenant.
fn tenants(clock: &Clock) -> App {
    let (key, clock) = (key(), clock.clone());
    HostStores::new(move |host| {
        let Some(tenant) = host.strip_suffix(".example.org") else {
            return Ok(None);
        };
        let clock = clock.clone();
        CookieStore::builder(key.clone())
            .context(tenant)
            .device_bound(DeviceBound::default())
            .clock(move || clock.now())
            .build()
            .map(Some)
    })
}

fn to(host: &str, mut request: Request<()>) -> Request<()> {
    request.headers_mut().insert(HOST, host.parse().unwrap());
    request
}

/// A browser at one host of the service.
struct AtHost<'a> {
    host: &'a str,
    visitor: Visitor,
}

const SITE: (&str, &str) = ("sec-fetch-site", "same-origin");

impl AtHost<'_> {
    fn call(&mut self, app: &App, request: (&str, &str, &[(&str, &str)])) -> Response<String> {
        let (method, path, fields) = request;
        let request = to(self.host, request_of(&self.visitor, method, path, fields));
        let mut app = SessionLayer::new(app.clone()).layer(handler(page));
        let response = now(app.call(request)).unwrap();
        self.visitor.receive(response.headers());
        response
    }

    fn page(&mut self, app: &App) -> String {
        self.call(app, ("GET", "/", &[])).into_body()
    }

    fn log_in(&mut self, app: &App) {
        let response = self.call(app, ("GET", "/login", &[]));
        let challenge = offered(response.headers()).unwrap();
        let jwt = registration(&self.visitor.device, &challenge);
        let jwt = ("secure-session-response", &*jwt);
        self.call(app, ("POST", REGISTER, &[SITE, jwt]));
    }

    fn refresh(&mut self, app: &App) {
        let asked = self.call(app, ("POST", REFRESH, &[SITE]));
        assert_eq!(asked.status(), 403);
        let field = asked.headers()["secure-session-challenge"].to_str();
        let challenge = field.unwrap().split('"').nth(1).unwrap();
        let jwt = proof(&self.visitor.device, challenge);
        self.call(
            app,
            ("POST", REFRESH, &[SITE, ("secure-session-response", &jwt)]),
        );
    }
}

#[test]
fn the_layer_answers_browsers_at_each_host_and_no_proof_is_good_at_another() {
    let service = Service::new();
    let app = &tenants(&service.clock);
    let at = |host| AtHost {
        host,
        visitor: Visitor::new(&service),
    };
    let mut both = [at("shop.example.org"), at("blog.example.org")];
    for visit in &mut both {
        visit.log_in(app);
        assert_eq!(visit.page(app), "Some(42) true");
    }
    service.clock.forward(10 * MINUTE);
    for visit in &mut both {
        assert_eq!(visit.page(app), "None false");
        visit.refresh(app);
        assert_eq!(visit.page(app), "Some(42) true");
    }
    let [shop, mut blog] = both;
    blog.visitor
        .set(PROOF, shop.visitor.cookie(PROOF).unwrap(), "/");
    assert_eq!(blog.page(app), "None false");
}

#[test]
fn a_tenant_whose_cookie_cannot_be_bound_is_refused_when_it_is_first_seen() {
    let key = key();
    let stores = HostStores::new(move |host| {
        let cookie = CookieConfig::builder()
            .name("__Secure-session")
            .domain(host);
        let store = CookieStore::builder(key.clone()).cookie(cookie.build()?);
        store.device_bound(DeviceBound::default()).build().map(Some)
    });
    let error = stores.store("shop.example.org").unwrap_err();
    assert!(!error.is_unknown());
    let text = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
    assert!(text.contains("Domain") || text.contains("domain"), "{text}");
}
