//! What tower-sessions promises of its routes, on our layer with both kinds of store, and on
//! tower-sessions' own layer. Two promises differ, on purpose:
//!
//! - A cookie that does not open is left alone. tower-sessions removes it.
//! - A session in a cookie that was changed is still in copies of the old cookie.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use cookie::{Cookie, SameSite};
use sealed_session::frameworks::tower_sessions::TowerSessionsLayer;
use sealed_session::server::Memory;
use sealed_session::{AppKey, CookieConfig, CookieStore, MemoryStore, Session as Ours};
use sealed_session_ecosystem::browser::Browser;
use sealed_session_ecosystem::routes::routes;
use tower_sessions::{Expiry, MemoryStore as TheirStore, Session, SessionManagerLayer};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Theirs,
    InCookies,
    InMemory,
}

const ALL: [Kind; 3] = [Kind::Theirs, Kind::InCookies, Kind::InMemory];
const OURS: [Kind; 2] = [Kind::InCookies, Kind::InMemory];

const HOUR: u64 = 3600;

/// The routes with cookies called `id`, as tower-sessions sets them.
fn app(kind: Kind, max_age: Option<u64>, domain: Option<&'static str>) -> Browser {
    let key = || AppKey::generate().unwrap();
    let lifetime = Duration::from_secs(max_age.unwrap_or(24 * HOUR));
    // The handlers set a deadline of a day.
    let longest = Duration::from_secs(7 * 24 * HOUR);
    let mut cookie = CookieConfig::builder()
        .name("id")
        .same_site(sealed_session::SameSite::Strict)
        .persistent(max_age.is_some());
    if let Some(domain) = domain {
        cookie = cookie.domain(domain);
    }
    let cookie = cookie.build().unwrap();
    Browser::new(match kind {
        Kind::Theirs => {
            let mut layer = SessionManagerLayer::new(TheirStore::default());
            if let Some(seconds) = max_age {
                let time = Duration::from_secs(seconds).try_into().unwrap();
                layer = layer.with_expiry(Expiry::OnInactivity(time));
            }
            if let Some(domain) = domain {
                layer = layer.with_domain(domain);
            }
            routes().layer(layer)
        }
        Kind::InCookies => {
            let store = CookieStore::builder(key())
                .cookie(cookie)
                .lifetime(lifetime)
                .max_lifetime(longest);
            routes().layer(TowerSessionsLayer::new(store.build().unwrap()))
        }
        Kind::InMemory => {
            let store = MemoryStore::builder(key(), Memory::new());
            let store = store
                .cookie(cookie)
                .lifetime(lifetime)
                .max_lifetime(longest)
                .build()
                .unwrap();
            routes().layer(TowerSessionsLayer::new(store))
        }
    })
}

fn is_about(cookie: &Cookie<'_>, seconds: u64) -> bool {
    let max_age = cookie.max_age().unwrap().whole_seconds();
    (seconds as i64 - 10..=seconds as i64).contains(&max_age)
}

#[tokio::test]
async fn no_session_set() {
    for kind in ALL {
        let page = app(kind, Some(HOUR), None).get("/").await;
        assert!(page.cookies.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn bogus_session_cookie() {
    for kind in ALL {
        let mut browser = app(kind, Some(HOUR), None);
        browser.jar = vec![Cookie::new("id", "AAAAAAAAAAAAAAAAAAAAAA")];
        let page = browser.get("/insert").await;
        assert_eq!(page.status, StatusCode::OK);
        assert_ne!(page.cookies[0].value(), "AAAAAAAAAAAAAAAAAAAAAA");
    }
}

#[tokio::test]
async fn malformed_session_cookie_is_removed_by_theirs_and_left_alone_by_ours() {
    for kind in ALL {
        let mut browser = app(kind, Some(HOUR), None);
        browser.jar = vec![Cookie::new("id", "malformed")];
        let page = browser.get("/").await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.cookies.is_empty(), kind != Kind::Theirs, "{kind:?}");
    }
}

#[tokio::test]
async fn insert_session() {
    for kind in ALL {
        let page = app(kind, Some(HOUR), None).get("/insert").await;
        let cookie = &page.cookies[0];
        assert_eq!(cookie.name(), "id");
        assert_eq!(cookie.http_only(), Some(true));
        assert_eq!(cookie.same_site(), Some(SameSite::Strict));
        assert_eq!(cookie.secure(), Some(true));
        assert_eq!(cookie.path(), Some("/"));
        assert!(is_about(cookie, HOUR), "{kind:?}: {cookie}");
    }
}

#[tokio::test]
async fn session_max_age() {
    for kind in ALL {
        let page = app(kind, None, None).get("/insert").await;
        assert_eq!(page.cookies[0].max_age(), None, "{kind:?}");
    }
}

#[tokio::test]
async fn get_session() {
    for kind in ALL {
        let mut browser = app(kind, Some(HOUR), None);
        browser.get("/insert").await;
        assert_eq!(browser.get("/get").await.text, "Some(42)");
        assert_eq!(browser.get("/get_value").await.text, "Some(Number(42))");
    }
}

#[tokio::test]
async fn get_no_value() {
    for kind in ALL {
        let page = app(kind, Some(HOUR), None).get("/get_value").await;
        assert_eq!(page.text, "None", "{kind:?}");
    }
}

#[tokio::test]
async fn remove_last_value() {
    for path in ["/remove", "/remove_value"] {
        for kind in ALL {
            let mut browser = app(kind, Some(HOUR), None);
            browser.get("/insert").await;
            let copy = browser.jar.clone();
            assert!(browser.get(path).await.text.contains("42"));
            assert_eq!(browser.get("/get_value").await.text, "None", "{kind:?}");
            browser.jar = copy;
            let stays = kind == Kind::InCookies;
            let text = browser.get("/get_value").await.text;
            assert_eq!(text == "Some(Number(42))", stays, "{kind:?}: {text}");
        }
    }
}

#[tokio::test]
async fn cycle_session_id() {
    for kind in ALL {
        let mut browser = app(kind, Some(HOUR), None);
        browser.get("/insert").await;
        let first = browser.jar[0].clone();
        browser.get("/cycle_id").await;
        assert_ne!(browser.jar[0].value(), first.value());
        assert_eq!(browser.get("/get").await.text, "Some(42)", "{kind:?}");
    }
}

#[tokio::test]
async fn flush_session() {
    for domain in [None, Some("example.com")] {
        for kind in ALL {
            let mut browser = app(kind, Some(HOUR), domain);
            browser.get("/insert").await;
            let page = browser.get("/flush").await;
            let cookie = &page.cookies[0];
            assert_eq!(cookie.value(), "", "{kind:?}");
            assert!(cookie.max_age().unwrap().is_zero());
            assert_eq!(cookie.domain(), domain);
            assert_eq!(cookie.path(), Some("/"));
        }
    }
}

#[tokio::test]
async fn set_expiry() {
    for kind in ALL {
        let mut browser = app(kind, Some(HOUR), Some("example.com"));
        browser.get("/insert").await;
        let page = browser.get("/set_expiry").await;
        assert!(is_about(&page.cookies[0], 24 * HOUR), "{kind:?}");
    }
}

#[tokio::test]
async fn change_expiry_type() {
    for kind in ALL {
        let mut browser = app(kind, None, Some("example.com"));
        let page = browser.get("/insert").await;
        assert_eq!(page.cookies[0].max_age(), None);
        let page = browser.get("/set_expiry").await;
        assert!(is_about(&page.cookies[0], 24 * HOUR), "{kind:?}");

        let mut browser = app(kind, Some(HOUR), Some("example.com"));
        let page = browser.get("/insert").await;
        assert!(is_about(&page.cookies[0], HOUR), "{kind:?}");
        let page = browser.get("/remove_expiry").await;
        assert_eq!(page.cookies[0].max_age(), None, "{kind:?}");
    }
}

#[tokio::test]
async fn both_extractors_in_one_handler_see_each_other() {
    async fn both(theirs: Session, ours: Ours) -> String {
        for n in 0..1000 {
            theirs.insert("theirs", n).await.unwrap();
            assert_eq!(ours.get("theirs").unwrap(), Some(n));
            ours.insert("ours", n).unwrap();
            assert_eq!(theirs.get("ours").await.unwrap(), Some(n));
        }
        format!("{:?}", ours.keys())
    }
    for kind in OURS {
        let store = || AppKey::generate().unwrap();
        let app = Router::new().route("/", get(both));
        let app = match kind {
            Kind::InMemory => app.layer(TowerSessionsLayer::new(MemoryStore::new(
                store(),
                Memory::new(),
            ))),
            _ => app.layer(TowerSessionsLayer::new(CookieStore::new(store()))),
        };
        let page = Browser::new(app).get("/").await;
        assert_eq!(page.text, "[\"ours\", \"theirs\"]", "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_share_a_session_lose_nothing() {
    async fn many(theirs: Session, ours: Ours) {
        let tasks = (0..8).map(|task| {
            let (theirs, ours) = (theirs.clone(), ours.clone());
            tokio::spawn(async move {
                for n in 0..20 {
                    theirs.insert(&format!("{task}-{n}"), n).await.unwrap();
                    tokio::task::yield_now().await;
                    ours.insert(format!("o{task}-{n}").as_str(), n).unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
    async fn count(ours: Ours) -> String {
        ours.len().to_string()
    }
    let store = MemoryStore::new(AppKey::generate().unwrap(), Memory::new());
    let app = Router::new()
        .route("/", get(many))
        .route("/count", get(count))
        .layer(TowerSessionsLayer::new(store));
    let mut browser = Browser::new(app);
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/count").await.text, "320");
}
