//! Changes that cannot be saved.

use super::*;

fn too_large() -> String {
    "x".repeat(5000)
}

fn with_an_entry() -> Browser<CookieStore> {
    let mut browser = Browser::new(cookies());
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    browser
}

#[test]
fn what_is_too_large_is_an_error_at_save_and_the_layers_answer_and_nothing_is_saved() {
    let mut browser = with_an_entry();
    let response = browser.visit(async |request: Request<()>| {
        let (theirs, ours) = (theirs(&request), ours(&request).await);
        theirs.insert("b", 2).await.unwrap();
        ours.insert("c", 3).unwrap();
        theirs.remove::<u64>("a").await.unwrap();
        theirs.insert("story", too_large()).await.unwrap();
        let error = theirs.save().await.unwrap_err().to_string();
        assert!(error.contains("\"story\""), "{error}");
        assert!(error.contains("4096"), "{error}");
        // Our session goes on without what does not fit.
        assert!(!ours.contains("story"));
        ok()
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_explained(response.body(), "\"story\": ");
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(browser.entries(), entries([("a", 1)]));
}

#[test]
fn what_fits_again_before_the_answer_is_saved() {
    let mut browser = with_an_entry();
    let response = browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("story", too_large()).await.unwrap();
        theirs.save().await.unwrap_err();
        theirs.insert("story", 2).await.unwrap();
        ok()
    });
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(browser.entries(), entries([("a", 1), ("story", 2)]));
}

#[test]
fn a_logout_holds_even_if_what_was_written_after_it_is_too_large() {
    let mut browser = with_an_entry();
    let response = browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.flush().await.unwrap();
        theirs.insert("story", too_large()).await.unwrap();
        ok()
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.cookie, "");
}

#[test]
fn the_layers_own_answer_tells_what_was_too_large() {
    let layer = SessionLayer::new(cookies()).on_error(|failure: &Failure| {
        let Failure::Call(error) = failure else {
            panic!("{failure:?}");
        };
        Response::new(error.to_string())
    });
    let response = TowerSessionsLayer::from(layer).answer("", async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("story", too_large()).await.unwrap();
        ok()
    });
    assert!(response.body().contains("\"story\""), "{response:?}");
}

/// A database that is down.
#[derive(Debug)]
struct Down;

#[async_trait::async_trait]
impl SessionStore for Down {
    async fn save(&self, _: &Record) -> tower_sessions_core::session_store::Result<()> {
        Err(down())
    }

    async fn load(&self, _: &Id) -> tower_sessions_core::session_store::Result<Option<Record>> {
        Err(down())
    }

    async fn delete(&self, _: &Id) -> tower_sessions_core::session_store::Result<()> {
        Err(down())
    }
}

fn down() -> tower_sessions_core::session_store::Error {
    tower_sessions_core::session_store::Error::Backend("the database is down".to_owned())
}

#[test]
fn a_backend_that_is_down_is_an_error_of_theirs_and_the_layers_answer() {
    let key = key();
    let mut browser = Browser::new(MemoryStore::new(key.clone(), Memory::new()));
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let mut browser = Browser {
        store: ServerStore::new(key, TowerSessions::new(Down)),
        cookie: browser.cookie,
    };
    let response = browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        let error = theirs.get::<u64>("a").await.unwrap_err().to_string();
        assert!(error.contains("the database is down"), "{error}");
        assert!(theirs.insert("a", 2).await.is_err());
        assert!(theirs.flush().await.is_err());
        status(StatusCode::IM_A_TEAPOT)
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let mut browser = Browser::new(browser.store);
    let response = browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("a", 1).await.unwrap();
        let error = theirs.save().await.unwrap_err().to_string();
        assert!(error.contains("the database is down"), "{error}");
        ok()
    });
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(SET_COOKIE));
}

#[test]
fn what_is_saved_after_the_answer_is_an_error() {
    let mut browser = with_an_entry();
    let kept: Mutex<Vec<Theirs>> = Mutex::default();
    browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        assert_eq!(theirs.get("a").await.unwrap(), Some(1));
        kept.lock().unwrap().push(theirs);
        ok()
    });
    browser.visit(async |request: Request<()>| {
        kept.lock().unwrap().push(theirs(&request));
        ok()
    });
    let kept = kept.into_inner().unwrap();
    block_on(async {
        assert_eq!(kept[0].get("a").await.unwrap(), Some(1));
        kept[0].insert("a", 2).await.unwrap();
        assert!(kept[0].save().await.is_err());
        assert!(kept[0].flush().await.is_err());
        // Nobody had this one before the answer, so that no cache was told of it.
        assert!(kept[1].get::<u64>("a").await.is_err());
    });
    assert_eq!(browser.entries(), entries([("a", 1)]));
}

#[test]
fn a_second_layer_of_the_same_name_is_an_error() {
    let layer = TowerSessionsLayer::new(cookies());
    let outer = TowerSessionsLayer::new(cookies());
    let handler = service(async |request: Request<()>| {
        assert!(theirs(&request).get::<u64>("a").await.is_err());
        ok()
    });
    let mut service = outer.layer(layer.layer(handler));
    let Ok(response) = block_on(service.call(Request::new(())));
    assert_eq!(response.status(), StatusCode::OK);
}
