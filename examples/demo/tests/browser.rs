//! The demo in a real browser: headless Chromium, driven over WebDriver. `./check browser` installs
//! what this needs.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fantoccini::cookies::Cookie;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use sealed_session::frameworks::axum::SessionLayer;
use sealed_session::{AppKey, CookieStore, Session};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

const COOKIE: &str = "__Host-session";

/// After this a browser or a page is not slow any more, but broken.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often a browser is started that does not come up.
const STARTS: usize = 3;

/// A single browser at a time has the machine to itself.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser of its own, a server of its own, and the driver between them.
struct Browser {
    client: Client,
    url: String,
    driver: Child,
    _home: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    async fn visiting(app: Router) -> Self {
        let turn = TURN.lock().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move { axum::serve(listener, app).await });

        // What a browser keeps at home is none of the user's.
        let home = TempDir::new().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is not installed; `./check browser` installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| Some(line.ok()?.split_once("successfully on port ")?.1.to_owned()))
            .expect("chromedriver says its port");
        let port = port.trim_end_matches('.');
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=400,900",
        ];
        let options = json!({ "args": args });
        let capabilities = [("goog:chromeOptions".to_owned(), options)]
            .into_iter()
            .collect();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let builder = builder.capabilities(capabilities);
        let url_of_driver = format!("http://localhost:{port}");
        // The driver gives up a browser that does not start within a minute.
        let mut started = builder.connect(&url_of_driver).await;
        for _ in 1..STARTS {
            if started.is_err() {
                started = builder.connect(&url_of_driver).await;
            }
        }
        let client = started.expect("a browser starts");
        let browser = Self {
            client,
            url,
            driver,
            _home: home,
            _turn: turn,
        };
        browser.go("/").await;
        browser
    }

    async fn demo() -> Self {
        Self::visiting(sealed_session_demo::app().unwrap()).await
    }

    async fn go(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.url))
            .await
            .unwrap();
    }

    async fn text(&self, css: &str) -> String {
        self.element(css).await.text().await.unwrap()
    }

    async fn element(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE);
        let element = wait.for_element(Locator::Css(css)).await;
        element.unwrap_or_else(|error| panic!("waited in vain for {css}: {error}"))
    }

    async fn has(&self, css: &str) -> bool {
        !self
            .client
            .find_all(Locator::Css(css))
            .await
            .unwrap()
            .is_empty()
    }

    /// Presses a button and waits for the page that it leads to.
    async fn press(&self, css: &str) {
        let page = self.element("html").await;
        self.element(css).await.click().await.unwrap();
        // The old page's elements go stale when the new one stands.
        let leaves = async {
            while page.is_displayed().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let leaves = timeout(PATIENCE, leaves).await;
        leaves.unwrap_or_else(|_| panic!("waited in vain for the page after {css}"));
    }

    async fn log_in(&self) {
        self.press("#login").await;
        assert_eq!(self.text("#who").await, "You are Ada");
    }

    async fn cookie(&self) -> Option<Cookie<'static>> {
        self.client.get_named_cookie(COOKIE).await.ok()
    }

    /// Ends the browser; the driver ends when this is dropped.
    async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

/// If a test fails, no driver stays behind.
impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

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
