//! A flow with a clock: the one place that asks the time.

use std::time::SystemTime;

use crate::envelope::{Kept, KeyRing, TakesKeys};
use crate::event::{Event, Events};
use crate::flow::{Flow, Placement};
use crate::session::Session;
use crate::time::Millis;

pub(crate) type Clock = dyn Fn() -> SystemTime + Send + Sync;

pub(crate) struct Shell<P> {
    pub(crate) kept: Kept,
    pub(crate) flow: Flow<P>,
    pub(super) clock: Box<Clock>,
}

impl<P: Placement + Send + Sync> TakesKeys for Shell<P> {
    fn take_keys(&self, ring: &KeyRing) {
        self.flow.replace_keys(ring);
    }
}

impl<P: Placement> Shell<P> {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)().into()
    }

    pub(crate) fn events(&self) -> &Events {
        &self.flow.bounds.events
    }

    pub(crate) fn report_origin(&self, session: &Session) {
        if let Some(event) = Event::of_origin(session.origin_unread()) {
            self.events().report(event, None);
        }
    }

    /// A session that has ended since it was opened is not written any more.
    pub(crate) fn let_go_if_over(&self, session: &Session, now: Millis) {
        if self.flow.is_over(session, now) {
            self.let_go(session);
        }
    }

    pub(crate) fn let_go(&self, session: &Session) {
        if session.let_go() {
            self.events().report(Event::Lost, None);
        }
    }
}
