//! What a request costs whose session nobody asks for: a constant number of allocations, whatever
//! the request carries.

#[path = "../../support/now.rs"]
mod now;
#[path = "../../support/service.rs"]
mod service;

use std::convert::Infallible;

use axum::http::header::COOKIE;
use axum::http::{HeaderValue, Request, Response};
use now::now;
use sealed_session::{AppKey, CookieStore, SessionLayer};
use service::service;
use tower_layer::Layer;
use tower_service::Service;

async fn answer(_: Request<()>) -> Result<Response<()>, Infallible> {
    Ok(Response::new(()))
}

/// How many more allocations a request makes with the layer than without.
fn added_by_the_layer(cookies: &[String]) -> u64 {
    let request = || {
        let mut request = Request::new(());
        for cookie in cookies {
            let value = HeaderValue::from_maybe_shared(cookie.clone().into_bytes()).unwrap();
            request.headers_mut().append(COOKIE, value);
        }
        request
    };
    let store = CookieStore::new(AppKey::generate().unwrap());
    let mut bare = service(answer);
    let mut layered = SessionLayer::new(store).layer(service(answer));
    let count = |call: &mut dyn FnMut(Request<()>)| {
        let request = request();
        allocation_counter::measure(|| call(request)).count_total
    };
    let without = count(&mut |request| assert!(now(bare.call(request)).is_ok()));
    let with = count(&mut |request| assert!(now(layered.call(request)).is_ok()));
    with - without
}

#[test]
fn a_request_that_never_asks_costs_at_most_five_allocations() {
    let long = format!("a=b; __Host-session={}; c=d", "A".repeat(4000));
    for (cookies, expected) in [
        (vec![], 4),
        (vec!["a=b".to_owned()], 5),
        (vec![long.clone()], 5),
        (vec![long.clone(), "e=f".to_owned()], 5),
        (vec![long; 40], 5),
    ] {
        assert_eq!(added_by_the_layer(&cookies), expected, "{}", cookies.len());
    }
}
