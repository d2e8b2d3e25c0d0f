//! All orders of steps, one after the other, by trying the choices again from the end.

/// What a request does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// It takes the browser's cookie and loads the session.
    Load,
    /// A save goes on to the end of its next call of the backend.
    Save,
    /// The answer reaches the browser, and has a cookie or none.
    Arrive { sets_cookie: bool },
    /// Ten seconds pass.
    Wait,
    /// The first request is cancelled, or its answer gets lost.
    CutOff,
}

impl Step {
    /// Whether it makes no difference which of two comes first.
    fn commutes(self, other: Self) -> bool {
        use Step::{Arrive, Load, Save, Wait};
        let pair = |(one, other)| match (one, other) {
            (Load, Load) | (Arrive { .. }, Save | Wait) => true,
            (Arrive { sets_cookie }, _) => !sets_cookie,
            _ => false,
        };
        pair((self, other)) || pair((other, self))
    }
}

/// The choices of one run, and how many there were each time.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    chosen: Vec<(usize, usize)>,
    at: usize,
    is_over: bool,
    /// Who came last, and with what.
    last: Option<(usize, Step)>,
}

impl Schedules {
    pub(super) fn is_there_another(&mut self) -> bool {
        self.at = 0;
        self.last = None;
        !self.is_over
    }

    /// Who goes next of those who are `ready`, each with what it would do. `None` if each of them
    /// would only make an order that another run has but for steps that commute.
    pub(super) fn choose(&mut self, ready: &[(usize, Step)]) -> Option<usize> {
        let is_new = |(who, step): &&(usize, Step)| {
            let swaps = |(last, before): (usize, Step)| *who < last && step.commutes(before);
            !self.last.is_some_and(swaps)
        };
        let candidates: Vec<_> = ready.iter().filter(is_new).collect();
        if candidates.is_empty() {
            return None;
        }
        if self.at == self.chosen.len() {
            self.chosen.push((0, candidates.len()));
        }
        let (choice, _) = self.chosen[self.at];
        self.at += 1;
        let &(who, step) = candidates[choice];
        self.last = Some((who, step));
        Some(who)
    }

    pub(super) fn next(&mut self) {
        self.chosen.truncate(self.at);
        while let Some((choice, of)) = self.chosen.pop() {
            if choice + 1 < of {
                self.chosen.push((choice + 1, of));
                return;
            }
        }
        self.is_over = true;
    }
}

#[test]
fn all_orders_come_once_but_for_those_that_only_swap_what_commutes() {
    let saves = |left: [usize; 2]| {
        let ready = left.iter().enumerate().filter(|(_, left)| **left > 0);
        let ready: Vec<_> = ready.map(|(who, _)| (who, Step::Save)).collect();
        ready
    };
    let (mut schedules, mut seen) = (Schedules::default(), std::collections::BTreeSet::new());
    while schedules.is_there_another() {
        let (mut left, mut order) = ([2, 3], Vec::new());
        while left != [0, 0] {
            let who = schedules.choose(&saves(left)).unwrap();
            left[who] -= 1;
            order.push(who);
        }
        assert!(seen.insert(order));
        schedules.next();
    }
    assert_eq!(seen.len(), 10);

    let (mut schedules, mut count) = (Schedules::default(), 0);
    while schedules.is_there_another() {
        let loads: Vec<_> = (0..3).map(|who| (who, Step::Load)).collect();
        let mut left = loads;
        while !left.is_empty() {
            let Some(who) = schedules.choose(&left) else {
                break;
            };
            left.retain(|(other, _)| *other != who);
        }
        count += usize::from(left.is_empty());
        schedules.next();
    }
    assert_eq!(count, 1);
}
