//! Every order of two and three requests of one browser, step by step, in each place that a
//! session can be in, against what docs/stores.md promises.
//!
//! A request loads its session with the cookie that the browser has then, does one thing with
//! it, saves it, and its answer arrives. Each of these is a step, and so is each call of a
//! backend during a save. [`schedule`] goes through the orders, [`world`] carries one out by real
//! headers, and [`promises`] judges it by what can be seen from outside.
//!
//! `cargo test` does all pairs, and of the triples those that matter most. With
//! `EXPLORE=all cargo test --release --features conformance --test server explorer` it does all.

mod promises;
mod schedule;
mod world;

use schedule::Schedules;
use world::{Detail, Op, Place, World};

/// Whether the long form was asked for.
fn all() -> bool {
    std::env::var_os("EXPLORE").is_some()
}

/// Runs every order of these requests in this place.
fn explore(world: &World, ops: &[Op], detail: Detail) -> usize {
    let mut schedules = Schedules::default();
    let mut count = 0;
    while schedules.is_there_another() {
        if let Some(history) = world.run(ops, detail, &mut schedules) {
            count += 1;
            if let Err(broken) = promises::check(world, &history) {
                let place = world.place;
                panic!("{broken}\n\n{place:?}\n{}", history.told());
            }
        }
        schedules.next();
    }
    count
}

fn pairs(place: Place) {
    let world = World::new(place);
    let mut count = 0;
    for (at, first) in Op::ALL.iter().enumerate() {
        for second in &Op::ALL[at..] {
            let ops = [*first, *second];
            let calls = 1;
            let detail = |grace_passes| Detail { calls, grace_passes };
            count += explore(&world, &ops, detail(false));
            let is_grave = |op: &Op| all() || Op::GRAVE.contains(op);
            if ops.iter().all(is_grave) {
                count += explore(&world, &ops, detail(true));
            }
        }
    }
    println!("{place:?}: {count} orders of two requests");
    assert!(count > 500);
}

fn triples(place: Place) {
    let whole_saves = Detail {
        calls: usize::MAX,
        grace_passes: false,
    };
    let mut count = 0;
    if all() {
        count += triples_of(place, &Op::ALL, whole_saves);
        let each_call = Detail { calls: 1, ..whole_saves };
        count += triples_of(place, &Op::GRAVE, each_call);
    } else {
        count += triples_of(place, &Op::GRAVE, whole_saves);
    }
    println!("{place:?}: {count} orders of three requests");
    assert!(count > 500);
}

fn triples_of(place: Place, ops: &[Op], detail: Detail) -> usize {
    let world = World::new(place);
    let mut count = 0;
    for (at, first) in ops.iter().enumerate() {
        for (next, second) in ops.iter().enumerate().skip(at) {
            for third in &ops[next..] {
                count += explore(&world, &[*first, *second, *third], detail);
            }
        }
    }
    count
}

macro_rules! places {
    ($($name:ident: $place:expr,)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn two_requests_in_any_order_keep_their_promises() {
                    pairs($place);
                }

                #[test]
                fn three_requests_in_any_order_keep_their_promises() {
                    triples($place);
                }
            }
        )*
    };
}

places! {
    cookie: Place::Cookie { listed: false },
    cookie_with_a_list: Place::Cookie { listed: true },
    backend: Place::Backend,
    overflow_from_the_backend: Place::Large { listed: false },
    overflow_from_the_backend_with_a_list: Place::Large { listed: true },
    overflow_from_the_cookie: Place::Small { listed: false },
    overflow_from_the_cookie_with_a_list: Place::Small { listed: true },
    adopting: Place::Adopting { listed: false },
    adopting_with_a_list: Place::Adopting { listed: true },
}
