//! One request in which both sessions are used.

use super::*;

with_each_store! {
    each_sees_at_once_what_the_other_writes
    each_sees_at_once_what_the_other_removes
    what_both_write_is_saved
    ours_ends_and_renews_theirs
    a_value_that_json_does_not_have_is_kept
    a_subject_and_a_flash_of_ours_stay
}

fn each_sees_at_once_what_the_other_writes<S: Sessions>(mut browser: Browser<S>) {
    for round in 0..2_u64 {
        browser.visit(async move |request: Request<()>| {
            let (theirs, ours) = (theirs(&request), ours(&request).await);
            for n in 0..200 {
                let n = 1000 * round + n;
                theirs.insert("theirs", n).await.unwrap();
                assert_eq!(ours.get("theirs").unwrap(), Some(n));
                ours.insert("ours", n).unwrap();
                assert_eq!(theirs.get("ours").await.unwrap(), Some(n));
                ours.update("theirs", |n: Option<u64>| n.unwrap() + 1)
                    .unwrap();
                assert_eq!(theirs.get("theirs").await.unwrap(), Some(n + 1));
            }
            assert_eq!(ours.keys(), ["ours", "theirs"]);
            ok()
        });
        let last = 1000 * round + 199;
        assert_eq!(
            browser.entries(),
            entries([("ours", last), ("theirs", last + 1)])
        );
    }
}

fn each_sees_at_once_what_the_other_removes<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        let (theirs, ours) = (theirs(&request), ours(&request).await);
        theirs.insert("a", 1).await.unwrap();
        ours.insert("b", 2).unwrap();
        theirs.remove::<u64>("b").await.unwrap();
        assert!(!ours.contains("b"));
        ours.remove("a");
        assert_eq!(theirs.get::<u64>("a").await.unwrap(), None);
        theirs.insert("c", 3).await.unwrap();
        assert_eq!(ours.take("c").unwrap(), Some(3));
        assert_eq!(theirs.get::<u64>("c").await.unwrap(), None);
        ok()
    });
    assert_eq!(browser.entries(), entries([]));
}

fn what_both_write_is_saved<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ours(&request).await.insert("b", 2).unwrap();
        theirs(&request).insert("c", 3).await.unwrap();
        ok()
    });
    assert_eq!(browser.entries(), entries([("a", 1), ("b", 2), ("c", 3)]));
}

fn ours_ends_and_renews_theirs<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let ids = Mutex::new(Vec::new());
    browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        ids.lock().unwrap().push(theirs.id());
        assert_eq!(theirs.get("a").await.unwrap(), Some(1));
        ours(&request).await.renew();
        ids.lock().unwrap().push(theirs.id());
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        ids.lock().unwrap().push(theirs.id());
        assert_eq!(theirs.get("a").await.unwrap(), Some(1));
        ours(&request).await.destroy();
        assert_eq!(theirs.get::<u64>("a").await.unwrap(), None);
        ok()
    });
    assert_eq!(browser.cookie, "");
    let ids = ids.into_inner().unwrap();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[1], ids[2]);
}

/// Bytes, as the crate `serde_bytes` serializes them.
struct Bytes;

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[1, 2, 255])
    }
}

fn a_value_that_json_does_not_have_is_kept<S: Sessions>(mut browser: Browser<S>) {
    use sealed_session::Value;
    browser.visit(async |request: Request<()>| {
        let ours = ours(&request).await;
        ours.insert("bytes", Bytes).unwrap();
        ours.insert("infinite", f64::INFINITY).unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        let bytes = theirs.get::<Vec<u8>>("bytes").await.unwrap();
        assert_eq!(bytes, Some(vec![1, 2, 255]));
        theirs.insert("a", 1).await.unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let map = ours(&request).await.to_map().unwrap();
        assert_eq!(map["bytes"], Value::Bytes(vec![1, 2, 255]));
        assert_eq!(map["infinite"], Value::Float(f64::INFINITY));
        assert_eq!(map["a"], Value::Unsigned(1));
        ok()
    });
}

fn a_subject_and_a_flash_of_ours_stay<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        let ours = ours(&request).await;
        ours.set_subject("alice").unwrap();
        ours.flash("note", "hello").unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("a", 1).await.unwrap();
        theirs.cycle_id().await.unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let ours = ours(&request).await;
        assert_eq!(ours.subject().as_deref(), Some("alice"));
        assert_eq!(ours.take_flash("note").unwrap(), Some("hello".to_owned()));
        ok()
    });
}

#[test]
fn two_requests_that_change_different_entries_of_a_session_in_a_backend_both_survive() {
    let mut first = Browser::new(memory());
    first.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("a", 1).await.unwrap();
        theirs.insert("b", 1).await.unwrap();
        ok()
    });
    let mut second = Browser {
        store: first.store.clone(),
        cookie: first.cookie.clone(),
    };
    let second = Mutex::new(&mut second);
    first.visit(async |request: Request<()>| {
        let theirs = theirs(&request);
        theirs.insert("a", 2).await.unwrap();
        // The other request begins and ends meanwhile, and saves by itself too.
        second.lock().unwrap().visit(async |request: Request<()>| {
            let theirs = crate::theirs(&request);
            assert_eq!(theirs.get("a").await.unwrap(), Some(1));
            theirs.remove::<u64>("b").await.unwrap();
            theirs.insert("c", 3).await.unwrap();
            theirs.save().await.unwrap();
            ok()
        });
        ok()
    });
    assert_eq!(first.entries(), entries([("a", 2), ("c", 3)]));
}

#[test]
fn the_session_of_a_named_layer_is_that_of_its_cookie() {
    struct Admin;
    let key = key();
    let admins = sealed_session::CookieConfig::builder().name("__Host-admin");
    let admins = CookieStore::builder(key.clone()).cookie(admins.build().unwrap());
    let named = SessionLayer::new(admins.build().unwrap()).named::<Admin>();
    let handler = service(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        let admin = request.extensions().get::<PendingSession<Admin>>().unwrap();
        let admin = admin.session().await.unwrap();
        assert_eq!(admin.get("a").unwrap(), Some(1));
        assert!(ours(&request).await.is_empty());
        ok()
    });
    let inner = TowerSessionsLayer::from(named).layer(handler);
    let mut service = SessionLayer::new(CookieStore::new(key)).layer(inner);
    let Ok(response) = block_on(service.call(Request::new(())));
    let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set_cookie.starts_with("__Host-admin="));
}
