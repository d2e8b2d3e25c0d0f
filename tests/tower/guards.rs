//! Who is let in, and what the others get.

use super::*;

#[test]
fn guards_let_in_whom_they_should_and_answer_401_to_the_others() {
    const N: Field<u32> = Field::new("n");
    let store = CookieStore::new(key());
    let cookie = new_cookie(&store);
    let other = store.load_from([""]);
    other.insert("other", 1).unwrap();
    let mut headers = HeaderMap::new();
    store.save(&other, &mut headers).unwrap();
    let without_n = self::cookie(&headers);

    let layer = SessionLayer::new(store);
    let mut any = layer.layer(RequireSession::new().layer(service(async |_| ok())));
    let mut field = layer.layer(RequireField::new(N).layer(service(async |_| ok())));
    for (sent, any_status, field_status) in [
        (cookie.as_str(), 200, 200),
        (without_n, 200, 401),
        ("__Host-session=junk", 401, 401),
        ("", 401, 401),
    ] {
        let response = now(any.call(request(COOKIE, sent))).unwrap();
        assert_eq!(response.status().as_u16(), any_status, "{sent}");
        assert_eq!(
            response.headers()[VARY],
            "Cookie",
            "the answer depends on the session"
        );
        let response = now(field.call(request(COOKIE, sent))).unwrap();
        assert_eq!(response.status().as_u16(), field_status, "{sent}");
        assert_eq!(response.headers()[VARY], "Cookie");
    }
}

#[test]
fn nobody_is_let_in_for_a_field_that_is_none() {
    #[derive(Default, serde::Deserialize, serde::Serialize)]
    #[serde(default)]
    struct Visit {
        user_id: Option<u64>,
        pages: u32,
    }
    let store = CookieStore::new(key());
    let mut cookies = Vec::new();
    for write in [
        (|session| {
            let typed = TypedSession::<Visit>::from(session);
            typed.update(|visit| visit.pages += 1).unwrap();
        }) as fn(Session),
        |session| {
            session.insert("user_id", None::<u64>).unwrap();
            session.insert("pages", 1).unwrap();
        },
    ] {
        let session = store.load_from([""]);
        write(session.clone());
        let mut headers = HeaderMap::new();
        store.save(&session, &mut headers).unwrap();
        cookies.push(cookie(&headers).to_owned());
    }
    let guard = RequireField::new(Field::<u64>::new("user_id"));
    let mut guarded = SessionLayer::new(store).layer(guard.layer(service(async |_| ok())));
    for sent in cookies {
        let response = now(guarded.call(request(COOKIE, &sent))).unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_guard_answers_as_it_is_told_and_does_not_call_the_handler() {
    let called = Cell::new(false);
    let guard = RequireField::new("user_id").or_answer(|request: &request::Parts| {
        let to = format!("/login?next={}", request.uri.path());
        let response = Response::builder().status(StatusCode::SEE_OTHER);
        response.header("location", to).body(String::new()).unwrap()
    });
    let mut guarded =
        SessionLayer::new(CookieStore::new(key())).layer(guard.layer(service(|_| {
            called.set(true);
            async { ok() }
        })));
    let mut request = no_cookie();
    *request.uri_mut() = "/cart".parse().unwrap();
    let response = now(guarded.call(request)).unwrap();
    assert_eq!(response.headers()["location"], "/login?next=/cart");
    assert!(!called.get());
}

#[test]
fn a_guard_looks_at_the_layer_of_its_name_and_fails_without_one() {
    let key = key();
    let admins = admins(&key);
    let sent = format!(
        "{}; {}",
        new_cookie(&CookieStore::new(key)),
        new_cookie(&admins)
    );
    let layer = SessionLayer::new(admins).named::<Admin>();
    let guard = RequireSession::new().named::<Admin>();
    let mut guarded = layer.layer(guard.layer(service(async |_| ok())));
    assert_eq!(
        now(guarded.call(request(COOKIE, &sent))).unwrap().status(),
        200
    );
    let unnamed = RequireSession::new();
    let mut guarded = layer.layer(unnamed.layer(service(async |_| ok())));
    assert_eq!(
        now(guarded.call(request(COOKIE, &sent))).unwrap().status(),
        500
    );
    let mut alone = unnamed.layer(service(async |_| ok()));
    let response = now(alone.call(request(COOKIE, &sent))).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_explained(response.body(), "no session layer has seen the request");
}

#[test]
fn the_error_handler_answers_for_guards_that_cannot_load() {
    let layer = SessionLayer::new(CookieStore::new(key()));
    let hooked = layer.clone().on_error(|failure: &Failure| {
        assert!(matches!(failure, Failure::Load(_)));
        Response::new("hook".to_owned())
    });
    let guarded = RequireSession::new().layer(service(async |_| ok()));
    let mut twice = layer.layer(hooked.layer(guarded.clone()));
    assert_eq!(now(twice.call(no_cookie())).unwrap().body(), "hook");
    let mut twice = hooked.layer(layer.layer(guarded));
    let response = now(twice.call(no_cookie())).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let reason = "two session layers of the same name";
    assert_explained(response.body(), reason); // the innermost layer answers
}

/// A store with an idle timeout of an hour, and what moves its clock by so many minutes.
fn store_with_clock() -> (CookieStore, impl Fn(u64)) {
    let minutes = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&minutes);
    let builder = CookieStore::builder(key())
        .idle_timeout(Duration::from_secs(3600))
        .clock(move || {
            let minutes = asked.load(Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 60 * minutes)
        });
    let forward = move |by| {
        minutes.fetch_add(by, Ordering::Relaxed);
    };
    (builder.build().unwrap(), forward)
}

#[test]
fn a_guard_a_layer_or_a_pending_session_can_leave_a_session_idle() {
    let (store, forward) = store_with_clock();
    let cookie = new_cookie(&store);
    forward(30);
    let polls = |request: &request::Parts| request.uri.path() == "/poll";
    let guard = || RequireSession::new().leave_idle();
    let reads = |request: Request<()>| async move {
        assert_eq!(session(&request).await.get("n"), Ok(Some(1)));
        ok()
    };
    let says_so = |request: Request<()>| async move {
        let pending = request.extensions().get::<PendingSession>().unwrap();
        pending.leave_idle();
        assert_eq!(session(&request).await.get("n"), Ok(Some(1)));
        pending.leave_idle();
        ok()
    };
    let layer = SessionLayer::new(store.clone());
    let by_path = layer.clone().leave_idle_if(polls);
    let admin = guard().named::<Admin>();
    let on_error = |_: &Failure| Response::new("hook".to_owned());
    let to = |path: &str| {
        let mut request = request(COOKIE, &cookie);
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let answers = [
        (true, now(layer.layer(service(reads)).call(to("/")))),
        (true, now(by_path.layer(service(reads)).call(to("/")))),
        (false, now(by_path.layer(service(reads)).call(to("/poll")))),
        (
            false,
            now(by_path
                .clone()
                .on_error(on_error)
                .layer(service(reads))
                .call(to("/poll"))),
        ),
        (
            false,
            now(layer.layer(guard().layer(service(reads))).call(to("/"))),
        ),
        (
            false,
            now(layer
                .layer(
                    guard()
                        .or_answer(|_: &request::Parts| Response::new(String::new()))
                        .layer(service(reads)),
                )
                .call(to("/"))),
        ),
        (
            false,
            now(layer
                .clone()
                .named::<Admin>()
                .layer(admin.layer(service(async |_| ok())))
                .call(to("/"))),
        ),
        (false, now(layer.layer(service(says_so)).call(to("/")))),
    ];
    for (n, (is_use, answer)) in answers.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!(answer.headers().contains_key(SET_COOKIE), is_use, "{n}");
        assert_eq!(answer.headers()[VARY], "Cookie", "{n}");
    }
    let changes = |request: Request<()>| async move {
        session(&request).await.insert("n", 2).unwrap();
        ok()
    };
    let answer = now(by_path.layer(service(changes)).call(to("/poll"))).unwrap();
    let changed = store.load_from([self::cookie(answer.headers())]);
    assert_eq!(changed.get("n"), Ok(Some(2)));
}

#[test]
fn who_has_not_logged_in_lately_is_asked_for_the_password_again() {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    let minutes = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&minutes);
    let store = CookieStore::builder(key())
        .clock(move || UNIX_EPOCH + Duration::from_secs(60 * clock.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    let sent = |log_in: bool| {
        let session = store.load_from([""]);
        session.insert("user_id", 42).unwrap();
        if log_in {
            session.log_in().unwrap();
        }
        let mut headers = HeaderMap::new();
        store.save(&session, &mut headers).unwrap();
        cookie(&headers).to_owned()
    };
    let (with_login, without) = (sent(true), sent(false));
    let guard = RequireLogin::within(Duration::from_secs(15 * 60));
    let ask = guard.clone().or_answer(|request: &request::Parts| {
        let to = format!("/password?next={}", request.uri.path());
        let response = Response::builder().status(StatusCode::SEE_OTHER);
        response.header("location", to).body(String::new()).unwrap()
    });
    let layer = SessionLayer::new(store.clone());
    let mut bare = layer.layer(guard.layer(service(async |_| ok())));
    let mut asks = layer.layer(ask.layer(service(async |_| ok())));
    for (passed, sent, is_let_in) in [
        (0, &with_login, true),
        (14, &with_login, true),
        (15, &with_login, false),
        (0, &without, false),
        (0, &String::new(), false),
    ] {
        minutes.store(1_000_000 + passed, Ordering::Relaxed);
        let response = now(bare.call(request(COOKIE, sent))).unwrap();
        let expected = if is_let_in { 200 } else { 401 };
        assert_eq!(response.status().as_u16(), expected, "{passed}");
        let response = now(asks.call(request(COOKIE, sent))).unwrap();
        assert_eq!(response.headers().contains_key("location"), !is_let_in);
        assert_eq!(response.headers()[VARY], "Cookie");
    }
}
