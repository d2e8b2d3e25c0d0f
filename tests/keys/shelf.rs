//! A key store in memory that does what a test says, and processes with clocks of their own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealed_session::ManagedKeys;
use sealed_session::keys::{
    KeyEvent, KeyStore, KeyStoreError, KeyStoreErrorKind, ManagedKeysBuilder, Zeroizing,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A time that moves only when it is told to.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    pub(crate) fn new() -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000);
        Self(Arc::new(Mutex::new(start)))
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
}

/// What a shelf does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// It does not answer.
    Away,
    /// It takes what it gets, and the answer is lost.
    AnswerLost,
    /// It cannot be written.
    Full,
}

#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: Option<Vec<u8>>,
    fault: Fault,
    loads: usize,
    writes: usize,
    time: Option<Clock>,
}

impl Shelf {
    pub(crate) fn fault(&self, fault: Fault) {
        self.state(|state| state.fault = fault);
    }

    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        self.state(|state| state.bytes.clone())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes().unwrap()).unwrap()
    }

    pub(crate) fn put(&self, bytes: Option<Vec<u8>>) {
        self.state(|state| state.bytes = bytes);
    }

    pub(crate) fn loads(&self) -> usize {
        self.state(|state| state.loads)
    }

    /// Who has it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn writes(&self) -> usize {
        self.state(|state| state.writes)
    }

    /// Tells the time by this clock.
    pub(crate) fn time(&self, clock: &Clock) {
        self.state(|state| state.time = Some(clock.clone()));
    }

    fn state<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }
}

fn away() -> KeyStoreError {
    KeyStoreError::new(KeyStoreErrorKind::Unavailable, "shelf: it does not answer")
}

impl KeyStore for Shelf {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        self.state(|state| {
            state.loads += 1;
            match state.fault {
                Fault::Away => Err(away()),
                _ => Ok(state.bytes.clone().map(Zeroizing::new)),
            }
        })
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        self.state(|state| {
            match state.fault {
                Fault::Away => return Err(away()),
                Fault::Full => {
                    let full = "shelf: it is full";
                    return Err(KeyStoreError::new(KeyStoreErrorKind::Full, full));
                }
                Fault::None | Fault::AnswerLost => {}
            }
            let is_unchanged = state.bytes.as_deref() == there;
            if is_unchanged {
                state.bytes = Some(with.to_vec());
                state.writes += 1;
            }
            match state.fault {
                Fault::AnswerLost => Err(away()),
                _ => Ok(is_unchanged),
            }
        })
    }

    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn is_private(&self) -> bool {
        true
    }

    fn time(&self) -> Result<Option<SystemTime>, KeyStoreError> {
        Ok(self.state(|state| state.time.as_ref().map(Clock::now)))
    }
}

/// A process: its clock, its keys, and what it has noticed.
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) keys: ManagedKeys,
    events: Arc<Mutex<Vec<KeyEvent>>>,
}

/// A builder that polls only when it is told to.
pub(crate) fn builder(shelf: &Shelf, clock: &Clock) -> ManagedKeysBuilder {
    let clock = clock.clone();
    ManagedKeys::builder(shelf.clone())
        .without_thread()
        .clock(move || clock.now())
}

impl Process {
    pub(crate) fn start(shelf: &Shelf, clock: &Clock) -> Self {
        Self::start_with(clock, builder(shelf, clock))
    }

    pub(crate) fn start_with(clock: &Clock, builder: ManagedKeysBuilder) -> Self {
        let events = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&events);
        let keys = builder
            .on_event(move |event| seen.lock().unwrap().push(event))
            .build()
            .unwrap();
        Self {
            clock: clock.clone(),
            keys,
            events,
        }
    }

    pub(crate) fn poll(&self) {
        self.keys.refresh().unwrap();
    }

    /// What happened since the last call.
    pub(crate) fn events(&self) -> Vec<KeyEvent> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// Polls each hour for so long.
    pub(crate) fn live(&self, time: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            self.clock.forward(HOUR);
            self.poll();
        }
    }
}
