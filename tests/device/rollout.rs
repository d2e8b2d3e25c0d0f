//! Switched on and off over a fleet, with nobody logged out. Every request goes to the other of two
//! servers, whose clocks are a minute apart.

use sealed_session::{DeviceStage, Refusal};

use crate::client::*;
use crate::support::*;

const STAGES: [DeviceStage; 4] = [
    DeviceStage::Off,
    DeviceStage::Serve,
    DeviceStage::Offer,
    DeviceStage::Enforce,
];

struct Fleet {
    clocks: [Clock; 2],
    key: sealed_session::AppKey,
    stages: [DeviceStage; 2],
    turn: usize,
}

impl Fleet {
    fn new() -> Self {
        let clocks = [start(), start()];
        clocks[1].forward(MINUTE);
        Self {
            clocks,
            key: key(),
            stages: [DeviceStage::Off; 2],
            turn: 0,
        }
    }

    fn forward(&self, by: std::time::Duration) {
        self.clocks.iter().for_each(|clock| clock.forward(by));
    }

    /// The server of the next request.
    fn next(&mut self) -> Service {
        self.turn = 1 - self.turn;
        let stage = self.stages[self.turn];
        let (clock, key) = (&self.clocks[self.turn], self.key.clone());
        Service::of(clock, key, |builder| {
            builder.lifetime(30 * DAY).device_bound(stage)
        })
    }

    /// A visitor's page, with everything that a browser does on the way.
    fn page(&mut self, visitor: &mut Visitor, handler: impl FnOnce(&sealed_session::Session)) {
        if visitor.bound.is_some() && visitor.cookie(PROOF).is_none() {
            visitor.service = self.next();
            let headers = visitor.headers(REFRESH, From::Here);
            match visitor.service.answer("POST", REFRESH, &headers) {
                // A 404 ends the browser's session.
                None => visitor.bound = None,
                Some(_) => drop(visitor.refresh(From::Here)),
            }
        }
        visitor.service = self.next();
        let response = visitor.request(handler).unwrap();
        if offered(&response).is_some() {
            visitor.service = self.next();
            visitor.follow(&response);
        }
    }
}

#[test]
fn each_step_forward_and_back_leaves_everybody_logged_in() {
    let mut fleet = Fleet::new();
    let mut visitors: Vec<Visitor> = Vec::new();
    let back = STAGES.iter().rev().skip(1);
    let (mut seen, mut most_bound) = (Vec::new(), 0);
    for stage in STAGES.iter().skip(1).chain(back) {
        for node in [0, 1] {
            fleet.stages[node] = *stage;
            seen.push(fleet.stages);
            let mut new = Visitor::new(&fleet.next());
            fleet.page(&mut new, login);
            visitors.push(new);
            for _ in 0..8 {
                fleet.forward(7 * MINUTE);
                for visitor in &mut visitors {
                    fleet.page(visitor, |session| assert_eq!(user(session), Some(42)));
                }
            }
            let bound = visitors.iter().filter(|visitor| visitor.bound.is_some());
            most_bound = bound.count().max(most_bound);
            for visitor in &mut visitors {
                fleet.page(visitor, |session| session.insert("n", 1).unwrap());
                fleet.page(visitor, |session| assert_eq!(user(session), Some(42)));
            }
        }
    }
    assert_eq!(
        seen.len(),
        12,
        "each pair of neighbours, and each stage alone"
    );
    assert!(most_bound >= 5, "{most_bound} were bound on the way");
}

#[test]
fn a_server_on_which_it_is_off_keeps_the_flag_when_it_saves() {
    let mut fleet = Fleet::new();
    fleet.stages = [DeviceStage::Enforce; 2];
    let mut visitor = Visitor::new(&fleet.next());
    fleet.page(&mut visitor, login);
    fleet.page(&mut visitor, |_| {});
    for stage in [DeviceStage::Off, DeviceStage::Serve, DeviceStage::Offer] {
        for handler in [login, |session: &sealed_session::Session| {
            session.insert("n", 1).unwrap();
        }] {
            fleet.stages = [stage; 2];
            fleet.page(&mut visitor, handler);
            fleet.stages = [DeviceStage::Enforce; 2];
            let mut thief = visitor.clone();
            thief.forget(PROOF);
            thief.service = fleet.next();
            assert_eq!(
                thief.load().origin(),
                refused(Refusal::Unproven),
                "{stage:?}"
            );
        }
    }
}

#[test]
fn only_at_the_right_stage_is_anything_offered_bound_or_refused() {
    for stage in STAGES {
        let mut fleet = Fleet::new();
        fleet.stages = [DeviceStage::Enforce; 2];
        let mut bound = Visitor::new(&fleet.next());
        fleet.page(&mut bound, login);
        let mut registered = bound.clone();
        fleet.page(&mut bound, |_| {});
        fleet.stages = [stage; 2];
        let mut new = Visitor::new(&fleet.next());
        let response = new.request(login).unwrap();
        assert_eq!(
            offered(&response).is_some(),
            stage >= DeviceStage::Offer,
            "{stage:?}"
        );
        registered.service = fleet.next();
        let response = registered.request(|_| {}).unwrap();
        assert_eq!(
            sets(&response, NAME),
            stage >= DeviceStage::Offer,
            "{stage:?}"
        );
        bound.forget(PROOF);
        bound.service = fleet.next();
        let is_open = user(&bound.load()).is_some();
        assert_eq!(is_open, stage < DeviceStage::Enforce, "{stage:?}");
        assert!(!bound.load().is_device_bound());
    }
}
