//! Feature `tower`: the layer over a store that waits.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use sealed_session::frameworks::tower::{Failure, PendingSession, SessionLayer};
use sealed_session::server::ServerStore;
use sealed_session::{ErrorKind, Event, Session};
use tower_layer::Layer;
use tower_service::Service;

use crate::now::now;
use crate::service::service;
use crate::shelf::{Incident, away};
use crate::site::Site;
use crate::support::*;

type Reply = Result<Response<String>, &'static str>;

async fn session(request: &Request<()>) -> Session {
    let pending = request.extensions().get::<PendingSession>().unwrap();
    pending.session().await.unwrap()
}

fn request(site: &Site) -> Request<()> {
    let mut request = Request::new(());
    *request.headers_mut() = site.request();
    request
}

async fn count(request: Request<()>) -> Reply {
    let session = session(&request).await;
    session
        .update("count", |n: Option<u32>| n.unwrap_or(0) + 1)
        .unwrap();
    Ok(Response::new(format!("{:?}", session.get::<u32>("count"))))
}

#[test]
fn a_session_is_loaded_once_for_all_who_ask_and_saved_before_the_answer_goes_out() {
    let mut site = Site::visited(|builder| builder);
    let mut layered = SessionLayer::new(site.store.clone()).layer(service(
        async |request: Request<()>| -> Reply {
            session(&request).await;
            count(request).await
        },
    ));
    let response = now(layered.call(request(&site))).unwrap();
    assert_eq!(response.body(), "Ok(Some(2))");
    assert_eq!(site.calls(), ["load", "put"]);
    assert!(sets_no_cookie(response.headers()));
    assert_eq!(response.headers()["vary"], "Cookie");
    site.browser = Browser::default();
    let response = now(layered.call(request(&site))).unwrap();
    site.receive(response.headers());
    assert_eq!(site.load().get("count"), Ok(Some(1)));
}

#[test]
fn a_request_that_never_asks_makes_no_call() {
    let site = Site::visited(|builder| builder.idle_timeout(HOUR));
    site.clock.forward(30 * MINUTE);
    let mut layered = SessionLayer::new(site.store.clone())
        .layer(service(async |_| -> Reply { Ok(Response::default()) }));
    let response = now(layered.call(request(&site))).unwrap();
    assert!(response.headers().is_empty());
    assert_eq!(site.calls(), [""; 0]);
}

#[test]
fn a_session_that_is_held_beyond_its_answer_takes_no_change_whatever_the_save_did() {
    type Change = fn(&Session);
    let changes: [(&str, Change); 3] = [
        ("changed", |session| session.insert("a", 1).unwrap()),
        ("destroyed", Session::destroy),
        ("untouched", |_| ()),
    ];
    for (what, change) in changes {
        let site = Site::visited(|builder| builder);
        let held = Mutex::new(None);
        let mut layered = SessionLayer::new(site.store.clone()).layer(service(
            async |request: Request<()>| -> Reply {
                let session = session(&request).await;
                change(&session);
                *held.lock().unwrap() = Some(session);
                Ok(Response::default())
            },
        ));
        now(layered.call(request(&site))).unwrap();
        let session = held.lock().unwrap().take().unwrap();
        assert!(session.is_closed(), "{what}");
        let error = session.insert("late", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{what}");
    }
}

#[test]
fn no_answer_goes_out_while_the_save_waits() {
    let site = Site::visited(|builder| builder);
    let mut layered = SessionLayer::new(site.store.clone()).layer(service(count));
    site.shelf.yields(true);
    let mut response = pin!(layered.call(request(&site)));
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 0;
    let answer = loop {
        match response.as_mut().poll(&mut context) {
            Poll::Ready(answer) => break answer.unwrap(),
            Poll::Pending => polls += 1,
        }
    };
    assert!(polls >= 2, "it has waited for the load and for the put");
    assert_eq!(answer.body(), "Ok(Some(2))");
    assert_eq!(site.calls(), ["load", "put"]);
}

#[test]
fn a_save_that_fails_is_answered_by_the_error_handler_without_a_cookie() {
    let site = Site::visited(|builder| builder);
    let reported = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reported);
    let on_error = move |failure: &Failure| {
        seen.lock().unwrap().push(failure.clone());
        let mut response = Response::new("please try again".to_owned());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    let mut layered = SessionLayer::new(site.store.clone())
        .on_error(on_error)
        .layer(service(async |request: Request<()>| {
            session(&request).await.renew();
            count(request).await
        }));
    site.shelf.plan("put", Incident::Fails);
    let response = now(layered.call(request(&site))).unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.body(), "please try again");
    assert!(sets_no_cookie(response.headers()));
    assert_eq!(site.events(), [Event::SaveFailed]);
    let [Failure::Save(error)] = &reported.lock().unwrap()[..] else {
        panic!("{reported:?}")
    };
    assert_eq!(error.backend(), Some(&away()));
    assert_eq!(site.load().get("count"), Ok(Some(1)));
}

#[test]
fn a_load_that_fails_is_an_error_for_the_handler_and_the_layer_answers_500() {
    let site = Site::visited(|builder| builder);
    let mut layered = SessionLayer::new(site.store.clone()).layer(service(
        async |request: Request<()>| -> Reply {
            let pending = request.extensions().get::<PendingSession>().unwrap();
            let error = pending.session().await.unwrap_err();
            assert_eq!(error.backend(), Some(&away()));
            assert_eq!(pending.session().await.unwrap_err(), error, "asked once");
            let mut response = Response::new(error.to_string());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        },
    ));
    site.shelf.plan("load", Incident::Fails);
    let response = now(layered.call(request(&site))).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(sets_no_cookie(response.headers()));
    assert_eq!(site.events(), [Event::LoadFailed]);
    assert_eq!(site.calls(), ["load"]);
}

#[test]
fn a_request_that_is_cancelled_while_it_saves_is_either_saved_or_not_and_is_reported() {
    for (incident, expected) in [(Incident::Waits, 1), (Incident::WaitsAfter, 2)] {
        let site = Site::visited(|builder| builder);
        let mut layered = SessionLayer::new(site.store.clone()).layer(service(count));
        site.shelf.plan("put", incident);
        let mut context = Context::from_waker(Waker::noop());
        assert!(
            pin!(layered.call(request(&site)))
                .poll(&mut context)
                .is_pending()
        );
        assert_eq!(site.events(), [Event::Unsaved]);
        assert_eq!(site.load().get("count"), Ok(Some(expected)));
    }
}

#[test]
fn one_layer_serves_any_store() {
    fn assert_layered<B: sealed_session::server::Backend>(store: ServerStore<B>) {
        let _ = SessionLayer::new(store).layer(service(count));
    }
    assert_layered(ServerStore::new(
        key(),
        sealed_session::server::Memory::new(),
    ));
}
