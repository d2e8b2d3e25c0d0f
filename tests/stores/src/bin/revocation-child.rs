//! Another process of a fleet, started by the tests, with the key in `APP_KEY`:
//!
//! - `revocation-child end URL ID` ends a session.
//! - `revocation-child serve URL` and `follow URL` answer requests: for each line on the standard
//!   input, a Cookie field, the status and the user on one of the standard output. The first reads
//!   what has ended only when it starts, the second goes on with it.

use std::convert::Infallible;
use std::env;
use std::io::{self, BufRead, Write};
use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode};
use sealed_session::frameworks::tower::PendingSession;
use sealed_session::server::Redis;
use sealed_session::{KeyRing, RevocableCookieStore, SessionId, SessionLayer};
use sealed_session_stores::redis::patient;
use tower_layer::Layer;
use tower_service::Service;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let ring = KeyRing::from_env().unwrap();
    let store = |url: &str| RevocableCookieStore::builder(ring, patient(Redis::open(url).unwrap()));
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["end", url, id] => {
            let id = SessionId::from_hex(id).unwrap();
            let until = SystemTime::now() + Duration::from_secs(24 * 3600);
            store(url).build().unwrap().revoke(id, until).await.unwrap();
        }
        [how @ ("serve" | "follow"), url] => {
            let store = store(url).max_staleness(Duration::from_millis(100));
            let store = store.build().unwrap();
            store.catch_up().await.unwrap();
            if *how == "follow" {
                tokio::spawn(store.keep_current());
            }
            serve(store).await;
        }
        _ => panic!("what to do and a URL are missing"),
    }
}

async fn serve(store: RevocableCookieStore) {
    let mut service = SessionLayer::new(store).layer(Handler);
    // Says that it is there.
    answer("ready");
    loop {
        let line = tokio::task::spawn_blocking(|| io::stdin().lock().lines().next());
        let Some(cookie) = line.await.unwrap() else {
            return;
        };
        let request = Request::builder().header("cookie", cookie.unwrap());
        let response = service.call(request.body(()).unwrap()).await.unwrap();
        answer(&format!(
            "{} {}",
            response.status().as_u16(),
            response.body()
        ));
    }
}

fn answer(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Says who is there.
#[derive(Clone)]
struct Handler;

impl Service<Request<()>> for Handler {
    type Response = Response<String>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(async move {
            let pending: &PendingSession = request.extensions().get().unwrap();
            let mut response = Response::new(String::new());
            match pending.session().await {
                Ok(session) => {
                    let user: Option<u32> = session.get("user_id").unwrap();
                    *response.body_mut() = format!("{user:?}");
                }
                Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
            }
            Ok(response)
        })
    }
}
