//! Where a session's values are: in the cookie, or in a backend.

use std::convert::Infallible;

use crate::envelope::{KeyRing, Random};
use crate::error::{Refusal, SaveError};
use crate::limit::Limit;
use crate::policy::Policy;
use crate::record::Header;
use crate::session::changes::View;
use crate::session::{Claims, Loaded};
use crate::time::Millis;

/// What a request brought: the whole session, or a stub whose values must still be read.
pub(crate) enum Opened<T, F> {
    Ready(T),
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "without backends nothing is elsewhere")
    )]
    Fetch(F),
}

/// The decisions in which stores differ. The store carries them out.
pub(crate) trait Placement {
    /// A read that is needed to get the session.
    type Fetch;
    /// A write that must happen before the response is sent.
    type Write;

    /// The limit of a session, given the limit of a cookie.
    fn limit(&self, in_cookie: Limit) -> Limit {
        in_cookie
    }

    /// Whether one of several requests can claim an entry.
    fn claims(&self) -> Claims {
        Claims::InCookie
    }

    fn replace_keys(&self, _: &KeyRing) {}

    /// Checks that this placement accepts a cookie's record.
    fn accept(&self, header: &Header) -> Result<(), Refusal>;

    /// Returns an admitted record, or the read that it needs.
    fn locate(&self, opened: Loaded) -> Opened<Loaded, Self::Fetch>;

    /// What a save must do for an unchanged session. If the request does not count as use, the save
    /// does nothing that would count as use.
    fn refresh(
        &self,
        loaded: &Loaded,
        is_use: bool,
        now: Millis,
        policy: &Policy,
    ) -> (Due, Option<Self::Write>);

    /// Decides where the next record goes, if it has `length` bytes.
    fn place(&self, view: View<'_>, loaded: Option<&Loaded>, length: usize) -> Place;

    /// Whether a save must know that an earlier one of the same request has put the whole session
    /// into a cookie.
    fn may_move(&self) -> bool {
        false
    }

    /// The write for the next record, wherever it goes.
    fn write(
        &self,
        next: &NextRecord<'_>,
        place: &Place,
        random: Random<'_>,
    ) -> Result<Option<Self::Write>, SaveError>;

    /// The write for a session that ends: this one, or the one that the request's cookie belonged
    /// to.
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
    /// A new stub: the values stay in the backend.
    #[cfg(feature = "server")]
    Stub,
    Record,
}

/// Where a record goes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) in_cookie: bool,
    /// The session moves to another place. It then gets a new id, so that what it leaves in the old
    /// place is never taken for it.
    pub(crate) moves: bool,
    /// A backend has the values, but the cookie must be sent too.
    pub(crate) sends_stub: bool,
}

/// A record to be written, and everything known about it.
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

/// Keeps the sessions of a [`CookieStore`](crate::CookieStore): whole, in their cookies.
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
