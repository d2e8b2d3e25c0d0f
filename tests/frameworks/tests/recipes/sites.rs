//! Recipes that a browser notices: other sites, other names, other types, other tabs, other ports,
//! a CDN.

use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::routing::{get, post};
use sealed_session::server::Memory;
use sealed_session::{
    CookieConfig, CookieStore, KeyRing, MemoryStore, Session, SessionError, SessionLayer,
};

use crate::browser::{Browser, keys};
use crate::recipes::{cdn, changed_type, cross_site, csrf, login, logout, ports, rename, two_tabs};

async fn log_in(session: Session) -> Result<(), SessionError> {
    session.log_in()?;
    session.insert("name", "Ada")?;
    session.set_subject("ada")?;
    session.set_label("laptop")?;
    session.set_sid("sid-1")
}

/// Whom the session knows, and all that it is.
async fn who(session: Session) -> Result<String, SessionError> {
    let (name, n): (Option<String>, Option<u32>) = (session.get("name")?, session.get("n")?);
    let (subject, label, sid) = (session.subject(), session.label(), session.sid());
    let deadline = session.expires_at();
    Ok(format!(
        "{name:?} {n:?} {subject:?} {label:?} {sid:?} {deadline:?}"
    ))
}

async fn count(session: Session) -> Result<(), SessionError> {
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)
}

async fn log_out(session: Session) {
    session.destroy();
}

fn routes() -> Router {
    Router::new()
        .route("/", get(who))
        .route("/count", post(count))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
}

fn with_sessions(routes: Router, store: CookieStore) -> Router {
    routes.layer(SessionLayer::new(store))
}

#[tokio::test]
async fn a_post_of_another_site_brings_what_was_paid_and_the_visitor_is_still_logged_in() {
    let keys = keys();
    let shop = cross_site::app(&keys).unwrap();
    let site = with_sessions(routes(), CookieStore::new(keys));
    let mut browser = Browser::default();
    browser.post(&site, "/login", "").await;
    let before = browser.get(&site, "/").await.text;

    let page = browser.post(&shop, "/pay", "").await;
    assert_eq!(page.location(), "https://pay.example/1001");
    for forged in [
        "order=1001&signature=mine",
        "order=1002&signature=signed+1002",
    ] {
        let page = browser
            .post_from_elsewhere(&shop, "/payment/returned", forged)
            .await;
        assert_eq!(page.status, 400, "{forged}");
    }
    let other = "order=1001&signature=signed+1001";
    let stranger = &mut Browser::default();
    let page = stranger
        .post_from_elsewhere(&shop, "/payment/returned", other)
        .await;
    assert_eq!(page.status, 400, "another browser's payment");

    let page = browser
        .post_from_elsewhere(&shop, "/payment/returned", other)
        .await;
    assert_eq!(
        (page.status.as_u16(), page.location()),
        (303, "/payment/done")
    );
    let page = browser.follow_from_elsewhere(&shop, "/payment/done").await;
    assert_eq!(page.text, r#"paid: Some("1001")"#);
    assert_eq!(browser.names(), ["__Host-session"]);
    assert_eq!(browser.get(&site, "/").await.text, before);
}

#[tokio::test]
async fn a_handler_of_such_a_post_that_writes_to_the_session_replaces_the_visitors() {
    let site = with_sessions(routes(), CookieStore::new(keys()));
    let mut browser = Browser::default();
    browser.post(&site, "/login", "").await;
    browser.post_from_elsewhere(&site, "/count", "").await;
    let page = browser.get(&site, "/").await;
    assert!(page.text.starts_with("None Some(1)"), "{}", page.text);
}

/// The application before its cookie was renamed.
fn before(keys: &KeyRing) -> Router {
    let cookie = CookieConfig::builder().name("sid").build().unwrap();
    let store = CookieStore::builder(keys.clone()).cookie(cookie);
    with_sessions(
        routes(),
        store.lifetime(Duration::from_secs(3600)).build().unwrap(),
    )
}

#[tokio::test]
async fn a_renamed_cookie_brings_all_of_the_session_but_not_after_a_logout() {
    let keys = keys();
    let before = before(&keys);
    let after = rename::with_sessions(routes(), &keys).unwrap();
    let mut browser = Browser::default();
    browser.post(&before, "/login", "").await;
    let page = browser.get(&before, "/").await.text;
    assert!(page.starts_with(r#"Some("Ada") None Some("ada") Some("laptop") Some("sid-1")"#));

    assert_eq!(browser.get(&after, "/").await.text, page, "with its times");
    assert_eq!(browser.names(), ["__Host-session", "sid"]);
    assert!(!browser.get(&after, "/").await.sets_cookies(), "once");
    assert_eq!(
        browser.get(&before, "/").await.text,
        page,
        "on a server that is still to come"
    );
    browser.post(&after, "/count", "").await;
    let counted = browser.get(&after, "/").await.text;
    assert!(counted.starts_with(r#"Some("Ada") Some(1)"#), "{counted}");

    browser.post(&after, "/logout", "").await;
    assert_eq!(browser.names(), <[&str; 0]>::default());
    assert!(browser.get(&after, "/").await.text.starts_with("None None"));

    let mut stranger = Browser::default();
    assert!(!stranger.get(&after, "/").await.sets_cookies());
}

#[tokio::test]
async fn a_renamed_cookie_of_a_session_in_a_backend_brings_it_too() {
    let cookie = CookieConfig::builder().name("sid").build().unwrap();
    let store = || MemoryStore::builder(keys(), Memory::new());
    let former = store().cookie(cookie.clone()).build().unwrap();
    let present = store().former(cookie).build().unwrap();
    let before = routes().layer(SessionLayer::new(former.clone()));
    let after = rename::in_backend(routes(), present, former);
    let mut browser = Browser::default();
    browser.post(&before, "/login", "").await;
    let page = browser.get(&before, "/").await.text;
    let mut at_once = browser.clone();
    assert_eq!(browser.get(&after, "/").await.text, page);
    assert_eq!(at_once.get(&after, "/").await.text, page);
    assert!(!browser.get(&after, "/").await.sets_cookies(), "once");
    browser.post(&after, "/logout", "").await;
    assert!(browser.get(&after, "/").await.text.starts_with("None None"));
}

#[tokio::test]
async fn requests_that_meet_while_a_cookie_is_renamed_are_all_logged_in() {
    let keys = keys();
    let after = rename::with_sessions(routes(), &keys).unwrap();
    let mut browser = Browser::default();
    browser.post(&before(&keys), "/login", "").await;
    let mut at_once = browser.clone();
    let page = browser.get(&after, "/").await.text;
    assert_eq!(at_once.get(&after, "/").await.text, page);
}

#[tokio::test]
async fn an_entry_of_an_earlier_version_is_given_up_once() {
    async fn earlier(session: Session) -> Result<(), SessionError> {
        session.insert("name", "Ada")?;
        session.insert("basket", ["pear", "pear"])
    }
    let routes = Router::new()
        .route("/", get(who))
        .route("/earlier", post(earlier))
        .route("/add", post(changed_type::add));
    let site = with_sessions(routes, CookieStore::new(keys()));
    let mut browser = Browser::default();
    browser.post(&site, "/earlier", "").await;
    let page = browser.post(&site, "/add", "plum").await;
    assert_eq!(
        (page.status.as_u16(), page.text.as_str()),
        (200, r#"{"plum": 1}"#)
    );
    let page = browser.post(&site, "/add", "plum").await;
    assert_eq!(page.text, r#"{"plum": 2}"#);
    let page = browser.get(&site, "/").await;
    assert!(page.text.starts_with(r#"Some("Ada")"#), "{}", page.text);
}

#[tokio::test]
async fn two_tabs_log_in_whichever_comes_back_first() {
    let oauth = Router::new()
        .route("/begin", get(two_tabs::begin))
        .route("/callback", get(two_tabs::callback));
    let site = with_sessions(routes().merge(oauth), CookieStore::new(keys()));
    let begin = async |browser: &mut Browser, next: &str| {
        let page = browser.get(&site, &format!("/begin?next={next}")).await;
        page.location().rsplit('=').next().unwrap().to_owned()
    };
    let callback = async |browser: &mut Browser, state: &str| {
        let path = format!("/callback?state={state}&code=code+of+ada");
        let page = browser.follow_from_elsewhere(&site, &path).await;
        (page.status == 303).then(|| page.location().to_owned())
    };
    let mut browser = Browser::default();
    let first = begin(&mut browser, "/account/mail").await;
    let second = begin(&mut browser, "//evil.example").await;
    let stranger = &mut Browser::default();
    assert_eq!(callback(stranger, &first).await, None, "another browser");
    assert_eq!(callback(&mut browser, &second).await.as_deref(), Some("/"));
    let there = callback(&mut browser, &first).await;
    assert_eq!(there.as_deref(), Some("/account/mail"));
    assert_eq!(callback(&mut browser, &first).await, None, "a second time");

    let mut states = Vec::new();
    for _ in 0..6 {
        states.push(begin(&mut browser, "/").await);
    }
    let mut live = 0;
    for (n, state) in states.iter().enumerate() {
        let is_live = callback(&mut browser, state).await.is_some();
        assert_eq!(is_live, n >= 2, "the oldest are given up");
        live += u32::from(is_live);
    }
    assert_eq!(live, 4);
}

#[tokio::test]
async fn a_password_lets_its_user_in_until_the_logout_or_the_end_of_the_account() {
    let users = login::Users::default();
    users.0.lock().unwrap().push(login::User {
        id: 7,
        name: "ada".to_owned(),
        hash: password_auth::generate_hash("correct horse"),
    });
    let store = CookieStore::new(keys());
    let site = login::app(store.clone(), users.clone());
    let mut browser = Browser::default();
    let page = browser.get(&site, "/account").await;
    assert_eq!(page.location(), "/login");
    for (name, password) in [("ada", "wrong"), ("ada", ""), ("nobody", "nobody")] {
        let form = format!("name={name}&password={password}");
        let page = browser.post(&site, "/login", &form).await;
        assert_eq!(page.location(), "/login?wrong", "{name} {password}");
        assert!(!page.sets_cookies());
    }
    let page = browser.get(&site, "/login?wrong").await;
    assert!(page.text.contains("Wrong name or password."));
    assert!(!browser.get(&site, "/login").await.text.contains("Wrong"));

    let right = "name=ada&password=correct+horse";
    let page = browser.post(&site, "/login", right).await;
    assert_eq!(page.location(), "/account");
    assert_eq!(browser.get(&site, "/account").await.text, "hello, ada");
    let session = store.load_from([&browser.cookies()]);
    assert_eq!(session.subject().as_deref(), Some("7"));

    let page = browser.post(&site, "/logout", "").await;
    assert_eq!(page.location(), "/login");
    assert_eq!(browser.names(), <[&str; 0]>::default());

    browser.post(&site, "/login", right).await;
    users.0.lock().unwrap().clear();
    let page = browser.get(&site, "/account").await;
    assert_eq!(page.location(), "/login");
    assert_eq!(browser.names(), <[&str; 0]>::default());
}

/// The token in a page's form.
fn token_in(page: &str) -> String {
    let (_, rest) = page.split_once(r#"name="csrf_token" value=""#).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_form_without_the_sessions_token_changes_nothing() {
    let store = CookieStore::new(keys());
    let site = csrf::app(store.clone());
    let mut browser = Browser::default();
    let before = token_in(&browser.get(&site, "/login").await.text);
    let form = format!("csrf_token={before}&name=Ada");
    let page = browser.post(&site, "/login", &form).await;
    assert_eq!(page.location(), "/address");

    let page = browser.get(&site, "/address").await;
    let token = token_in(&page.text);
    assert_ne!(token, before, "new at the login");
    assert_eq!(token.len(), 32);
    let again = browser.get(&site, "/address").await;
    assert_eq!(token_in(&again.text), token, "another tab");
    assert!(!again.sets_cookies());

    let stranger = &mut Browser::default();
    let theirs = token_in(&stranger.get(&site, "/login").await.text);
    let longer = format!("{token}0");
    let refused = ["", "0", &token[1..], &longer, &before, &theirs];
    for sent in refused {
        let form = format!("csrf_token={sent}&address=Elsewhere");
        let page = browser.post(&site, "/address", &form).await;
        assert_eq!(page.status, 403, "{sent}");
    }
    let page = browser.post(&site, "/address", "address=Elsewhere").await;
    assert!(page.status.is_client_error(), "{}", page.status);
    let session = store.load_from([&browser.cookies()]);
    assert!(!session.contains("address"));
    assert_eq!(session.get("name"), Ok(Some("Ada".to_owned())));

    let form = format!("csrf_token={token}&address=Here");
    let page = browser.post(&site, "/address", &form).await;
    assert_eq!(page.status, 303);
    let session = store.load_from([&browser.cookies()]);
    assert_eq!(session.get("address"), Ok(Some("Here".to_owned())));
}

#[tokio::test]
async fn another_sites_page_logs_nobody_in_and_replaces_no_session() {
    let site = csrf::app(CookieStore::new(keys()));
    let mut browser = Browser::default();
    let token = token_in(&browser.get(&site, "/login").await.text);
    let cookies = browser.cookies();
    let eve = &mut Browser::default();
    let eves = token_in(&eve.get(&site, "/login").await.text);
    for sent in [&token, &eves] {
        let form = format!("csrf_token={sent}&name=Eve");
        let page = browser.post_from_elsewhere(&site, "/login", &form).await;
        assert_eq!((page.status.as_u16(), page.sets_cookies()), (403, false));
    }
    assert_eq!(browser.cookies(), cookies);
}

#[tokio::test]
async fn two_applications_on_one_host_log_each_other_out_unless_their_cookies_have_two_names() {
    let same = [0; 2].map(|_| with_sessions(routes(), CookieStore::new(keys())));
    let apart = ["shop", "admin"].map(|name| {
        let store = ports::store(name, keys()).unwrap();
        with_sessions(routes(), store)
    });
    for ([one, other], stays) in [(same, false), (apart, true)] {
        let mut browser = Browser::default();
        for site in [&one, &other] {
            browser.post(site, "/login", "").await;
        }
        for (site, is_in) in [(&one, stays), (&other, true)] {
            let page = browser.get(site, "/").await;
            assert_eq!(
                page.text.starts_with(r#"Some("Ada")"#),
                is_in,
                "{}",
                page.text
            );
        }
        browser.post(&other, "/logout", "").await;
        let page = browser.get(&one, "/").await;
        assert_eq!(page.text.starts_with(r#"Some("Ada")"#), stays);
    }
}

#[tokio::test]
async fn a_page_for_everybody_may_be_kept_by_a_cdn_and_a_personal_one_may_not() {
    let store = CookieStore::new(keys());
    let site = with_sessions(routes(), store.clone());
    let cdn = cdn::app(store);
    let mut browser = Browser::default();
    browser.post(&site, "/login", "").await;

    let page = browser.get(&cdn, "/").await;
    assert_eq!(page.headers[CACHE_CONTROL], "public, max-age=60");
    assert!(!page.headers.contains_key(VARY) && !page.sets_cookies());

    let page = browser.get(&cdn, "/greeting").await;
    assert_eq!(page.text, "hello, Ada");
    assert_eq!(page.headers[CACHE_CONTROL], "private");
    assert_eq!(page.headers[VARY], "Cookie");
}

#[tokio::test]
async fn a_private_page_is_not_stored_and_a_logout_clears_the_cache() {
    let keys = keys();
    let app = logout::app(keys.clone()).unwrap();
    let site = with_sessions(routes(), CookieStore::new(keys));
    let mut browser = Browser::default();
    browser.post(&site, "/login", "").await;

    let page = browser.get(&app, "/account").await;
    assert_eq!(page.text, "hello, Ada");
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert!(!page.headers.contains_key("clear-site-data"));

    let left = browser.post(&app, "/logout", "").await;
    assert_eq!(left.headers["clear-site-data"], "\"cache\"");
    assert_eq!(browser.get(&app, "/account").await.text, "hello, stranger");
}
