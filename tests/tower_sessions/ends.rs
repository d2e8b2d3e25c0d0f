//! `flush`, `delete` and `set_expiry`.

use std::task::{Context, Waker};

use super::*;

with_each_store! {
    flush_destroys
    flush_destroys_even_if_nothing_was_read
    flush_destroys_even_if_the_answer_is_an_error
    flush_and_then_insert_begin_a_new_session
    flush_in_a_session_that_is_new_sets_no_cookie
    delete_destroys
    set_expiry_sets_the_deadline
    set_expiry_to_the_end_of_the_browser_leaves_out_max_age
    set_expiry_counts_inactivity_from_the_request
    set_expiry_in_the_past_ends_the_session
}

fn logged_in<S: Sessions>(mut browser: Browser<S>) -> Browser<S> {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("user", 7).await.unwrap();
        ok()
    });
    assert_ne!(browser.cookie, "");
    browser
}

fn removes(response: &Response<String>) -> bool {
    let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    set_cookie.starts_with("__Host-session=;") && set_cookie.contains("; Path=/")
}

fn flush_destroys<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let response = browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        assert_eq!(session.get("user").await.unwrap(), Some(7));
        session.insert("a", 1).await.unwrap();
        session.flush().await.unwrap();
        assert_eq!(session.get::<u64>("user").await.unwrap(), None);
        assert_eq!(session.id(), None);
        assert!(ours(&request).await.is_empty());
        ok()
    });
    assert!(removes(&response));
    assert_eq!(browser.entries(), entries([]));
}

fn flush_destroys_even_if_nothing_was_read<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let response = browser.visit(async |request: Request<()>| {
        theirs(&request).flush().await.unwrap();
        ok()
    });
    assert!(removes(&response));
}

fn flush_destroys_even_if_the_answer_is_an_error<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let response = browser.visit(async |request: Request<()>| {
        theirs(&request).flush().await.unwrap();
        status(StatusCode::INTERNAL_SERVER_ERROR)
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(removes(&response));
}

fn flush_and_then_insert_begin_a_new_session<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let ids = Mutex::new(Vec::new());
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        ids.lock().unwrap().push(session.id().unwrap());
        session.flush().await.unwrap();
        session.insert("guest", 1).await.unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        ids.lock().unwrap().push(theirs(&request).id().unwrap());
        ok()
    });
    let ids = ids.into_inner().unwrap();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(browser.entries(), entries([("guest", 1)]));
}

fn flush_in_a_session_that_is_new_sets_no_cookie<S: Sessions>(mut browser: Browser<S>) {
    let response = browser.visit(async |request: Request<()>| {
        theirs(&request).flush().await.unwrap();
        ok()
    });
    let removal = |value: &http::HeaderValue| value.to_str().unwrap().contains("Max-Age=0");
    assert!(response.headers().get_all(SET_COOKIE).iter().all(removal));
}

fn delete_destroys<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let response = browser.visit(async |request: Request<()>| {
        theirs(&request).delete().await.unwrap();
        ok()
    });
    assert!(removes(&response));
}

/// Sets the expiry, and returns the Set-Cookie.
fn with_expiry<S: Sessions>(browser: &mut Browser<S>, expiry: Option<Expiry>) -> String {
    let response = browser.visit(async move |request: Request<()>| {
        theirs(&request).set_expiry(expiry);
        ok()
    });
    response.headers()[SET_COOKIE].to_str().unwrap().to_owned()
}

fn max_age(set_cookie: &str) -> Option<u64> {
    let attributes = set_cookie.split("; ");
    attributes
        .filter_map(|attribute| attribute.strip_prefix("Max-Age="))
        .map(|seconds| seconds.parse().unwrap())
        .next()
}

fn set_expiry_sets_the_deadline<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let at = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let set_cookie = with_expiry(&mut browser, Some(Expiry::AtDateTime(at)));
    assert!((3590..=3601).contains(&max_age(&set_cookie).unwrap()));
    browser.visit(async move |request: Request<()>| {
        let ends = ours(&request).await.expires_at().unwrap();
        let off = SystemTime::from(at).duration_since(ends).unwrap();
        assert!(off < Duration::from_millis(2));
        ok()
    });
}

fn set_expiry_to_the_end_of_the_browser_leaves_out_max_age<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let set_cookie = with_expiry(&mut browser, Some(Expiry::OnSessionEnd));
    assert_eq!(max_age(&set_cookie), None);
}

fn set_expiry_counts_inactivity_from_the_request<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let expiry = Expiry::OnInactivity(cookie::time::Duration::minutes(10));
    let set_cookie = with_expiry(&mut browser, Some(expiry));
    assert!((590..=601).contains(&max_age(&set_cookie).unwrap()));
}

fn set_expiry_in_the_past_ends_the_session<S: Sessions>(browser: Browser<S>) {
    let mut browser = logged_in(browser);
    let at = OffsetDateTime::now_utc() - Duration::from_secs(1);
    with_expiry(&mut browser, Some(Expiry::AtDateTime(at)));
    assert_eq!(browser.cookie, "");
}

#[test]
fn a_deadline_that_the_store_does_not_allow_is_an_error_at_save_and_the_layers_answer() {
    let mut browser = logged_in(Browser::new(cookies()));
    let response = browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        let at = OffsetDateTime::now_utc() + Duration::from_secs(1000 * 24 * 3600);
        session.set_expiry(Some(Expiry::AtDateTime(at)));
        let error = session.save().await.unwrap_err().to_string();
        assert!(error.contains("max_lifetime"), "{error}");
        ok()
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(SET_COOKIE));
}

#[test]
fn a_change_of_a_request_that_is_cancelled_is_reported() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let store = CookieStore::builder(key())
        .on_event(move |event| events.lock().unwrap().push(event))
        .build()
        .unwrap();
    let handler = service(async |request: Request<()>| -> Reply {
        theirs(&request).insert("a", 1).await.unwrap();
        std::future::pending().await
    });
    let mut layered = TowerSessionsLayer::new(store).layer(handler);
    let mut response = Box::pin(layered.call(Request::new(())));
    let mut context = Context::from_waker(Waker::noop());
    assert!(response.as_mut().poll(&mut context).is_pending());
    drop(response);
    assert_eq!(*seen.lock().unwrap(), [Event::Unsaved]);
}
