//! The id of the session, which tower-sessions hands out without waiting.

use super::*;

with_each_store! {
    the_id_is_the_same_before_and_after_the_first_save_and_in_later_requests
    a_session_that_the_layer_saves_has_the_id_that_the_handler_saw
    cycle_id_keeps_the_entries_and_gives_a_new_id
    cycle_id_of_a_session_that_nothing_was_read_from_gives_a_new_id
    a_forged_cookie_makes_a_new_session_whose_id_holds
}

/// The id that a later request starts with.
fn id<S: Sessions>(browser: &mut Browser<S>) -> Id {
    let id = Mutex::default();
    browser.visit(async |request: Request<()>| {
        *id.lock().unwrap() = theirs(&request).id();
        let ours = ours(&request).await.id().unwrap();
        let same = Id(i128::from_le_bytes(*ours.as_bytes()));
        assert_eq!(theirs(&request).id(), Some(same));
        ok()
    });
    id.into_inner().unwrap().unwrap()
}

fn the_id_is_the_same_before_and_after_the_first_save_and_in_later_requests<S: Sessions>(
    mut browser: Browser<S>,
) {
    let seen = Mutex::default();
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        let first = session.id();
        session.insert("a", 1).await.unwrap();
        assert_eq!(session.id(), first);
        session.save().await.unwrap();
        assert_eq!(session.id(), first);
        *seen.lock().unwrap() = first;
        ok()
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(Some(id(&mut browser)), seen);
    assert_eq!(Some(id(&mut browser)), seen);
}

fn a_session_that_the_layer_saves_has_the_id_that_the_handler_saw<S: Sessions>(
    mut browser: Browser<S>,
) {
    let seen = Mutex::default();
    browser.visit(async |request: Request<()>| {
        *seen.lock().unwrap() = theirs(&request).id();
        ours(&request).await.insert("a", 1).unwrap();
        ok()
    });
    assert_eq!(Some(id(&mut browser)), seen.into_inner().unwrap());
}

fn cycle_id_keeps_the_entries_and_gives_a_new_id<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let (before, old_cookie) = (id(&mut browser), browser.cookie.clone());
    let given = Mutex::default();
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        session.insert("b", 2).await.unwrap();
        session.cycle_id().await.unwrap();
        session.insert("c", 3).await.unwrap();
        assert_eq!(session.id(), None);
        session.save().await.unwrap();
        *given.lock().unwrap() = session.id();
        ok()
    });
    let after = id(&mut browser);
    assert_ne!(after, before);
    assert_ne!(browser.cookie, old_cookie);
    assert_eq!(Some(after), given.into_inner().unwrap());
    assert_eq!(browser.entries(), entries([("a", 1), ("b", 2), ("c", 3)]));
}

fn cycle_id_of_a_session_that_nothing_was_read_from_gives_a_new_id<S: Sessions>(
    mut browser: Browser<S>,
) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let before = id(&mut browser);
    browser.visit(async |request: Request<()>| {
        theirs(&request).cycle_id().await.unwrap();
        ok()
    });
    assert_ne!(id(&mut browser), before);
    assert_eq!(browser.entries(), entries([("a", 1)]));
}

fn a_forged_cookie_makes_a_new_session_whose_id_holds<S: Sessions>(mut browser: Browser<S>) {
    browser.cookie = format!("__Host-session={}", "A".repeat(200));
    let seen = Mutex::default();
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        assert_eq!(session.get::<u64>("a").await.unwrap(), None);
        session.insert("a", 1).await.unwrap();
        *seen.lock().unwrap() = session.id();
        ok()
    });
    assert_eq!(Some(id(&mut browser)), seen.into_inner().unwrap());
}

#[test]
fn a_session_that_has_ended_elsewhere_is_new_and_has_no_id_until_it_is_saved() {
    let mut browser = Browser::new(memory());
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let (copy, before) = (browser.cookie.clone(), id(&mut browser));
    browser.visit(async |request: Request<()>| {
        theirs(&request).flush().await.unwrap();
        ok()
    });
    browser.cookie = copy;
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        assert_eq!(session.get::<u64>("a").await.unwrap(), None);
        assert_eq!(session.id(), None);
        assert!(session.is_empty().await);
        session.insert("b", 2).await.unwrap();
        ok()
    });
    assert_ne!(id(&mut browser), before);
    assert_eq!(browser.entries(), entries([("b", 2)]));
}
