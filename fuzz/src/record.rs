//! The record's decoder without the envelope in front of it, against a slow one.

use std::sync::LazyLock;

use sealed_session::fuzzing::Record;

use crate::measure::{OnASmallStack, allocated};
use crate::reference;

/// The most entries of a list, and how many make it worth an index.
const MAX_ENTRIES: usize = 1024;
const MANY: usize = 32;

static CHECK: LazyLock<OnASmallStack> = LazyLock::new(|| OnASmallStack::new(check));

/// `data`: what would be sealed in a cookie.
pub fn record(data: &[u8]) {
    CHECK.run(data);
}

fn check(data: &[u8]) {
    let plaintext = data.to_vec();
    let (record, memory) = allocated(|| Record::decode(plaintext));
    let expected = reference::read_record(data);
    let entries = match &expected {
        Ok(record) => record.values.len() + record.flashes.len(),
        Err(_) => 2 * MAX_ENTRIES,
    };
    // A word for each entry of a list that is long and in order, and nothing else.
    let index = if data.len() < 2 * MANY { 0 } else { entries };
    let most = u64::try_from(index * size_of::<usize>()).unwrap();
    assert!(memory <= most, "{memory} bytes");
    let (record, expected) = match (record, expected) {
        (Ok(record), Ok(expected)) => (record, expected),
        (Err(refusal), Err(expected)) => return assert_eq!(refusal, expected),
        (record, expected) => panic!("{:?} is not {:?}", record.err(), expected.err()),
    };

    assert_eq!(record.encode(), data, "whatever decodes has one encoding");
    assert_eq!(
        record.names(),
        [&*expected.subject, &*expected.label, &*expected.sid]
    );
    assert!(record.values().eq(borrowed(&expected.values)));
    assert!(record.flashes().eq(borrowed(&expected.flashes)));
    for (key, value) in &expected.values {
        let there = (*value != reference::NULL).then_some(value.as_slice());
        assert_eq!(record.find(key), there);
        let longer = format!("{key}\0");
        let is_it =
            |(known, value): &&(String, Vec<u8>)| *known == longer && *value != reference::NULL;
        let is_there = expected.values.iter().any(|entry| is_it(&entry));
        assert_eq!(record.find(&longer).is_some(), is_there);
    }
    let (content, memory) = allocated(|| {
        let entries = record.values().chain(record.flashes());
        entries
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
    });
    assert!(content < data.len(), "nothing grows beyond its input");
    assert_eq!(memory, 0, "entries are borrowed");
}

fn borrowed(entries: &[(String, Vec<u8>)]) -> impl Iterator<Item = (&str, &[u8])> {
    entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()))
}
