//! A clock that stands still, a browser that keeps cookies, and a site that both visit.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cookie::Cookie;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::{AppKey, CookieStore, CookieStoreBuilder, KeyRing, Origin, Refusal, Session};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The name that a cookie has unless it is given another.
pub(crate) const NAME: &str = "__Host-session";

pub(crate) const MAX_NAME_AND_VALUE: usize = 4096;

pub(crate) fn key() -> AppKey {
    AppKey::generate().unwrap()
}

/// A ring whose first key seals.
pub(crate) fn ring(keys: &[&AppKey]) -> KeyRing {
    keys[1..]
        .iter()
        .fold(KeyRing::new(keys[0].clone()), |ring, key| {
            ring.accept((*key).clone()).unwrap()
        })
}

/// A time that moves only when it is told to. It starts at a whole second.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    pub(crate) fn at(time: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    pub(crate) fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    pub(crate) fn set(&self, time: SystemTime) {
        *self.0.lock().unwrap() = time;
    }

    pub(crate) fn forward(&self, by: Duration) {
        self.set(self.now() + by);
    }

    pub(crate) fn back(&self, by: Duration) {
        self.set(self.now() - by);
    }
}

/// Keeps cookies as a browser does: by name, domain, path and partition, until their Max-Age.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    kept: Vec<(Cookie<'static>, Option<SystemTime>)>,
}

impl Browser {
    pub(crate) fn receive(&mut self, response: &HeaderMap, now: SystemTime) {
        for field in response.get_all(SET_COOKIE) {
            let cookie = Cookie::parse(field.to_str().unwrap().to_owned()).unwrap();
            // What is longer, browsers ignore.
            if cookie.name().len() + cookie.value().len() <= MAX_NAME_AND_VALUE {
                self.keep(cookie, now);
            }
        }
    }

    fn keep(&mut self, cookie: Cookie<'static>, now: SystemTime) {
        let place = |cookie: &Cookie<'_>| {
            (
                cookie.name().to_owned(),
                cookie.domain().map(str::to_owned),
                cookie.path().map(str::to_owned),
                cookie.partitioned(),
            )
        };
        self.kept
            .retain(|(known, _)| place(known) != place(&cookie));
        let max_age = cookie
            .max_age()
            .map(|age| Duration::from_secs(age.whole_seconds().try_into().unwrap_or(0)));
        // RFC 6265bis, section 5.5.
        let max_age = max_age.map(|age| age.min(400 * DAY));
        if max_age != Some(Duration::ZERO) {
            self.kept.push((cookie, max_age.map(|age| now + age)));
        }
    }

    /// The headers of a request, to a path below those of all cookies.
    pub(crate) fn send(&self, now: SystemTime) -> HeaderMap {
        let mut sent: Vec<_> = self
            .kept
            .iter()
            .filter(|(_, until)| until.is_none_or(|until| now < until))
            .map(|(cookie, _)| cookie)
            .collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path().map(str::len)));
        let pairs: Vec<_> = sent
            .iter()
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect();
        if pairs.is_empty() {
            HeaderMap::new()
        } else {
            cookies(&[pairs.join("; ")])
        }
    }

    /// Closes it: what has no Max-Age is gone.
    pub(crate) fn close(&mut self) {
        self.kept.retain(|(_, until)| until.is_some());
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.kept.iter().map(|(cookie, _)| cookie.name()).collect()
    }
}

/// A service with a cookie store, and one visitor's browser.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) store: CookieStore,
    pub(crate) browser: Browser,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(settings: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder) -> Self {
        let clock = Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let store = store(&clock, key(), settings);
        Self::of(&clock, store)
    }

    /// One whose visitor has a session with some of everything.
    pub(crate) fn visited() -> Self {
        let mut site = Self::new();
        site.visit(|session| {
            session.insert("count", 1).unwrap();
            session.insert("name", "Ada").unwrap();
            session.flash("note", "hello").unwrap();
            session.set_subject("ada").unwrap();
        });
        site.clock.forward(MINUTE);
        site
    }

    pub(crate) fn of(clock: &Clock, store: CookieStore) -> Self {
        Self {
            clock: clock.clone(),
            store,
            browser: Browser::default(),
        }
    }

    /// The session of the browser's next request.
    pub(crate) fn load(&self) -> Session {
        self.store.load(&self.browser.send(self.clock.now()))
    }

    /// The headers of a response, which are still to reach the browser.
    pub(crate) fn save(&self, session: &Session) -> HeaderMap {
        let mut response = HeaderMap::new();
        self.store.save(session, &mut response).unwrap();
        response
    }

    pub(crate) fn receive(&mut self, response: &HeaderMap) {
        self.browser.receive(response, self.clock.now());
    }

    /// A request and its response; the response's headers.
    pub(crate) fn visit(&mut self, handler: impl FnOnce(&Session)) -> HeaderMap {
        let session = self.load();
        handler(&session);
        let response = self.save(&session);
        self.receive(&response);
        response
    }
}

/// A site, and the token of a session that it opens.
pub(crate) fn logged_in() -> (Site, String) {
    let mut site = Site::new();
    let response = site.visit(|session| session.insert("user_id", 42).unwrap());
    let (_, token) = pair(&response).split_once('=').unwrap();
    (site, token.to_owned())
}

/// A store with this clock.
pub(crate) fn store(
    clock: &Clock,
    ring: impl Into<KeyRing>,
    settings: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder,
) -> CookieStore {
    let clock = clock.clone();
    settings(CookieStore::builder(ring).clock(move || clock.now()))
        .build()
        .unwrap()
}

/// A request's headers with these Cookie fields.
pub(crate) fn cookies<F: AsRef<[u8]>>(fields: &[F]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, field.as_ref().try_into().unwrap());
    }
    headers
}

/// A token, alone or behind its name, with a mac that is not its own.
pub(crate) fn forged(token: &str, n: usize) -> String {
    let (start, end) = token.split_at(token.len() - 4);
    format!("{}{n:04}{end}", &start[..start.len() - 4])
}

/// The response's one Set-Cookie.
pub(crate) fn set_cookie(response: &HeaderMap) -> &str {
    let fields: Vec<_> = response.get_all(SET_COOKIE).iter().collect();
    assert_eq!(fields.len(), 1, "{response:?}");
    fields[0].to_str().unwrap()
}

/// The name and value of the response's one Set-Cookie, as a request has them.
pub(crate) fn pair(response: &HeaderMap) -> &str {
    set_cookie(response).split(';').next().unwrap()
}

pub(crate) fn max_age(response: &HeaderMap) -> Option<Duration> {
    let cookie = Cookie::parse(set_cookie(response)).unwrap();
    Some(Duration::from_secs(
        cookie.max_age()?.whole_seconds().try_into().unwrap(),
    ))
}

pub(crate) fn sets_no_cookie(response: &HeaderMap) -> bool {
    !response.contains_key(SET_COOKIE)
}

/// Whether it removes the cookie in the two ways that browsers know.
pub(crate) fn is_removal(set_cookie: &str) -> bool {
    let (pair, attributes) = set_cookie.split_once("; ").unwrap();
    pair.ends_with('=') && attributes.ends_with("Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
}

pub(crate) fn refused(reason: Refusal) -> Origin {
    Origin::Refused(reason)
}

/// Runs `work`; a deadlock in it is a failure and not a test that never ends.
pub(crate) fn without_deadlock(work: impl FnOnce() + Send + 'static) {
    let (running, finished) = channel::<()>();
    let worker = std::thread::spawn(move || {
        let _running = running;
        work();
    });
    let outcome = finished.recv_timeout(5 * MINUTE);
    assert_eq!(outcome, Err(RecvTimeoutError::Disconnected), "a deadlock");
    worker.join().unwrap();
}
