//! Random sequences of operations, against a plain model of what a session is.
//!
//! The model keeps maps. The library gets its session from a real Cookie header at each request
//! and gives it back in a real Set-Cookie; after each step everything that can be observed is
//! compared, and after each save also what the browser would bring back.

mod live;
mod op;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::SET_COOKIE;
use proptest::prelude::*;
use sealed_session::{AppKey, ErrorKind, Origin, Refusal, Session, SessionError, Status};

use crate::support::*;
use live::{Birth, Live, Sealed};
use op::{Op, op};

const LIFETIME: u64 = 12 * 3_600_000;
const MAX_LIFETIME: u64 = 24 * 3_600_000;
const IDLE: u64 = 3_600_000;
const SKEW: u64 = 60_000;

const NAMES: [&str; 3] = ["a", "b", "cc"];

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

fn moment(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

struct Model {
    site: Site,
    session: Session,
    response: HeaderMap,
    keys: Vec<AppKey>,
    oldest_key: usize,
    not_before: u64,
    /// What the browser has.
    cookie: Option<Sealed>,
    origin: Origin,
    read_at: u64,
    live: Live,
    /// What the response makes of the browser's cookie, if it says anything.
    answer: Option<Option<Sealed>>,
    ids: BTreeSet<[u8; 16]>,
}

impl Model {
    fn new() -> Self {
        let site = Site::with(|builder| {
            builder
                .lifetime(Duration::from_millis(LIFETIME))
                .max_lifetime(Duration::from_millis(MAX_LIFETIME))
                .idle_timeout(Duration::from_millis(IDLE))
        });
        let first = key();
        site.store.replace_keys(first.clone());
        Self {
            session: site.load(),
            response: HeaderMap::new(),
            keys: vec![first],
            oldest_key: 0,
            not_before: 0,
            cookie: None,
            origin: Origin::Absent,
            read_at: millis(site.clock.now()),
            live: Live::default(),
            answer: None,
            ids: BTreeSet::new(),
            site,
        }
    }

    fn now(&self) -> u64 {
        millis(self.site.clock.now())
    }

    fn sealing_key(&self) -> usize {
        self.keys.len() - 1
    }

    fn refusal(&self, sealed: &Sealed) -> Option<Refusal> {
        let Birth {
            issued,
            began,
            expires,
            ..
        } = sealed.birth;
        let now = self.now();
        if sealed.key < self.oldest_key {
            Some(Refusal::UnknownKey)
        } else if issued.max(sealed.seen) > now + SKEW {
            Some(Refusal::Future)
        } else if now >= expires.min(began + MAX_LIFETIME) {
            Some(Refusal::Expired)
        } else if issued < self.not_before {
            Some(Refusal::Cutoff)
        } else if now >= sealed.seen + IDLE {
            Some(Refusal::Idle)
        } else {
            None
        }
    }

    /// Where the session comes from that a browser with this cookie gets, and what it is.
    fn expected(&self, browser: &Browser, cookie: Option<&Sealed>) -> (Origin, Live) {
        let Some(sealed) = cookie else {
            return (Origin::Absent, Live::default());
        };
        let is_sent = !browser.send(self.site.clock.now()).is_empty();
        match self.refusal(sealed) {
            None => {
                assert!(is_sent, "the browser has forgotten a session that lives");
                let mut live = Live::of(sealed.clone());
                live.under_old_key = sealed.key != self.sealing_key();
                (Origin::Opened, live)
            }
            Some(refusal) if is_sent => (Origin::Refused(refusal), Live::default()),
            Some(_) => (Origin::Absent, Live::default()),
        }
    }

    fn next_request(&mut self) {
        self.site
            .browser
            .receive(&self.response, self.site.clock.now());
        if let Some(answer) = self.answer.take() {
            self.cookie = answer;
        }
        self.response = HeaderMap::new();
        self.session = self.site.load();
        self.read_at = self.now();
        (self.origin, self.live) = self.expected(&self.site.browser, self.cookie.as_ref());
    }

    /// What the library answers to a change that gives `next`, which then counts if it fits.
    fn expect_fit(&mut self, outcome: Result<(), SessionError>, mut next: Live) {
        let (before, after) = (self.live.content().size(), next.content().size());
        if after <= MAX_NAME_AND_VALUE || after <= before {
            outcome.unwrap();
            next.touched = true;
            self.live = next;
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert_eq!(error.sizes(), Some((after, MAX_NAME_AND_VALUE)));
        }
    }

    fn expect_name(&mut self, outcome: Result<(), SessionError>, size: usize, next: Live) {
        if size > 255 {
            assert_eq!(outcome.unwrap_err().sizes(), Some((size, 255)));
        } else {
            self.expect_fit(outcome, next);
        }
    }

    fn set_expiry(&mut self, deadline: u64) {
        let start = self.live.began().unwrap_or(self.read_at);
        let outcome = self.session.set_expiry(moment(deadline));
        if deadline > start + MAX_LIFETIME {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TooLongLived);
        } else {
            outcome.unwrap();
            self.live.chosen_expiry = Some(deadline);
            self.live.touched = true;
        }
    }

    fn apply(&mut self, op: Op) {
        let session = self.session.clone();
        let mut next = self.live.clone();
        match op {
            Op::Insert(name, size) => {
                let text = "x".repeat(size);
                next.values.insert(name, text.clone());
                let is_new = self.live.values.get(name) != Some(&text);
                let touched = self.live.touched || is_new;
                self.expect_fit(session.insert(name, text), next);
                self.live.touched = touched;
            }
            Op::InsertNothing(name) => {
                session.insert(name, None::<String>).unwrap();
                self.live.touched |= self.live.values.remove(name).is_some();
            }
            Op::Append(name) => {
                next.values.entry(name).or_default().push('y');
                let appended = |old: Option<String>| old.unwrap_or_default() + "y";
                self.expect_fit(session.update(name, appended), next);
            }
            Op::Remove(name) => {
                session.remove(name);
                self.live.touched |= self.live.values.remove(name).is_some();
            }
            Op::Take(name) => {
                let taken = self.live.values.remove(name);
                self.live.touched |= taken.is_some();
                assert_eq!(session.take::<String>(name).unwrap(), taken);
            }
            Op::Clear => {
                session.clear();
                self.live.touched |= !self.live.is_empty();
                self.live.values.clear();
                self.live.incoming.clear();
                self.live.outgoing.clear();
                self.live.subject.clear();
                self.live.label.clear();
                self.live.sid.clear();
                self.live.login = None;
                self.live.logs_in = false;
            }
            Op::Flash(name, size) => {
                let text = "f".repeat(size);
                next.outgoing.insert(name, text.clone());
                self.expect_fit(session.flash(name, text), next);
            }
            Op::FlashNothing(name) => {
                session.flash(name, None::<String>).unwrap();
                self.live.touched |= self.live.outgoing.remove(name).is_some();
            }
            Op::TakeFlash(name) => {
                let taken = self.live.incoming.remove(name);
                self.live.touched |= taken.is_some();
                assert_eq!(session.take_flash::<String>(name).unwrap(), taken);
            }
            Op::Subject(size) => {
                let subject = "s".repeat(size);
                next.subject.clone_from(&subject);
                self.expect_name(session.set_subject(subject), size, next);
            }
            Op::Label(size) => {
                let label = "l".repeat(size);
                next.label.clone_from(&label);
                self.expect_name(session.set_label(label), size, next);
            }
            Op::Sid(size) => {
                let sid = "i".repeat(size);
                next.sid.clone_from(&sid);
                self.expect_name(session.set_sid(sid), size, next);
            }
            Op::LogIn => {
                next.logs_in = true;
                next.renewed = true;
                next.birth = None;
                self.expect_fit(session.log_in(), next);
            }
            Op::Renew => {
                session.renew();
                self.live.renewed = true;
                self.live.birth = None;
            }
            Op::Destroy => {
                session.destroy();
                self.live = Live {
                    destroyed: true,
                    left: self.live.lost || self.live.left,
                    leaves_idle: self.live.leaves_idle,
                    ..Live::default()
                };
            }
            Op::LeaveIdle => {
                session.leave_idle();
                self.live.leaves_idle = true;
            }
            Op::Remember(remember) => {
                session.remember(remember);
                self.live.transient = Some(!remember);
                self.live.touched = true;
            }
            Op::SetExpiry { before, after } => {
                self.set_expiry(self.now() - before + after);
            }
            Op::KeepExpiry => {
                if let Some(deadline) = session.expires_at() {
                    self.set_expiry(millis(deadline));
                }
            }
            Op::Merge(values, flashes) => {
                let other = Session::new();
                for (name, size) in values {
                    let text = "m".repeat(size);
                    if other.insert(name, &text).is_ok() {
                        next.values.insert(name, text);
                    }
                }
                for (name, size) in flashes {
                    let text = "m".repeat(size);
                    if other.flash(name, &text).is_ok() {
                        next.outgoing.insert(name, text);
                    }
                }
                self.expect_fit(session.merge(&other), next);
            }
            Op::Save => self.save(),
            Op::DiscardResponse => {
                self.response = HeaderMap::new();
                self.answer = None;
            }
            Op::NextRequest => self.next_request(),
            Op::Forward(by) => self.site.clock.forward(Duration::from_millis(by)),
            Op::Back(by) => self.site.clock.back(Duration::from_millis(by)),
            Op::Rotate => {
                self.keys.push(key());
                self.oldest_key = self.sealing_key() - 1;
                let [.., old, new] = &self.keys[..] else {
                    unreachable!("there was a key before")
                };
                self.site.store.replace_keys(ring(&[new, old]));
            }
            Op::DropOldKey => {
                self.oldest_key = self.sealing_key();
                let only = self.keys[self.oldest_key].clone();
                self.site.store.replace_keys(only);
            }
            Op::Cutoff => {
                self.not_before = self.now();
                self.site.store.set_not_before(self.site.clock.now());
            }
        }
    }

    /// Saves a session whose key the ring has lost. It is over for this request too, and whatever
    /// the request makes of it.
    fn save_what_is_lost(&mut self, is_changed: bool) {
        let mut added = HeaderMap::new();
        self.site.store.save(&self.session, &mut added).unwrap();
        assert!(sets_no_cookie(&added));
        if is_changed || !self.live.lost {
            self.live = Live {
                lost: true,
                leaves_idle: self.live.leaves_idle,
                ..Live::default()
            };
        }
        self.probe();
    }

    fn save(&mut self) {
        let is_changed = self.session.status() == Status::Modified;
        let now = self.now();
        let is_due = self.live.loaded.as_ref().is_some_and(|loaded| {
            let is_stale = now.saturating_sub(loaded.seen) >= IDLE / 10;
            !self.live.leaves_idle && (self.live.under_old_key || is_stale)
        });
        // Not before the login, even if the clock has gone back since.
        let login = self.live.login.filter(|_| !self.live.logs_in);
        let earliest = now.max(login.unwrap_or(0));
        let issued = self.live.birth.map_or(earliest, |birth| birth.issued);
        let began = self.live.began().unwrap_or(now);
        let expires = self.live.expires().unwrap_or(now + LIFETIME);
        let deadline = expires.min(began + MAX_LIFETIME);
        let is_over = deadline <= now.max(issued) || issued < self.not_before;
        let loaded = self.live.loaded.as_ref();
        let has_no_key = loaded.is_some_and(|loaded| loaded.key < self.oldest_key);
        if self.live.lost || has_no_key && (is_changed || is_due && !is_over) {
            return self.save_what_is_lost(is_changed);
        }
        let mut added = HeaderMap::new();
        self.site.store.save(&self.session, &mut added).unwrap();
        self.site
            .store
            .save(&self.session, &mut self.response)
            .unwrap();
        if !is_changed && !is_due {
            let is_removed = self.live.destroyed && !self.live.left;
            assert_eq!(!sets_no_cookie(&added), is_removed);
            if is_removed {
                assert!(is_removal(set_cookie(&self.response)));
                self.answer = Some(None);
            }
        } else if is_over {
            assert!(is_removal(set_cookie(&self.response)));
            self.answer = Some(None);
        } else {
            let sealed = self.sealed(issued, began, expires, now);
            let rest = Duration::from_millis(deadline - now).as_secs_f64().ceil();
            let max_age = (!sealed.transient).then_some(Duration::from_secs_f64(rest));
            assert_eq!(crate::support::max_age(&self.response), max_age);
            let size = pair(&self.response).len() - "=".len();
            assert_eq!(size, sealed.content.size());
            self.answer = Some(Some(sealed));
            self.live.left = false;
        }
        self.live.sent |= is_changed;
        self.probe();
    }

    /// What a save puts into the cookie, with an id that was never seen before if it is new.
    fn sealed(&mut self, issued: u64, began: u64, expires: u64, now: u64) -> Sealed {
        let is_continued = self.live.loaded.is_some() && !self.live.renewed;
        let seen = match &self.live.loaded {
            Some(loaded) if is_continued => loaded.seen.max(now),
            _ => now,
        };
        let birth = self.live.birth.unwrap_or_else(|| Birth {
            id: self.session.id().unwrap(),
            issued,
            began,
            expires: self
                .live
                .outlived()
                .map_or(now + LIFETIME, |kept| kept.expires),
        });
        if self.live.birth.is_none() {
            assert!(self.ids.insert(*birth.id.as_bytes()), "an id came twice");
            self.live.birth = Some(birth);
        }
        let content = self.live.content();
        // If the cookie does not say when the lifetime began, its deadline has to.
        let is_capped = content.login.is_none() && began < issued;
        let latest = began
            + if is_capped {
                MAX_LIFETIME
            } else {
                u64::MAX / 2
            };
        let birth = Birth {
            began: content.login.unwrap_or(issued),
            expires: expires.min(latest),
            ..birth
        };
        Sealed {
            birth,
            seen,
            transient: self.live.transient.unwrap_or(false),
            content,
            key: self.sealing_key(),
        }
    }

    /// When the session ends from idleness, as far as that is settled.
    fn compare_idle_end(&self) {
        let is_changed = self.session.status() == Status::Modified;
        let used = match &self.live.loaded {
            Some(loaded) if !self.live.renewed => {
                let is_stale = self.read_at.saturating_sub(loaded.seen) >= IDLE / 10;
                let is_written = is_changed || is_stale && !self.live.leaves_idle;
                Some(if is_written {
                    loaded.seen.max(self.read_at)
                } else {
                    loaded.seen
                })
            }
            _ => self.live.birth.map(|birth| birth.issued),
        };
        let end = used.map(|used| moment(used + IDLE));
        assert_eq!(self.session.idle_expires_at(), end);
    }

    /// A browser that gets this response and asks at once finds what the response says.
    fn probe(&self) {
        let mut browser = self.site.browser.clone();
        browser.receive(&self.response, self.site.clock.now());
        assert!(self.response.get_all(SET_COOKIE).iter().count() <= 1);
        let cookie = self.answer.as_ref().unwrap_or(&self.cookie);
        let (origin, live) = self.expected(&browser, cookie.as_ref());
        let session = self.site.store.load(&browser.send(self.site.clock.now()));
        compare(&session, &live, origin);
        for name in NAMES {
            let flash = session.take_flash::<String>(name).unwrap();
            assert_eq!(flash.as_ref(), live.incoming.get(name));
        }
    }
}

/// Compares everything that can be observed without changing it.
fn compare(session: &Session, live: &Live, origin: Origin) {
    for name in NAMES {
        let value = live.values.get(name);
        assert_eq!(session.get::<String>(name).unwrap().as_ref(), value);
        assert_eq!(session.get::<u64>(name).is_err(), value.is_some());
        assert_eq!(session.contains(name), value.is_some());
    }
    assert!(session.keys().iter().eq(live.values.keys()));
    assert_eq!(session.len(), live.values.len());
    assert_eq!(session.is_empty(), live.values.is_empty());
    let map = session.to_map().unwrap();
    let texts = map
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    assert!(
        texts.eq(live
            .values
            .iter()
            .map(|(name, text)| (*name, text.as_str())))
    );
    let subject = Some(&live.subject).filter(|subject| !subject.is_empty());
    assert_eq!(session.subject().as_ref(), subject);
    assert_eq!(session.label().unwrap_or_default(), live.label);
    assert_eq!(session.sid().unwrap_or_default(), live.sid);
    let login = if live.logs_in {
        live.birth.map(|birth| birth.began)
    } else {
        live.login
    };
    assert_eq!(session.logged_in_at(), login.map(moment));
    assert_eq!(session.id(), live.birth.map(|birth| birth.id));
    assert_eq!(
        session.issued_at(),
        live.birth.map(|birth| moment(birth.issued))
    );
    let latest = live.began().map_or(u64::MAX, |began| began + MAX_LIFETIME);
    let deadline = live.expires().map(|expires| moment(expires.min(latest)));
    assert_eq!(session.expires_at(), deadline);
    assert_eq!(session.is_new(), live.loaded.is_none());
    assert_eq!(session.origin(), origin);
    match live.status() {
        Some(status) => assert_eq!(session.status(), status),
        None => assert_ne!(session.status(), Status::Destroyed),
    }
}

proptest! {
    #[test]
    fn a_session_is_what_a_plain_model_of_it_is(ops in prop::collection::vec(op(), 1..60)) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
            compare(&model.session, &model.live, model.origin);
            model.compare_idle_end();
        }
        model.save();
    }
}
