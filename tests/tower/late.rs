//! Changes that come after the layer has saved.

use super::*;

/// Runs a request and gives the session that its handler held on to, as a streamed body does.
fn saved(store: &CookieStore) -> Session {
    let held = Arc::new(Mutex::new(None));
    let hold = Arc::clone(&held);
    let mut layered = SessionLayer::new(store.clone()).layer(service(move |request| {
        let hold = Arc::clone(&hold);
        async move {
            let session = session(&request).await;
            session.insert("n", 1).unwrap();
            *hold.lock().unwrap() = Some(session);
            ok()
        }
    }));
    let response = now(layered.call(no_cookie())).unwrap();
    cookie(response.headers());
    held.lock().unwrap().take().unwrap()
}

#[test]
fn a_body_that_is_streamed_reads_the_session_and_changes_it_too_late() {
    let (store, seen) = watched(|builder| builder);
    let session = saved(&store);
    assert!(session.is_closed());
    assert_eq!(session.get("n").unwrap(), Some(1));
    assert!(session.id().is_some());
    assert_eq!(taken(&seen), []);
    assert_eq!(
        session.insert("n", 2).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(session.get("n").unwrap(), Some(1));
    assert_eq!(taken(&seen), [Event::ChangedTooLate]);
}

#[test]
fn every_change_that_comes_too_late_is_refused_or_reported() {
    let (store, seen) = watched(|builder| builder);
    let session = saved(&store);
    let other = Session::new();
    other.insert("m", 1).unwrap();
    type Fallible<'a> = (&'a str, &'a dyn Fn() -> Result<(), SessionError>);
    let fallible: [Fallible<'_>; 8] = [
        ("continue_as", &|| session.continue_as(&other)),
        ("insert", &|| session.insert("m", 1)),
        ("take", &|| session.take::<u32>("n").map(|_| ())),
        ("update", &|| session.update("n", |_: Option<u32>| 2)),
        ("flash", &|| session.flash("m", 1)),
        ("set_subject", &|| session.set_subject("ann")),
        ("set_expiry", &|| session.set_expiry(SystemTime::now())),
        ("merge", &|| session.merge(&other)),
    ];
    for (name, change) in fallible {
        assert_eq!(change().unwrap_err().kind(), ErrorKind::Closed, "{name}");
        assert_eq!(taken(&seen), [Event::ChangedTooLate], "{name}");
    }
    let infallible: [(&str, &dyn Fn()); 6] = [
        ("get_or_remove", &|| {
            assert_eq!(session.get_or_remove::<String>("n"), None);
        }),
        ("remove", &|| session.remove("n")),
        ("clear", &|| session.clear()),
        ("renew", &|| session.renew()),
        ("destroy", &|| session.destroy()),
        ("remember", &|| session.remember(false)),
    ];
    for (name, change) in infallible {
        change();
        assert_eq!(taken(&seen), [Event::ChangedTooLate], "{name}");
        assert_eq!(session.get("n").unwrap(), Some(1), "{name}");
    }
    assert_eq!(session.keys(), ["n"]);
    assert_eq!(session.subject(), None);
    assert_eq!(
        session.take::<u32>("absent").unwrap(),
        None,
        "there is nothing to change"
    );
    assert_eq!(taken(&seen), []);
}

#[test]
fn a_flash_that_is_taken_too_late_stays() {
    let (store, seen) = watched(|builder| builder);
    let first = store.load_from([""]);
    first.flash("message", "welcome").unwrap();
    let mut headers = HeaderMap::new();
    store.save(&first, &mut headers).unwrap();

    let held = Mutex::default();
    let mut layered = SessionLayer::new(store).layer(service(|request| {
        let held = &held;
        async move {
            *held.lock().unwrap() = Some(session(&request).await);
            ok()
        }
    }));
    now(layered.call(request(COOKIE, cookie(&headers)))).unwrap();
    let session = held.lock().unwrap().take().unwrap();
    let error = session.take_flash::<String>("message").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(taken(&seen), [Event::ChangedTooLate]);
}

#[test]
fn a_session_that_nobody_had_when_the_request_ended_is_an_error_of_its_own() {
    for ending in ["answers", "fails", "is cancelled"] {
        let (store, seen) = watched(|builder| builder);
        let held: Mutex<Option<PendingSession<Admin>>> = Mutex::default();
        let layer = SessionLayer::new(store.clone()).named::<Admin>();
        let mut layered = layer.layer(service(|request: Request<()>| {
            let pending = request.extensions().get::<PendingSession<Admin>>();
            *held.lock().unwrap() = pending.cloned();
            async move {
                match ending {
                    "answers" => ok(),
                    "fails" => Err("a failure of the service's own"),
                    _ => std::future::pending().await,
                }
            }
        }));
        let mut response = Box::pin(layered.call(request(COOKIE, &new_cookie(&store))));
        let mut context = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(Ok(response)) = response.as_mut().poll(&mut context) {
            assert!(response.headers().is_empty(), "no cache was told");
        }
        drop(response);
        let pending = held.lock().unwrap().take().unwrap();
        let error = now(pending.session()).unwrap_err();
        assert!(error.is_too_late(), "{ending}");
        assert!(error.to_string().contains("before the handler returns"));
        assert_eq!(now(pending.clone().session()).unwrap_err(), error);
        assert_eq!(taken(&seen), [Event::LoadFailed], "{ending}: said once");
    }
}

#[test]
fn a_session_that_somebody_had_is_there_for_all_who_ask_later() {
    let store = CookieStore::new(key());
    let held: Mutex<Option<PendingSession>> = Mutex::default();
    let handler = service(|request: Request<()>| {
        *held.lock().unwrap() = request.extensions().get::<PendingSession>().cloned();
        async { ok() }
    });
    // The guard has it, and looks at nothing that the handler will.
    let mut layered = SessionLayer::new(store.clone()).layer(RequireSession::new().layer(handler));
    let response = now(layered.call(request(COOKIE, &new_cookie(&store)))).unwrap();
    assert_eq!(response.headers()[VARY], "Cookie");
    assert_eq!(response.headers()[CACHE_CONTROL], "private");
    let session = now(held.lock().unwrap().take().unwrap().session()).unwrap();
    assert_eq!(session.get("n").unwrap(), Some(1));
    assert!(session.is_closed());
}

#[test]
fn a_handler_that_only_has_a_session_may_stream_what_is_in_it_and_caches_are_told() {
    let store = CookieStore::new(key());
    for (said, then) in [
        (None, "private"),
        (Some("public, max-age=60"), "public, max-age=60"),
    ] {
        let held: Mutex<Option<Session>> = Mutex::default();
        let mut layered = SessionLayer::new(store.clone()).layer(service(|request| {
            let held = &held;
            async move {
                *held.lock().unwrap() = Some(session(&request).await);
                let mut response = Response::new("streamed".to_owned());
                if let Some(said) = said {
                    let said = HeaderValue::from_static(said);
                    response.headers_mut().insert(CACHE_CONTROL, said);
                }
                Reply::Ok(response)
            }
        }));
        let response = now(layered.call(request(COOKIE, &new_cookie(&store)))).unwrap();
        assert_eq!(response.headers()[VARY], "Cookie");
        assert_eq!(response.headers()[CACHE_CONTROL], then);
        let session = held.lock().unwrap().take().unwrap();
        assert_eq!(session.get("n").unwrap(), Some(1));
    }
}
