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
    assert_eq!(
        response.body(),
        "",
        "nothing that a client could learn from"
    );
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
    assert_eq!(response.body(), "", "the innermost layer answers");
}
