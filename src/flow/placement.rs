//! Where a session's values live: all in the cookie, or behind it.

use std::convert::Infallible;

use crate::envelope::{KeyRing, Random};
use crate::error::{Refusal, SaveError};
use crate::limit::Limit;
use crate::policy::Policy;
use crate::record::Header;
use crate::session::changes::View;
use crate::session::{Claims, Loaded};
use crate::time::Millis;

/// What a request brought: all of it, or a stub whose rest is to be read.
pub(crate) enum Opened<T, F> {
    Ready(T),
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "without backends nothing is elsewhere")
    )]
    Fetch(F),
}

/// The part of the way in which stores differ. All of it is decisions; the store acts on them.
pub(crate) trait Placement {
    /// What must be read before there is a session.
    type Fetch;
    /// What must be written before the response may leave.
    type Write;

    /// What bounds a session, given what bounds one in the cookie.
    fn limit(&self, in_cookie: Limit) -> Limit {
        in_cookie
    }

    /// Whether one of several requests can have an entry for itself.
    fn claims(&self) -> Claims {
        Claims::InCookie
    }

    fn replace_keys(&self, _: &KeyRing) {}

    /// Whether a cookie's record is one of this placement's.
    fn accept(&self, header: &Header) -> Result<(), Refusal>;

    /// An admitted record, or what must be read for it.
    fn locate(&self, opened: Loaded) -> Opened<Loaded, Self::Fetch>;

    /// What a save owes a session that nobody has changed. If the request is no use of it, then
    /// nothing that would count as one.
    fn refresh(
        &self,
        loaded: &Loaded,
        is_use: bool,
        now: Millis,
        policy: &Policy,
    ) -> (Due, Option<Self::Write>);

    /// Where the next record goes, which would have `length` bytes.
    fn place(&self, view: View<'_>, loaded: Option<&Loaded>, length: usize) -> Place;

    /// What is to be written for the next record, wherever it goes.
    fn write(
        &self,
        next: &NextRecord<'_>,
        place: &Place,
        random: Random<'_>,
    ) -> Result<Option<Self::Write>, SaveError>;

    /// What is to be written for a session that ends, or that the request's cookie was of.
    fn forget(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Option<Self::Write>, SaveError>;
}

/// What a save has to send.
#[derive(Debug)]
pub(crate) enum Due {
    Nothing,
    Removal,
    /// The cookie as it is, with its values elsewhere.
    #[cfg(feature = "server")]
    Stub,
    Record,
}

/// Where a record goes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) in_cookie: bool,
    /// A session that changes its place gets a new id, so that what is left in the old one is
    /// never taken for it.
    pub(crate) moves: bool,
    /// A backend has the values, and the cookie must be sent all the same.
    pub(crate) sends_stub: bool,
}

/// A record that is to be written, and all that is known about it.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "server"),
    expect(dead_code, reason = "only backends ask")
)]
pub(crate) struct NextRecord<'a> {
    pub(crate) header: Header,
    pub(crate) view: View<'a>,
    pub(crate) loaded: Option<&'a Loaded>,
    pub(crate) now: Millis,
    pub(crate) policy: &'a Policy,
}

/// Where a [`CookieStore`](crate::CookieStore) keeps its sessions: wholly in their cookies.
#[derive(Clone, Copy, Debug)]
pub struct InCookie;

impl Placement for InCookie {
    type Fetch = Infallible;
    type Write = Infallible;

    fn accept(&self, header: &Header) -> Result<(), Refusal> {
        if header.in_backend {
            Err(Refusal::Elsewhere)
        } else {
            Ok(())
        }
    }

    fn locate(&self, opened: Loaded) -> Opened<Loaded, Infallible> {
        Opened::Ready(opened)
    }

    fn refresh(
        &self,
        loaded: &Loaded,
        is_use: bool,
        now: Millis,
        policy: &Policy,
    ) -> (Due, Option<Infallible>) {
        let header = loaded.record.header();
        let is_due = loaded.under_old_key || policy.refresh_is_due(header, now);
        let due = if is_use && is_due {
            Due::Record
        } else {
            Due::Nothing
        };
        (due, None)
    }

    fn place(&self, _: View<'_>, _: Option<&Loaded>, _: usize) -> Place {
        Place {
            in_cookie: true,
            moves: false,
            sends_stub: false,
        }
    }

    fn write(
        &self,
        _: &NextRecord<'_>,
        _: &Place,
        _: Random<'_>,
    ) -> Result<Option<Infallible>, SaveError> {
        Ok(None)
    }

    fn forget(
        &self,
        _: View<'_>,
        _: Option<&Loaded>,
        _: Millis,
        _: Random<'_>,
    ) -> Result<Option<Infallible>, SaveError> {
        Ok(None)
    }
}
