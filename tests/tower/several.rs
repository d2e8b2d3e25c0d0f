//! Several layers around one handler.

use super::*;

#[test]
fn named_layers_give_a_request_several_sessions_with_a_cookie_each() {
    let key = key();
    let (visitors, admins) = (CookieStore::new(key.clone()), admins(&key));
    let handler = service(async |request: Request<()>| {
        let admin = SessionOf::<Admin>::from(session_of::<Admin>(&request).await.unwrap());
        admin.insert("role", "root").unwrap();
        session(&request).await.insert("n", 1).unwrap();
        assert!(!admin.contains("n"));
        ok()
    });
    let inner = SessionLayer::new(admins.clone())
        .named::<Admin>()
        .layer(handler);
    let mut layered = SessionLayer::new(visitors.clone()).layer(inner);
    let response = now(layered.call(no_cookie())).unwrap();
    let cookies: Vec<&str> = response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|value| value.to_str().unwrap().split(';').next().unwrap())
        .collect();
    assert_eq!(cookies.len(), 2);
    assert_eq!(visitors.load_from(cookies.clone()).keys(), ["n"]);
    assert_eq!(admins.load_from(cookies).keys(), ["role"]);
}

#[test]
fn a_second_layer_of_one_name_is_an_error_for_whoever_asks_and_is_reported() {
    async fn ask<N: 'static>(request: Request<()>) -> Reply {
        match session_of::<N>(&request).await {
            Ok(_) => ok(),
            Err(error) => Ok(Response::new(error.to_string())),
        }
    }
    let (store, seen) = watched(|builder| builder);
    let layer = SessionLayer::new(store.clone());
    let mut twice = layer.layer(layer.layer(service(ask::<()>)));
    let response = now(twice.call(no_cookie())).unwrap();
    assert!(
        response.body().contains("two session layers"),
        "{}",
        response.body()
    );
    assert!(response.headers().is_empty());
    assert_eq!(taken(&seen), [Event::LoadFailed]);

    let named = SessionLayer::new(store.clone()).named::<Admin>();
    let mut twice = named.layer(named.layer(service(ask::<Admin>)));
    let response = now(twice.call(no_cookie())).unwrap();
    assert!(response.body().contains("two session layers"));
    assert_eq!(taken(&seen), [Event::LoadFailed]);

    let mut once_each = layer.layer(named.layer(service(ask::<Admin>)));
    assert_eq!(now(once_each.call(no_cookie())).unwrap().body(), "ok");
    assert_eq!(taken(&seen), []);
}

#[test]
fn nothing_that_is_printed_for_debugging_holds_the_token() {
    let store = CookieStore::new(key());
    let cookie = new_cookie(&store);
    let layer = SessionLayer::new(store);
    let printed = Mutex::new(format!("{layer:?}"));
    let mut layered = layer.layer(service(|request: Request<()>| {
        let printed = &printed;
        async move {
            let pending = request.extensions().get::<PendingSession>().unwrap();
            let asked = SessionOf::<Admin>::from(session(&request).await);
            printed
                .lock()
                .unwrap()
                .push_str(&format!("{pending:?} {asked:?}"));
            ok()
        }
    }));
    let response = pin!(layered.call(request(COOKIE, &cookie)));
    printed.lock().unwrap().push_str(&format!("{response:?}"));
    now(response).unwrap();
    let token = cookie.split_once('=').unwrap().1;
    let printed = std::mem::take(&mut *printed.lock().unwrap());
    assert!(printed.contains("PendingSession") && printed.contains("ResponseFuture"));
    assert!(!printed.contains(token), "{printed}");
}
