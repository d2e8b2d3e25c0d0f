use super::super::ring::{MAX_ENTRIES, TooMany};
use super::*;

fn join(one: &Ring, another: &Ring) -> Ring {
    one.clone().join(another).unwrap()
}

proptest! {
    #[test]
    fn whoever_is_told_first_the_same_ring_comes_out(a in any_ring(), b in any_ring()) {
        prop_assert!(join(&a, &b).is_same_as(&join(&b, &a)));
    }

    #[test]
    fn in_whatever_order_rings_meet_the_same_comes_out(
        a in any_ring(), b in any_ring(), c in any_ring()
    ) {
        let left = join(&join(&a, &b), &c);
        prop_assert!(left.is_same_as(&join(&a, &join(&b, &c))));
    }

    #[test]
    fn what_is_told_again_changes_nothing(a in any_ring(), b in any_ring()) {
        let both = join(&a, &b);
        prop_assert!(join(&both, &b).is_same_as(&both));
        prop_assert!(join(&both, &a).is_same_as(&both));
        prop_assert!(join(&a, &a).is_same_as(&a));
    }

    #[test]
    fn nothing_that_was_revoked_or_dropped_comes_back(a in any_ring(), b in any_ring()) {
        let both = join(&a, &b);
        for ring in [&a, &b] {
            for (id, entry) in &ring.entries {
                if ring.is_revoked(entry) || entry.dropped.is_some() {
                    prop_assert!(both.entries[id].key.is_none());
                }
                prop_assert!(!ring.is_revoked(entry) || both.is_revoked(&both.entries[id]));
            }
        }
    }
}

#[test]
fn a_key_that_comes_back_after_its_revocation_is_dead() {
    let mut revoked = first();
    revoked.fence = at(500);
    revoked.settle();
    let mut elsewhere = first();
    elsewhere.add(key(1), at(400), at(900));
    elsewhere.add(key(2), at(501), at(900));
    let both = join(&revoked, &elsewhere);
    let live: Vec<_> = both.live().map(|(id, ..)| *id).collect();
    assert_eq!(live, [key(2).id()]);
}

#[test]
fn two_keys_of_one_id_are_one_and_the_same_everywhere() {
    let [mut one, mut another] = [first(), first()];
    let id = key(0).id();
    one.entries.get_mut(&id).unwrap().key = Some(Arc::new(key(1)));
    another.entries.get_mut(&id).unwrap().key = Some(Arc::new(key(2)));
    assert!(join(&one, &another).is_same_as(&join(&another, &one)));
}

#[test]
fn a_ring_never_has_more_than_16_keys() {
    let [mut one, mut another] = [first(), first()];
    for n in 1..9 {
        one.add(key(n), at(1), at(2));
        another.add(key(n + 8), at(1), at(2));
    }
    assert_eq!(one.clone().join(&another).unwrap_err(), TooMany);
    another.strip(key(9).id());
    assert_eq!(join(&one, &another).live().count(), 16);
}

#[test]
fn of_what_is_gone_only_the_latest_stays_and_no_key_is_forgotten() {
    let mut ring = Ring::new(bounds());
    let ids: Vec<_> = (0..200_u32).map(u32::to_be_bytes).collect();
    for (n, id) in (0..).zip(&ids) {
        let id = id.map(|byte| format!("{byte:02x}")).concat();
        let mut entry = Entry::new(key(0), at(n), at(n));
        entry.revoked = Some(at(n));
        ring.entries
            .insert(crate::KeyId::from_hex(&id).unwrap(), entry);
    }
    ring.add(key(1), at(0), at(0));
    assert_eq!(ring.entries.len(), MAX_ENTRIES);
    assert_eq!(ring.live().count(), 1);
    let oldest = ring.entries.values().filter(|entry| entry.key.is_none());
    assert_eq!(oldest.map(|entry| entry.made).min(), Some(at(200 - 127)));
}
