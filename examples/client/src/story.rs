//! The story, a sentence each. Every one starts with an empty jar and a shop of its own.

use cookie::time::{Duration, OffsetDateTime};
use cookie::{Cookie, SameSite};
use sealed_session::{AppKey, Driver, Origin, Refusal};

use crate::{Answer, COOKIE, Visitor};

/// The one cookie that an answer sets, whose response no shared cache may keep.
fn only_cookie(answer: &Answer) -> &Cookie<'static> {
    let [cookie] = answer.cookies.as_slice() else {
        panic!("one Set-Cookie expected: {answer:?}");
    };
    assert_eq!(cookie.name(), COOKIE);
    assert_eq!(
        answer.cache_control.as_deref(),
        Some("private"),
        "{answer:?}"
    );
    assert_eq!(answer.vary.as_deref(), Some("Cookie"), "{answer:?}");
    cookie
}

/// What the prefix `__Host-` demands, and what keeps the cookie from scripts and other sites.
fn assert_attributes(cookie: &Cookie<'_>) {
    assert_eq!(cookie.path(), Some("/"));
    assert_eq!(cookie.domain(), None);
    assert_eq!(cookie.secure(), Some(true));
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.same_site(), Some(SameSite::Lax));
    assert_eq!(cookie.partitioned(), None);
}

fn assert_guest(visitor: &Visitor) {
    let answer = visitor.get("/profile");
    assert_eq!(answer.status, 401, "{answer:?}");
}

/// A page of words that a visitor has sent is text, and nothing that a browser would run.
fn assert_is_text(answer: &Answer) {
    let content_type = answer.content_type.as_deref().unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "{answer:?}");
}

pub fn a_page_without_a_session_is_left_as_it_is(mut visitor: Visitor) {
    let assert_untouched = |visitor: &Visitor| {
        let answer = visitor.get("/");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text.contains("<form"), "{answer:?}");
        assert!(answer.cookies.is_empty(), "{answer:?}");
        assert_eq!(answer.vary, None, "{answer:?}");
    };
    assert_untouched(&visitor);
    visitor.log_in();
    assert_untouched(&visitor);
    // Not even a cookie that has to be sealed again is, where nobody asks for the session.
    let old = visitor.key.clone();
    visitor.deploy(AppKey::generate().unwrap(), Some(&old));
    assert_untouched(&visitor);
    assert_eq!(visitor.key_id(), old.id());
}

pub fn a_guest_has_no_profile_and_an_error_saves_the_session(visitor: Visitor) {
    let refused = visitor.get("/profile");
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.text, "please log in first");
    // The 401 has saved that the profile was wanted: the login leads there.
    only_cookie(&refused);
    let nameless = visitor.post("/login", &[("name", " ")]);
    assert_eq!(nameless.status, 400, "{nameless:?}");
    assert_eq!(visitor.log_in().location.as_deref(), Some("/profile"));
}

pub fn a_login_sets_the_cookie_with_every_attribute(visitor: Visitor) {
    let answer = visitor.log_in();
    assert_eq!(answer.location.as_deref(), Some("/"));
    let cookie = only_cookie(&answer);
    assert_attributes(cookie);
    assert_eq!(cookie.max_age(), Some(Duration::DAY));
    assert_eq!(visitor.token().as_deref(), Some(cookie.value()));
    let profile = visitor.get("/profile");
    assert_eq!(profile.status, 200, "{profile:?}");
    assert!(profile.text.starts_with("You are Ada."), "{profile:?}");
    assert_is_text(&profile);
}

pub fn a_message_is_shown_once(visitor: Visitor) {
    visitor.log_in();
    let first = visitor.get("/profile");
    assert!(first.text.contains("Welcome, Ada!"), "{first:?}");
    assert_eq!(first.cookies.len(), usize::from(visitor.is_in_cookie()));
    let second = visitor.get("/profile");
    assert_eq!(second.text.trim_end(), "You are Ada.");
}

pub fn a_page_that_only_reads_sets_no_cookie(visitor: Visitor) {
    visitor.log_in();
    visitor.get("/profile");
    for path in ["/profile", "/cart"] {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.cookies.is_empty(), "{answer:?}");
        assert_eq!(answer.cache_control.as_deref(), Some("private"));
        assert_eq!(answer.vary.as_deref(), Some("Cookie"), "{answer:?}");
    }
}

pub fn a_cart_is_kept_and_a_guest_takes_it_along(visitor: Visitor) {
    let added = visitor.add("orange marmalade & toast");
    assert_eq!(added.status, 303, "{added:?}");
    assert_eq!(added.location.as_deref(), Some("/cart"));
    only_cookie(&added);
    visitor.log_in();
    visitor.add("tea");
    let cart = visitor.get("/cart");
    assert_eq!(cart.text, "orange marmalade & toast\ntea\n");
    assert_is_text(&cart);
}

pub fn a_cart_that_does_not_fit_is_refused_and_stays_as_it_was(visitor: Visitor) {
    let item = "x".repeat(300);
    let mut kept = 0;
    let refused = loop {
        let answer = visitor.add(&item);
        if answer.status != 303 {
            break answer;
        }
        kept += 1;
        assert!(kept < 20, "4096 bytes are enough for {kept} items of 300");
    };
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text.contains("the limit is 4096"), "{refused:?}");
    assert!(refused.cookies.is_empty(), "{refused:?}");
    assert!(kept >= 9, "only {kept} items of 300 bytes fit");
    assert_eq!(visitor.get("/cart").text, format!("{item}\n").repeat(kept));
}

pub fn a_login_gives_the_session_a_new_id(visitor: Visitor) {
    visitor.add("tea");
    let planted = visitor.identity();
    visitor.log_in();
    let own = visitor.identity();
    assert_ne!(own, planted);
    visitor.add("toast");
    assert_eq!(visitor.identity(), own, "an ordinary change keeps it");
}

pub fn a_tampered_cookie_makes_a_guest_who_can_log_in_again(visitor: Visitor) {
    visitor.log_in();
    let token = visitor.token().unwrap();
    let middle = token.len() / 2;
    let other = if token[middle..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    visitor.plant(&format!(
        "{}{other}{}",
        &token[..middle],
        &token[middle + 1..]
    ));
    assert_guest(&visitor);
    visitor.log_in();
    assert_eq!(visitor.get("/profile").status, 200);
}

pub fn a_rotated_key_logs_nobody_out(mut visitor: Visitor) {
    visitor.log_in();
    visitor.get("/profile");
    let (old, identity) = (visitor.key.clone(), visitor.identity());
    let issued_at = visitor.session().issued_at();
    let new = AppKey::generate().unwrap();

    visitor.deploy(new.clone(), Some(&old));
    let answer = visitor.get("/profile");
    assert_eq!(answer.text.trim_end(), "You are Ada.");
    assert_attributes(only_cookie(&answer));
    assert_eq!(visitor.key_id(), new.id(), "sealed again");
    assert_eq!(visitor.identity(), identity);
    assert_eq!(visitor.session().issued_at(), issued_at);
    assert_eq!(issued_at.is_some(), visitor.is_in_cookie());

    visitor.deploy(new, None);
    let answer = visitor.get("/profile");
    assert_eq!(answer.text.trim_end(), "You are Ada.");
    assert!(answer.cookies.is_empty(), "{answer:?}");
}

pub fn a_logout_removes_the_cookie_with_the_same_attributes(visitor: Visitor) {
    visitor.log_in();
    let identity = visitor.identity();
    let answer = visitor.post("/logout", &[]);
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.location.as_deref(), Some("/"));
    let removal = only_cookie(&answer);
    assert_attributes(removal);
    assert_eq!(removal.value(), "");
    assert_eq!(removal.max_age(), Some(Duration::ZERO));
    assert_eq!(removal.expires_datetime(), Some(OffsetDateTime::UNIX_EPOCH));
    assert_eq!(visitor.token(), None);
    assert_guest(&visitor);
    visitor.log_in();
    assert_eq!(visitor.get("/profile").status, 200);
    assert_ne!(visitor.identity(), identity);
}

/// The limit of sessions without a server's memory, as it is documented.
pub fn a_copied_cookie_opens_after_the_logout_until_its_deadline(visitor: Visitor) {
    visitor.log_in();
    let copy = visitor.token().unwrap();
    visitor.post("/logout", &[]);
    assert_guest(&visitor);
    visitor.plant(&copy);
    assert_eq!(visitor.get("/profile").status, 200);
}

/// With a server's memory that limit is none.
pub fn a_copied_cookie_opens_nothing_after_the_logout(visitor: Visitor) {
    visitor.log_in();
    let copy = visitor.token().unwrap();
    visitor.post("/logout", &[]);
    visitor.plant(&copy);
    assert_guest(&visitor);
}

/// In the steps of docs/stores.md.
pub fn a_service_moves_into_its_backend_and_back_and_nobody_is_logged_out(mut visitor: Visitor) {
    let backend = visitor.place.driver;
    let (small, adopt) = ("SESSION_SMALL_IN_COOKIE", "SESSION_ADOPT_COOKIES");
    let (in_cookie, in_backend) = (Origin::Opened, Origin::Refused(Refusal::Elsewhere));
    visitor.move_to(Driver::Cookie, None);
    visitor.log_in();
    for (driver, switch, where_then) in [
        (Driver::Cookie, None, in_cookie),
        (backend, Some(small), in_cookie),
        (backend, Some(adopt), in_backend),
        (backend, None, in_backend),
        (backend, Some(adopt), in_backend),
        (backend, Some(small), in_cookie),
        (Driver::Cookie, None, in_cookie),
    ] {
        visitor.move_to(driver, switch);
        let profile = visitor.get("/profile");
        assert!(profile.text.starts_with("You are Ada."), "{profile:?}");
        assert_eq!(visitor.add("tea").status, 303);
        assert_eq!(
            visitor.session().origin(),
            where_then,
            "{driver} {switch:?}"
        );
    }
    assert_eq!(visitor.get("/cart").text, "tea\n".repeat(7));
}

pub fn sessions_in_memory_end_with_the_process(mut visitor: Visitor) {
    visitor.log_in();
    let key = visitor.key.clone();
    visitor.deploy(key, None);
    assert_guest(&visitor);
    visitor.log_in();
    assert_eq!(visitor.get("/profile").status, 200);
}
