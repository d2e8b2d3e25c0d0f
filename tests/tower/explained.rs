//! What a developer is told of a 500, and a visitor in release builds not.

use std::process::Command;

use sealed_session::HostStores;
use sealed_session::frameworks::tower::{Answer, Bare};

use super::*;

const MANY: &str = "explained::many_requests_fail";
const TOLD: &str = "sealed-session answered a request with 500.";

/// A handler behind a guard that asks for a session of a layer that is not there.
fn without_layer() -> Response<String> {
    let mut guarded = RequireSession::new().layer(service(async |_| ok()));
    now(guarded.call(no_cookie())).unwrap()
}

fn with_two_layers() -> Response<String> {
    let layer = SessionLayer::new(CookieStore::new(key()));
    let guarded = RequireSession::new().layer(service(async |_| ok()));
    now(layer.layer(layer.layer(guarded)).call(no_cookie())).unwrap()
}

#[test]
fn the_reason_is_plain_text_that_no_browser_takes_for_anything_else() {
    let response = without_layer();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let reason = "no session layer has seen the request; add `SessionLayer::new(store)`";
    assert_explained(response.body(), reason);
    let expected = match cfg!(debug_assertions) {
        true => [Some("text/plain; charset=utf-8"), Some("nosniff")],
        false => [None, None],
    };
    let headers = ["content-type", "x-content-type-options"].map(|name| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap())
    });
    assert_eq!(headers, expected);
}

#[test]
fn no_reason_shows_a_value() {
    let store = CookieStore::new(key());
    let foreign = store.load_from([""]);
    foreign.insert("card", "hunter2").unwrap();
    let wrong_type = Failure::Call(foreign.get::<u64>("card").unwrap_err());
    let other_store = CookieStore::new(key()).save(&foreign, &mut HeaderMap::new());
    for failure in [wrong_type, Failure::Save(other_store.unwrap_err())] {
        let body: Response<String> = Answer::answer(&Bare, &failure);
        assert_explained(body.body(), &failure.to_string());
        for text in [
            body.into_body(),
            format!("{failure:#}"),
            format!("{failure:?}"),
        ] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[test]
fn a_failure_prints_its_error_and_at_length_its_causes() {
    let layer = SessionLayer::new(HostStores::<CookieStore>::new(|_| Ok(None)))
        .on_error(|failure: &Failure| Response::new(format!("{failure}\n{failure:#}")));
    let mut app = layer.layer(RequireSession::new().layer(service(async |_| ok())));
    let response = now(app.call(no_cookie())).unwrap();
    let (short, long) = response.body().split_once('\n').unwrap();
    assert_eq!(
        short,
        "the request's host has no sessions; the cause says why"
    );
    let cause = long.strip_prefix(short).unwrap();
    assert!(cause.starts_with(": no sessions for this host"), "{cause}");
}

#[test]
fn standard_error_has_each_kind_of_reason_once() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", MANY, "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let stderr = String::from_utf8(child.stderr).unwrap();
    let kinds = if cfg!(debug_assertions) { 2 } else { 0 };
    assert_eq!(stderr.matches(TOLD).count(), kinds, "{stderr}");
    for reason in [
        "no session layer has seen",
        "two session layers of the same name",
    ] {
        assert_eq!(stderr.matches(reason).count(), kinds / 2, "{stderr}");
    }
}

/// Also runs by itself, in the process that the test above looks at.
#[test]
fn many_requests_fail() {
    for _ in 0..3 {
        assert_eq!(without_layer().status(), 500);
        assert_eq!(with_two_layers().status(), 500);
    }
}
