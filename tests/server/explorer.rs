//! Every order of two and three requests of one browser, step by step, in each place that a
//! session can be in, against what docs/stores.md promises.
//!
//! A request loads its session with the cookie that the browser has then, does one thing with
//! it, saves it, and its answer arrives. Each of these is a step, and so is each call of a
//! backend during a save. One of two requests may be cancelled between any of these steps, or its
//! answer may get lost. [`schedule`] goes through the orders, [`world`] carries one out by real
//! headers, and [`promises`] judges it by what can be seen from outside.
//!
//! `cargo test` does the pairs and triples that have found something, each in its place. With
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

/// What is done by two and by three requests at once.
fn ops(place: Place) -> (&'static [Op], &'static [Op]) {
    if all() {
        return (&Op::ALL, &Op::ALL);
    }
    match place {
        Place::Cookie { listed: false } => (&Op::ALL, &[]),
        Place::Cookie { listed: true } | Place::Backend => (&Op::ALL, &Op::THREE),
        Place::Large { .. } => (&Op::SHRINKING, &[]),
        Place::Small { listed: false } => (&Op::MOVING, &[]),
        Place::Small { listed: true } => (&Op::MOVING, &Op::THREE),
        Place::Adopting { listed: false } => (&Op::GRAVE, &Op::THREE),
        Place::Adopting { listed: true } => (&Op::GRAVE, &[]),
    }
}

#[expect(clippy::print_stdout, reason = "how much there was to explore")]
fn check(place: Place) {
    let world = World::new(place);
    let (by_two, by_three) = ops(place);
    let each_call = Detail {
        calls: 1,
        grace_passes: false,
        is_cut_off: false,
    };
    let mut count = 0;
    for (at, first) in by_two.iter().enumerate() {
        for second in &by_two[at..] {
            let both = [*first, *second];
            count += explore(&world, &both, each_call);
            for pair in [both, [*second, *first]] {
                let is_cut_off = true;
                count += explore(
                    &world,
                    &pair,
                    Detail {
                        is_cut_off,
                        ..each_call
                    },
                );
            }
            if all() || both.iter().all(|op| Op::GRAVE.contains(op)) {
                let grace_passes = true;
                count += explore(
                    &world,
                    &both,
                    Detail {
                        grace_passes,
                        ..each_call
                    },
                );
            }
        }
    }
    println!("{place:?}: {count} orders of two requests");
    let calls = usize::MAX;
    let mut more = triples(&world, by_three, Detail { calls, ..each_call });
    if all() {
        more += triples(&world, &Op::THREE, each_call);
    }
    println!("{place:?}: {more} orders of three requests");
    assert!(count > 100 && (by_three.is_empty() || more > 500));
}

fn triples(world: &World, ops: &[Op], detail: Detail) -> usize {
    let mut count = 0;
    for (at, first) in ops.iter().enumerate() {
        for (next, second) in ops.iter().enumerate().skip(at) {
            for third in &ops[next..] {
                count += explore(world, &[*first, *second, *third], detail);
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
                fn requests_in_any_order_keep_their_promises() {
                    check($place);
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
