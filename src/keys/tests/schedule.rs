use super::super::schedule::{NoNewKey, View, check};
use super::*;
use crate::envelope::KeyId;

/// How late a process may hear, by the numbers of the documentation: R.
const REACH: Duration = Duration::from_secs(2 * 25 + 5);
const END: Duration = Duration::from_secs(55 + 24 * 3600 + 60 + 10);

fn view(ring: &Ring, now: Millis, found: Millis) -> View {
    ring.view(now, |_| Some(found))
}

fn sealing(ring: &Ring, now: Millis) -> Option<KeyId> {
    view(ring, now, now).sealing
}

/// The first ring, and a key that takes over after 90 days.
fn rotated() -> Ring {
    let mut ring = first();
    let now = after(89 * DAY);
    let (made, from) = ring.next_key(now, &rules()).unwrap();
    ring.rotate(key(1), made, from, now);
    ring
}

const FROM: Duration = Duration::from_secs(90 * 24 * 3600);

#[test]
fn the_arithmetic_is_that_of_the_documentation() {
    assert_eq!(bounds().promise(), 30 * SECOND);
    assert_eq!(bounds().reach(), REACH);
    assert_eq!(bounds().spreading(), 2 * (REACH + 60 * SECOND));
    assert_eq!(bounds().opens_for(), END);
    let mounted = Bounds {
        propagation: 180 * SECOND,
        ..bounds()
    };
    assert_eq!(mounted.promise(), 210 * SECOND);
    assert_eq!(mounted.reach(), REACH + 180 * SECOND);
}

#[test]
fn the_next_key_is_made_a_day_ahead_and_once() {
    let mut ring = first();
    let early = at(0).plus(89 * DAY - SECOND);
    assert_eq!(ring.next_key(early, &rules()), Err(NoNewKey::NotDue));
    let now = after(89 * DAY);
    assert_eq!(ring.next_key(now, &rules()), Ok((now, after(FROM))));
    ring.rotate(key(1), now, after(FROM), now);
    for later in [now, now.plus(HOUR), after(FROM), after(FROM + 88 * DAY)] {
        assert_eq!(ring.next_key(later, &rules()), Err(NoNewKey::NotDue));
    }
    assert_eq!(
        ring.next_key(after(179 * DAY), &rules()),
        Ok((after(179 * DAY), after(180 * DAY)))
    );
}

#[test]
fn a_rotation_that_is_late_still_gives_all_processes_a_day() {
    let now = after(100 * DAY);
    assert_eq!(first().next_key(now, &rules()), Ok((now, after(101 * DAY))));
    let hasty = Rules {
        ahead: SECOND,
        ..rules()
    };
    let soon = now.plus(bounds().spreading());
    assert_eq!(first().next_key(now, &hasty), Ok((now, soon)));
}

#[test]
fn no_key_is_made_within_the_spreading_time_of_the_last_whatever_the_settings() {
    let often = Rules {
        rotate_every: Some(SECOND),
        ahead: SECOND,
        ..rules()
    };
    let mut ring = first();
    let spreading = bounds().spreading();
    let just_before = after(spreading - Duration::from_millis(1));
    assert_eq!(ring.next_key(just_before, &often), Err(NoNewKey::NotDue));
    assert!(ring.next_key(after(spreading), &often).is_ok());
    ring.fence = after(spreading);
    assert_eq!(
        ring.next_key(after(spreading), &often),
        Err(NoNewKey::NotDue)
    );
}

#[test]
fn a_key_seals_from_its_time_on_and_its_predecessor_until_then() {
    let ring = rotated();
    let (old, new) = (key(0).id(), key(1).id());
    assert_eq!(sealing(&ring, after(FROM - SECOND)), Some(old));
    assert_eq!(sealing(&ring, after(FROM)), Some(new));
    let early = view(&ring, after(89 * DAY), after(89 * DAY));
    assert_eq!(early.opens.len(), 2, "it opens as soon as it is known");
    assert_eq!(early.until, after(FROM));
}

#[test]
fn a_key_seals_only_where_it_was_found_in_the_second_half_of_its_spreading() {
    let ring = rotated();
    let (old, new) = (key(0).id(), key(1).id());
    let half = after(FROM - DAY / 2);
    let almost = after(FROM - DAY / 2 - Duration::from_millis(1));
    let now = after(FROM);
    assert_eq!(view(&ring, now, half).sealing, Some(new));
    assert_eq!(view(&ring, now, almost).sealing, Some(old));
    let never = ring.view(now, |id| (*id == old).then(|| at(0)));
    assert_eq!(never.sealing, Some(old));
}

#[test]
fn a_process_that_is_cut_off_seals_under_a_key_no_longer_than_others_wait_for_it() {
    let ring = rotated();
    let almost = |now| view(&ring, now, after(89 * DAY)).sealing;
    let last = after(FROM + REACH);
    assert_eq!(almost(at(last.raw() - at(0).raw() - 1)), Some(key(0).id()));
    assert_eq!(almost(last), None);
    assert_eq!(almost(after(FROM + DAY)), None);
}

#[test]
fn a_key_opens_until_the_last_token_under_it_is_over_and_goes_a_day_later() {
    let ring = rotated();
    let end = FROM + END;
    let opens = |now| view(&ring, now, now).opens;
    assert_eq!(opens(after(end - Duration::from_millis(1))).len(), 2);
    assert_eq!(opens(after(end)), [key(1).id()]);
    let over = |now| ring.over(now, &rules());
    assert!(over(after(end + DAY - Duration::from_millis(1))).is_empty());
    assert_eq!(over(after(end + DAY)), [key(0).id()]);
}

#[test]
fn the_longest_lifetime_that_anybody_declared_counts_for_keys_that_stopped_before() {
    let mut ring = rotated();
    ring.bounds.longest = 30 * DAY;
    let end = after(FROM + END + 29 * DAY);
    assert_eq!(ring.end(&ring.entries[&key(0).id()]), Some(end));
}

#[test]
fn the_first_key_seals_at_once_even_where_the_clock_is_behind() {
    let behind = Millis::from_raw(at(0).raw() - 60_000);
    assert_eq!(sealing(&first(), behind), Some(key(0).id()));
    assert_eq!(sealing(&first(), Millis::default()), Some(key(0).id()));
}

#[test]
fn keys_that_a_process_ahead_has_made_end_nothing_where_the_clock_is_right() {
    let mut ring = rotated();
    ring.rotate(key(2), after(400 * DAY), after(401 * DAY), after(400 * DAY));
    ring.rotate(key(3), after(500 * DAY), after(501 * DAY), after(500 * DAY));
    let now = after(100 * DAY);
    let view = ring.view(now, |_| Some(now));
    assert_eq!(view.sealing, Some(key(1).id()));
    assert_eq!(view.opens.len(), 3);
    assert!(
        !ring.finds_plausible(now, &rules()),
        "and it makes no more of them"
    );
}

#[test]
fn a_clock_beside_the_ring_is_believed_or_not() {
    let ring = rotated();
    let made = 89 * DAY;
    for (now, plausible) in [
        (after(made), true),
        (after(made - 180 * SECOND), true),
        (after(made - 181 * SECOND), false),
        (at(0), false),
        (Millis::default(), false),
        (after(FROM + 90 * DAY + 30 * DAY), true),
        (after(FROM + 90 * DAY + 30 * DAY + SECOND), false),
        (after(made + 365 * DAY), false),
        (Millis::MAX, false),
    ] {
        assert_eq!(ring.finds_plausible(now, &rules()), plausible, "{now:?}");
    }
}

#[test]
fn a_key_that_came_late_stops_when_the_others_know_of_it() {
    // A process that was away brings a key that is much older than the one that seals now.
    let mut ring = rotated();
    ring.add(key(2), after(80 * DAY), after(85 * DAY));
    let now = after(FROM + HOUR);
    assert_eq!(sealing(&ring, now), Some(key(1).id()));
    ring.stop_all_but_last(now);
    assert_eq!(ring.entries[&key(2).id()].stops, Some(now));
    assert_eq!(
        ring.entries[&key(0).id()].stops,
        Some(after(FROM)),
        "as it was told before"
    );
    assert_eq!(ring.entries[&key(1).id()].stops, None);
}

#[test]
fn the_union_never_closes_a_key_earlier_than_either_ring_did() {
    let ring = rotated();
    let mut other = first();
    other.rotate(key(2), after(80 * DAY), after(81 * DAY), after(80 * DAY));
    let both = ring.join(&other).unwrap();
    assert_eq!(both.entries[&key(0).id()].stops, Some(after(FROM)));
}

#[test]
fn settings_that_no_ring_can_keep_are_refused_by_name() {
    assert_eq!(check(bounds(), &rules()), Ok(()));
    let long = Bounds {
        longest: 365 * DAY,
        ..bounds()
    };
    assert_eq!(check(long, &rules()), Ok(()));
    // 14 stopped keys, one that seals, one that is about to: 14 rotations are 1260 days.
    let fits = 1260 * DAY - 2 * DAY - REACH - 70 * SECOND;
    let longest = Bounds {
        longest: fits,
        ..bounds()
    };
    assert_eq!(check(longest, &rules()), Ok(()));
    let too_long = Bounds {
        longest: fits + SECOND,
        ..bounds()
    };
    let (setting, problem) = check(too_long, &rules()).unwrap_err();
    assert_eq!(setting, "rotate_every");
    assert!(problem.contains("17 keys"), "{problem}");
    let early = Rules {
        ahead: 2000 * DAY,
        ..rules()
    };
    let (_, problem) = check(bounds(), &early).unwrap_err();
    let cause = "keys made 172800000s ahead";
    assert!(problem.contains(cause), "{problem}");
    let endless = Bounds {
        longest: Duration::MAX,
        ..bounds()
    };
    assert!(check(endless, &rules()).is_err());
    let by_hand = Rules {
        rotate_every: None,
        ..rules()
    };
    assert_eq!(check(endless, &by_hand), Ok(()));
    let hasty = Rules {
        rotate_every: Some(4 * (REACH + 60 * SECOND) - SECOND),
        ..rules()
    };
    assert!(
        check(bounds(), &hasty)
            .unwrap_err()
            .1
            .contains("before it seals")
    );
}

#[test]
fn a_full_ring_gets_no_key() {
    let mut ring = first();
    for n in 1..16 {
        ring.add(key(n), at(1), at(2));
    }
    let now = after(90 * DAY);
    assert_eq!(ring.next_key(now, &rules()), Err(NoNewKey::Full));
}

#[test]
fn nothing_overflows_at_the_ends_of_time() {
    let endless = Bounds {
        longest: Duration::MAX,
        poll: Duration::MAX,
        propagation: Duration::MAX,
        timeout: Duration::MAX,
        tolerance: Duration::MAX,
    };
    let mut ring = Ring::new(endless.whole());
    ring.add(key(0), Millis::MAX, Millis::MAX);
    ring.add(key(1), Millis::default(), Millis::default());
    ring.stop_all_but_last(Millis::MAX);
    for now in [Millis::default(), at(0), Millis::MAX] {
        let _ = ring.view(now, |_| Some(Millis::MAX));
        let _ = ring.next_key(now, &rules());
        let _ = ring.over(now, &rules());
        let _ = ring.finds_plausible(now, &rules());
    }
    let text = super::super::text::write(&ring);
    assert!(
        super::super::text::read(text.as_bytes())
            .unwrap()
            .is_same_as(&ring)
    );
}
