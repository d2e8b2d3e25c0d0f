//! One visitor's session that grows, shrinks, gets new ids and ends. The backend fails or hangs at
//! any call, and answers get lost. Whatever happens, the next request finds what was acknowledged.
//!
//! `cargo test` does some hundred stories. `WANDER=100000 cargo test --release --features
//! conformance --test server wander` does as many as you like. A failure names its story, and
//! `WANDER=1234..1235` runs that one alone.

use std::fmt::Write as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use http::HeaderMap;
use sealed_session::{RevocationList, SaveError, Session, Status};

use crate::shelf::Incident;
use crate::site::Site;
use crate::support::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % sides
    }

    /// A length, often so that the session is about as large as a cookie can hold.
    fn length(&mut self) -> usize {
        match self.roll(4) {
            0 => 1,
            1 => 1400 + self.roll(150),
            2 => 2860 + self.roll(200),
            _ => 6000,
        }
    }
}

/// What a handler sees of its session.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    values: Vec<(String, String)>,
    subject: Option<String>,
    expires_at: Option<SystemTime>,
}

impl Seen {
    fn in_session(session: &Session) -> Self {
        if session.id().is_none() {
            // No save has begun it, or its deadline has passed already.
            return Self::default();
        }
        let values = session.to_map().unwrap().into_iter();
        let values = values.map(|(key, value)| (key, format!("{value:?}")));
        Self {
            values: values.collect(),
            subject: session.subject(),
            expires_at: session.expires_at(),
        }
    }
}

fn change(session: &Session, now: SystemTime, dice: &mut Dice, told: &mut String) {
    let (what, length) = (dice.roll(15), dice.length());
    writeln!(told, "    change {what}, length {length}").unwrap();
    match what {
        0..=2 => session.insert("a", "x".repeat(length)).unwrap(),
        3 | 4 => session.insert("b", "y".repeat(length)).unwrap(),
        5 => session.remove("a"),
        6 => session.remove("b"),
        7 => session.clear(),
        8 => session.renew(),
        9 => session.log_in().unwrap(),
        10 => session.destroy(),
        11 => session.set_subject(length.to_string()).unwrap(),
        12 => session.flash("f", "z".repeat(length)).unwrap(),
        13 => {
            let ends = [now - SECOND, now + 20 * MINUTE, now + 5 * HOUR];
            // It may be later than a session that began yesterday can live.
            let _ = session.set_expiry(ends[length % 3]);
        }
        _ => session.remember(length > 2000),
    }
}

/// Plans that a call goes wrong. Perhaps no call like that comes.
fn trouble(site: &Site, dice: &mut Dice, told: &mut String) {
    let call = ["put", "remove", "load", "touch"][dice.roll(4)];
    let passes = dice.roll(3);
    for _ in 0..passes {
        site.shelf.plan(call, Incident::Passes);
    }
    let incidents = [
        ("fails", Incident::Fails),
        ("fails after it is done", Incident::FailsAfter),
        ("hangs", Incident::Waits),
        ("hangs after it is done", Incident::WaitsAfter),
    ];
    let (what, incident) = incidents.into_iter().nth(dice.roll(4)).unwrap();
    site.shelf.plan(call, incident);
    writeln!(told, "    after {passes}, a {call} {what}").unwrap();
}

/// `None` if the request is cancelled, because a call hangs.
fn try_save(
    site: &Site,
    session: &Session,
    answer: &mut HeaderMap,
) -> Option<Result<(), SaveError>> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(site.store.save(session, answer)).poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// A request with up to three saves. Returns what the next one may find.
fn request(site: &mut Site, dice: &mut Dice, told: &mut String) -> Vec<Seen> {
    let session = site.load();
    let before = Seen::in_session(&session);
    let (mut answer, mut last, mut unknown) = (HeaderMap::new(), None, Vec::new());
    let (mut is_touched, mut is_troubled) = (false, false);
    for _ in 0..=dice.roll(3) {
        for _ in 0..dice.roll(4) {
            change(&session, site.clock.now(), dice, told);
        }
        if dice.roll(3) == 0 {
            trouble(site, dice, told);
            is_troubled = true;
        }
        is_touched |= session.status() != Status::Unmodified;
        site.calls();
        let outcome = try_save(site, &session, &mut answer);
        writeln!(told, "    save: {outcome:?}, calls {:?}", site.calls()).unwrap();
        site.shelf.forget_plans();
        let seen = Seen::in_session(&session);
        match outcome {
            Some(Ok(())) => (last, unknown) = (Some(seen), Vec::new()),
            Some(Err(error)) => {
                assert!(error.backend().is_some() || error.is_conflict(), "{error}");
                unknown.push(seen);
            }
            None => unknown.push(seen),
        }
    }
    let arrives = dice.roll(8) != 0;
    if arrives {
        site.receive(&answer);
    }
    writeln!(told, "    the answer arrives: {arrives}").unwrap();
    // If the last save failed or nobody heard of it, its session may have ended, or may be under
    // an id that nobody has. If a touch failed, it may end from idleness.
    if is_troubled || !unknown.is_empty() || !arrives {
        unknown.push(Seen::default());
    }
    // Other requests may have moved what a request only reads.
    if !is_touched || !arrives || last.is_none() {
        unknown.push(before);
    }
    unknown.extend(last);
    unknown
}

fn story(seed: u64) {
    let mut dice = Dice(seed);
    let [adopts, gets_idle, has_list] = [4, 2, 2].map(|sides| dice.roll(sides) == 0);
    let mut site = Site::with(|builder| {
        let builder = match adopts {
            true => builder.adopt_cookies(),
            false => builder.small_in_cookie(),
        };
        let builder = match gets_idle {
            true => builder.idle_timeout(HOUR),
            false => builder,
        };
        match has_list {
            true => builder.revocations(RevocationList::new()),
            false => builder,
        }
    });
    let mut told = format!("adopts {adopts}, gets idle {gets_idle}, has a list {has_list}\n");
    let mut expected = vec![Seen::default()];
    for _ in 0..25 {
        let pause = match dice.roll(12) {
            0 => 61 * MINUTE,
            1 => 50 * MINUTE,
            _ => 20 * SECOND * u32::try_from(dice.roll(20)).unwrap(),
        };
        site.clock.forward(pause);
        let now = site.clock.now();
        let is_over = |seen: &Seen| seen.expires_at.is_some_and(|at| at <= now);
        for seen in &mut expected {
            if gets_idle && pause > HOUR || is_over(seen) {
                *seen = Seen::default();
            }
        }
        let session = site.load();
        writeln!(told, "after {pause:?}: {:?}", session.origin()).unwrap();
        let found = Seen::in_session(&session);
        assert!(
            expected.contains(&found),
            "story {seed}: {told}\nfound {found:#?}\nand not {expected:#?}"
        );
        expected = request(&mut site, &mut dice, &mut told);
    }
}

#[test]
fn a_session_that_moves_to_and_fro_through_failures_is_what_was_acknowledged() {
    let stories = std::env::var("WANDER").unwrap_or_else(|_| "300".to_owned());
    let (from, to) = stories.split_once("..").unwrap_or(("0", &stories));
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        story(seed);
    }
}
