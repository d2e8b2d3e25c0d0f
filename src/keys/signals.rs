//! Signals between envelopes, which work in requests, and the thread that polls the key store.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::envelope::{KeyId, Watch};
use crate::store::Clock;
use crate::time::Millis;

/// Tokens of unknown keys cause at most one poll in this time.
pub(super) const APART: Duration = Duration::from_secs(5);

/// If a good poll did not find an id, no poll is made for it again for this long.
const FORGET: Duration = Duration::from_secs(60);

/// How many such ids are remembered.
const REMEMBERED: usize = 256;

pub(super) struct Signals {
    pub(super) clock: Box<Clock>,
    max_staleness: Option<Duration>,
    heard: Mutex<Option<Heard>>,
    /// Asked for by tokens, which anybody can send.
    asked: Mutex<Asked>,
    /// Asked for by those who wait for the answer.
    awaited: Mutex<Asked>,
    alarm: Mutex<Alarm>,
    rings: Condvar,
}

/// When the store last answered, by two clocks. One stands still while the machine is suspended,
/// and somebody may set the other back.
#[derive(Clone, Copy)]
struct Heard {
    at: Millis,
    ticks: Instant,
}

#[derive(Default)]
struct Asked {
    /// The ids that were asked for since the last good poll.
    new: Vec<KeyId>,
    /// The ids that the store did not have, and when a poll last looked.
    unknown: BTreeMap<KeyId, Millis>,
}

#[derive(Default)]
struct Alarm {
    is_over: bool,
    is_asked_for: bool,
}

/// Why the waiting thread wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Time,
    Asked,
    Over,
}

/// The answer to somebody who asks for an unknown key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// A poll is needed.
    Asked,
    /// Somebody has asked before, and a poll is under way.
    UnderWay,
    /// A poll is needed, but so many unknown ids come that nobody should wait for it.
    Flooded,
    /// The store did not have it a moment ago.
    Nowhere,
}

impl Asked {
    fn ask(&mut self, id: KeyId, now: Millis) -> Sought {
        let looked_at = self.unknown.get(&id);
        if looked_at.is_some_and(|at| is_recent(*at, now)) {
            return Sought::Nowhere;
        }
        let unknown = self.unknown.values().filter(|at| is_recent(**at, now));
        if unknown.count() >= REMEMBERED {
            return Sought::Flooded;
        }
        if self.new.len() >= REMEMBERED || self.new.contains(&id) {
            return Sought::UnderWay;
        }
        self.new.push(id);
        Sought::Asked
    }

    fn looked(&mut self, is_known: impl Fn(KeyId) -> bool, now: Millis) {
        for id in std::mem::take(&mut self.new) {
            self.unknown.insert(id, now);
        }
        self.unknown
            .retain(|id, at| is_recent(*at, now) && !is_known(*id));
        while self.unknown.len() > REMEMBERED {
            let oldest = self.unknown.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.unknown.remove(&oldest);
        }
    }
}

fn is_recent(at: Millis, now: Millis) -> bool {
    now.since(at).max(at.since(now)) < FORGET
}

impl Signals {
    pub(super) fn new(clock: Box<Clock>, max_staleness: Option<Duration>) -> Self {
        Self {
            clock,
            max_staleness,
            heard: Mutex::default(),
            asked: Mutex::default(),
            awaited: Mutex::default(),
            alarm: Mutex::default(),
            rings: Condvar::new(),
        }
    }

    pub(super) fn now(&self) -> Millis {
        SystemTime::into((self.clock)())
    }

    pub(super) fn is_limited(&self) -> bool {
        self.max_staleness.is_some()
    }

    /// Records that a poll which began at this moment has found a good ring.
    pub(super) fn heard(&self, at: Millis, ticks: Instant) {
        *locked(&self.heard) = Some(Heard { at, ticks });
    }

    /// Records which of the keys that were asked for a good poll has found.
    pub(super) fn looked(&self, is_known: impl Fn(KeyId) -> bool) {
        let now = self.now();
        for asked in [&self.asked, &self.awaited] {
            locked(asked).looked(&is_known, now);
        }
    }

    /// Asks for a poll because of `id`, unless one has just been made.
    #[cfg(feature = "redis")]
    pub(super) fn seek(&self, id: KeyId) -> Sought {
        self.ask(&self.awaited, id)
    }

    fn ask(&self, asked: &Mutex<Asked>, id: KeyId) -> Sought {
        let sought = locked(asked).ask(id, self.now());
        if matches!(sought, Sought::Asked | Sought::Flooded) {
            locked(&self.alarm).is_asked_for = true;
            self.rings.notify_all();
        }
        sought
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        locked(&self.alarm).is_over = true;
        self.rings.notify_all();
    }

    /// Waits for `pause`, or until somebody asks for a poll. During the first `quiet` part, nobody
    /// can.
    pub(super) fn wait(&self, pause: Duration, quiet: Duration) -> Call {
        let quiet = quiet.min(pause);
        let call = self.wait_for(quiet, |alarm| alarm.is_over);
        if call == Call::Over {
            return call;
        }
        self.wait_for(pause.saturating_sub(quiet), |alarm| {
            alarm.is_over || alarm.is_asked_for
        })
    }

    fn wait_for(&self, pause: Duration, is_called: impl Fn(&Alarm) -> bool) -> Call {
        let alarm = locked(&self.alarm);
        let waited = self
            .rings
            .wait_timeout_while(alarm, pause, |alarm| !is_called(alarm));
        let (mut alarm, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if alarm.is_over {
            return Call::Over;
        }
        if timeout.timed_out() {
            return Call::Time;
        }
        alarm.is_asked_for = false;
        Call::Asked
    }
}

impl Watch for Signals {
    fn is_current(&self) -> bool {
        let Some(limit) = self.max_staleness else {
            return true;
        };
        let Some(heard) = *locked(&self.heard) else {
            return false;
        };
        let now = self.now();
        let by_clock = now.since(heard.at).max(heard.at.since(now));
        by_clock.max(heard.ticks.elapsed()) <= limit
    }

    fn misses(&self, id: KeyId) {
        self.ask(&self.asked, id);
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
