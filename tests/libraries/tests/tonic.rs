//! Services of tonic behind an interceptor, which cannot wait.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::header::{COOKIE, VARY};
use bytes::{Buf, BufMut};
use http_body_util::{BodyExt, Full};
use sealed_session::frameworks::tower::{Layer, RequireSession, Sessions};
use sealed_session::server::{Memory, ServerStore};
use sealed_session::{AppKey, PendingSession, Session, SessionLayer};
use sealed_session_libraries::{cookie, count, store};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

/// Messages of text.
#[derive(Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| Status::invalid_argument("no text"))
    }
}

/// The interceptor: puts the session, which it cannot wait for, where methods find it.
fn intercept(mut request: Request<()>) -> Result<Request<()>, Status> {
    let pending = request.extensions().get::<PendingSession>();
    let session = pending.and_then(PendingSession::session_if_ready);
    let session = session.ok_or_else(|| Status::unavailable("not loaded yet"))?;
    let session = session.map_err(|_| Status::internal("no session"))?;
    request.extensions_mut().insert(session);
    Ok(request)
}

/// The method.
struct Visit;

impl UnaryService<String> for Visit {
    type Response = String;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Status>> + Send>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move {
            let session: Session = request.extensions().get().cloned().unwrap();
            let counted = count(&session);
            let counted = counted.map_err(|_| Status::internal("the session"))?;
            Ok(Response::new(format!("{}: {counted}", request.get_ref())))
        })
    }
}

/// What tonic generates for a service.
#[derive(Clone)]
struct Generated;

impl Service<http::Request<Body>> for Generated {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Text).unary(Visit, request).await) })
    }
}

impl NamedService for Generated {
    const NAME: &'static str = "visits";
}

/// What tonic's server puts its layers around.
fn routes() -> Routes {
    Routes::new(InterceptedService::new(Generated, intercept))
}

struct Answer {
    response: http::Response<()>,
    /// The message, if the method sent one.
    text: String,
}

/// Calls the method as a client of gRPC does.
async fn call<S>(service: &mut S, cookie: &str) -> Answer
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    let framed = [&[0, 0, 0, 0, 3][..], b"Ada"].concat();
    let request = http::Request::builder().method("POST").uri("/visits/count");
    let request = request.header(COOKIE, cookie);
    let request = request.header("content-type", "application/grpc");
    let request = request.body(Body::new(Full::from(framed))).unwrap();
    let Ok(response) = service.call(request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = bytes.get(5..).unwrap_or_default().to_vec();
    Answer {
        response: http::Response::from_parts(parts, ()),
        text: String::from_utf8(text).unwrap(),
    }
}

fn code(answer: &Answer) -> Option<&str> {
    answer.response.headers().get("grpc-status")?.to_str().ok()
}

#[tokio::test]
async fn an_interceptor_takes_the_session_of_a_cookie_without_waiting() {
    let mut service = SessionLayer::new(store()).layer(routes());
    let first = call(&mut service, "").await;
    assert_eq!(first.text, "Ada: visits: Some(1)");
    assert_eq!(first.response.headers()[VARY], "Cookie");
    let second = call(&mut service, &cookie(&first.response)).await;
    assert_eq!(second.text, "Ada: visits: Some(2)");
}

fn guarded<S: Sessions>(
    store: S,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> {
    SessionLayer::new(store).layer(RequireSession::new().layer(routes()))
}

#[tokio::test]
async fn an_interceptor_takes_the_session_of_a_backend_once_a_guard_has_loaded_it() {
    let store = ServerStore::new(AppKey::generate().unwrap(), Memory::new());
    let session = Session::new();
    session.insert("visits", 4).unwrap();
    let cookie = store.respond(&session).await.unwrap().cookie_header();

    let mut service = guarded(store);
    let let_in = call(&mut service, &cookie).await;
    assert_eq!(let_in.text, "Ada: visits: Some(5)");
    let stranger = call(&mut service, "").await;
    assert_eq!(stranger.response.status(), 401);
    assert_eq!(code(&stranger), None);
}
