use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use sealed_session::{CookieStore, Origin, Session, SessionError};
use tokio::sync::broadcast::Sender;

#[derive(Clone)]
pub struct Site {
    pub store: CookieStore,
    pub news: Sender<String>,
}

pub async fn news(
    State(site): State<Site>,
    headers: HeaderMap,
    session: Session,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, SessionError> {
    session.leave_idle(); // a page that reconnects by itself does not keep the session alive
    let name: Option<String> = session.get("name")?;
    let start = (site.news.subscribe(), name.unwrap_or_default());
    let events = stream::unfold(start, move |(mut news, name)| {
        let (store, headers) = (site.store.clone(), headers.clone());
        async move {
            let what = news.recv().await.ok()?;
            // Has the session ended, expired or got a new id since?
            if store.load(&headers).origin() != Origin::Opened {
                return None;
            }
            let event = Event::default().data(format!("{name}, {what}"));
            Some((Ok(event), (news, name)))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
