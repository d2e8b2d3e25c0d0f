//! One browser, one session and the requests on it, carried out in a given order.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use sealed_session::server::{
    Backend, BackendError, Entry, Memory, Outcome, Promise, ServerStore, StoreKey, Stored, Value,
};
use sealed_session::{
    CookieStore, ErrorKind, Origin, RevocationList, SaveError, Session, SessionId, Status,
};

use super::schedule::{Schedules, Step};
use crate::now::now;
use crate::support::*;

/// How long an id that has moved is a matter for those who still come with it, and a bit.
const GRACE: Duration = Duration::from_millis(10_001);

/// Too many bytes for a cookie.
const LARGE: usize = 2984;

/// The token of a stub, which holds no values.
pub(super) const STUB: usize = 155;

/// Where sessions are, and where this one begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Cookie {
        listed: bool,
    },
    Backend,
    /// In the backend until `Remove` makes it small.
    Large {
        listed: bool,
    },
    /// In its cookie until `InsertB` makes it large.
    Small {
        listed: bool,
    },
    /// In a cookie from before there was a backend.
    Adopting {
        listed: bool,
    },
}

impl Place {
    pub(super) fn is_listed(self) -> bool {
        match self {
            Self::Backend => false,
            Self::Cookie { listed }
            | Self::Large { listed }
            | Self::Small { listed }
            | Self::Adopting { listed } => listed,
        }
    }
}

/// What a request does with its session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Read,
    InsertA,
    InsertB,
    Remove,
    Clear,
    Expire,
    Claim,
    Renew,
    /// Logs in and inserts.
    Login,
    Destroy,
    /// Destroys and inserts.
    Begin,
}

impl Op {
    pub(super) const ALL: [Self; 11] = [
        Self::Read,
        Self::InsertA,
        Self::InsertB,
        Self::Remove,
        Self::Clear,
        Self::Expire,
        Self::Claim,
        Self::Renew,
        Self::Login,
        Self::Destroy,
        Self::Begin,
    ];

    /// Those that are enough where a session changes its place.
    pub(super) const MOVING: [Self; 6] = [
        Self::InsertB,
        Self::Remove,
        Self::Renew,
        Self::Login,
        Self::Destroy,
        Self::Begin,
    ];

    /// The same for one that is too large for its cookie.
    pub(super) const SHRINKING: [Self; 4] = [Self::Remove, Self::Login, Self::Destroy, Self::Begin];

    /// Those that are enough where time passes too.
    pub(super) const GRAVE: [Self; 4] = [Self::InsertB, Self::Login, Self::Destroy, Self::Begin];

    /// Those that are enough for three at once.
    pub(super) const THREE: [Self; 3] = [Self::InsertB, Self::Login, Self::Destroy];

    /// Whether it ends the session that it is done to.
    pub(super) fn ends(self) -> bool {
        matches!(self, Self::Destroy | Self::Begin)
    }
}

/// How finely requests are interleaved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// The calls of a backend that a save makes in one step.
    pub(super) calls: usize,
    /// Whether ten seconds pass somewhere.
    pub(super) grace_passes: bool,
    /// Whether the first request is cancelled somewhere, or its answer gets lost.
    pub(super) is_cut_off: bool,
}

/// A backend whose calls are steps.
struct Stepping(Memory);

thread_local! {
    /// How many calls may still be made in this step.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

async fn call() {
    poll_fn(|_| match CALLS.get() {
        0 => Poll::Pending,
        calls => {
            CALLS.set(calls - 1);
            Poll::Ready(())
        }
    })
    .await;
}

impl Backend for Stepping {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        call().await;
        self.0.load(key).await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        call().await;
        self.0.put(key, entry).await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        call().await;
        self.0.touch(key, ttl).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        call().await;
        self.0.remove(key).await
    }
}

enum Store {
    Cookie(CookieStore),
    Server(ServerStore<Stepping>),
}

impl Store {
    async fn load(&self, request: &HeaderMap) -> Session {
        match self {
            Self::Cookie(store) => store.load(request),
            Self::Server(store) => store.load(request).await.unwrap(),
        }
    }

    async fn save(&self, session: &Session) -> Result<HeaderMap, SaveError> {
        let mut response = HeaderMap::new();
        match self {
            Self::Cookie(store) => store.save(session, &mut response)?,
            Self::Server(store) => store.save(session, &mut response).await?,
        }
        Ok(response)
    }
}

/// What an answer says about the cookie.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    Nothing,
    Removal,
    Token(String),
}

/// What has become of a request. Times are numbers of steps.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) op: Op,
    pub(super) n: usize,
    pub(super) loaded_at: usize,
    pub(super) saved_at: usize,
    pub(super) arrived_at: usize,
    /// The life of the cookie that it came with.
    pub(super) life: Option<usize>,
    pub(super) origin: Origin,
    pub(super) came_whole: bool,
    /// Its session's, when it was loaded and when it was saved.
    pub(super) ids: [Option<SessionId>; 2],
    pub(super) claimed: bool,
    /// Whether there was anything to save: removing what is not there is no change.
    pub(super) has_changed: bool,
    pub(super) sent: Result<Sent, SaveError>,
    /// The life that it has begun.
    pub(super) begun: Option<usize>,
    /// It was cut off, so nobody knows how far it got.
    pub(super) is_cut_off: bool,
    pub(super) answer: HeaderMap,
}

/// A run from the first request to the last answer.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) done: Vec<Done>,
    /// Those that have loaded their sessions and are not answered yet.
    running: Vec<Done>,
    /// Tokens that were given out, each with the life that it is of. What is renewed or changes
    /// its place goes on; what is begun after an end is another one.
    pub(super) tokens: Vec<(String, usize)>,
    pub(super) lives: usize,
    pub(super) waited_at: Option<usize>,
    /// What the browser has in the end.
    pub(super) browser: Browser,
    steps: Vec<String>,
}

impl History {
    pub(super) fn told(&self) -> String {
        let mut told = String::new();
        for (n, step) in self.steps.iter().enumerate() {
            writeln!(told, "{n:3}  {step}").unwrap();
        }
        told
    }

    /// Nothing more comes of the first request.
    fn cut_off(&mut self) {
        let first = self.running.extract_if(.., |done| done.n == 0).next();
        let mut done = first.unwrap();
        (done.saved_at, done.arrived_at) = (self.steps.len(), self.steps.len());
        done.is_cut_off = true;
        self.done.push(done);
        self.steps.push("1 is cut off".to_owned());
    }

    fn life_of(&self, request: &HeaderMap) -> Option<usize> {
        let sent = request.get("cookie")?.to_str().unwrap();
        let known = self.tokens.iter().find(|(token, _)| token == sent);
        known.map(|(_, life)| *life)
    }
}

pub(super) struct World {
    pub(super) place: Place,
    clock: Clock,
    /// When the latest run began.
    start: Cell<SystemTime>,
    store: Store,
    /// Which gives out the first cookie.
    before: Option<CookieStore>,
}

impl World {
    pub(super) fn new(place: Place) -> Self {
        let clock = Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let (app_key, list) = (key(), RevocationList::new());
        let cookie_store = || {
            store(&clock, app_key.clone(), |builder| match place.is_listed() {
                true => builder.revocations(list.clone()),
                false => builder,
            })
        };
        let server_store = || {
            let (asked, theirs) = (clock.clone(), clock.clone());
            let memory = Memory::builder().clock(move || theirs.now());
            let builder = ServerStore::builder(app_key.clone(), Stepping(memory.build().unwrap()))
                .clock(move || asked.now());
            let builder = match place {
                Place::Large { .. } | Place::Small { .. } => builder.small_in_cookie(),
                Place::Adopting { .. } => builder.adopt_cookies(),
                _ => builder,
            };
            let builder = match place.is_listed() {
                true => builder.revocations(list.clone()),
                false => builder,
            };
            builder.build().unwrap()
        };
        let adopts = matches!(place, Place::Adopting { .. });
        Self {
            place,
            store: match place {
                Place::Cookie { .. } => Store::Cookie(cookie_store()),
                _ => Store::Server(server_store()),
            },
            before: adopts.then(cookie_store),
            start: Cell::new(clock.now()),
            clock: clock.clone(),
        }
    }

    fn alone<F: Future>(future: F) -> F::Output {
        CALLS.set(usize::MAX);
        now(future)
    }

    pub(super) fn load(&self, request: &HeaderMap) -> Session {
        Self::alone(self.store.load(request))
    }

    pub(super) fn request(&self, browser: &Browser) -> HeaderMap {
        browser.send(self.clock.now())
    }

    pub(super) fn receive(&self, browser: &mut Browser, answer: &HeaderMap) {
        browser.receive(answer, self.clock.now());
    }

    /// Whether a change in this session can be saved.
    pub(super) fn can_save(&self, session: &Session) -> bool {
        session.insert("z", 1).unwrap();
        Self::alone(self.store.save(session))
            .is_ok_and(|answer| !sets_no_cookie(&answer) || session.contains("z"))
    }

    /// A request that nothing comes between.
    fn visit(&self, browser: &mut Browser, handler: impl FnOnce(&Session)) {
        let session = self.load(&self.request(browser));
        handler(&session);
        let response = Self::alone(self.store.save(&session)).unwrap();
        browser.receive(&response, self.clock.now());
    }

    pub(super) fn wait(&self) {
        self.clock.forward(GRACE);
    }

    fn first_cookie(&self) -> Browser {
        let large = matches!(self.place, Place::Large { .. });
        let mut browser = Browser::default();
        let fill = |session: &Session| {
            // So that no cookie that holds a session is as short as one that holds none.
            session.insert("kept", 1).unwrap();
            session.insert("voucher", "v").unwrap();
            let length = if large { LARGE } else { 1 };
            session.insert("old", "o".repeat(length)).unwrap();
        };
        match &self.before {
            Some(before) => {
                let session = before.load(&HeaderMap::new());
                fill(&session);
                let mut response = HeaderMap::new();
                before.save(&session, &mut response).unwrap();
                browser.receive(&response, self.clock.now());
            }
            None => self.visit(&mut browser, fill),
        }
        browser
    }

    /// What the requests come to in the order that is chosen; `None` if another run has the same
    /// order.
    pub(super) fn run(
        &self,
        ops: &[Op],
        detail: Detail,
        schedules: &mut Schedules,
    ) -> Option<History> {
        // Marks and entries of earlier runs are gone.
        self.clock.forward(10 * MINUTE);
        self.start.set(self.clock.now());
        let browser = self.first_cookie();
        let first = self.request(&browser);
        let token = first["cookie"].to_str().unwrap().to_owned();
        let history = RefCell::new(History {
            tokens: vec![(token, 0)],
            lives: 1,
            browser,
            ..History::default()
        });
        let nexts: Vec<_> = (0..=ops.len()).map(|_| Cell::new(Step::Load)).collect();
        let mut actors: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = Vec::new();
        for (n, op) in ops.iter().enumerate() {
            actors.push(Some(Box::pin(self.act(&history, &nexts[n], n, *op))));
        }
        if detail.grace_passes {
            nexts[ops.len()].set(Step::Wait);
            actors.push(Some(Box::pin(async {
                self.wait();
                let mut history = history.borrow_mut();
                history.waited_at = Some(history.steps.len());
                history.steps.push("ten seconds pass".to_owned());
            })));
        }
        let mut is_to_be_cut_off = detail.is_cut_off;
        loop {
            let ready = actors
                .iter()
                .enumerate()
                .filter(|(_, actor)| actor.is_some());
            let mut ready: Vec<_> = ready.map(|(who, _)| (who, nexts[who].get())).collect();
            if ready.is_empty() {
                break;
            }
            let is_running = history.borrow().running.iter().any(|done| done.n == 0);
            if is_to_be_cut_off && is_running {
                ready.push((nexts.len(), Step::CutOff));
            }
            let who = schedules.choose(&ready)?;
            if who == nexts.len() {
                is_to_be_cut_off = false;
                actors[0] = None;
                history.borrow_mut().cut_off();
                continue;
            }
            CALLS.set(detail.calls);
            let actor = actors[who].as_mut().unwrap();
            let (step, length) = (nexts[who].get(), history.borrow().steps.len());
            let polled = actor.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                actors[who] = None;
            }
            let mut history = history.borrow_mut();
            if step == Step::Save && history.steps.len() == length {
                let told = format!("{} has called the backend for its save", who + 1);
                history.steps.push(told);
            }
        }
        drop(actors);
        // Otherwise, the first request was answered before it was cut off.
        (!is_to_be_cut_off).then(|| history.into_inner())
    }

    async fn act(&self, history: &RefCell<History>, next: &Cell<Step>, n: usize, op: Op) {
        let (mut done, session) = {
            let (request, life) = {
                let history = history.borrow();
                let request = self.request(&history.browser);
                let life = history.life_of(&request);
                (request, life)
            };
            let session = self.store.load(&request).await;
            let mut history = history.borrow_mut();
            let loaded_at = history.steps.len();
            let token = request.get("cookie");
            let came_whole = token.is_some_and(|token| token.len() > NAME.len() + 1 + STUB);
            let (origin, id) = (session.origin(), session.id());
            let told = format!("{} ({op:?}) loads: {origin:?}, life {life:?}", n + 1);
            history.steps.push(told);
            let claimed = self.handle(&session, n, op);
            let done = Done {
                op,
                n,
                loaded_at,
                saved_at: 0,
                arrived_at: 0,
                life,
                origin,
                came_whole,
                ids: [id, None],
                claimed,
                has_changed: session.status() != Status::Unmodified,
                sent: Ok(Sent::Nothing),
                begun: None,
                is_cut_off: false,
                answer: HeaderMap::new(),
            };
            history.running.push(done.clone());
            (done, session)
        };
        pause(next, Step::Save).await;
        let response = self.store.save(&session).await;
        {
            let mut history = history.borrow_mut();
            done.saved_at = history.steps.len();
            done.ids[1] = session.id();
            done.sent = response.as_ref().map_err(Clone::clone).map(|response| {
                if sets_no_cookie(response) {
                    Sent::Nothing
                } else if is_removal(set_cookie(response)) {
                    Sent::Removal
                } else {
                    Sent::Token(pair(response).to_owned())
                }
            });
            if let Ok(Sent::Token(token)) = &done.sent {
                let goes_on = done.origin == Origin::Opened && done.op != Op::Begin;
                let life = done.life.filter(|_| goes_on).unwrap_or(history.lives);
                if !goes_on {
                    done.begun = Some(life);
                    history.lives += 1;
                }
                history.tokens.push((token.clone(), life));
            }
            let said = match &done.sent {
                Ok(Sent::Nothing) => "no cookie".to_owned(),
                Ok(Sent::Removal) => "a removal".to_owned(),
                Ok(Sent::Token(_)) => {
                    let life = history.tokens.last().map(|it| it.1);
                    format!("a cookie of life {life:?}")
                }
                Err(error) => format!("error: {error}"),
            };
            history
                .steps
                .push(format!("{} ({op:?}) is saved: {said}", n + 1));
        }
        let sets_cookie = !matches!(done.sent, Ok(Sent::Nothing) | Err(_));
        pause(next, Step::Arrive { sets_cookie }).await;
        let mut history = history.borrow_mut();
        done.arrived_at = history.steps.len();
        done.answer = response.unwrap_or_default();
        history.browser.receive(&done.answer, self.clock.now());
        history
            .steps
            .push(format!("{} ({op:?}) is answered", n + 1));
        history.running.retain(|other| other.n != n);
        history.done.push(done);
    }

    /// Tells whether something was claimed.
    fn handle(&self, session: &Session, n: usize, op: Op) -> bool {
        match op {
            Op::Read => drop(session.get::<String>("old").unwrap()),
            Op::InsertA => session.insert("a", n).unwrap(),
            Op::InsertB => session.insert("b", self.b(n)).unwrap(),
            Op::Remove => session.remove("old"),
            Op::Clear => {
                session.clear();
                session.insert("cleared", n).unwrap();
            }
            Op::Expire => session.set_expiry(self.deadline(n)).unwrap(),
            Op::Claim => match session.claim::<String>("voucher") {
                Ok(voucher) => return voucher.is_some(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotClaimable);
                }
            },
            Op::Renew => session.renew(),
            Op::Login => {
                session.log_in().unwrap();
                session.insert("user", n).unwrap();
            }
            Op::Destroy => session.destroy(),
            Op::Begin => {
                session.destroy();
                session.insert("user", n).unwrap();
            }
        }
        false
    }

    pub(super) fn b(&self, n: usize) -> String {
        let is_large = matches!(self.place, Place::Small { .. });
        let length = if is_large { LARGE } else { 1 };
        n.to_string().repeat(length)
    }

    pub(super) fn deadline(&self, n: usize) -> SystemTime {
        self.start.get() + HOUR * u32::try_from(2 + n).unwrap()
    }
}

/// Lets others go first; `step` is what comes then.
async fn pause(next: &Cell<Step>, step: Step) {
    next.set(step);
    let mut has_waited = false;
    poll_fn(|_| match std::mem::replace(&mut has_waited, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
