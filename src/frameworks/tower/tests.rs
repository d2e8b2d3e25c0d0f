//! Tests that need a store that waits or fails.

#[path = "../../../tests/support/explained.rs"]
mod explained;
#[path = "../../../tests/support/service.rs"]
mod service;

use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{HeaderName, Request, Response, StatusCode};
use tower_service::Service;

use super::pending::Settings;
use super::pending::{Fields, Open};
use super::*;
use crate::envelope::AppKey;
use crate::error::{ErrorKind, LoadErrorKind, SaveErrorKind};
use crate::now::now;
use explained::assert_explained;
use service::service;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A cookie store behind a gate: every load and save waits until the gate opens.
#[derive(Clone)]
struct Gated {
    store: CookieStore,
    gate: Arc<Gate>,
    load_fails: bool,
    save_fails: bool,
    events: Arc<Mutex<Vec<Event>>>,
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<(bool, Option<Waker>)>,
    passed: AtomicUsize,
}

impl Gate {
    fn set(&self, open: bool) {
        let mut state = self.is_open.lock().unwrap();
        state.0 = open;
        if let Some(waker) = state.1.take().filter(|_| open) {
            waker.wake();
        }
    }

    /// Like a socket, it wakes only the task that polled it last.
    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.is_open.lock().unwrap();
        if state.0 {
            self.passed.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(())
        } else {
            state.1 = Some(context.waker().clone());
            Poll::Pending
        }
    }
}

impl Gated {
    fn new() -> Self {
        Self {
            store: CookieStore::new(AppKey::generate().unwrap()),
            gate: Arc::default(),
            load_fails: false,
            save_fails: false,
            events: Arc::default(),
        }
    }

    fn open() -> Self {
        let gated = Self::new();
        gated.gate.set(true);
        gated
    }

    fn behind_gate<T: Send + 'static>(&self, outcome: T) -> Boxed<T> {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            std::future::poll_fn(|context| gate.poll(context)).await;
            outcome
        })
    }

    fn pending(&self) -> (Open<Self, Bare>, PendingSession) {
        let fields = Fields::of(Request::new(()).headers(), &COOKIE);
        let settings = Settings {
            store: self.clone(),
            on_error: Arc::new(Bare),
        };
        Open::new(Arc::new(settings), fields)
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

impl Sessions for Gated {}

impl sealed::Store for Gated {
    type Load = Boxed<Result<Session, LoadError>>;
    type Save = Boxed<Result<Outgoing, SaveError>>;

    fn request_header(&self) -> HeaderName {
        COOKIE
    }

    fn load(&self, field: &[u8]) -> Self::Load {
        let session = self.store.load_from([field]);
        let error = LoadError(LoadErrorKind::MissingLayer);
        self.behind_gate(if self.load_fails {
            Err(error)
        } else {
            Ok(session)
        })
    }

    fn save(&self, session: &Session) -> Self::Save {
        let error = SaveError(SaveErrorKind::OtherStore);
        let outgoing = self.store.respond(session);
        self.behind_gate(if self.save_fails {
            Err(error)
        } else {
            outgoing
        })
    }

    fn handed_out(&self, session: &Session) -> Outgoing {
        self.store.handed_out(session)
    }

    fn report(&self, event: Event, _: Option<&(dyn Error + 'static)>) {
        self.events.lock().unwrap().push(event);
    }

    #[cfg(feature = "device-bound")]
    fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
        self.store.answer_device(request)
    }
}

/// A task that counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn all_tasks_that_ask_wait_for_one_load_and_all_are_woken() {
    let store = Gated::new();
    let (_open, pending) = store.pending();
    let (one, other) = (Arc::new(Task::default()), Arc::new(Task::default()));
    let (mut first, mut second) = (pin!(pending.session()), pin!(pending.session()));
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(other.poll(second.as_mut()).is_pending());
    assert!(
        one.poll(first.as_mut()).is_pending(),
        "asking again is allowed"
    );
    store.gate.set(true);
    assert!(one.is_woken() && other.is_woken());
    let Poll::Ready(Ok(session)) = one.poll(first) else {
        panic!("it still waits");
    };
    session.insert("n", 1).unwrap();
    let Poll::Ready(Ok(same)) = other.poll(second) else {
        panic!("it still waits");
    };
    assert_eq!(same.get("n").unwrap(), Some(1));
    assert_eq!(store.gate.passed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_task_that_finds_the_load_ready_wakes_those_that_still_wait() {
    let store = Gated::new();
    let (_open, pending) = store.pending();
    let (looks, sleeps) = (Arc::new(Task::default()), Arc::new(Task::default()));
    let (mut looking, mut sleeping) = (pin!(pending.session()), pin!(pending.session()));
    assert!(looks.poll(looking.as_mut()).is_pending());
    assert!(sleeps.poll(sleeping.as_mut()).is_pending());
    store.gate.is_open.lock().unwrap().0 = true;
    assert!(!sleeps.is_woken(), "the gate has told nobody");
    assert!(looks.poll(looking).is_ready());
    assert!(sleeps.is_woken());
    assert!(sleeps.poll(sleeping).is_ready());
}

#[test]
fn a_task_that_stops_waiting_takes_the_load_from_nobody() {
    let store = Gated::new();
    let (_open, pending) = store.pending();
    let (stays, goes) = (Arc::new(Task::default()), Arc::new(Task::default()));
    let mut staying = pin!(pending.session());
    assert!(stays.poll(staying.as_mut()).is_pending());
    {
        let mut going = pin!(pending.session());
        assert!(goes.poll(going.as_mut()).is_pending());
    }
    store.gate.set(true);
    assert!(stays.is_woken());
    assert!(stays.poll(staying).is_ready());
}

#[test]
fn a_load_that_still_waits_when_its_request_is_over_is_an_error_at_once_for_all_who_wait() {
    for is_finished in [true, false] {
        let store = Gated::new();
        let (mut open, pending) = store.pending();
        let (one, other) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let (mut first, mut second) = (pin!(pending.session()), pin!(pending.session()));
        assert!(one.poll(first.as_mut()).is_pending());
        assert!(other.poll(second.as_mut()).is_pending());
        if is_finished {
            open.finish();
            assert!(open.session().is_none(), "there is nothing to save yet");
        }
        drop(open);
        assert!(one.is_woken() && other.is_woken());
        for (task, asking) in [(one, first), (other, second)] {
            let Poll::Ready(Err(error)) = task.poll(asking) else {
                panic!("it got a session that no cache was told of, or still waits");
            };
            assert!(error.is_too_late(), "{error}");
        }
        assert_eq!(store.events(), [Event::LoadFailed], "once");
        let passed = store.gate.passed.load(Ordering::Relaxed);
        assert_eq!(passed, 0, "nobody waits for the store any more");
    }
}

/// A handler that changes the session, and says so with its own header.
async fn change(request: Request<()>) -> Result<Response<String>, Infallible> {
    let pending = request.extensions().get::<PendingSession>().unwrap();
    let response = Response::builder().header("x-handler", "ran");
    let body = match pending.session().await {
        Ok(session) => {
            session.insert("n", 1).unwrap();
            "changed".to_owned()
        }
        Err(error) => error.to_string(),
    };
    Ok(response.body(body).unwrap())
}

#[test]
fn the_response_waits_for_a_save_that_waits_and_the_session_is_closed_meanwhile() {
    let store = Gated::open();
    let held = Arc::new(Mutex::new(None));
    let hold = Arc::clone(&held);
    let gate = Arc::clone(&store.gate);
    let mut layered = SessionLayer::new(store.clone()).layer(service(move |request| {
        let (hold, gate) = (Arc::clone(&hold), Arc::clone(&gate));
        async move {
            let pending = request.extensions().get::<PendingSession>().unwrap();
            *hold.lock().unwrap() = pending.session().await.ok();
            gate.set(false);
            change(request).await
        }
    }));
    let task = Arc::new(Task::default());
    let mut response = pin!(layered.call(Request::new(())));
    assert!(task.poll(response.as_mut()).is_pending());
    let session = held.lock().unwrap().clone().unwrap();
    assert_eq!(
        session.insert("n", 2).unwrap_err().kind(),
        ErrorKind::Closed
    );
    store.gate.set(true);
    assert!(task.is_woken());
    let Poll::Ready(Ok(response)) = task.poll(response) else {
        panic!("it still waits");
    };
    assert!(response.headers().contains_key(SET_COOKIE));
    assert_eq!(response.headers()["x-handler"], "ran");
    assert_eq!(store.events(), []);
}

#[test]
fn a_failed_save_replaces_the_response_by_a_bare_500_or_by_the_error_handlers() {
    let mut store = Gated::open();
    store.save_fails = true;
    let mut plain = SessionLayer::new(store.clone()).layer(service(change));
    let response = now(plain.call(Request::new(()))).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()[VARY], "Cookie", "it was handed out");
    assert!(!response.headers().contains_key("x-handler"));
    assert_explained(response.body(), "the session was loaded by another store");
    assert_eq!(store.events(), [Event::SaveFailed]);

    let layer = SessionLayer::new(store.clone()).on_error(|failure: &Failure| {
        assert!(matches!(failure, Failure::Save(_)));
        Response::new("please try again".to_owned())
    });
    let response = now(layer.layer(service(change)).call(Request::new(()))).unwrap();
    assert_eq!(response.body(), "please try again");
    assert_eq!(response.headers()[VARY], "Cookie");
    assert!(!response.headers().contains_key("x-handler"));
}

#[test]
fn a_failed_load_is_an_error_for_all_who_ask_and_is_reported_once() {
    let mut store = Gated::open();
    store.load_fails = true;
    let (mut open, pending) = store.pending();
    let first = now(pending.session()).unwrap_err();
    assert_eq!(now(pending.session()).unwrap_err(), first);
    open.finish();
    assert!(open.session().is_none(), "there is nothing to save");
    assert_eq!(store.events(), [Event::LoadFailed]);
}

#[test]
fn code_that_cannot_wait_gets_the_session_once_it_is_there() {
    let store = Gated::new();
    let (_open, pending) = store.pending();
    assert!(pending.session_if_ready().is_none());
    let task = Arc::new(Task::default());
    let mut asking = pin!(pending.session());
    assert!(task.poll(asking.as_mut()).is_pending());
    assert!(pending.session_if_ready().is_none());
    store.gate.set(true);
    assert!(task.is_woken(), "who waits is not forgotten");
    let Poll::Ready(Ok(session)) = task.poll(asking) else {
        panic!("it still waits");
    };
    session.insert("n", 1).unwrap();
    let again = pending.session_if_ready().unwrap().unwrap();
    assert_eq!(again.get("n"), Ok(Some(1)));
}

#[test]
fn a_handler_that_copes_with_a_failed_load_keeps_its_answer() {
    let mut store = Gated::open();
    store.load_fails = true;
    let layer = SessionLayer::new(store).on_error(|_: &Failure| Response::new("hook".to_owned()));
    let response = now(layer.layer(service(change)).call(Request::new(()))).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.body().contains("no session layer"),
        "{}",
        response.body()
    );
}

#[test]
fn a_guard_whose_session_fails_to_load_leaves_the_answer_to_the_error_handler() {
    let mut store = Gated::open();
    store.load_fails = true;
    let guarded = RequireSession::new().layer(service(change));
    let mut plain = SessionLayer::new(store.clone()).layer(guarded.clone());
    let response = now(plain.call(Request::new(()))).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);

    let layer = SessionLayer::new(store).on_error(|failure: &Failure| {
        assert!(matches!(failure, Failure::Load(_)));
        Response::new("hook".to_owned())
    });
    let response = now(layer.layer(guarded).call(Request::new(()))).unwrap();
    assert_eq!(response.body(), "hook");
}

#[test]
fn an_answer_that_a_failure_has_already_stays_unless_there_is_an_error_handler() {
    let fails = service(async |_: Request<()>| -> Result<_, Infallible> {
        let mut answer: Response<String> =
            failed(Failure::Load(LoadError(LoadErrorKind::MissingLayer)));
        "its own".clone_into(answer.body_mut());
        Ok(answer)
    });
    let layer = SessionLayer::new(Gated::open());
    let response = now(layer.layer(fails.clone()).call(Request::new(()))).unwrap();
    assert_eq!(response.body(), "its own");
    let hooked = layer.on_error(|_: &Failure| Response::new("hook".to_owned()));
    let response = now(hooked.layer(fails).call(Request::new(()))).unwrap();
    assert_eq!(response.body(), "hook");
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<()>> for NeverReady {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::pending()
    }
}

#[test]
fn a_layer_and_a_guard_are_ready_when_what_is_inside_is() {
    let mut context = Context::from_waker(Waker::noop());
    let mut guarded = RequireSession::new().layer(NeverReady);
    assert!(guarded.poll_ready(&mut context).is_pending());
    let mut layered = SessionLayer::new(Gated::open()).layer(NeverReady);
    assert!(layered.poll_ready(&mut context).is_pending());
}

#[test]
fn one_cookie_field_is_shared_and_several_are_joined_in_one_allocation() {
    let mut request = Request::new(());
    let headers = request.headers_mut();
    headers.append(COOKIE, "a=1".parse().unwrap());
    assert!(matches!(Fields::of(headers, &COOKIE), Fields::Shared(_)));
    headers.append(COOKIE, "b=22222222222222222222".parse().unwrap());
    headers.append(COOKIE, "c=3".parse().unwrap());
    let used = allocation_counter::measure(|| {
        let Fields::Joined(joined) = Fields::of(headers, &COOKIE) else {
            panic!("they are not joined");
        };
        assert_eq!(joined, b"a=1; b=22222222222222222222; c=3");
    });
    assert_eq!(used.count_total, 1);
    assert!(used.bytes_total < 40, "{}", used.bytes_total);
}

#[test]
fn debug_names_each_part_and_a_session_of_a_name_is_the_session() {
    let layer: SessionLayer<CookieStore> =
        SessionLayer::new(CookieStore::new(AppKey::generate().unwrap()));
    let guard = RequireSession::new();
    let request = Request::new(());
    for (shown, name) in [
        (format!("{layer:?}"), "SessionLayer { store: CookieStore"),
        (
            format!("{:?}", layer.layer(())),
            "SessionService { inner: (), layer: ",
        ),
        (format!("{guard:?}"), "Guard(AnySession)"),
        (
            format!("{:?}", guard.layer(())),
            "GuardService { inner: (), guard: ",
        ),
        (
            format!("{:?}", guard.layer(NeverReady).call(request)),
            "GuardFuture { .. }",
        ),
        (
            format!("{:?}", LoadFuture::of::<()>(None)),
            "LoadFuture { .. }",
        ),
        (
            format!("{:?}", SessionOf::<()>::from(Session::new())),
            "SessionOf(Session",
        ),
    ] {
        assert!(shown.starts_with(name), "{shown}");
    }
    let session = Session::new();
    session.insert("n", 1).unwrap();
    let of = SessionOf::<()>::from(session);
    assert_eq!(of.into_inner().get("n"), Ok(Some(1)));
}
