use super::super::text::{BadText, MAX_TEXT, read, write};
use super::*;

fn lines(ring: &Ring) -> Vec<String> {
    write(ring).lines().map(str::to_owned).collect()
}

fn refused(lines: &[String]) -> BadText {
    read((lines.join("\n") + "\n").as_bytes()).unwrap_err()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(ring in any_ring()) {
        let text = write(&ring);
        let again = read(text.as_bytes()).unwrap();
        prop_assert!(again.is_same_as(&ring));
        prop_assert_eq!(write(&again), text);
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_has_one_spelling(
        text in "(sealed-session keys [012]\n)?([a-z]{0,12} [0-9]{0,3}\n?){0,9}"
    ) {
        if let Ok(ring) = read(text.as_bytes()) {
            prop_assert!(ring.is_newer() || *write(&ring) == *text);
        }
    }

    #[test]
    fn a_byte_that_is_changed_is_noticed_or_means_what_it_says(
        ring in any_ring(), place in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut text = write(&ring).as_bytes().to_vec();
        let place = place.index(text.len());
        text[place] = byte;
        if let Ok(ring) = read(&text) {
            prop_assert!(ring.is_newer() || write(&ring).as_bytes() == text);
        }
    }
}

#[test]
fn every_part_of_a_ring_is_refused() {
    let mut ring = first();
    ring.add(key(1), at(1), at(2));
    let text = write(&ring);
    for end in 0..text.len() {
        assert!(read(&text.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let mut ring = first();
    ring.add(key(1), at(1), at(2));
    let good = lines(&ring);
    let material = key(1).to_base64();
    let twice = format!("{} {}", good[7], "more 1");
    for (line, wrong) in [
        (1, "sealed-session keys"),
        (1, "sealed-session keys 0"),
        (1, "sealed-session keys 01"),
        (1, "-----BEGIN PRIVATE KEY-----"),
        (2, "longest -1"),
        (2, "longest 08"),
        (2, "longest 281474976710656"),
        (2, "poll 20000"),
        (7, "fence"),
        (8, "key"),
        (8, "# a remark"),
        (10, "end 1"),
        (10, "end"),
        (8, ""),
        (8, twice.as_str()),
        (8, good[8].as_str()),
        (9, good[7].as_str()),
        (9, &good[8].replace(&*material, "base64:AAAA")),
        (9, &good[8].replace(&*material, &material.replace('=', ""))),
        (9, &good[8].replace(&*material, &key(2).to_base64())),
        (9, &good[8].replace("from 1", "from 0")),
        (9, &good[8].replace("disabled 0", "disabled 4294967296")),
    ] {
        let mut bad = good.clone();
        bad[line - 1] = wrong.to_owned();
        let expected = if wrong == good[8] { 9 } else { line };
        assert_eq!(refused(&bad).line, expected, "{wrong}");
    }
    for (from, to) in [
        ("revoked -", "revoked 5"),
        ("dropped -", "dropped 5"),
        ("made 1700000000001", "made 0"), // no later than the fence
    ] {
        let mut bad = good.clone();
        bad[8] = good[8].replace(from, to);
        let error = refused(&bad);
        assert!(error.problem.contains("still has its material"), "{to}");
        assert_eq!(error.line, 9, "{to}");
    }
    assert!(read(&vec![b'x'; MAX_TEXT + 1]).is_err());
    assert!(read(&[0xff, b'\n']).is_err());
}

#[test]
fn more_keys_than_a_ring_may_have_are_refused() {
    let mut ring = first();
    for n in 1..17 {
        ring.add(key(n), at(1), at(2));
    }
    let text = lines(&ring);
    assert_eq!(text.len(), 7 + 17 + 1);
    assert_eq!(refused(&text).line, 7 + 17);
}

#[test]
fn the_largest_ring_fits_what_is_read() {
    let mut ring = Ring::new(bounds());
    for n in 0..128_u32 {
        let mut entry = Entry::new(key(0), Millis::MAX, Millis::MAX);
        entry.stops = Some(Millis::MAX);
        entry.disabled = u32::MAX;
        entry.revoked = Some(Millis::MAX);
        entry.dropped = Some(Millis::MAX);
        entry.key = None;
        let id = crate::KeyId::from_hex(&format!("{n:08x}")).unwrap();
        ring.entries.insert(id, entry);
    }
    let material = 16 * (7 + 340);
    assert!(write(&ring).len() + material < MAX_TEXT);
}

#[test]
fn of_a_newer_format_what_is_known_is_read_and_it_is_known_to_be_newer() {
    let mut ring = first();
    ring.add(key(1), at(1), at(2));
    let mut text = lines(&ring);
    text[0] = "sealed-session keys 2".to_owned();
    text[1].push_str(" more");
    text[7].push_str(" colour 7");
    text.insert(8, "witness 3".to_owned());
    text.last_mut().unwrap().push_str(" more");
    let newer = read((text.join("\n") + "\n").as_bytes()).unwrap();
    assert!(newer.is_newer());
    assert_eq!(newer.live().count(), 2);
    assert!(first().join(&newer).unwrap().is_newer());
    text[0] = "sealed-session keys 1".to_owned();
    assert_eq!(refused(&text).line, 2);
}
