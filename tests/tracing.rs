//! Feature `tracing`: one event for each noteworthy thing, and no secret in any.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "support/now.rs"]
mod now;
#[path = "support/service.rs"]
mod service;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response};
use now::now;
use sealed_session::frameworks::tower::{PendingSession, RequireSession, SessionLayer};
use sealed_session::{AppKey, CookieStore, KeyRing, Session};
use service::service;
use tower_layer::Layer;
use tower_service::Service;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Each event as its level and its fields in one line.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        let level = *event.metadata().level();
        self.0.lock().unwrap().push((level, line.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Capture {
    /// The only event since the last call: its level and the start of its line.
    fn take_one(&self) -> (Level, String) {
        let mut lines = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

const VALUE: &str = "hunter2-the-value";
const SUBJECT: &str = "ann-the-subject";

fn cookie(store: &CookieStore, session: &Session) -> String {
    let outgoing = store.respond(session).unwrap();
    let set_cookie = outgoing.set_cookies().next().unwrap();
    set_cookie.split(';').next().unwrap().to_owned()
}

fn new_cookie(store: &CookieStore) -> String {
    let session = store.load_from([""]);
    session.insert("password", VALUE).unwrap();
    session.set_subject(SUBJECT).unwrap();
    cookie(store, &session)
}

fn request(cookie: &str) -> Request<()> {
    Request::builder()
        .header("cookie", cookie)
        .body(())
        .unwrap()
}

/// A store under `new` that still opens what `old` has sealed.
struct World {
    store: CookieStore,
    capture: Capture,
    all: Vec<String>,
}

impl World {
    /// Runs `cause`; its one event must be of this level and have these fields.
    fn expect(&mut self, level: Level, fields: &[&str], cause: impl FnOnce(&CookieStore)) {
        let capture = self.capture.clone();
        tracing::subscriber::with_default(capture, || cause(&self.store));
        let (at, line) = self.capture.take_one();
        assert_eq!(at, level, "{line}");
        assert!(line.starts_with("sealed_session message="), "{line}");
        for field in fields {
            assert!(line.contains(field), "{field} in {line}");
        }
        self.all.push(line);
    }
}

async fn change(request: Request<()>) -> Result<Response<String>, &'static str> {
    let pending = request.extensions().get::<PendingSession>().unwrap();
    let session = pending.session().await.map_err(|_| "there is no session")?;
    session.insert("password", VALUE.repeat(2)).unwrap();
    Err("a failure of the service's own")
}

#[test]
fn each_noteworthy_thing_is_one_event_without_a_secret() {
    let (old, new) = (AppKey::generate().unwrap(), AppKey::generate().unwrap());
    let former = CookieStore::new(old.clone());
    let cookies = [new_cookie(&former), new_cookie(&former)];
    let [cookie_one, _] = &cookies;
    let altered = cookie_one.replace("__Host-session=A", "__Host-session=B");
    let ring = KeyRing::new(new.clone()).accept(old.clone()).unwrap();
    let expired = CookieStore::builder(ring.clone())
        .clock(|| SystemTime::now() + Duration::from_secs(100_000))
        .build()
        .unwrap();
    let mut world = World {
        store: CookieStore::new(ring),
        capture: Capture::default(),
        all: Vec::new(),
    };

    let refused = ["event=refused", "reason=unknown_version"];
    world.expect(Level::INFO, &refused, |store| {
        store.load_from([&altered]);
    });
    world.expect(Level::DEBUG, &["event=expired", "reason=expired"], |_| {
        expired.load_from([cookie_one]);
    });
    world.expect(Level::INFO, &["event=ambiguous"], |store| {
        store.load_from(&cookies);
    });
    world.expect(Level::DEBUG, &["event=resealed"], |store| {
        cookie(store, &store.load_from([cookie_one]));
    });
    let too_large = ["event=too_large", "error=\"password\"", "the limit is 4096"];
    world.expect(Level::WARN, &too_large, |store| {
        let session = store.load_from([""]);
        session.insert("password", VALUE.repeat(300)).unwrap_err();
    });
    world.expect(Level::DEBUG, &["event=unsaved"], |store| {
        let mut fails = SessionLayer::new(store.clone()).layer(service(change));
        now(fails.call(request(""))).unwrap_err();
    });
    world.expect(Level::WARN, &["event=changed_too_late"], |store| {
        let held = Mutex::default();
        let mut answers = SessionLayer::new(store.clone()).layer(service(|request| {
            let held = &held;
            async move {
                let pending = request.extensions().get::<PendingSession>();
                *held.lock().unwrap() = pending.unwrap().session().await.ok();
                Ok::<_, ()>(Response::new(String::new()))
            }
        }));
        now(answers.call(request(""))).unwrap();
        let session: Session = held.lock().unwrap().take().unwrap();
        session.insert("password", VALUE).unwrap_err();
    });
    let missing = [
        "event=load_failed",
        "error=no session layer has seen the request",
    ];
    world.expect(Level::ERROR, &missing, |_| {
        now(RequireSession::new()
            .layer(service(change))
            .call(request(cookie_one)))
        .unwrap();
    });
    let second = ["event=load_failed", "error=two session layers"];
    world.expect(Level::ERROR, &second, |store| {
        let layer = SessionLayer::new(store.clone());
        let mut twice = layer.layer(layer.layer(service(change)));
        now(twice.call(request(cookie_one))).unwrap_err();
    });

    let all = world.all.join("\n");
    let mut secrets = vec![VALUE.to_owned(), SUBJECT.to_owned()];
    secrets.extend(
        cookies
            .iter()
            .map(|cookie| cookie.split_once('=').unwrap().1.to_owned()),
    );
    secrets.extend([&old, &new].map(|key| key.to_base64().replace("base64:", "")));
    for secret in secrets {
        // The first characters of a token are its version and key id, which are no secret.
        let part = secret.get(16..32).unwrap_or(&secret);
        assert!(!all.contains(part), "{part} in\n{all}");
    }
}

#[cfg(feature = "server")]
#[test]
fn what_a_backend_says_when_it_fails_is_in_the_event() {
    use sealed_session::server::{Memory, ServerStore};

    let memory = Memory::builder().max_sessions(1).build().unwrap();
    let store = ServerStore::new(AppKey::generate().unwrap(), memory);
    let mut layered = SessionLayer::new(store).layer(service(async |request: Request<()>| {
        let pending = request.extensions().get::<PendingSession>().unwrap();
        pending.session().await.unwrap().insert("n", 1).unwrap();
        Ok::<_, ()>(Response::new(String::new()))
    }));
    let capture = Capture::default();
    tracing::subscriber::with_default(capture.clone(), || {
        assert_eq!(now(layered.call(request(""))).unwrap().status(), 200);
        assert_eq!(now(layered.call(request(""))).unwrap().status(), 500);
    });
    let (level, line) = capture.take_one();
    assert_eq!(level, Level::ERROR);
    assert!(line.contains("event=save_failed"), "{line}");
    for error in [
        "error=the session's backend failed; ",
        ": 1 sessions are in memory",
    ] {
        assert!(line.contains(error), "{line}");
    }
}

#[test]
fn a_visit_without_incident_makes_no_event() {
    let capture = Capture::default();
    tracing::subscriber::with_default(capture.clone(), || {
        let store = CookieStore::new(AppKey::generate().unwrap());
        let session = store.load_from([new_cookie(&store).as_str()]);
        session.renew();
        store.save(&session, &mut HeaderMap::new()).unwrap();
    });
    assert!(capture.0.lock().unwrap().is_empty());
}
