// The example needs salvo itself, which is not a dependency here: the tests of the frameworks run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/salvo.md"))]

use std::convert::Infallible;
use std::fmt::Debug;
use std::mem::take;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};
use salvo_core::extract::{Extractible, Metadata};
use salvo_core::http::ResBody;
use salvo_core::writing::Scribe;
use salvo_core::{Depot, FlowCtrl, Handler, Request, Response, Writer, async_trait};

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

use crate::error::{LoadError, SessionError};
use crate::flow::Outgoing;
#[cfg(feature = "device-bound")]
use crate::frameworks::tower::again;
use crate::frameworks::tower::{
    Answer, Condition, Fields, Guard, Leaves, LoadFuture, REASON_HEADERS, Reply, ResponseFuture,
    Sessions, reason,
};
use crate::hosts::named_by;
use crate::session::{Session, TypedSession};

/// The hoop for a service or a router.
#[async_trait]
impl<S, N, H, L> Handler for SessionLayer<S, N, H, L>
where
    S: Sessions,
    N: 'static,
    H: Answer<Failure, http::Response<ResBody>>,
    L: Leaves<Parts>,
{
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        flow: &mut FlowCtrl,
    ) {
        let settings = self.at(&|| {
            let hosts = request.headers().get_all(HOST).iter();
            let authority = request.uri().authority().map(Authority::as_str);
            named_by(authority, hosts.map(HeaderValue::as_bytes))
        });
        #[cfg(feature = "device-bound")]
        if let Some(answer) =
            settings.device_answer_to(request.method(), request.uri(), request.headers())
        {
            let body = ResBody::from(answer.body().to_owned());
            give(response, answer.into_response_with(body));
            flow.skip_rest();
            return;
        }
        let fields = Fields::of(request.headers(), &settings.request_header());
        let (open, pending) = self.start(settings, fields);
        let leaves = self.leaves();
        if leaves.is_some_and(|leaves| leaves.leaves_idle(&head(request))) {
            pending.leave_idle();
        }
        if request.extensions_mut().insert(pending).is_some() {
            open.refuse();
        }
        let outside = response.headers.clone();
        let call = async move {
            flow.call_next(request, depot, response).await;
            write_cookies(response);
            Ok::<_, Infallible>(Answered { response, outside })
        };
        let Ok(_) = ResponseFuture::<_, S, Answered<'_>, H>::new(call, open).await;
    }
}

/// A response that stays in its place while the session is saved. If a hoop outside, such as a
/// timeout, cancels the save, that hoop still has the response.
struct Answered<'r> {
    response: &'r mut Response,
    /// The headers that hoops outside have set.
    outside: HeaderMap,
}

impl<H: Answer<Failure, http::Response<ResBody>>> Reply<H, Infallible> for Answered<'_> {
    type Inner = Self;

    fn of(inner: Self) -> Self {
        inner
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let failure = self.response.extensions.remove();
        failure.filter(|_| self.response.status_code == Some(StatusCode::INTERNAL_SERVER_ERROR))
    }

    fn replace(mut self, failure: &Failure, on_error: &H) -> Self {
        *self.response = Response::new();
        self.response.headers = take(&mut self.outside);
        give(self.response, on_error.answer(failure));
        self
    }

    fn is_replaced() -> bool {
        H::REPLACES
    }

    fn apply(&mut self, mut outgoing: Outgoing) {
        outgoing.apply_once(&mut self.response.headers);
    }
}

/// Makes headers of the cookies in salvo's jar, so that the session's cookie replaces one of its
/// name.
fn write_cookies(response: &mut Response) {
    let (status, version) = (response.status_code, response.version);
    let answer = response.strip_to_hyper();
    response.merge_hyper(answer);
    (response.status_code, response.version) = (status, version);
}

/// The hoop for a router.
#[async_trait]
impl<C, N, A> Handler for Guard<C, N, A>
where
    C: Condition + Send + Sync + 'static,
    N: 'static,
    A: Answer<Parts, http::Response<ResBody>>,
{
    async fn handle(
        &self,
        request: &mut Request,
        _: &mut Depot,
        response: &mut Response,
        flow: &mut FlowCtrl,
    ) {
        match self.load(request.extensions().get()).await {
            Ok(session) if self.lets_in(&session) => return,
            #[cfg_attr(
                not(feature = "device-bound"),
                expect(unused_variables, reason = "only a device can be asked again")
            )]
            Ok(session) => {
                let head = head(request);
                #[cfg(feature = "device-bound")]
                if let Some(answer) = again(self, &session, &head) {
                    give(response, answer);
                    flow.skip_rest();
                    return;
                }
                give(response, self.refuse(&head));
            }
            Err(error) => fail(response, Failure::Load(error)),
        }
        flow.skip_rest();
    }
}

/// The request's method, URI, headers and extensions, as functions for other frameworks take them.
fn head(request: &Request) -> Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head.extensions = request.extensions().clone();
    head
}

/// Makes this the response. Headers that hoops outside have set stay.
fn give(response: &mut Response, answer: http::Response<ResBody>) {
    let (head, body) = answer.into_parts();
    response.status_code = Some(head.status);
    response.headers.extend(head.headers);
    response.extensions.extend(head.extensions);
    response.body = body;
}

async fn load<N: 'static>(request: &Request) -> Result<Session, LoadError> {
    LoadFuture::of(request.extensions().get::<PendingSession<N>>()).await
}

fn metadata() -> &'static Metadata {
    static METADATA: Metadata = Metadata::new("");
    &METADATA
}

/// The session of the layer without a name.
impl<'ex> Extractible<'ex> for Session {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<()>(request).await
    }
}

impl<'ex, N: 'static> Extractible<'ex> for SessionOf<N> {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<N>(request).await.map(Self::from)
    }
}

/// The session of the layer without a name.
impl<'ex, T> Extractible<'ex> for TypedSession<T> {
    fn metadata() -> &'static Metadata {
        metadata()
    }

    async fn extract(
        request: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        load::<()>(request).await.map(Self::from)
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl Scribe for LoadError {
    fn render(self, response: &mut Response) {
        fail(response, Failure::Load(self));
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl Scribe for SessionError {
    fn render(self, response: &mut Response) {
        fail(response, Failure::Call(self));
    }
}

/// Makes a 500 that carries the failure for the layer. In debug builds its body is the reason;
/// otherwise it has none, and salvo's catcher makes one.
fn fail(response: &mut Response, failure: Failure) {
    response.status_code = Some(StatusCode::INTERNAL_SERVER_ERROR);
    response.body = match reason(&failure) {
        Some(text) => {
            for (name, value) in REASON_HEADERS {
                let headers = response.headers_mut();
                headers.insert(name, HeaderValue::from_static(value));
            }
            text.into()
        }
        None => ResBody::None,
    };
    response.extensions.insert(failure);
}
