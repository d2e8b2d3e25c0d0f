//! What the stores of the targets were told: the moment, the keys, and four sets of rules, each
//! with another one at work.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealed_session::{AppKey, KeyRing, Refusal, StoreBuilder};

use crate::reference::Record;

pub(crate) const NAME: &str = "__Host-session";
pub(crate) const NOW: u64 = 1_800_003_600_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const DAY: u64 = 24 * 60 * MINUTE;

#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) max_lifetime: u64,
    pub(crate) idle_timeout: Option<u64>,
    pub(crate) not_before: u64,
    /// What comes in is sealed under an accepted key.
    pub(crate) is_under_old_key: bool,
}

const PLAIN: Terms = Terms {
    max_lifetime: DAY,
    idle_timeout: None,
    not_before: 0,
    is_under_old_key: false,
};

pub(crate) const TERMS: [Terms; 4] = [
    PLAIN,
    Terms {
        is_under_old_key: true,
        ..PLAIN
    },
    Terms {
        max_lifetime: 90 * MINUTE,
        idle_timeout: Some(30 * MINUTE),
        ..PLAIN
    },
    Terms {
        max_lifetime: 30 * DAY,
        not_before: NOW - 30 * MINUTE,
        ..PLAIN
    },
];

impl Terms {
    /// A builder that has been told.
    pub(crate) fn tell<P>(&self, builder: StoreBuilder<P>) -> StoreBuilder<P> {
        let builder = builder
            .max_lifetime(Duration::from_millis(self.max_lifetime))
            .not_before(moment(self.not_before))
            .clock(|| moment(NOW));
        match self.idle_timeout {
            Some(timeout) => builder.idle_timeout(Duration::from_millis(timeout)),
            None => builder,
        }
    }

    /// The key of what comes in.
    pub(crate) fn incoming(&self) -> KeyRing {
        let [new, old] = keys();
        KeyRing::new(if self.is_under_old_key { old } else { new })
    }

    /// How long after its last use a backend is to keep a record.
    pub(crate) fn kept_for(&self) -> Option<u64> {
        self.idle_timeout.map(|timeout| timeout + 60 * MINUTE)
    }

    pub(crate) fn deadline(&self, record: &Record) -> u64 {
        record.expires_at.min(record.began_at() + self.max_lifetime)
    }

    /// Whether a record is admitted, but for its idle time.
    pub(crate) fn admit(&self, record: &Record) -> Result<(), Refusal> {
        if record.issued_at.max(record.seen_at) > NOW + MINUTE {
            Err(Refusal::Future)
        } else if NOW >= self.deadline(record) {
            Err(Refusal::Expired)
        } else if record.issued_at < self.not_before {
            Err(Refusal::Cutoff)
        } else {
            Ok(())
        }
    }
}

/// The sealing key and one that is accepted.
pub(crate) fn keys() -> [AppKey; 2] {
    [3, 5].map(|step| {
        let bytes: Vec<u8> = (0..32).map(|n| n * step).collect();
        AppKey::from_bytes(&bytes).expect("32 bytes")
    })
}

pub(crate) fn sealing() -> KeyRing {
    let [new, _] = keys();
    new.into()
}

pub(crate) fn ring() -> KeyRing {
    let [_, old] = keys();
    sealing().accept(old).expect("two ids")
}

pub(crate) fn moment(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
