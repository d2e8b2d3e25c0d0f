//! A session as a cookie holds it and as a request has it, in plain maps.

use std::collections::BTreeMap;

use sealed_session::{SessionId, Status};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) flashes: BTreeMap<&'static str, String>,
    pub(super) subject: String,
}

impl Content {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of name and value of its cookie.
    pub(super) fn size(&self) -> usize {
        let varint = |n: usize| if n < 128 { 1 } else { 2 };
        let behind_length = |n: usize| varint(n) + n;
        let list = |entries: &BTreeMap<&str, String>| {
            let entry = |(key, text): (&&str, &String)| {
                behind_length(key.len()) + behind_length(1 + behind_length(text.len()))
            };
            varint(entries.len()) + entries.iter().map(entry).sum::<usize>()
        };
        let subject = behind_length(self.subject.len());
        let record = 36 + subject + list(&self.values) + list(&self.flashes);
        "__Host-session".len() + (4 * (77 + record)).div_ceil(3)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Birth {
    pub(super) id: SessionId,
    pub(super) issued: u64,
    pub(super) expires: u64,
}

/// A session as a cookie holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sealed {
    pub(super) birth: Birth,
    pub(super) seen: u64,
    pub(super) transient: bool,
    pub(super) content: Content,
    pub(super) key: usize,
}

/// A session as a request has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) loaded: Option<Sealed>,
    pub(super) under_old_key: bool,
    pub(super) destroyed: bool,
    pub(super) renewed: bool,
    pub(super) leaves_idle: bool,
    pub(super) birth: Option<Birth>,
    pub(super) chosen_expiry: Option<u64>,
    pub(super) transient: Option<bool>,
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) incoming: BTreeMap<&'static str, String>,
    pub(super) outgoing: BTreeMap<&'static str, String>,
    pub(super) subject: String,
    /// Something had an effect.
    pub(super) touched: bool,
    /// A save has written such an effect.
    pub(super) sent: bool,
}

impl Live {
    pub(super) fn of(loaded: Sealed) -> Self {
        let content = loaded.content.clone();
        Self {
            birth: Some(loaded.birth),
            transient: Some(loaded.transient),
            values: content.values,
            incoming: content.flashes,
            subject: content.subject,
            loaded: Some(loaded),
            ..Self::default()
        }
    }

    pub(super) fn content(&self) -> Content {
        let mut flashes = self.incoming.clone();
        flashes.extend(self.outgoing.clone());
        Content {
            values: self.values.clone(),
            flashes,
            subject: self.subject.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content().is_empty()
    }

    pub(super) fn expires(&self) -> Option<u64> {
        self.chosen_expiry.or(self.birth.map(|birth| birth.expires))
    }

    /// `None` if it may be either: everything was taken back.
    pub(super) fn status(&self) -> Option<Status> {
        let Some(loaded) = &self.loaded else {
            return Some(if self.sent || !self.is_empty() {
                Status::Modified
            } else if self.destroyed {
                Status::Destroyed
            } else {
                Status::Unmodified
            });
        };
        let differs = self.content() != loaded.content
            || self.expires() != Some(loaded.birth.expires)
            || self.transient != Some(loaded.transient);
        if self.sent || self.renewed || differs {
            Some(Status::Modified)
        } else if self.touched {
            None
        } else {
            Some(Status::Unmodified)
        }
    }
}
