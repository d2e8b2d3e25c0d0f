//! Requests of one browser and their sessions, with the clock moving and the keys changing in
//! between, against a plain model of all that.

mod model;
mod story;

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::{Arbitrary, Unstructured};
use sealed_session::fuzzing::{Envelope, respond_with_failing_random};
use sealed_session::{AppKey, CookieStore, KeyRing, Outgoing, Refusal, Session, Value};

use crate::reference::{Record, read_record, value_bytes};
use model::{Due, Idle, LONGEST_MAX_AGE, NAME, Settings, Visit};
use story::{Key, Pick, Span, Step, Story};

const START: u64 = 1_800_000_000_000;
const REMOVAL: &str = "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; \
                       Expires=Thu, 01 Jan 1970 00:00:00 GMT";
/// The browser of this story has no more cookies than these, in any one order.
const JAR: usize = 6;
const MAX_STEPS: usize = 64;

static KEYS: LazyLock<[AppKey; 3]> = LazyLock::new(|| {
    [3, 5, 7].map(|step| {
        let bytes: Vec<u8> = (0..32).map(|n: u8| n.wrapping_mul(step)).collect();
        AppKey::from_bytes(&bytes).expect("32 bytes")
    })
});

static ENVELOPES: LazyLock<[Envelope; 3]> = LazyLock::new(|| {
    KEYS.each_ref()
        .map(|key| Envelope::new(&key.clone().into(), NAME))
});

static ELSEWHERE: LazyLock<CookieStore> = LazyLock::new(|| CookieStore::new(KEYS[0].clone()));

/// `data`: a story, as `arbitrary` reads it.
pub fn session(data: &[u8]) {
    if let Ok(story) = Story::arbitrary_take_rest(Unstructured::new(data)) {
        let mut world = World::new(&story);
        for step in story.steps.iter().take(MAX_STEPS) {
            world.take(step);
            world.check();
        }
    }
}

struct World {
    settings: Settings,
    clock: Arc<AtomicU64>,
    store: CookieStore,
    sealing: usize,
    accepted: [bool; 3],
    /// Tokens, under which key, and what they hold.
    jar: Vec<(String, usize, Record)>,
    session: Session,
    visit: Visit,
}

impl World {
    fn new(story: &Story) -> Self {
        let lifetime = story.lifetime.millis().max(1);
        let max_lifetime = lifetime.max(story.max_lifetime.millis());
        let idle = story.idle.map(|(timeout, refresh)| {
            let timeout = timeout.millis().max(2);
            let refresh_after = (timeout * u64::from(refresh) / 256).max(1);
            Idle {
                timeout,
                refresh_after,
            }
        });
        let settings = Settings {
            lifetime,
            max_lifetime,
            idle,
            not_before: 0,
        };
        let clock = Arc::new(AtomicU64::new(START));
        let now = Arc::clone(&clock);
        let mut builder = CookieStore::builder(KEYS[0].clone())
            .lifetime(Duration::from_millis(lifetime))
            .max_lifetime(Duration::from_millis(max_lifetime))
            .clock(move || moment(now.load(Ordering::Relaxed)));
        if let Some(idle) = idle {
            builder = builder
                .idle_timeout(Duration::from_millis(idle.timeout))
                .refresh_after(Duration::from_millis(idle.refresh_after));
        }
        let store = builder.build().expect("settings that can be");
        let session = store.load_from::<str>([]);
        Self {
            visit: Visit::load(Vec::new(), 0, &settings, START),
            settings,
            clock,
            store,
            sealing: 0,
            accepted: [false; 3],
            jar: Vec::new(),
            session,
        }
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Load(picks) => (self.session, self.visit) = self.load(picks),
            Step::New => {
                self.session = Session::new();
                self.visit = Visit::fresh(sealed_session::Origin::Absent, None);
            }
            Step::Save => self.save(),
            Step::SaveWithoutRandom(successes) => self.save_without_random(*successes % 2),
            Step::SaveElsewhere => {
                let is_refused = ELSEWHERE.respond(&self.session).is_err();
                if self.visit.read_at.is_some() {
                    assert!(is_refused, "a session of another store");
                } else {
                    // It may be saved there, and has its id from then on.
                    (self.session, self.visit) = self.load(&[]);
                }
            }
            Step::Wait(span) => _ = self.clock.fetch_add(span.millis(), Ordering::Relaxed),
            Step::TurnBack(span) => {
                let earlier = self.moment_near(false, *span);
                self.clock.store(earlier, Ordering::Relaxed);
            }
            Step::Rotate { sealing, accepted } => self.rotate(usize::from(*sealing) % 3, *accepted),
            Step::Cutoff { in_future, span } => {
                self.settings.not_before = self.moment_near(*in_future, *span);
                self.store.set_not_before(moment(self.settings.not_before));
            }
            step => self.handle(step),
        }
    }

    /// What a handler does with its session.
    fn handle(&mut self, step: &Step) {
        match step {
            Step::Insert(key, content) => {
                let fits = self.visit.insert(key.name(), value_bytes(&content.value()));
                let inserted = self.session.insert(key.name(), content.value());
                assert_eq!(inserted.is_ok(), fits, "{inserted:?}");
            }
            Step::Remove(key) => {
                self.visit.remove(key.name());
                self.session.remove(key.name());
            }
            Step::Take(key) => {
                let taken = self.session.take::<Value>(key.name()).expect("a value");
                let taken = taken.map(|value| value_bytes(&value));
                assert_eq!(taken, self.visit.remove(key.name()));
            }
            Step::Update(key, content) => {
                let before = self.visit.values().get(key.name()).cloned();
                let fits = self.visit.insert(key.name(), value_bytes(&content.value()));
                let updated = self.session.update(key.name(), |value: Option<Value>| {
                    assert_eq!(value.map(|value| value_bytes(&value)), before);
                    content.value()
                });
                assert_eq!(updated.is_ok(), fits, "{updated:?}");
            }
            Step::Flash(key, content) => {
                let fits = self.visit.flash(key.name(), value_bytes(&content.value()));
                let set = self.session.flash(key.name(), content.value());
                assert_eq!(set.is_ok(), fits, "{set:?}");
            }
            Step::TakeFlash(key) => {
                let taken = self
                    .session
                    .take_flash::<Value>(key.name())
                    .expect("a value");
                let taken = taken.map(|value| value_bytes(&value));
                assert_eq!(taken, self.visit.take_flash(key.name()));
            }
            Step::Subject(length) => {
                let subject = "s".repeat(long(*length));
                let fits = self.visit.set_name(|visit| &mut visit.subject, &subject);
                assert_eq!(self.session.set_subject(subject).is_ok(), fits);
            }
            Step::Label(length) => {
                let label = "l".repeat(long(*length));
                let fits = self.visit.set_name(|visit| &mut visit.label, &label);
                assert_eq!(self.session.set_label(label).is_ok(), fits);
            }
            Step::Sid(length) => {
                let sid = "i".repeat(long(*length));
                let fits = self.visit.set_name(|visit| &mut visit.sid, &sid);
                assert_eq!(self.session.set_sid(sid).is_ok(), fits);
            }
            Step::LogIn => {
                let fits = self.visit.log_in();
                assert_eq!(self.session.log_in().is_ok(), fits);
            }
            Step::Expire { in_future, span } => {
                let expires_at = self.moment_near(*in_future, *span);
                let is_allowed = self.visit.set_expiry(expires_at, &self.settings);
                let set = self.session.set_expiry(moment(expires_at));
                assert_eq!(set.is_ok(), is_allowed, "{set:?}");
            }
            Step::Merge(pick) => {
                let (session, visit) = self.load(std::slice::from_ref(pick));
                let fits = self.visit.merge(&visit);
                assert_eq!(self.session.merge(&session).is_ok(), fits);
            }
            Step::MergeItself => self
                .session
                .merge(&self.session.clone())
                .expect("no change"),
            Step::Remember(remember) => {
                self.visit.remember(*remember);
                self.session.remember(*remember);
            }
            Step::Clear => {
                self.visit.clear();
                self.session.clear();
            }
            Step::Renew => {
                self.visit.renew();
                self.session.renew();
            }
            Step::Destroy => {
                self.visit.destroy();
                self.session.destroy();
            }
            other => unreachable!("{other:?} is the world's, not a handler's"),
        }
    }

    /// Not before 1970, as in the crate.
    fn moment_near(&self, is_later: bool, span: Span) -> u64 {
        if is_later {
            self.now() + span.millis()
        } else {
            self.now().saturating_sub(span.millis())
        }
    }

    fn rotate(&mut self, sealing: usize, accepted: [bool; 3]) {
        (self.sealing, self.accepted) = (sealing, accepted);
        let mut ring = KeyRing::new(KEYS[sealing].clone());
        for (key, is_accepted) in KEYS.iter().zip(accepted) {
            if is_accepted {
                ring = ring.accept(key.clone()).expect("three ids");
            }
        }
        self.store.replace_keys(ring);
    }

    /// A request with up to three cookies of our name.
    fn load(&self, picks: &[Pick]) -> (Session, Visit) {
        let mut tokens: Vec<&str> = Vec::new();
        let mut cookies = Vec::new();
        for pick in picks.iter().take(3) {
            let from_jar = match pick {
                Pick::Jar(n) if !self.jar.is_empty() => {
                    Some(&self.jar[usize::from(*n) % self.jar.len()])
                }
                _ => None,
            };
            let token = from_jar.map_or("junk", |(token, ..)| token);
            if tokens.contains(&token) {
                continue;
            }
            tokens.push(token);
            cookies.push(match from_jar {
                None => Err(Refusal::Malformed),
                Some((_, key, _)) if *key != self.sealing && !self.accepted[*key] => {
                    Err(Refusal::UnknownKey)
                }
                Some((_, key, record)) => Ok((record.clone(), *key)),
            });
        }
        let pairs = tokens.iter().map(|token| format!("a=b; {NAME}={token}"));
        let header = pairs.collect::<Vec<_>>().join("; ");
        let session = self.store.load_from([&header]);
        let visit = Visit::load(cookies, self.sealing, &self.settings, self.now());
        (session, visit)
    }

    /// Whether the ring has lost the key of the session, so that a save must leave it. The request
    /// is over then.
    fn is_left(&mut self, due: &Due) -> bool {
        let key = self.visit.key_needed_for(due);
        if key.is_none_or(|key| key == self.sealing || self.accepted[key]) {
            return false;
        }
        let outgoing = self.store.respond(&self.session).expect("nothing to seal");
        assert_eq!(outgoing.set_cookies().next(), None);
        (self.session, self.visit) = self.load(&[]);
        true
    }

    fn save(&mut self) {
        let due = self.visit.due(&self.settings, self.now());
        if self.is_left(&due) {
            return;
        }
        let outgoing = self
            .store
            .respond(&self.session)
            .expect("a session that fits");
        self.sent(due, &outgoing);
    }

    /// Compares what is sent with what is due, and puts it into the jar.
    fn sent(&mut self, due: Due, outgoing: &Outgoing) {
        let mut set_cookies = outgoing.set_cookies();
        let set_cookie = set_cookies.next();
        assert_eq!(set_cookies.next(), None);
        let mut record = match due {
            Due::Record(record) => record,
            Due::Nothing | Due::Removal => {
                assert_eq!(set_cookie, (due == Due::Removal).then_some(REMOVAL));
                return self.visit.told(None, &self.settings);
            }
        };
        let set_cookie = set_cookie.expect("a cookie that is due");
        let pair = set_cookie.split(';').next().unwrap_or_default();
        assert!(pair.len() - 1 <= 4096, "browsers drop what is longer");
        let token = pair.strip_prefix("__Host-session=").expect("our cookie");
        let plaintext = ENVELOPES[self.sealing].open(token.as_bytes(), 4096);
        let sealed = read_record(&plaintext.expect("under the sealing key")).expect("a record");
        if self.visit.birth().is_none() {
            let is_known = self.jar.iter().any(|(_, _, known)| known.id == sealed.id);
            assert!(!is_known, "a new session has a new id");
            record.id = sealed.id;
        }
        assert_eq!(sealed, record);
        let rest = self.settings.deadline(&record) - self.now();
        let seconds = rest.min(LONGEST_MAX_AGE).div_ceil(1000);
        let suffix = format!("; Max-Age={seconds}");
        assert_eq!(
            set_cookie.ends_with(&suffix),
            !record.transient,
            "{set_cookie}"
        );
        assert_eq!(set_cookie.contains("Max-Age"), !record.transient);

        self.visit.told(Some(&record), &self.settings);
        self.jar.push((token.to_owned(), self.sealing, record));
        if self.jar.len() > JAR {
            self.jar.remove(0);
        }
    }

    /// A save that needs randomness fails; the session is as it was.
    fn save_without_random(&mut self, successes: u8) {
        let due = self.visit.due(&self.settings, self.now());
        if self.is_left(&due) {
            return;
        }
        let calls = match &due {
            Due::Record(_) if self.visit.birth().is_some() => 1,
            Due::Record(_) => 2,
            Due::Nothing | Due::Removal => 0,
        };
        let outcome = respond_with_failing_random(&self.store, &self.session, successes.into());
        match outcome {
            Ok(outgoing) => {
                assert!(calls <= successes);
                self.sent(due, &outgoing);
            }
            Err(_) => assert!(calls > successes),
        }
    }

    fn check(&self) {
        let (session, visit) = (&self.session, &self.visit);
        assert_eq!(session.origin(), visit.origin);
        assert_eq!(session.status(), visit.status());
        assert_eq!(session.is_new(), visit.is_new());
        let birth = visit.birth();
        let id = session.id().map(|id| *id.as_bytes());
        assert_eq!(id, birth.map(|birth| birth.id));
        let issued_at = birth.map(|birth| moment(birth.issued_at));
        assert_eq!(session.issued_at(), issued_at);
        assert_eq!(
            session.expires_at(),
            visit.expires_at(&self.settings).map(moment)
        );
        let idle_end = visit.idle_expires_at(&self.settings).map(moment);
        assert_eq!(session.idle_expires_at(), idle_end);
        assert_eq!(session.subject().unwrap_or_default(), visit.subject);
        assert_eq!(session.label().unwrap_or_default(), visit.label);
        assert_eq!(session.sid().unwrap_or_default(), visit.sid);
        assert_eq!(session.logged_in_at(), visit.logged_in_at().map(moment));
        assert_eq!(session.len(), visit.values().len());
        assert_eq!(session.is_empty(), visit.values().is_empty());
        assert!(session.keys().iter().eq(visit.values().keys()));
        let map = session.to_map().expect("values");
        let map = map
            .iter()
            .map(|(key, value)| (key.clone(), value_bytes(value)));
        assert!(map.eq(visit.values().clone()));
        for key in (0..4).map(Key) {
            let value = session.get::<Value>(key.name()).expect("a value");
            let expected = visit.values().get(key.name());
            assert_eq!(value.map(|value| value_bytes(&value)).as_ref(), expected);
            assert_eq!(session.contains(key.name()), expected.is_some());
        }
    }
}

/// The length of a name: also one that is too long.
fn long(length: u8) -> usize {
    usize::from(length) + if length > 250 { 3 } else { 0 }
}

fn moment(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
