//! The demo in a real browser: headless Chromium, driven over WebDriver.

#[path = "support/browser.rs"]
#[expect(dead_code, reason = "the tests of bound sessions use the rest")]
mod support;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{Html, Redirect, Response};
use axum::routing::get;
use sealed_session::frameworks::axum::SessionLayer;
use sealed_session::{AppKey, CookieStore, Session, SessionError, SiteData};
use serde_json::json;
use support::{Browser, COOKIE};

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_stores_the_attributes_that_were_set_and_shows_scripts_nothing() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    let cookie = browser.cookie().await.expect("a cookie");
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.secure(), Some(true));
    assert_eq!(
        cookie
            .same_site()
            .map(|same_site| same_site.to_string())
            .as_deref(),
        Some("Lax")
    );
    assert_eq!(cookie.path(), Some("/"));
    assert_eq!(
        cookie.domain().map(|domain| domain.trim_start_matches('.')),
        Some("localhost")
    );
    assert!(
        cookie
            .expires()
            .is_some_and(|expires| expires.is_datetime()),
        "kept for 24 hours"
    );
    let seen = browser
        .client
        .execute("return document.cookie", vec![])
        .await
        .unwrap();
    assert_eq!(seen, json!(""));

    // The first page took the flash, and so changed the cookie; from then on nothing does.
    browser.go("/").await;
    let cookie = browser.cookie().await.expect("a cookie");
    assert_eq!(
        browser.text("#token").await,
        cookie.value(),
        "the page shows what is stored"
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_is_shown_once_and_values_stay() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    let notice = browser.text("#notice").await;
    assert!(notice.starts_with("You are logged in"), "{notice}");
    browser.go("/").await;
    assert!(!browser.has("#notice").await);
    browser.press("#add").await;
    assert!(browser.text("#values").await.contains("marmalade no. 1"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_shows_the_cookie_before_and_after_and_what_its_size_is_made_of() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    browser.go("/").await;
    let (before, rest) = (browser.cookie().await.unwrap(), browser.text("#rest").await);
    assert!(!browser.has("#flash").await);
    browser.press("#add").await;
    let table = browser.text("#before-after").await;
    let sent = browser.text("#token").await;
    assert!(table.contains(&before.value()[..14]), "{table}");
    assert!(table.contains(&sent[..14]), "{table}");
    assert_ne!(before.value()[..14], sent[..14]);
    // Id and times are what is left over. They have one size only if the other sizes are right.
    assert_eq!(browser.text("#rest").await, rest);
    let sizes = browser.text("#sizes").await;
    let numbers = sizes
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok());
    let [cart, user, flash, rest, frame, bytes, text, name, all] =
        numbers.collect::<Vec<usize>>()[..]
    else {
        panic!("{sizes}");
    };
    assert_eq!(flash.to_string(), browser.text("#flash").await);
    assert_eq!(cart + user + flash + rest + frame, bytes);
    assert_eq!((bytes * 4).div_ceil(3), text);
    assert_eq!((text, name + text), (sent.len(), all));
    assert_eq!(all.to_string(), browser.text("#bytes").await);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_that_does_not_fit_is_refused_on_the_page_itself_and_stays_as_it_was() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    let is_full = async || {
        let notice = browser.text("#notice").await;
        notice.starts_with("Your cart is full.")
    };
    let mut before = browser.text("#values").await;
    while !is_full().await {
        before = browser.text("#values").await;
        browser.press("#add-many").await;
    }
    assert_eq!(browser.path().await, "/");
    assert_eq!(browser.text("#values").await, before);
    assert!(before.contains("characters"), "{before}");
    // There is room for the message however full the cart is.
    browser.go("/").await;
    let one_more = async || {
        browser.press("#add").await;
        is_full().await
    };
    while !one_more().await {}
    browser.go("/").await;
    assert!(!browser.has("#notice").await);
    let bytes: usize = browser.text("#bytes").await.parse().unwrap();
    assert!(bytes <= 4096, "{bytes}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_cookie_makes_a_guest() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    browser.go("/").await;
    let genuine = browser.text("#token").await;
    browser.press("#tamper").await;
    assert_eq!(browser.text("#who").await, "You are a guest");
    let forged = browser.text("#forged").await;
    let altered: Vec<_> = forged.chars().zip(genuine.chars()).collect();
    let altered: Vec<_> = altered.iter().filter(|(new, old)| new != old).collect();
    assert_eq!(altered.len(), 1, "{forged} {genuine}");
    assert_eq!(browser.text("#changed").await, altered[0].0.to_string());
    let reason = browser.text("#refused").await;
    assert!(
        reason.contains("its ciphertext does not match its tag")
            || reason.contains("its mac is wrong"),
        "{reason}"
    );
    browser.press("#repair").await;
    assert_eq!(browser.text("#who").await, "You are Ada");
    assert_eq!(browser.text("#token").await, genuine);
    browser.press("#tamper").await;
    browser.log_in().await;
    assert_eq!(browser.path().await, "/");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_logs_nobody_out() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    let old = browser.text("#key-id").await;
    let issued = browser.text("#issued").await;
    browser.press("#rotate").await;
    assert_eq!(browser.text("#who").await, "You are Ada");
    let new = browser.text("#key-id").await;
    assert_ne!(new, old, "sealed again with the answer to the button");
    let table = browser.text("#before-after").await;
    assert!(table.contains(&format!("Key id {old} {new}")), "{table}");
    let ring = browser.text("#ring").await;
    assert_eq!(
        ring,
        format!("{new} seals and opens\n{old} is an older one, and only opens")
    );
    assert_eq!(browser.text("#issued").await, issued);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_logout_the_cookie_is_gone_and_the_back_button_shows_nothing_private() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    browser.press("#add").await;
    browser.press("#logout").await;
    assert_eq!(browser.text("#who").await, "You are a guest");
    assert!(browser.text("#left").await.contains("is gone"));
    assert!(browser.cookie().await.is_none());
    browser.client.back().await.unwrap();
    assert_eq!(browser.text("#who").await, "You are a guest");
    assert!(!browser.has("#values").await);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_logout_nothing_private_comes_back_however_many_steps_one_goes_back() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    let pages = ["/", "/?page=1", "/?page=2", "/?page=3"];
    for page in pages {
        browser.go(page).await;
        assert_eq!(browser.text("#who").await, "You are Ada");
    }
    browser.press("#logout").await;
    for step in 0..=pages.len() {
        browser.client.back().await.unwrap();
        assert_eq!(browser.text("#who").await, "You are a guest", "step {step}");
        assert!(!browser.has("#values").await);
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_at_an_address_without_a_page_and_there_is_an_icon() {
    let browser = Browser::demo().await;
    for path in ["/cart", "/login", "/nowhere"] {
        browser.go(path).await;
        assert_eq!(browser.path().await, "/");
    }
    let script = "const [done] = arguments;
        fetch(document.querySelector('link[rel=icon]').href)
            .then(it => done([it.status, it.headers.get('content-type')]));";
    let icon = browser.client.execute_async(script, vec![]).await.unwrap();
    assert_eq!(icon, json!([200, "image/svg+xml"]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reads_what_a_cookie_is_and_each_button_says_what_to_look_for() {
    let browser = Browser::demo().await;
    let explained = browser.text("#explained").await;
    assert!(explained.starts_with("What is a cookie?"), "{explained}");
    browser.log_in().await;
    for id in ["add", "add-many", "tamper", "rotate", "logout"] {
        let card = format!("section:has(> form > #{id})");
        let text = browser.text(&card).await;
        assert!(text.contains("Look for: "), "{text}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_nothing_is_wider_than_the_screen() {
    let browser = Browser::demo().await;
    let excess = async || {
        let script = "const all = [...document.querySelectorAll('*')];
            return all.filter(it => it.getBoundingClientRect().right > innerWidth
                || it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 0
                    && getComputedStyle(it).display != 'inline')
                .map(it => it.outerHTML.slice(0, 80));";
        browser.client.execute(script, vec![]).await.unwrap()
    };
    assert_eq!(excess().await, json!([]));
    browser.log_in().await;
    assert_eq!(excess().await, json!([]));
    browser.press("#add-many").await;
    assert_eq!(excess().await, json!([]));
    browser.press("#tamper").await;
    assert_eq!(excess().await, json!([]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_binds_no_session_is_told_so() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    browser.go("/").await;
    let text = browser.text("#unbound").await;
    assert!(text.contains("does not take part"), "{text}");
    assert!(!browser.has("#bound").await);
    browser.press("#later").await;
    assert_eq!(browser.text("#who").await, "You are Ada");
    browser.close().await;
}

/// Which pages Back shows of somebody who has logged out, from the last one on.
async fn kept(no_store: bool, clears: bool) -> [bool; 3] {
    async fn who(session: Session) -> Result<Html<String>, SessionError> {
        let user: Option<String> = session.get("user")?;
        let who = user.unwrap_or_else(|| "a guest".to_owned());
        Ok(Html(format!("<!doctype html><p id=who>{who}")))
    }
    async fn log_in(session: Session) -> Result<Redirect, SessionError> {
        session.log_in()?;
        session.insert("user", "Ada")?;
        Ok(Redirect::to("/"))
    }
    async fn log_out(session: Session) -> Redirect {
        session.destroy();
        Redirect::to("/")
    }
    let data = clears.then_some(SiteData::Cache);
    let store = CookieStore::builder(AppKey::generate().unwrap()).clear_site_data(data);
    // Without more, the layer says `private`, and browsers keep the page.
    let caching = no_store.then_some([("cache-control", "no-store")]);
    let app = Router::new()
        .route("/", get(who))
        .route_layer(map_response(move |page: Response| async move {
            (caching, page)
        }))
        .route("/login", get(log_in))
        .route("/logout", get(log_out))
        .layer(SessionLayer::new(store.build().unwrap()));
    let browser = Browser::visiting(app).await;
    browser.go("/login").await;
    for page in ["/?page=3", "/?page=2", "/?page=1"] {
        browser.go(page).await;
        assert_eq!(browser.text("#who").await, "Ada");
    }
    browser.go("/logout").await;
    assert_eq!(browser.text("#who").await, "a guest");
    let mut kept = [false; 3];
    for page in &mut kept {
        browser.client.back().await.unwrap();
        *page = browser.text("#who").await == "Ada";
    }
    browser.close().await;
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_not_stored_and_a_logout_that_clears_the_cache_leave_back_nothing() {
    assert_eq!(kept(false, false).await, [true; 3]);
    let [_, further @ ..] = kept(false, true).await;
    assert_eq!(further, [false; 2], "the last page is put away afterwards");
    assert_eq!(kept(true, true).await, [false; 3]);
}

/// Fills the session until not one more byte fits.
async fn fill(session: Session) -> Result<String, sealed_session::SessionError> {
    let fits = |n: &usize| session.insert("blob", "x".repeat(*n)).is_ok();
    let most = (0..4096).rev().find(fits).unwrap_or_default();
    Ok(most.to_string())
}

async fn length(session: Session) -> Result<String, sealed_session::SessionError> {
    Ok(session
        .get::<String>("blob")?
        .map_or(0, |blob| blob.len())
        .to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_of_exactly_the_largest_size_is_stored_and_comes_back() {
    let store = CookieStore::new(AppKey::generate().unwrap());
    let app = Router::new()
        .route("/", get(length))
        .route("/fill", get(fill))
        .layer(SessionLayer::new(store));
    let browser = Browser::visiting(app).await;
    browser.go("/fill").await;
    let filled = browser.text("body").await;
    let cookie = browser.cookie().await.expect("it is stored");
    assert_eq!(COOKIE.len() + cookie.value().len(), 4096);
    browser.go("/").await;
    assert_eq!(browser.text("body").await, filled, "it comes back");
    assert_ne!(filled, "0");
    browser.close().await;
}
