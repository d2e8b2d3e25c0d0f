//! Requests that use no session.

use super::*;

/// A database that counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<Mutex<u64>>);

#[async_trait::async_trait]
impl SessionStore for Counting {
    async fn save(&self, _: &Record) -> tower_sessions_core::session_store::Result<()> {
        Ok(())
    }

    async fn load(&self, _: &Id) -> tower_sessions_core::session_store::Result<Option<Record>> {
        *self.0.lock().unwrap() += 1;
        Ok(None)
    }

    async fn delete(&self, _: &Id) -> tower_sessions_core::session_store::Result<()> {
        Ok(())
    }
}

async fn asks_for_nothing(request: Request<()>) -> Reply {
    drop(theirs(&request));
    ok()
}

#[test]
fn nothing_is_said_to_caches_and_no_cookie_is_set_if_nobody_asks() {
    let mut browser = Browser::new(cookies());
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let cookie = browser.cookie.clone();
    for cookie in ["", "__Host-session=junk", cookie.as_str()] {
        cookie.clone_into(&mut browser.cookie);
        let response = browser.visit(asks_for_nothing);
        assert!(response.headers().is_empty(), "{response:?}");
        let layer = TowerSessionsLayer::new(browser.store.clone()).without_ids();
        let response = layer.answer(cookie, asks_for_nothing);
        assert!(response.headers().is_empty(), "{response:?}");
    }
}

#[test]
fn a_new_visitors_session_that_is_read_is_told_to_caches() {
    let mut browser = Browser::new(cookies());
    let response = browser.visit(async |request: Request<()>| {
        assert_eq!(theirs(&request).get::<u64>("a").await.unwrap(), None);
        ok()
    });
    assert_eq!(response.headers()[VARY], "Cookie");
    assert!(!response.headers().contains_key(SET_COOKIE));
}

#[test]
fn a_backend_is_asked_only_if_somebody_asks() {
    let counting = Counting::default();
    let key = key();
    let mut browser = Browser::new(MemoryStore::new(key.clone(), Memory::new()));
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let mut browser = Browser {
        store: ServerStore::new(key, TowerSessions::new(counting.clone())),
        cookie: browser.cookie,
    };
    browser.visit(async |request: Request<()>| {
        assert!(theirs(&request).id().is_some());
        ok()
    });
    assert_eq!(*counting.0.lock().unwrap(), 0);
    browser.visit(async |request: Request<()>| {
        theirs(&request).get::<u64>("a").await.unwrap();
        ok()
    });
    assert_eq!(*counting.0.lock().unwrap(), 1);
}

#[test]
fn without_ids_no_token_is_opened_if_nobody_asks() {
    let refusals = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&refusals);
    let store = CookieStore::builder(key())
        .on_event(move |event: Event| {
            assert!(matches!(event, Event::Refused(_)));
            *seen.lock().unwrap() += 1;
        })
        .build()
        .unwrap();
    let layer = TowerSessionsLayer::new(store).without_ids();
    layer.answer("__Host-session=junk", asks_for_nothing);
    assert_eq!(*refusals.lock().unwrap(), 0);
    layer.answer("__Host-session=junk", async |request: Request<()>| {
        theirs(&request).get::<u64>("a").await.unwrap();
        ok()
    });
    assert_eq!(*refusals.lock().unwrap(), 1);
}

#[test]
fn without_ids_sessions_are_saved_renewed_and_ended_as_with_them() {
    let store = cookies();
    let layer = TowerSessionsLayer::new(store.clone()).without_ids();
    let mut cookie = String::new();
    let mut visit = |handler: &dyn Fn(Theirs)| {
        let response = layer.answer(&cookie, async |request: Request<()>| {
            handler(theirs(&request));
            ok()
        });
        let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        set_cookie
            .split(';')
            .next()
            .unwrap()
            .clone_into(&mut cookie);
        store.load_from([cookie.as_str()])
    };
    let first = visit(&|session| block_on(session.insert("a", 1)).unwrap());
    assert_eq!(first.get("a").unwrap(), Some(1));
    let second = visit(&|session| block_on(session.cycle_id()).unwrap());
    assert_eq!(second.get("a").unwrap(), Some(1));
    assert_ne!(second.id(), first.id());
    assert!(visit(&|session| block_on(session.flush()).unwrap()).is_new());
}
