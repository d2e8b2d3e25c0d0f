use super::super::change::{Refused, Revoked};
use super::super::schedule::NoNewKey;
use super::*;
use crate::envelope::KeyId;

fn by_hand() -> Rules {
    Rules {
        rotate_every: None,
        ..rules()
    }
}

fn sealing(ring: &Ring, now: Millis) -> Option<KeyId> {
    ring.view(now, |_| Some(now)).sealing
}

fn id(n: usize) -> KeyId {
    key(n).id()
}

/// A key that seals, one that has stopped an hour ago, one that is about to seal.
fn three(now: Millis) -> Ring {
    let mut ring = first();
    let before = Millis::from_raw(now.raw() - 3_600_000 - 86_400_000);
    ring.add_by_hand(key(1), before, &by_hand(), false).unwrap();
    ring.add_by_hand(key(2), now, &by_hand(), false).unwrap();
    assert_eq!(sealing(&ring, now), Some(id(1)));
    ring
}

#[test]
fn a_key_that_is_added_seals_a_day_later_and_is_added_once() {
    let mut ring = first();
    let now = after(10 * DAY);
    assert_eq!(
        ring.add_by_hand(key(1), now, &by_hand(), false),
        Ok(Some(id(1)))
    );
    assert_eq!(
        ring.add_by_hand(key(2), now.plus(HOUR), &by_hand(), false),
        Ok(None)
    );
    assert_eq!(sealing(&ring, after(11 * DAY - SECOND)), Some(id(0)));
    assert_eq!(sealing(&ring, after(11 * DAY)), Some(id(1)));
    let next = ring.add_by_hand(key(2), after(11 * DAY), &by_hand(), false);
    assert_eq!(next, Ok(Some(id(2))));
}

#[test]
fn a_key_that_waits_seals_once_it_is_promoted_and_spread() {
    let mut ring = first();
    let now = after(10 * DAY);
    ring.add_by_hand(key(1), now, &by_hand(), true).unwrap();
    assert_eq!(ring.add_by_hand(key(2), now, &by_hand(), true), Ok(None));
    assert_eq!(sealing(&ring, after(1000 * DAY)), Some(id(0)));
    let soon = now.plus(bounds().spreading());
    assert_eq!(ring.promote(id(1), now.plus(SECOND)), Ok((soon, true)));
    assert_eq!(ring.promote(id(1), now.plus(SECOND)), Ok((soon, false)));
    assert_eq!(sealing(&ring, soon), Some(id(1)));
    assert_eq!(ring.promote(id(1), soon.plus(DAY)), Ok((soon, false)));
    assert_eq!(ring.promote(id(0), soon), Err(Refused::Stopped(id(0))));
    assert_eq!(ring.promote(id(9), soon), Err(Refused::Unknown(id(9))));
}

#[test]
fn a_key_that_has_waited_for_long_seals_as_soon_as_it_is_promoted() {
    let mut ring = first();
    ring.add_by_hand(key(1), at(1), &by_hand(), true).unwrap();
    let now = after(10 * DAY);
    assert_eq!(ring.promote(id(1), now), Ok((now, true)));
    assert_eq!(sealing(&ring, now), Some(id(1)));
}

#[test]
fn only_what_nobody_needs_is_disabled_and_only_that_is_dropped() {
    let now = after(10 * DAY);
    let mut ring = three(now);
    for needed in [1, 2] {
        assert_eq!(
            ring.disable(id(needed), true, now),
            Err(Refused::Needed(id(needed)))
        );
        assert_eq!(
            ring.drop_key(id(needed), now),
            Err(Refused::StillOpens(id(needed)))
        );
    }
    assert_eq!(ring.drop_key(id(0), now), Err(Refused::StillOpens(id(0))));
    assert_eq!(ring.disable(id(0), true, now), Ok(true));
    assert_eq!(ring.disable(id(0), true, now), Ok(false));
    assert!(!ring.view(now, |_| Some(now)).opens.contains(&id(0)));
    assert_eq!(ring.disable(id(0), false, now), Ok(true));
    assert!(ring.view(now, |_| Some(now)).opens.contains(&id(0)));
    assert_eq!(ring.disable(id(0), true, now), Ok(true));
    assert_eq!(ring.drop_key(id(0), now), Ok(true));
    assert_eq!(ring.drop_key(id(0), now), Ok(false));
    assert_eq!(ring.disable(id(0), false, now), Err(Refused::Gone(id(0))));
}

#[test]
fn a_revocation_ends_every_key_that_lay_beside_it_and_seals_under_a_fresh_one() {
    let now = after(10 * DAY);
    for leaked in 0..3 {
        let mut ring = three(now);
        let revoked = ring.revoke(id(leaked), now, &rules(), || Some(key(9)));
        let mut ended = vec![id(0), id(1), id(2)];
        ended.sort();
        assert_eq!(
            revoked,
            Ok(Some(Revoked {
                ended,
                left: vec![],
                fresh: Some(id(9))
            }))
        );
        for process in [
            now,
            Millis::from_raw(now.raw() - 60_000),
            now.plus(60 * SECOND),
        ] {
            let view = ring.view(process, |_| Some(process));
            assert_eq!((view.sealing, view.opens), (Some(id(9)), vec![id(9)]));
        }
        let again = ring.revoke(id(leaked), now.plus(SECOND), &rules(), || Some(key(10)));
        assert_eq!(again, Ok(None));
    }
}

#[test]
fn a_revoked_ring_can_be_revoked_and_rotated_again() {
    let now = after(10 * DAY);
    let mut ring = three(now);
    ring.revoke(id(1), now, &rules(), || Some(key(9))).unwrap();
    let soon = now.plus(SECOND);
    ring.revoke(id(9), soon, &rules(), || Some(key(10)))
        .unwrap();
    assert_eq!(sealing(&ring, soon), Some(id(10)));
    assert!(ring.finds_plausible(soon, &rules()));
    let later = soon.plus(90 * DAY);
    let (made, from) = ring.next_key(later, &rules()).unwrap();
    ring.rotate(key(11), made, from, later);
    assert_eq!(sealing(&ring, from), Some(id(11)));
    assert_eq!(
        ring.next_key(soon.plus(HOUR), &rules()),
        Err(NoNewKey::NotDue)
    );
}

#[test]
fn a_key_that_only_a_process_remembers_ends_too() {
    let now = after(10 * DAY);
    let mut ring = three(now);
    // A process made a key just before, by a clock that is a minute ahead, and the store has lost
    // it.
    let mut remembers = ring.clone();
    remembers.add(key(5), now.plus(60 * SECOND), now.plus(DAY));
    ring.revoke(id(1), now, &rules(), || Some(key(9))).unwrap();
    let both = ring.join(&remembers).unwrap();
    assert_eq!(both.live().count(), 1);
    assert_eq!(sealing(&both, now.plus(2 * DAY)), Some(id(9)));
}

#[test]
fn a_key_that_was_made_after_the_leaked_one_was_gone_survives() {
    let mut ring = first();
    let now = after(89 * DAY);
    ring.rotate(key(1), now, after(90 * DAY), now);
    let over = ring.end(&ring.entries[&id(0)]).unwrap().plus(DAY);
    ring.strip(id(0));
    ring.rotate(key(2), over.plus(DAY), over.plus(2 * DAY), over.plus(DAY));
    let revoked = ring
        .revoke(id(0), over.plus(3 * DAY), &rules(), || Some(key(9)))
        .unwrap()
        .unwrap();
    assert_eq!(revoked.ended, [id(1)]);
    assert_eq!(revoked.left, [id(2)]);
    assert_eq!(revoked.fresh, None, "the one that seals was not touched");
}

#[test]
fn a_revocation_of_one_key_leaves_the_others_and_fills_its_place() {
    let now = after(10 * DAY);
    for (leaked, fresh) in [(0, None), (1, Some(id(9))), (2, Some(id(9)))] {
        let mut ring = three(now);
        let revoked = ring
            .revoke_only(id(leaked), now, || Some(key(9)))
            .unwrap()
            .unwrap();
        assert_eq!(revoked.ended, [id(leaked)]);
        assert_eq!(revoked.left.len(), 2);
        assert_eq!(revoked.fresh, fresh, "{leaked}");
        let seals = if leaked == 0 { id(1) } else { id(9) };
        assert_eq!(sealing(&ring, now), Some(seals), "{leaked}");
        let again = ring.revoke_only(id(leaked), now, || Some(key(10)));
        assert_eq!(again, Ok(None));
    }
    // Revoking the same key with its neighbours still works afterwards.
    let mut ring = three(now);
    ring.revoke_only(id(1), now, || Some(key(9))).unwrap();
    let revoked = ring
        .revoke(id(1), now, &rules(), || Some(key(10)))
        .unwrap()
        .unwrap();
    assert_eq!(revoked.ended.len(), 3);
    assert_eq!(sealing(&ring, now), Some(id(10)));
}

#[test]
fn keys_that_were_in_use_before_are_taken_in_once() {
    let mut ring = Ring::new(bounds());
    for (n, seals) in [(0, true), (1, false)] {
        assert_eq!(ring.adopt(key(n), at(0), seals), Ok(true));
        assert_eq!(ring.adopt(key(n), at(5), seals), Ok(false));
    }
    assert_eq!(sealing(&ring, at(0)), Some(id(0)));
    assert_eq!(ring.view(at(0), |_| Some(at(0))).opens.len(), 2);
    let end = at(0).plus(bounds().opens_for());
    assert_eq!(ring.view(end, |_| Some(end)).opens, [id(0)]);
    assert_eq!(ring.adopt(key(2), at(5), true), Ok(true));
    assert_eq!(
        sealing(&ring, at(5)),
        Some(id(0)),
        "a ring has a key that seals already"
    );
    let now = after(10 * DAY);
    assert_eq!(
        ring.add_by_hand(key(3), now, &by_hand(), true),
        Ok(Some(id(3)))
    );
}
