use proptest::prelude::*;

use super::super::super::backend::When;
use super::*;

const AMPLE: Limits = Limits {
    sessions: usize::MAX,
    bytes: usize::MAX,
};

fn key(n: u8) -> StoreKey {
    StoreKey::from_bytes([n; 32])
}

fn tag(n: u8) -> Tag {
    Tag::from_bytes([n; 32])
}

fn at(millis: u64) -> Millis {
    Millis::from_raw(millis)
}

fn entry(text: &str, ttl: u64, when: When) -> Entry {
    Entry::new(
        Value::new(text.to_owned()),
        Duration::from_millis(ttl),
        when,
    )
}

fn create(table: &mut Table, n: u8, text: &str, ttl: u64, now: u64) -> Option<Outcome> {
    let entry = entry(text, ttl, When::Absent);
    table.put(&key(n), &entry, at(now)).ok()
}

fn replace(table: &mut Table, n: u8, was: &str, text: &str, now: u64) -> Option<Outcome> {
    let version = Value::new(was.to_owned()).version();
    let entry = entry(text, 1000, When::Unchanged(version));
    table.put(&key(n), &entry, at(now)).ok()
}

fn text(table: &Table, n: u8, now: u64) -> Option<String> {
    let stored = table.load(&key(n), at(now))?;
    Some(stored.value.as_str().to_owned())
}

#[test]
fn a_put_heeds_what_is_there() {
    let mut table = Table::new(AMPLE);
    assert_eq!(
        replace(&mut table, 1, "a", "b", 0),
        Some(Outcome::Absent),
        "replacing never creates"
    );
    assert_eq!(create(&mut table, 1, "a", 10, 0), Some(Outcome::Stored));
    assert_eq!(
        create(&mut table, 1, "b", 10, 0),
        Some(Outcome::Conflict),
        "creating never overwrites"
    );
    assert_eq!(
        replace(&mut table, 1, "c", "b", 0),
        Some(Outcome::Conflict),
        "another version"
    );
    assert_eq!(text(&table, 1, 0), Some("a".to_owned()));
    assert_eq!(replace(&mut table, 1, "a", "b", 0), Some(Outcome::Stored));
    assert_eq!(text(&table, 1, 0), Some("b".to_owned()));
    table.remove(&key(1));
    assert_eq!(
        replace(&mut table, 1, "b", "c", 0),
        Some(Outcome::Absent),
        "what was removed stays so"
    );
}

#[test]
fn a_session_is_there_up_to_the_millisecond_in_which_it_expires() {
    let mut table = Table::new(AMPLE);
    create(&mut table, 1, "a", 10, 5);
    assert_eq!(table.load(&key(1), at(14)).unwrap().ttl.as_millis(), 1);
    assert!(table.load(&key(1), at(15)).is_none());
    table.touch(&key(1), Duration::from_millis(10), at(15));
    assert!(
        table.load(&key(1), at(15)).is_none(),
        "none is touched awake"
    );
    assert_eq!(replace(&mut table, 1, "a", "b", 15), Some(Outcome::Absent));
    assert_eq!(create(&mut table, 1, "c", 10, 15), Some(Outcome::Stored));
    table.touch(&key(1), Duration::from_millis(20), at(16));
    assert_eq!(table.load(&key(1), at(35)).unwrap().ttl.as_millis(), 1);
    table.touch(&key(1), Duration::from_millis(2), at(16));
    assert!(table.load(&key(1), at(18)).is_none(), "a touch may shorten");
}

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_is_there() {
    let mut table = Table::new(Limits {
        sessions: 2,
        bytes: usize::MAX,
    });
    create(&mut table, 1, "a", 10, 0);
    create(&mut table, 2, "b", 20, 0);
    let entry = entry("c", 10, When::Absent);
    let error = table.put(&key(3), &entry, at(9)).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Full);
    assert_eq!(
        error.to_string(),
        "2 sessions are in memory, and none of them has expired; raise the limit, or let \
         sessions end sooner"
    );
    assert_eq!(
        (text(&table, 1, 9), text(&table, 2, 9)),
        (Some("a".to_owned()), Some("b".to_owned()))
    );
    assert_eq!(replace(&mut table, 1, "a", "aa", 9), Some(Outcome::Stored));
    table.touch(&key(1), Duration::from_millis(1), at(9));
    assert_eq!(create(&mut table, 3, "c", 10, 10), Some(Outcome::Stored));
    assert_eq!(table.len(), 2, "what had expired made room");
}

#[test]
fn a_table_without_a_byte_left_refuses_growth_alone() {
    let mut table = Table::new(Limits {
        sessions: usize::MAX,
        bytes: 2 * OVERHEAD + 20,
    });
    create(&mut table, 1, "0123456789", 100, 0);
    create(&mut table, 2, "abcdefghij", 10, 0);
    assert_eq!(create(&mut table, 3, "", 10, 0), None);
    assert_eq!(replace(&mut table, 1, "0123456789", "0123456789+", 0), None);
    assert_eq!(text(&table, 1, 0), Some("0123456789".to_owned()));
    let shrunk = replace(&mut table, 1, "0123456789", "short", 0);
    assert_eq!(shrunk, Some(Outcome::Stored));
    assert_eq!(replace(&mut table, 1, "short", "9876543210+", 0), None);
    let grown = replace(&mut table, 1, "short", "9876543210", 0);
    assert_eq!(grown, Some(Outcome::Stored), "to the last byte");
    assert_eq!(table.bytes(), 2 * OVERHEAD + 20);
    let large = "x".repeat(OVERHEAD + 20);
    let grown = replace(&mut table, 1, "9876543210", &large, 10);
    assert_eq!(grown, Some(Outcome::Stored), "the other has expired");
    assert_eq!((table.len(), table.bytes()), (1, 2 * OVERHEAD + 20));
}

#[test]
fn each_put_takes_the_place_of_two_that_have_expired() {
    let mut table = Table::new(AMPLE);
    for n in 0..10 {
        create(&mut table, n, "old", 10, 0);
    }
    for n in 10..15 {
        create(&mut table, n, "new", 10, 10);
    }
    assert_eq!(table.len(), 5);
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8, u64, Option<u8>),
    Replace(u8, u64, Option<u8>),
    Touch(u8, u64),
    Remove(u8),
    Reclaim(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, ttl, tag) = (0..6u8, 1..20u64, proptest::option::of(0..3u8));
    prop_oneof![
        (key.clone(), ttl.clone(), tag.clone()).prop_map(|(k, t, g)| Step::Create(k, t, g)),
        (key.clone(), ttl.clone(), tag).prop_map(|(k, t, g)| Step::Replace(k, t, g)),
        (key.clone(), ttl.clone()).prop_map(|(k, t)| Step::Touch(k, t)),
        key.prop_map(Step::Remove),
        (0..4usize).prop_map(Step::Reclaim),
        ttl.prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_list_would(steps in proptest::collection::vec(step(), 0..60)) {
        let mut table = Table::new(AMPLE);
        let mut list: Vec<(u8, String, u64, Option<u8>)> = Vec::new();
        let (mut now, mut written) = (0, 0);
        for step in steps {
            list.retain(|there| there.2 > now);
            match step {
                Step::Create(n, ttl, tagged) => {
                    written += 1;
                    let mut entry = entry(&format!("{written:040}"), ttl, When::Absent);
                    entry.tag = tagged.map(tag);
                    let outcome = table.put(&key(n), &entry, at(now)).unwrap();
                    if list.iter().any(|there| there.0 == n) {
                        prop_assert_eq!(outcome, Outcome::Conflict);
                    } else {
                        prop_assert_eq!(outcome, Outcome::Stored);
                        list.push((n, format!("{written:040}"), now + ttl, tagged));
                    }
                }
                Step::Replace(n, ttl, tagged) => {
                    written += 1;
                    let there = list.iter_mut().find(|there| there.0 == n);
                    let was = there.as_ref().map_or("none", |there| &there.1).to_owned();
                    let version = Value::new(was).version();
                    let text = format!("{written:040} and more");
                    let mut entry = entry(&text, ttl, When::Unchanged(version));
                    entry.tag = tagged.map(tag);
                    let outcome = table.put(&key(n), &entry, at(now)).unwrap();
                    if let Some(there) = there {
                        prop_assert_eq!(outcome, Outcome::Stored);
                        *there = (n, text, now + ttl, tagged);
                    } else {
                        prop_assert_eq!(outcome, Outcome::Absent);
                    }
                }
                Step::Touch(n, ttl) => {
                    table.touch(&key(n), Duration::from_millis(ttl), at(now));
                    if let Some(there) = list.iter_mut().find(|there| there.0 == n) {
                        there.2 = now + ttl;
                    }
                }
                Step::Remove(n) => {
                    table.remove(&key(n));
                    list.retain(|there| there.0 != n);
                }
                Step::Reclaim(at_most) => {
                    prop_assert!(table.reclaim(at(now), at_most) <= at_most);
                }
                Step::Wait(time) => now += time,
            }
            list.retain(|there| there.2 > now);
            for n in 0..6 {
                let there = list.iter().find(|there| there.0 == n);
                prop_assert_eq!(text(&table, n, now), there.map(|there| there.1.clone()));
            }
            for n in 0..3 {
                let mut tagged = table.tagged(&tag(n));
                tagged.retain(|key| table.load(key, at(now)).is_some());
                let mut there: Vec<_> = list.iter().filter(|there| there.3 == Some(n)).collect();
                there.sort();
                prop_assert_eq!(tagged, there.iter().map(|there| key(there.0)).collect::<Vec<_>>());
            }
        }
        while table.reclaim(at(now), 1) > 0 {}
        let bytes: usize = list.iter().map(|there| OVERHEAD + there.1.len()).sum();
        prop_assert_eq!((table.len(), table.bytes()), (list.len(), bytes));
        table.reclaim(Millis::MAX, usize::MAX);
        prop_assert!(table.by_tag.is_empty() && table.slots.is_empty());
        prop_assert_eq!(table.bytes(), 0);
    }
}
