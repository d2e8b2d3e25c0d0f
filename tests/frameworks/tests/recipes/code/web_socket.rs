use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sealed_session::{CookieStore, Origin, Session};

pub async fn connect(
    State(store): State<CookieStore>,
    headers: HeaderMap,
    session: Session,
    upgrade: WebSocketUpgrade,
) -> axum::response::Result<Response> {
    let Some(name) = session.get::<String>("name")? else {
        return Err(StatusCode::UNAUTHORIZED.into());
    };
    session.update("chats", |chats: Option<u32>| chats.unwrap_or(0) + 1)?; // the last moment
    Ok(upgrade.on_upgrade(move |socket| chat(socket, name, store, headers)))
}

async fn chat(mut socket: WebSocket, name: String, store: CookieStore, headers: HeaderMap) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        // Has the session ended, expired or got a new id since?
        if store.load(&headers).origin() != Origin::Opened {
            break;
        }
        let answer = format!("{name}: {text}");
        if socket.send(Message::Text(answer.into())).await.is_err() {
            break;
        }
    }
}
