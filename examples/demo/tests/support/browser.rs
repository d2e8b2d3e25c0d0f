//! Headless Chromium, driven over WebDriver, and the server that it visits. `./check browser` installs
//! what this needs.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use fantoccini::cookies::Cookie;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use sealed_session_demo::Certificate;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

pub(crate) const COOKIE: &str = "__Host-session";

/// A host that only the browser knows.
const HOST: &str = "shop.example";

/// After this a browser or a page is not slow any more, but broken.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often a browser is started that does not come up.
const STARTS: usize = 3;

/// A single browser at a time has the machine to itself.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser of its own, a server of its own, and the driver between them.
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) url: String,
    flags: Vec<String>,
    driver: Child,
    home: Option<TempDir>,
    turn: Option<MutexGuard<'static, ()>>,
}

/// Starts a chromedriver, and returns it with its port. It ends at once if somebody else takes the
/// port that the system has just chosen for it.
fn start_driver(home: &TempDir) -> Option<(Child, String)> {
    // What a browser keeps at home is none of the user's.
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_CACHE_HOME")
        .stdout(Stdio::piped())
        .spawn()
        .expect("chromedriver is not installed; `./check browser` installs it");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port =
        lines.find_map(|line| Some(line.ok()?.split_once("successfully on port ")?.1.to_owned()));
    let Some(port) = port else {
        driver.wait().unwrap();
        return None;
    };
    Some((driver, port.trim_end_matches('.').to_owned()))
}

impl Browser {
    pub(crate) async fn visiting(app: Router) -> Self {
        let turn = TURN.lock().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let browser = Self::started(url, TempDir::new().unwrap(), Vec::new(), turn).await;
        browser.go("/").await;
        browser
    }

    /// Visits an application over https, with a browser that binds sessions.
    pub(crate) async fn bound_to(app: Router) -> Self {
        let turn = TURN.lock().await;
        let certificate = Certificate::new().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // There is no quota on localhost.
        let port = listener.local_addr().unwrap().port();
        let url = format!("https://{HOST}:{port}");
        let listener = certificate.over(listener);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut flags = certificate.flags().to_vec();
        flags.push(format!("--host-resolver-rules=MAP {HOST} 127.0.0.1"));
        Self::started(url, TempDir::new().unwrap(), flags, turn).await
    }

    /// Ends the browser and starts it again with what it has on its disk.
    pub(crate) async fn restarted(mut self) -> Self {
        self.client.clone().close().await.unwrap();
        let home = self.home.take().unwrap();
        let turn = self.turn.take().unwrap();
        let (url, flags) = (self.url.clone(), self.flags.clone());
        drop(self);
        Self::started(url, home, flags, turn).await
    }

    async fn started(
        url: String,
        home: TempDir,
        flags: Vec<String>,
        turn: MutexGuard<'static, ()>,
    ) -> Self {
        let (driver, port) = (0..STARTS)
            .find_map(|_| start_driver(&home))
            .expect("chromedriver says its port");
        let profile = format!("--user-data-dir={}", home.path().join("profile").display());
        let mut args = vec![
            profile.as_str(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=400,900",
        ];
        args.extend(flags.iter().map(String::as_str));
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
        Self {
            client,
            url,
            flags,
            driver,
            home: Some(home),
            turn: Some(turn),
        }
    }

    pub(crate) async fn demo() -> Self {
        Self::visiting(sealed_session_demo::app().unwrap()).await
    }

    pub(crate) async fn go(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.url))
            .await
            .unwrap();
    }

    /// Where the browser is, with the query.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str()[self.url.len()..].to_owned()
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.element(css).await.text().await.unwrap()
    }

    async fn element(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE);
        let element = wait.for_element(Locator::Css(css)).await;
        element.unwrap_or_else(|error| panic!("waited in vain for {css}: {error}"))
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        !self
            .client
            .find_all(Locator::Css(css))
            .await
            .unwrap()
            .is_empty()
    }

    /// Presses a button and waits for the page that it leads to.
    pub(crate) async fn press(&self, css: &str) {
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

    pub(crate) async fn log_in(&self) {
        self.press("#login").await;
        assert_eq!(self.text("#who").await, "You are Ada");
    }

    pub(crate) async fn cookie(&self) -> Option<Cookie<'static>> {
        self.client.get_named_cookie(COOKIE).await.ok()
    }

    /// Ends the browser; the driver ends when this is dropped.
    pub(crate) async fn close(self) {
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
