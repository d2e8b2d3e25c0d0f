//! keys.json: rings that open to what is stated and are written alike, and those that are refused.

use super::super::store::MAX_STORED;
use super::super::text::{read, write};
use super::*;
use crate::envelope::Root;
use crate::error::Refusal;
use crate::vectors::{File, Held, HeldKey, Hex, Vector, vectors};

fn file() -> File {
    let file: File = vectors!("keys.json");
    assert_eq!((file.vectors.len(), file.refused.len()), (7, 15));
    file
}

/// The plaintext, and whether the first root key opened it.
fn open(vector: &Vector) -> Result<(Vec<u8>, bool), &'static str> {
    let root = Root::new(&vector.ring(), &vector.cookie, &vector.context);
    let opened = root.open(vector.token.as_bytes(), MAX_STORED);
    let (plaintext, under) = opened.map_err(Refusal::as_str)?;
    Ok((plaintext.to_vec(), under == root.first()))
}

fn held(ring: &Ring) -> Held {
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap();
    let moment = |moment: Option<Millis>| moment.map(Millis::raw);
    let keys = ring.entries.iter().map(|(id, entry)| HeldKey {
        id: id.to_string(),
        made: entry.made.raw(),
        from: entry.from.raw(),
        stops: moment(entry.stops),
        disabled: entry.disabled,
        revoked: moment(entry.revoked),
        dropped: moment(entry.dropped),
        material: entry.key.as_ref().map(|_| Hex::default()),
    });
    Held {
        format: ring.format,
        longest: millis(ring.bounds.longest),
        poll: millis(ring.bounds.poll),
        propagation: millis(ring.bounds.propagation),
        timeout: millis(ring.bounds.timeout),
        tolerance: millis(ring.bounds.tolerance),
        fence: ring.fence.raw(),
        keys: keys.collect(),
    }
}

#[test]
fn every_ring_of_the_vectors_opens_to_what_is_stated_and_is_written_alike() {
    for vector in file().vectors {
        let (plaintext, is_first) = open(&vector).unwrap();
        assert_eq!(plaintext, *vector.plaintext, "{vector}");
        assert_eq!(is_first, vector.opened_under == "sealing", "{vector}");
        let ring = read(&plaintext).unwrap();
        assert_eq!(Some(held(&ring)), vector.held, "{vector}");
        if !ring.is_newer() {
            assert_eq!(write(&ring).as_bytes(), plaintext, "{vector}");
        }
    }
}

#[test]
fn every_other_ring_of_the_vectors_is_refused_for_the_stated_reason() {
    for vector in file().refused {
        let reason = match open(&vector) {
            Ok((plaintext, _)) => read(&plaintext).err().map(|_| "bad_ring"),
            Err(reason) => Some(reason),
        };
        assert_eq!(reason, Some(vector.reason.as_str()), "{vector}");
    }
}
