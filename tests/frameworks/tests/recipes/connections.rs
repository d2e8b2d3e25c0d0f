//! Recipes for connections that outlive the answer: a WebSocket, server-sent events.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use sealed_session::server::Memory;
use sealed_session::{
    CookieStore, MemoryStore, RevocationList, Session, SessionError, SessionLayer,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower_service::Service;

use crate::browser::{Browser, keys};
use crate::recipes::server_sent::{self, Site};
use crate::recipes::web_socket;

fn store() -> CookieStore {
    let store = CookieStore::builder(keys()).revocations(RevocationList::new());
    store.build().unwrap()
}

async fn log_in(session: Session) -> Result<(), SessionError> {
    session.log_in()?;
    session.insert("name", "Ada")
}

async fn log_out(session: Session) {
    session.destroy();
}

async fn chats(session: Session) -> Result<String, SessionError> {
    Ok(format!("{:?}", session.get::<u32>("chats")?))
}

fn routes() -> Router {
    Router::new()
        .route("/login", get(log_in))
        .route("/logout", get(log_out))
        .route("/chats", get(chats))
}

#[tokio::test]
async fn a_web_socket_is_saved_with_its_101_and_closes_when_the_session_has_ended() {
    let store = store();
    let socket = Router::new().route("/chat", get(web_socket::connect));
    let app = routes().merge(socket.with_state(store.clone()));
    let app = app.layer(SessionLayer::new(store));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = app.clone();
    tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
    let connect = async |cookies: String| {
        let mut request = format!("ws://{address}/chat")
            .into_client_request()
            .unwrap();
        let cookies = HeaderValue::try_from(cookies).unwrap();
        request.headers_mut().insert(COOKIE, cookies);
        client_async(request, TcpStream::connect(address).await.unwrap()).await
    };
    let refused = connect(String::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Http(response) if response.status() == 401));

    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let (mut socket, response) = connect(browser.cookies()).await.unwrap();
    assert!(response.headers().contains_key(SET_COOKIE));
    browser.take(response.headers());
    assert_eq!(browser.get(&app, "/chats").await.text, "Some(1)");
    socket.send(Message::text("hello")).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::text("Ada: hello"));

    browser.get(&app, "/logout").await;
    socket.send(Message::text("still here?")).await.unwrap();
    let next = socket.next().await;
    assert!(!matches!(next, Some(Ok(Message::Text(_)))), "{next:?}");
}

#[tokio::test]
async fn a_stream_of_events_reads_its_session_and_ends_when_the_session_has_ended() {
    let (store, (news, _)) = (store(), broadcast::channel(4));
    let site = Site {
        store: store.clone(),
        news: news.clone(),
    };
    let events = Router::new().route("/news", get(server_sent::news));
    let app = routes().merge(events.with_state(site));
    let app = app.layer(SessionLayer::new(store));
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;

    let request = Request::get("/news").header(COOKIE, browser.cookies());
    let request = request.body(Body::empty()).unwrap();
    let Ok(response) = app.clone().call(request).await;
    assert!(!response.headers().contains_key(SET_COOKIE));
    let mut body = response.into_body().into_data_stream();
    news.send("it rains".to_owned()).unwrap();
    let event = body.next().await.unwrap().unwrap();
    assert_eq!(event, "data: Ada, it rains\n\n");

    browser.get(&app, "/logout").await;
    news.send("it has stopped".to_owned()).unwrap();
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn with_a_backend_a_connection_saves_without_an_answer() {
    let store = MemoryStore::new(keys(), Memory::new());
    let app = routes().layer(SessionLayer::new(store.clone()));
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let mut handshake = HeaderMap::new();
    let cookies = HeaderValue::try_from(browser.cookies()).unwrap();
    handshake.insert(COOKIE, cookies);
    for n in 1..=2 {
        let session = store.load(&handshake).await.unwrap();
        session.insert("chats", n).unwrap();
        let mut nowhere = HeaderMap::new();
        store.save(&session, &mut nowhere).await.unwrap();
        let chats = browser.get(&app, "/chats").await.text;
        assert_eq!(chats, format!("Some({n})"));
    }
}
