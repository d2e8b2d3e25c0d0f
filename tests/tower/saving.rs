//! What the layer saves when, and what it leaves alone.

use super::*;

#[test]
fn what_a_handler_inserts_the_next_request_reads() {
    let store = CookieStore::new(key());
    let mut visits =
        SessionLayer::new(store).layer(service(async |request: Request<()>| -> Reply {
            let session = session(&request).await;
            let again = session_of::<()>(&request).await.unwrap();
            again
                .update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)
                .unwrap();
            Ok(Response::new(format!(
                "{:?}",
                session.get::<u32>("visits").unwrap()
            )))
        }));
    let first = now(visits.call(no_cookie())).unwrap();
    assert_eq!(first.body(), "Some(1)", "all who ask get one session");
    assert_eq!(first.headers()[VARY], "Cookie");
    let second = now(visits.call(request(COOKIE, cookie(first.headers())))).unwrap();
    assert_eq!(second.body(), "Some(2)");
}

#[test]
fn a_request_that_never_asks_is_neither_opened_nor_refreshed_nor_resealed_nor_varied() {
    let seconds = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&seconds);
    let (store, seen) = watched(|builder| {
        builder
            .idle_timeout(Duration::from_secs(100))
            .clock(move || {
                SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed))
            })
    });
    let old = new_cookie(&store);
    let mut asks = SessionLayer::new(store.clone()).layer(service(async |request: Request<()>| {
        session(&request).await;
        ok()
    }));
    let mut never_asks = SessionLayer::new(store.clone()).layer(service(async |_| ok()));

    seconds.fetch_add(50, Ordering::Relaxed);
    let untouched = now(never_asks.call(request(COOKIE, &old))).unwrap();
    assert!(untouched.headers().is_empty());
    let refreshed = now(asks.call(request(COOKIE, &old))).unwrap();
    let refreshed = cookie(refreshed.headers());
    seconds.fetch_add(60, Ordering::Relaxed);
    assert_eq!(store.load_from([refreshed]).origin(), Origin::Opened);
    assert_eq!(taken(&seen), []);
    assert_eq!(
        store.load_from([&old]).origin(),
        Origin::Refused(Refusal::Idle)
    );
    assert_eq!(taken(&seen), [Event::Expired(Refusal::Idle)]);

    let junk = request(COOKIE, "__Host-session=junk");
    assert!(now(never_asks.call(junk)).unwrap().headers().is_empty());
    assert_eq!(taken(&seen), []);
    now(asks.call(request(COOKIE, "__Host-session=junk"))).unwrap();
    assert_eq!(taken(&seen), [Event::Refused(Refusal::Malformed)]);
}

#[test]
fn only_a_request_that_asks_moves_its_session_to_the_new_key() {
    let old_key = key();
    let store = CookieStore::new(old_key.clone());
    let old = new_cookie(&store);
    store.replace_keys(KeyRing::new(key()).accept(old_key).unwrap());
    let mut asks = SessionLayer::new(store.clone()).layer(service(async |request: Request<()>| {
        session(&request).await;
        ok()
    }));
    let mut never_asks = SessionLayer::new(store).layer(service(async |_| ok()));
    assert!(
        now(never_asks.call(request(COOKIE, &old)))
            .unwrap()
            .headers()
            .is_empty()
    );
    let sealed_again = now(asks.call(request(COOKIE, &old))).unwrap();
    assert_eq!(cookie(sealed_again.headers()).len(), old.len());
}

#[test]
fn every_status_carries_the_session_and_the_end_of_one() {
    let store = CookieStore::new(key());
    for status in [101, 200, 204, 302, 304, 401, 404, 500, 503] {
        let mut layered = SessionLayer::new(store.clone()).layer(service(
            async |request: Request<()>| -> Reply {
                let session = session(&request).await;
                match session.is_new() {
                    true => session.insert("n", 1).unwrap(),
                    false => session.destroy(),
                }
                Ok(Response::builder()
                    .status(status)
                    .body(String::new())
                    .unwrap())
            },
        ));
        let login = now(layered.call(no_cookie())).unwrap();
        assert_eq!(login.status().as_u16(), status);
        let logged_in = cookie(login.headers());
        assert_eq!(
            store.load_from([logged_in]).origin(),
            Origin::Opened,
            "{status}"
        );
        let logout = now(layered.call(request(COOKIE, logged_in))).unwrap();
        assert_eq!(logout.status().as_u16(), status);
        assert_eq!(cookie(logout.headers()), "__Host-session=", "{status}");
    }
}

#[test]
fn a_service_that_fails_panics_or_is_cancelled_saves_nothing_and_the_session_is_closed() {
    let (store, seen) = watched(|builder| builder);
    let held: Mutex<Option<Session>> = Mutex::default();
    let run = |ending: &'static str| {
        let mut layered = SessionLayer::new(store.clone()).layer(service(|request| {
            let held = &held;
            async move {
                let session = session(&request).await;
                session.insert("n", 1).unwrap();
                *held.lock().unwrap() = Some(session);
                match ending {
                    "fails" => Err("a failure of the service's own"),
                    "panics" => panic!("a panic of the service's own"),
                    _ => std::future::pending::<Reply>().await,
                }
            }
        }));
        let mut response = Box::pin(layered.call(no_cookie()));
        let mut context = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(&mut context)));
        match ending {
            "fails" => assert!(matches!(polled, Ok(std::task::Poll::Ready(Err(_))))),
            "panics" => assert!(polled.is_err()),
            _ => assert!(matches!(polled, Ok(std::task::Poll::Pending))),
        }
        drop(response);
        held.lock().unwrap().take().unwrap()
    };
    for ending in ["fails", "panics", "is cancelled"] {
        let session = run(ending);
        assert!(session.is_closed(), "{ending}");
        assert_eq!(session.id(), None, "{ending}: it was never sealed");
        assert_eq!(taken(&seen), [Event::Unsaved], "{ending}");
    }
}

#[test]
fn a_session_that_nobody_changed_is_given_up_silently() {
    let (store, seen) = watched(|builder| builder);
    let mut fails =
        SessionLayer::new(store).layer(service(async |request: Request<()>| -> Reply {
            session(&request).await;
            Err("a failure of the service's own")
        }));
    assert!(now(fails.call(no_cookie())).is_err());
    assert_eq!(taken(&seen), []);
}

#[test]
fn a_save_by_hand_in_the_handler_and_the_layers_give_one_cookie() {
    let store = CookieStore::new(key());
    let by_hand = store.clone();
    let mut layered = SessionLayer::new(store.clone()).layer(service(move |request| {
        let store = by_hand.clone();
        async move {
            let session = session(&request).await;
            session.insert("n", 1).unwrap();
            let mut response = Response::new(String::new());
            store.save(&session, response.headers_mut()).unwrap();
            session.insert("n", 2).unwrap();
            Reply::Ok(response)
        }
    }));
    let response = now(layered.call(no_cookie())).unwrap();
    let session = store.load_from([cookie(response.headers())]);
    assert_eq!(session.get("n").unwrap(), Some(2));
}

#[test]
fn several_cookie_fields_are_read_as_one() {
    let store = CookieStore::new(key());
    let mut layered =
        SessionLayer::new(store.clone()).layer(service(async |request: Request<()>| -> Reply {
            let n: Option<u32> = session(&request).await.get("n").unwrap();
            Ok(Response::new(format!("{n:?}")))
        }));
    let mut crumbs = no_cookie();
    for field in ["theme=dark", &new_cookie(&store), "a=\u{e9}"] {
        let value = HeaderValue::from_bytes(field.as_bytes()).unwrap();
        crumbs.headers_mut().append(COOKIE, value);
    }
    assert_eq!(now(layered.call(crumbs)).unwrap().body(), "Some(1)");
}

#[test]
fn a_token_in_a_header_goes_through_the_same_layer() {
    let transport = Transport::bearer();
    let store = CookieStore::builder(key())
        .transport(transport)
        .build()
        .unwrap();
    let mut layered =
        SessionLayer::new(store).layer(service(async |request: Request<()>| -> Reply {
            let session = session(&request).await;
            match session.get::<u32>("n").unwrap() {
                None => session.insert("n", 1).unwrap(),
                Some(_) => session.destroy(),
            }
            Ok(Response::new(format!("{:?}", session.origin())))
        }));
    let login = now(layered.call(no_cookie())).unwrap();
    let token = login.headers()["x-session-token"].to_str().unwrap();
    assert_eq!(login.headers()[VARY], "Authorization");
    assert!(!login.headers().contains_key(SET_COOKIE));
    let mut sent = request(AUTHORIZATION, "Basic eDp5");
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    sent.headers_mut().append(AUTHORIZATION, value);
    let logout = now(layered.call(sent)).unwrap();
    assert_eq!(logout.body(), "Opened");
    assert_eq!(logout.headers()["x-session-token"], "");

    let as_cookie = request(
        COOKIE,
        &format!("x-session-token={token}; __Host-session={token}"),
    );
    assert_eq!(now(layered.call(as_cookie)).unwrap().body(), "Absent");
}

#[test]
fn a_service_of_an_infallible_error_and_any_body_can_be_layered() {
    let mut layered = SessionLayer::new(CookieStore::new(key())).layer(service(
        async |request: Request<()>| -> Result<Response<Vec<u8>>, Infallible> {
            session(&request).await.insert("n", 1).unwrap();
            Ok(Response::new(vec![1, 2]))
        },
    ));
    let Ok(response) = now(layered.call(no_cookie()));
    assert_eq!(response.body(), &[1, 2]);
    cookie(response.headers());
}
