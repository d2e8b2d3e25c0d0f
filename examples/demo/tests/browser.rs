//! The demo in a real browser: headless Chromium, driven over WebDriver.

#[path = "support/browser.rs"]
#[expect(dead_code, reason = "the tests of bound sessions use the rest")]
mod support;

use axum::Router;
use axum::routing::get;
use sealed_session::frameworks::axum::SessionLayer;
use sealed_session::{AppKey, CookieStore, Session};
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
    assert!(browser.text("#notice").await.starts_with("Welcome, Ada."));
    browser.go("/").await;
    assert!(!browser.has("#notice").await);
    browser.press("#add").await;
    assert!(browser.text("#values").await.contains("marmalade no. 1"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_that_does_not_fit_is_refused_and_stays_as_it_was() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    while !browser.has("#error").await {
        browser.press("#add-many").await;
    }
    let error = browser.text("#error").await;
    assert!(error.contains("the limit is 4096"), "{error}");
    browser.go("/").await;
    let before = browser.text("#values").await;
    assert!(before.contains("marmalade no. 20"), "{before}");
    let bytes: usize = browser.text("#bytes").await.parse().unwrap();
    assert!(bytes <= 4096, "{bytes}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_cookie_makes_a_guest() {
    let browser = Browser::demo().await;
    browser.log_in().await;
    browser.press("#tamper").await;
    assert_eq!(browser.text("#who").await, "You are a guest");
    let reason = browser.text("#refused").await;
    assert!(
        reason.contains("its ciphertext does not match its tag")
            || reason.contains("its mac is wrong"),
        "{reason}"
    );
    browser.log_in().await;
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
    assert_eq!(
        browser.text("#key-id").await,
        old,
        "the request still came with the old one"
    );
    let new = browser.text("#new-key-id").await;
    assert_ne!(new, old);
    browser.go("/").await;
    assert_eq!(
        browser.text("#key-id").await,
        new,
        "sealed again with that answer"
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
    assert!(browser.cookie().await.is_none());
    browser.client.back().await.unwrap();
    assert_eq!(browser.text("#who").await, "You are a guest");
    assert!(!browser.has("#values").await);
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
