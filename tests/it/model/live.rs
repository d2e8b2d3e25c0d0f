//! A session as a cookie holds it and as a request has it, in plain maps.

use std::collections::BTreeMap;

use sealed_session::{SessionId, Status};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) flashes: BTreeMap<&'static str, String>,
    pub(super) subject: String,
    pub(super) label: String,
    pub(super) sid: String,
    /// When somebody logged in: 0 if the save has yet to say.
    pub(super) login: Option<u64>,
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
        let login = self.login.map_or(0, |_| 6);
        let mut names = behind_length(self.subject.len());
        let is_named = !(self.label.is_empty() && self.sid.is_empty());
        let further = usize::from(is_named || self.login.is_some());
        if is_named {
            names += behind_length(self.label.len()) + behind_length(self.sid.len());
        }
        let record = 36 + further + login + names + list(&self.values) + list(&self.flashes);
        "__Host-session".len() + (4 * (77 + record)).div_ceil(3)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Birth {
    pub(super) id: SessionId,
    pub(super) issued: u64,
    /// When the lifetime began.
    pub(super) began: u64,
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
    /// The session is over, and no save brings it back.
    pub(super) lost: bool,
    /// It was lost before it was destroyed, so the browser's cookie is left alone.
    pub(super) left: bool,
    pub(super) renewed: bool,
    pub(super) leaves_idle: bool,
    pub(super) birth: Option<Birth>,
    pub(super) chosen_expiry: Option<u64>,
    pub(super) transient: Option<bool>,
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) incoming: BTreeMap<&'static str, String>,
    pub(super) outgoing: BTreeMap<&'static str, String>,
    pub(super) subject: String,
    pub(super) label: String,
    pub(super) sid: String,
    pub(super) login: Option<u64>,
    /// This request is a login.
    pub(super) logs_in: bool,
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
            label: content.label,
            sid: content.sid,
            login: content.login,
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
            label: self.label.clone(),
            sid: self.sid.clone(),
            login: if self.logs_in {
                Some(self.birth.map_or(0, |birth| birth.began))
            } else {
                self.login
            },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content().is_empty()
    }

    /// The session whose lifetime goes on.
    pub(super) fn outlived(&self) -> Option<Birth> {
        let loaded = self.loaded.as_ref().filter(|_| !self.logs_in);
        loaded.map(|loaded| loaded.birth)
    }

    pub(super) fn began(&self) -> Option<u64> {
        self.birth.or(self.outlived()).map(|birth| birth.began)
    }

    pub(super) fn expires(&self) -> Option<u64> {
        let kept = self.birth.or(self.outlived());
        self.chosen_expiry.or(kept.map(|birth| birth.expires))
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
