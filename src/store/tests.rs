//! What happens between two steps of a save.

use crate::envelope::os_random;
use crate::{AppKey, CookieStore, Origin};

fn key() -> AppKey {
    AppKey::generate().unwrap()
}

#[test]
fn keys_that_are_replaced_while_a_save_seals_leave_no_session_of_the_old_ones() {
    let store = CookieStore::new(key());
    let session = store.load_from::<str>([]);
    session.insert("admin", true).unwrap();
    let forged = store.respond(&session).unwrap().cookie_header();

    let held = store.load_from([&forged]);
    assert_eq!(held.origin(), Origin::Opened);
    held.insert("seen", true).unwrap();
    let outgoing = store.respond_with(&held, &mut |bytes| {
        store.replace_keys(key());
        os_random(bytes)
    });
    assert_eq!(outgoing.unwrap().set_cookies().count(), 0);
    assert!(held.is_empty());
}
