use super::*;
use crate::envelope::Plaintext;
use crate::record::{Body, Header, Names};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(millis: u64) -> Millis {
    Millis::from_raw(millis)
}

fn id(n: u64) -> SessionId {
    SessionId::random(&mut |bytes| {
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        back.copy_from_slice(&n.to_be_bytes());
        Ok(())
    })
    .unwrap()
}

fn record(id: SessionId, subject: &str, issued_at: Millis) -> Record {
    let header = Header {
        id,
        issued_at,
        seen_at: issued_at,
        kept_for: None,
        binding: None,
        expires_at: issued_at.plus(DAY),
        transient: false,
        in_backend: false,
        logged_in_at: None,
    };
    let names = Names {
        subject,
        ..Names::default()
    };
    let body = Body::new(names, std::iter::empty(), std::iter::empty());
    let mut plaintext = Vec::new();
    body.append_to(&mut plaintext, &header);
    Record::decode(Plaintext::from_vec(plaintext)).unwrap()
}

fn ended(n: u64, from: u64, until: u64) -> Revocation {
    Revocation::Id {
        id: id(n),
        from: at(from),
        until: at(until),
    }
}

#[test]
fn an_id_counts_from_its_moment_until_its_deadline_to_the_millisecond() {
    let list = RevocationList::new();
    list.put(ended(1, 2000, 9000));
    let record = record(id(1), "", at(0));
    for (now, outcome) in [
        (1999, Ok(())),
        (2000, Err(Refusal::Revoked)),
        (8999, Err(Refusal::Revoked)),
        (9000, Ok(())),
    ] {
        assert_eq!(list.check(&record, at(now)), outcome, "{now}");
    }
}

#[test]
fn of_two_entries_of_one_id_the_earlier_beginning_and_the_later_end_hold() {
    for order in [[(5000, 6000), (2000, 3000)], [(2000, 3000), (5000, 6000)]] {
        let list = RevocationList::new();
        for (from, until) in order {
            list.put(ended(1, from, until));
        }
        let record = record(id(1), "", at(0));
        assert_eq!(list.check(&record, at(1999)), Ok(()));
        assert_eq!(list.check(&record, at(2000)), Err(Refusal::Revoked));
        assert_eq!(list.check(&record, at(5999)), Err(Refusal::Revoked));
        assert_eq!(list.len(), 1);
    }
}

#[test]
fn a_subject_ends_with_what_was_issued_before_its_latest_moment() {
    let list = RevocationList::new();
    for moment in [3000, 5000, 4000] {
        list.revoke_subject("ada", at(moment).into());
    }
    for (subject, issued_at, outcome) in [
        ("ada", 4999, Err(Refusal::Revoked)),
        ("ada", 5000, Ok(())),
        ("adam", 4999, Ok(())),
        ("", 4999, Ok(())),
    ] {
        let record = record(id(1), subject, at(issued_at));
        assert_eq!(list.check(&record, at(6000)), outcome, "{subject}");
    }
}

#[test]
fn all_end_that_were_issued_before_the_cutoff_and_it_does_not_move_back() {
    let list = RevocationList::new();
    list.revoke_all(at(5000).into());
    list.revoke_all(at(3000).into());
    let outcome = |issued_at| list.check(&record(id(1), "", at(issued_at)), at(6000));
    assert_eq!(outcome(4999), Err(Refusal::Cutoff));
    assert_eq!(outcome(5000), Ok(()));
}

/// A session gets another id at `now`, in one step.
fn moves(list: &RevocationList, from: u64, to: u64, now: u64) -> Result<bool, Late> {
    let times = (at(now).plus(GRACE), at(1_000_000));
    let moving = list.begin(id(from), id(to), times, at(now))?;
    Ok(moving.finish(at(now)))
}

#[test]
fn a_renewed_session_that_has_ended_before_may_not_go_on() {
    let list = RevocationList::new();
    assert!(list.end(id(1), at(9000), at(1000)), "it was destroyed");
    assert_eq!(moves(&list, 1, 2, 1000), Err(Late::Ended));
    assert_eq!(list.moved(id(1), at(1000)), None);
    assert!(!list.end(id(1), at(9000), at(1000)), "once more");

    let times = (at(11_000), at(90_000));
    let moving = list.begin(id(3), id(4), times, at(1000)).unwrap();
    assert!(list.end_all(id(3), at(90_000), at(90_000), at(1000)));
    assert!(!moving.finish(at(1000)), "it has ended in between");
    assert!(list.has_ended(id(4), at(1000)), "and what it was to become");
}

#[test]
fn an_id_becomes_one_other_and_only_whoever_began_may_go_on() {
    let list = RevocationList::new();
    assert_eq!(moves(&list, 1, 2, 1000), Ok(true));
    assert_eq!(moves(&list, 1, 2, 1500), Ok(true), "each response gets it");
    assert_eq!(moves(&list, 1, 3, 1500), Err(Late::Moved));
    assert_eq!(
        list.moved(id(1), at(1500)),
        Some((id(2), Duration::from_millis(500)))
    );
    let last = 1000 + 5 * 60 * 1000 - 1;
    assert!(list.moved(id(1), at(last)).is_some());
    assert_eq!(list.moved(id(1), at(last + 1)), None);
}

#[test]
fn a_change_of_id_that_is_given_up_has_not_happened() {
    let list = RevocationList::new();
    let times = (at(11_000), at(90_000));
    drop(list.begin(id(1), id(2), times, at(1000)).unwrap());
    assert_eq!(list.moved(id(1), at(1000)), None);
    assert!(!list.has_ended(id(1), at(20_000)));
    assert_eq!(moves(&list, 1, 3, 1000), Ok(true));
    drop(list.begin(id(1), id(3), times, at(2000)).unwrap());
    assert!(
        list.moved(id(1), at(2000)).is_some(),
        "an earlier response has it"
    );
}

#[test]
fn an_end_finds_what_an_id_has_become_however_often() {
    let list = RevocationList::new();
    for n in 1..5 {
        assert_eq!(moves(&list, n, n + 1, 1000), Ok(true));
    }
    assert!(list.end_all(id(1), at(9000), at(9000), at(1000)));
    for n in 1..=5 {
        assert!(list.has_ended(id(n), at(1000)), "{n}");
    }
    assert!(!list.end_all(id(1), at(9000), at(9000), at(1000)));
    assert_eq!(moves(&list, 5, 6, 1000), Err(Late::Ended));
}

#[test]
fn what_is_dead_is_swept_out_as_the_list_grows() {
    let list = RevocationList::new();
    list.serve(DAY);
    let day = 24 * 3600 * 1000;
    let witness = record(id(u64::MAX), "", at(0));
    let mut most = 0;
    for n in 0..100_000 {
        let now = n * 1000;
        list.admit(&witness, at(now)).unwrap();
        // 1000 are alive at any time, and 10 subjects.
        list.put(ended(n, 0, now + 1_000_000));
        if n % 8640 == 0 {
            list.revoke_subject(&n.to_string(), at(now).into());
        }
        most = most.max(list.len());
    }
    assert!(most < 3000, "{most}");
    let alive = record(id(99_500), "", at(99_500_000));
    assert_eq!(list.check(&alive, at(100_000_000)), Err(Refusal::Revoked));
    let moment = 8640 * 11 * 1000;
    let subject = (8640 * 11).to_string();
    let last = record(id(7), &subject, at(moment - 1));
    assert_eq!(
        list.check(&last, at(moment + day - 2)),
        Err(Refusal::Revoked)
    );
}

#[test]
fn a_subject_is_swept_out_once_no_session_of_its_can_be_left() {
    let list = RevocationList::new();
    list.serve(Duration::from_secs(1));
    let mut most = 0;
    for n in 0..10_000 {
        let now = at(n * 1000);
        list.tell_time(now);
        list.revoke_subject(&n.to_string(), now.into());
        most = most.max(list.len());
    }
    assert!(most < 300, "{most}");
}

#[test]
fn a_list_counts_its_sessions_and_its_subjects_each_once() {
    let list = RevocationList::new();
    assert!(list.is_empty());
    for _ in 0..2 {
        list.revoke_subject("ada", at(1000).into());
        assert_eq!((list.len(), list.is_empty()), (1, false));
    }
    list.revoke(id(1), at(1000).into());
    assert_eq!(list.len(), 2);
    list.revoke_all(at(1000).into());
    assert_eq!(list.len(), 2, "a cutoff is one number");
}

#[test]
fn looking_ahead_forgets_nothing() {
    let list = RevocationList::new();
    let ended_until = |n| list.put(ended(n, 0, 60_000 + n));
    ended_until(0);
    let record = record(id(0), "", at(0));
    assert_eq!(list.admit(&record, at(50_000)), Err(Refusal::Revoked));
    assert_eq!(list.check(&record, at(60_000)), Ok(()), "a save asks so");
    (1..1000).for_each(|n| assert_eq!(ended_until(n), None));
    assert_eq!(list.admit(&record, at(59_999)), Err(Refusal::Revoked));
}

#[test]
fn a_store_with_a_longer_lifetime_keeps_subjects_longer_whenever_it_comes() {
    let list = RevocationList::new();
    list.serve(Duration::from_secs(1));
    list.revoke_subject("ada", at(5000).into());
    list.serve(DAY);
    list.tell_time(at(60_000));
    for n in 0..1000 {
        list.revoke_subject(&n.to_string(), at(n).into());
    }
    let record = record(id(1), "ada", at(4999));
    assert_eq!(list.check(&record, at(60_000)), Err(Refusal::Revoked));
}

#[test]
fn no_debug_shows_an_id_or_a_subject() {
    let list = RevocationList::new();
    list.revoke(id(1), at(1000).into());
    list.revoke_subject("ada", at(1000).into());
    let shown = format!("{list:?}");
    assert_eq!(
        shown,
        "RevocationList { sessions: 1, subjects: 1, sids: 0, .. }"
    );
}

#[cfg(feature = "redis")]
mod rounds {
    use super::*;

    fn subject(name: &str, moment: u64) -> Revocation {
        Revocation::Subject {
            subject: name.into(),
            moment: at(moment),
        }
    }

    fn lifetime(longest: Duration, until: u64) -> Revocation {
        Revocation::Lifetime {
            longest: longest.into(),
            until: at(until),
        }
    }

    #[test]
    fn what_a_round_does_not_show_is_unseen_as_long_as_it_matters() {
        let list = RevocationList::new();
        list.serve(DAY);
        let all = [
            ended(1, 0, 9000),
            ended(2, 0, 9000),
            subject("ada", 1000),
            Revocation::All { moment: at(500) },
            lifetime(2 * DAY, 9000),
        ];
        for revocation in &all {
            list.put(revocation.clone());
        }
        assert_eq!(list.unseen(at(1000)), [], "all has just come");
        list.begin_round();
        assert_eq!(list.unseen(at(1000)).len(), all.len());
        for revocation in &all {
            assert!(!list.is_seen(revocation));
            list.put(revocation.clone());
            assert!(list.is_seen(revocation));
        }
        list.begin_round();
        for revocation in &all[..2] {
            list.put(revocation.clone());
        }
        assert_eq!(list.unseen(at(1000)), all[2..]);
        assert_eq!(list.unseen(at(9000)), all[2..4], "the lifetime is over");
        list.begin_round();
        let end = at(0).plus(2 * DAY).raw();
        assert_eq!(list.unseen(at(end + 500)), [subject("ada", 1000)]);
        assert_eq!(list.unseen(at(end + 1000)), []);
    }

    #[test]
    fn an_entry_that_says_less_than_the_list_shows_nothing() {
        let list = RevocationList::new();
        list.put(ended(1, 0, 9000));
        list.put(subject("ada", 2000));
        list.put(Revocation::All { moment: at(700) });
        list.serve(DAY);
        list.begin_round();
        list.put(ended(1, 3000, 9000));
        list.put(ended(1, 0, 8000));
        list.put(subject("ada", 1000));
        list.put(Revocation::All { moment: at(600) });
        let missing = [
            ended(1, 0, 9000),
            subject("ada", 2000),
            Revocation::All { moment: at(700) },
        ];
        assert_eq!(list.unseen(at(1000)), missing);
    }

    #[test]
    fn two_entries_that_only_say_together_what_the_list_has_are_put_back_as_one() {
        let list = RevocationList::new();
        let entries = [ended(1, 0, 5000), ended(1, 2000, 9000)];
        for _ in 0..2 {
            list.begin_round();
            for entry in &entries {
                list.put(entry.clone());
            }
        }
        assert_eq!(list.unseen(at(1000)), [ended(1, 0, 9000)]);
        list.put(ended(1, 0, 9000));
        assert_eq!(list.unseen(at(1000)), []);
    }
}

#[cfg(feature = "device-bound")]
#[test]
fn the_first_binding_of_a_session_holds() {
    let list = RevocationList::new();
    let id = SessionId::from_bytes([7; 16]);
    let [one, other] = [[1; 16], [2; 16]].map(BindingId::from_bytes);
    assert_eq!(list.bound_to(id), None);
    for (binding, until) in [(one, 1000), (other, 3000), (one, 2000)] {
        let until = Millis::from_raw(until);
        list.put(Revocation::Bound { id, binding, until });
        assert_eq!(list.bound_to(id), Some(one));
    }
}
