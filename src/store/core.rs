//! A flow with a clock. Only this file asks the time.

use std::time::SystemTime;

use crate::envelope::{Kept, KeyRing, Random, TakesKeys, in_turn};
use crate::error::{SaveError, SaveErrorKind};
use crate::event::{Event, Events};
use crate::flow::{Bound, Flow, Outgoing, Placement, Plan, Standing, Unplanned};
use crate::revocation::Late;
use crate::session::Session;
use crate::time::Millis;

pub(crate) type Clock = dyn Fn() -> SystemTime + Send + Sync;

pub(crate) struct StoreCore<P> {
    pub(crate) kept: Kept,
    pub(crate) flow: Flow<P>,
    pub(super) clock: Box<Clock>,
}

impl<P: Placement + Send + Sync> TakesKeys for StoreCore<P> {
    fn take_keys(&self, ring: &KeyRing) {
        let _turn = in_turn();
        self.flow.replace_keys(ring);
    }
}

impl<P: Placement> StoreCore<P> {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)().into()
    }

    pub(crate) fn events(&self) -> &Events {
        &self.flow.bounds.events
    }

    pub(crate) fn report_origin(&self, session: &Session) {
        if let Some(event) = Event::of_origin(session.origin()) {
            self.events().report(event, None);
        }
    }

    /// Plans a save. A session that has ended since it was opened is let go, and the plan is for
    /// what is left of it. If it has another id by now, a change is refused.
    pub(crate) fn plan(
        &self,
        session: &Session,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Plan<P::Write>, SaveError> {
        loop {
            match self.flow.plan(session, now, random) {
                Ok(plan) if self.flow.has_keys_of(&plan) => return Ok(plan),
                Ok(_) | Err(Unplanned::Standing(Standing::Over)) => self.let_go(session),
                Err(Unplanned::Standing(Standing::Moved)) => {
                    return Err(SaveError(SaveErrorKind::Moved));
                }
                Err(Unplanned::Standing(Standing::Unproven)) => {
                    return Err(SaveError(SaveErrorKind::Unproven));
                }
                Err(Unplanned::Failed(error)) => return Err(error),
            }
        }
    }

    /// Like [`plan`](Self::plan), for what became known after the plan was made.
    pub(crate) fn give_way(&self, session: &Session, late: Late) -> Result<(), SaveError> {
        match late {
            Late::Ended => {
                self.let_go(session);
                Ok(())
            }
            Late::Moved => Err(SaveError(SaveErrorKind::Moved)),
        }
    }

    /// Records that a plan to end a session was carried out. `was_alive` says whether nobody else
    /// had ended the session before.
    pub(crate) fn ended<W>(&self, session: &Session, plan: &mut Plan<W>, was_alive: bool) {
        if was_alive {
            session.has_ended();
        } else if session.was_over(plan.planned) {
            plan.outgoing.leave_cookies_alone();
        }
    }

    /// Ends copies of a session's cookie from before it was bound.
    pub(crate) fn bind(&self, bound: Option<Bound>) {
        if let (Some(list), Some(bound)) = (&self.flow.revocations, bound) {
            list.put(bound.into());
        }
    }

    /// Records that the response has the plan's headers.
    pub(crate) fn sent<W>(&self, session: &Session, plan: Plan<W>) -> Outgoing {
        if plan.is_resealed {
            self.events().report(Event::Resealed, None);
        }
        let matters = self.flow.revocations.is_some() || self.flow.placement.may_move();
        if let Some(birth) = plan.in_cookie.filter(|_| matters) {
            session.is_sent_as(birth);
        }
        plan.outgoing
    }

    pub(crate) fn let_go(&self, session: &Session) {
        if session.let_go() {
            self.events().report(Event::Lost, None);
        }
    }
}
