//! axum-login and axum-messages: only the line of the session layer is ours.

use axum::Router;
use axum::http::StatusCode;
use axum_login::AuthManager;
use sealed_session::frameworks::tower::Sessions;
use sealed_session::frameworks::tower_sessions::TowerSessionsLayer;
use sealed_session::server::Memory;
use sealed_session::{AppKey, CookieStore, MemoryStore};
use sealed_session_ecosystem::browser::Browser;
use sealed_session_ecosystem::login::{self, Users};
use sealed_session_ecosystem::messages;
use tower_layer::layer_fn;

fn with_login(store: impl Sessions, users: Users) -> Router {
    let auth = layer_fn(move |inner| AuthManager::new(inner, users.clone(), "axum-login.data"));
    login::app()
        .layer(auth)
        .layer(TowerSessionsLayer::new(store))
}

fn cookies() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

fn memory() -> MemoryStore {
    MemoryStore::new(AppKey::generate().unwrap(), Memory::new())
}

const ALICE: &str = "name=alice&password=wonderland&next=/restricted";
const BOB: &str = "name=bob&password=builder";

async fn the_story_of_a_login(store: impl Sessions) {
    let users = Users::new().await.unwrap();
    let mut browser = Browser::new(with_login(store, users.clone()));

    let page = browser.get("/").await;
    assert!(page.status.is_redirection());
    assert_eq!(page.location, "/login?next=%2F");

    let page = browser.post("/login", "name=alice&password=wrong").await;
    assert_eq!(page.location, "/login");
    assert_eq!(page.cookies.len(), 1);
    let before = browser.jar.clone();
    let page = browser.get(&page.location).await;
    assert_eq!(page.text, "Invalid credentials\nlog in for ");
    assert_eq!(browser.get("/login").await.text, "\nlog in for ");

    let page = browser.post("/login", ALICE).await;
    assert_eq!(page.location, "/restricted");
    assert_ne!(browser.jar, before);
    assert_eq!(browser.get("/restricted").await.text, "secret");
    assert_eq!(browser.get("/").await.text, "Welcome, alice\nhello alice");
    assert_eq!(browser.get("/").await.text, "\nhello alice");

    let page = browser.get("/logout").await;
    assert_eq!(page.location, "/login");
    assert!(browser.jar.is_empty());
    assert!(browser.get("/").await.status.is_redirection());
}

async fn who_lacks_a_permission_is_sent_to_log_in(store: impl Sessions) {
    let users = Users::new().await.unwrap();
    let mut browser = Browser::new(with_login(store, users));
    browser.post("/login", BOB).await;
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let page = browser.get("/restricted").await;
    assert_eq!(page.location, "/login?next=%2Frestricted");
}

async fn a_new_password_ends_the_sessions_of_the_old_one(store: impl Sessions) {
    let users = Users::new().await.unwrap();
    let mut browser = Browser::new(with_login(store, users.clone()));
    browser.post("/login", BOB).await;
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    users.set_password("bob", "new").await.unwrap();
    assert!(browser.get("/").await.status.is_redirection());
    assert!(browser.jar.is_empty());
}

async fn messages_are_shown_once(store: impl Sessions) {
    let mut browser = Browser::new(messages::app().layer(TowerSessionsLayer::new(store)));
    let page = browser.get("/").await;
    assert_eq!(page.location, "/read-messages");
    let expected = "Info: Hello, world!, Debug: For developers.";
    assert_eq!(browser.get("/read-messages").await.text, expected);
    assert_eq!(browser.get("/read-messages").await.text, "none");
}

/// Each test with sessions in cookies and in a backend.
macro_rules! with_each_store {
    ($($sentence:ident)*) => {
        mod in_cookies {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(super::cookies()).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(super::memory()).await;
            })*
        }
    };
}

with_each_store! {
    the_story_of_a_login
    who_lacks_a_permission_is_sent_to_log_in
    a_new_password_ends_the_sessions_of_the_old_one
    messages_are_shown_once
}
