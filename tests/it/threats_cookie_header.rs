//! Attacks through the Cookie header, and on what is set there.

use sealed_session::{CookieConfig, CookieConfigBuilder, Origin, Refusal};

use crate::support::*;

fn named(name: &str) -> CookieConfigBuilder {
    CookieConfig::builder().name(name)
}

#[test]
fn a_name_that_only_looks_like_ours_is_not_ours() {
    let (site, token) = logged_in();
    for name in [
        "%5F%5FHost-session",
        "__Host%2Dsession",
        "__Host-%73ession",
        "\u{2000}__Host-session",
        "__Host-session\u{2000}",
        "\u{a0}__Host-session",
        "\u{feff}__Host-session",
        "\x0b__Host-session",
        "\x0c__Host-session",
        "\r\n__Host-session",
        "\0__Host-session",
        "\"__Host-session\"",
        "'__Host-session'",
        "$__Host-session",
        "$Version=1, __Host-session",
        "__host-session",
        "__HOST-SESSION",
        "__Host_session",
        "__Host.session",
        "__Host-session[]",
        "x__Host-session",
        "x=__Host-session",
        "x=\"__Host-session",
        "=__Host-session",
        " = __Host-session",
        "",
        "=",
    ] {
        for field in [
            format!("{name}={token}"),
            format!("a=b; {name}={token}"),
            format!("{name}={token}; c=d"),
        ] {
            let session = site.store.load_from([field.as_str()]);
            assert_eq!(session.origin(), Origin::Absent, "{name:?}");
        }
    }
}

#[test]
fn a_value_is_taken_as_it_stands() {
    let (site, token) = logged_in();
    for value in [
        format!("\"{token}\""),
        format!("\"{token}"),
        format!("{token}%3D"),
        format!("{token}="),
        format!("{token},"),
        format!("{token}\u{2000}"),
        format!("\x0b{token}"),
        token.replacen(&token[..1], &format!("%{:02X}", token.as_bytes()[0]), 1),
    ] {
        let session = site.store.load_from([format!("{NAME}={value}").as_str()]);
        assert_eq!(session.origin(), refused(Refusal::Malformed), "{value:?}");
    }
    for field in [
        format!(" \t{NAME}\t = \t{token} \t"),
        format!("{NAME}={token};"),
        format!(";;{NAME}={token}"),
        format!("$Version=1; {NAME}={token}; $Path=\"/\""),
        format!("a=\"b; {NAME}={token}; c=d\""),
    ] {
        let session = site.store.load_from([field.as_str()]);
        assert_eq!(session.origin(), Origin::Opened, "{field:?}");
    }
}

#[test]
fn bytes_that_are_not_ascii_in_other_cookies_do_no_harm() {
    let (site, token) = logged_in();
    for other in [
        &b"name=\xe9"[..],
        b"\xff=\xff",
        "caf\u{e9}=cr\u{e8}me".as_bytes(),
        b"\xc3",
        b"a=\x80\x81",
    ] {
        let ours = format!("{NAME}={token}");
        for field in [
            [other, b"; ", ours.as_bytes()].concat(),
            [ours.as_bytes(), b"; ", other].concat(),
            [other, b"; ", ours.as_bytes(), b"; ", other].concat(),
        ] {
            let session = site.store.load(&cookies(&[field]));
            assert_eq!(session.get("user_id").unwrap(), Some(42), "{other:?}");
        }
    }
}

#[test]
fn all_fields_of_a_request_are_read() {
    let (site, token) = logged_in();
    let ours = format!("{NAME}={token}");
    let both = format!("a=b; {ours}");
    for fields in [
        vec![ours.as_str()],
        vec!["a=b", &ours, "c=d"],
        vec!["a=b; c=d", &ours],
        vec![&both, "c=d"],
        vec!["", &both, ""],
        vec![&ours, &both],
    ] {
        let session = site.store.load(&cookies(&fields));
        assert_eq!(session.get("user_id").unwrap(), Some(42), "{fields:?}");
    }
}

#[test]
fn at_most_four_cookies_of_our_name_are_tried() {
    let (site, token) = logged_in();
    let after = |junk: usize| {
        let junk: String = (0..junk).map(|n| format!("{NAME}=junk{n}; ")).collect();
        let session = site
            .store
            .load(&cookies(&[format!("{junk}{NAME}={token}")]));
        session.origin()
    };
    assert_eq!(after(0), Origin::Opened);
    assert_eq!(after(3), Origin::Opened);
    assert_eq!(after(4), refused(Refusal::Malformed));
    assert_eq!(after(1000), refused(Refusal::Malformed));

    // Each token whose mac is checked is decoded into memory of its own.
    let allocations = |tokens: usize| {
        let other = |n| format!("{NAME}={}", forged(&token, n));
        let fields = cookies(&[(0..tokens).map(other).collect::<Vec<_>>().join("; ")]);
        let used = allocation_counter::measure(|| {
            let origin = site.store.load(&fields).origin();
            assert_eq!(origin, refused(Refusal::Forged));
        });
        used.count_total
    };
    assert!(allocations(3) < allocations(4));
    assert_eq!(allocations(4), allocations(5));
    assert_eq!(allocations(4), allocations(100));
}

#[test]
fn a_long_header_of_junk_costs_no_memory_that_grows_with_it() {
    let (site, token) = logged_in();
    let forged = format!("{NAME}={}; ", forged(&token, 0));
    for (junk, origin) in [
        ("a=b; ", Origin::Absent),
        (";", Origin::Absent),
        ("=", Origin::Absent),
        ("\"", Origin::Absent),
        ("__Host-", Origin::Absent),
        ("__Host-session", Origin::Absent),
        ("__Host-session ", Origin::Absent),
        ("__Host-session=; ", refused(Refusal::Malformed)),
        ("__Host-session=x", refused(Refusal::TooLong)),
        (&forged, refused(Refusal::Forged)),
    ] {
        let used_by = |length: usize| {
            let request = cookies(&[&junk.repeat(length / junk.len())]);
            allocation_counter::measure(|| {
                assert_eq!(site.store.load(&request).origin(), origin, "{junk:?}");
            })
        };
        let (short, long) = (used_by(8 * 1024), used_by(64 * 1024));
        assert_eq!(short.bytes_total, long.bytes_total, "{junk:?}");
        assert_eq!(short.count_total, long.count_total, "{junk:?}");
    }
}

#[test]
fn what_stands_beyond_64_kib_is_not_looked_at() {
    let (site, token) = logged_in();
    let ours = format!("; {NAME}={token}");
    let session = |junk: usize| {
        let field = "j".repeat(junk) + &ours;
        site.store.load_from([field.as_str()]).origin()
    };
    assert_eq!(session(64 * 1024 - ours.len()), Origin::Opened);
    assert_eq!(session(64 * 1024), Origin::Absent);
    assert_eq!(session(8 * 1024 * 1024), Origin::Absent);
}

#[test]
fn a_name_path_or_domain_that_could_split_a_header_is_refused() {
    let splits = [
        "a;b",
        "a\r\nSet-Cookie: x=y",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\tb",
        "a b",
        "a\u{7f}b",
        "é",
        "a\u{2028}b",
        "",
    ];
    for evil in splits {
        let path = format!("/{evil}");
        for (builder, setting) in [
            (named(evil), "cookie name"),
            (named("id").domain(evil), "cookie domain"),
            (
                named("id").path(if evil.is_empty() { evil } else { &path }),
                "cookie path",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), setting, "{evil:?}");
        }
    }
    for evil in ["a=b", "a,b", "a\"b", "a/b", "(a)", "__Host-session="] {
        let error = named(evil).build().unwrap_err();
        assert_eq!(error.setting(), "cookie name", "{evil:?}");
    }
}
