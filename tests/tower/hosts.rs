//! One service with many host names.

use http::header::HOST;
use sealed_session::{HostError, HostStores};

use super::*;

/// Each host below example.org is a tenant, whose cookie has its name.
fn tenants() -> HostStores<CookieStore> {
    let key = key();
    HostStores::new(move |host| {
        let Some(tenant) = host.strip_suffix(".example.org") else {
            return Ok(None);
        };
        let cookie = CookieConfig::builder()
            .name(format!("__Secure-{tenant}"))
            .domain(host);
        let store = CookieStore::builder(key.clone()).cookie(cookie.build()?);
        store.context(tenant).build().map(Some)
    })
}

fn to(host: &str, cookie: &str) -> Request<()> {
    let mut request = request(COOKIE, cookie);
    request.headers_mut().insert(HOST, host.parse().unwrap());
    request
}

#[test]
fn each_host_has_its_own_cookie_and_no_tenants_cookie_opens_at_another() {
    let service = service(async |request: Request<()>| {
        let session = session(&request).await;
        session
            .update("n", |n: Option<u32>| n.unwrap_or(0) + 1)
            .unwrap();
        ok()
    });
    let layer = SessionLayer::new(tenants());
    let mut app = layer.layer(service);
    let mut cookies = Vec::new();
    for tenant in ["shop", "blog"] {
        let host = format!("{tenant}.example.org:8443");
        let response = now(app.call(to(&host, ""))).unwrap();
        let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(
            set_cookie.starts_with(&format!("__Secure-{tenant}=")),
            "{set_cookie}"
        );
        assert!(
            set_cookie.contains(&format!("Domain={tenant}.example.org")),
            "{set_cookie}"
        );
        cookies.push(set_cookie.split(';').next().unwrap().to_owned());
    }
    let shop = &cookies[0];
    let token = shop.split_once('=').unwrap().1;
    for (host, sent, is_known) in [
        ("shop.example.org", shop.clone(), true),
        ("SHOP.example.org", shop.clone(), true),
        ("blog.example.org", shop.clone(), false),
        ("blog.example.org", format!("__Secure-blog={token}"), false),
    ] {
        let mut app = layer.layer(RequireSession::new().layer(self::service(async |_| ok())));
        let response = now(app.call(to(host, &sent))).unwrap();
        let status = if is_known { 200 } else { 401 };
        assert_eq!(response.status().as_u16(), status, "{host} {sent}");
    }
}

#[test]
fn an_unknown_host_gets_the_layers_answer_and_no_cookie() {
    let on_error = |failure: &Failure| {
        let is_unknown = match failure {
            Failure::Load(error) => error.host().is_some_and(HostError::is_unknown),
            _ => false,
        };
        let mut response = Response::new(String::new());
        *response.status_mut() = match is_unknown {
            true => StatusCode::MISDIRECTED_REQUEST,
            false => StatusCode::INTERNAL_SERVER_ERROR,
        };
        response
    };
    let layer = SessionLayer::new(tenants()).on_error(on_error);
    let mut app = layer.layer(RequireSession::new().layer(service(async |_| ok())));
    for host in ["evil.example", "", "a b"] {
        let response = now(app.call(to(host, ""))).unwrap();
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!response.headers().contains_key(SET_COOKIE));
    }
    let response = now(app.call(to("shop.example.org", ""))).unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
