//! Every way by which RFC 9111, RFC 9213 and older customs let a shared cache keep what belongs to
//! one visitor, against caches that read them in their own ways.

use http::header::{CACHE_CONTROL, EXPIRES, HeaderName, HeaderValue, PRAGMA, VARY};
use http::{HeaderMap, header};
use sealed_session::{CookieConfig, CookieStoreBuilder, Outgoing, Session, Transport};

use crate::support::*;

type Fields = &'static [(&'static str, &'static str)];

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        // Not `from_static`, which takes ASCII alone.
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(*name, value);
    }
    headers
}

/// Makes the changes in both ways, which must agree, and twice, which must be as once.
fn applied(outgoing: &Outgoing, before: &HeaderMap) -> HeaderMap {
    let mut after = before.clone();
    outgoing.apply(&mut after);
    let mut told = before.clone();
    let present = before
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    for change in outgoing.changes(present) {
        let name: HeaderName = change.name().parse().unwrap();
        told.remove(&name);
        for value in change.values() {
            told.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        let holds_a_token = [header::SET_COOKIE.as_str(), "x-session-token"];
        assert_eq!(
            change.is_sensitive(),
            holds_a_token.contains(&change.name())
        );
    }
    assert_eq!(told, after, "{before:?}");
    let mut twice = after.clone();
    outgoing.apply(&mut twice);
    assert_eq!(twice, after, "{before:?}");
    after
}

/// What a response gets when the session of a visitor meets `handler`, six minutes after it was
/// written.
fn outgoing(
    settings: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder,
    handler: impl FnOnce(&Session),
) -> Outgoing {
    let site = Site::with(settings);
    let session = site.store.load_from([""]);
    session.insert("a", 1).unwrap();
    let first = site.store.respond(&session).unwrap();
    let request = match first.token_header() {
        Some((_, token)) => format!("Bearer {token}"),
        None => first.set_cookies().last().unwrap().to_owned(),
    };
    site.clock.forward(6 * MINUTE);
    let session = site.store.load_from([request.split(';').next().unwrap()]);
    assert!(!session.is_new());
    handler(&session);
    site.store.respond(&session).unwrap()
}

/// All that writes a cookie or a token, by what is the reason.
fn writes() -> Vec<(&'static str, Outgoing)> {
    let plain = |builder| builder;
    let change = |session: &Session| session.insert("a", 2).unwrap();
    let read = |_: &Session| {};
    let idle = |builder: CookieStoreBuilder| builder.idle_timeout(HOUR);
    let bearer = |builder: CookieStoreBuilder| builder.transport(Transport::bearer());
    let former = |builder: CookieStoreBuilder| {
        let former = CookieConfig::builder().name("sid").build().unwrap();
        builder.former(former)
    };
    let site = Site::with(former);
    let pairs = [1, 2].map(|n| {
        let session = site.store.load_from([""]);
        session.insert("a", n).unwrap();
        let set = site.store.respond(&session).unwrap();
        let set = set.set_cookies().last().unwrap().to_owned();
        set.split(';').next().unwrap().to_owned()
    });
    let ambiguous = site.store.load_from([&pairs.join("; ")]);
    let former_alone = site.store.respond(&ambiguous).unwrap();
    assert_eq!(former_alone.set_cookies().count(), 1);
    vec![
        ("a change", outgoing(plain, change)),
        ("a new id", outgoing(plain, Session::renew)),
        ("a refresh", outgoing(idle, read)),
        ("a removal", outgoing(plain, Session::destroy)),
        ("removals", outgoing(former, Session::destroy)),
        ("a former cookie's removal", former_alone),
        ("a token", outgoing(bearer, change)),
        ("a token's refresh", outgoing(|b| bearer(idle(b)), read)),
        ("a token's end", outgoing(bearer, Session::destroy)),
    ]
}

/// A shared cache, and the peculiarities of its reader.
#[derive(Clone, Copy, Debug)]
struct Cache {
    /// The fields that it obeys before Cache-Control, in their order.
    obeys: &'static [&'static str],
    /// It ignores such a field if it is not strictly what RFC 9213 allows.
    is_strict: bool,
    /// It stores what says `no-store` if it understands the response.
    takes_must_understand: bool,
    /// Of two directives of one name it takes the last.
    takes_the_last: bool,
    /// It reads all lines of a field as one, as RFC 9110 has it, or each by itself.
    joins_lines: bool,
}

const PLAIN: Cache = Cache {
    obeys: &[],
    is_strict: true,
    takes_must_understand: false,
    takes_the_last: false,
    joins_lines: true,
};

fn caches() -> Vec<Cache> {
    let fields: [&'static [&'static str]; 9] = [
        &[],
        &["cdn-cache-control"],
        &["cloudflare-cdn-cache-control", "cdn-cache-control"],
        &["vercel-cdn-cache-control", "cdn-cache-control"],
        &["netlify-cdn-cache-control", "cdn-cache-control"],
        &["nobody-knows-it-yet-cdn-cache-control"],
        &["surrogate-control"],
        &["edge-control"],
        &["x-litespeed-cache-control"],
    ];
    let mut caches = Vec::new();
    for obeys in fields {
        for n in 0..16 {
            caches.push(Cache {
                obeys,
                is_strict: n & 1 == 0,
                takes_must_understand: n & 2 == 0,
                takes_the_last: n & 4 == 0,
                joins_lines: n & 8 == 0,
            });
        }
    }
    caches.push(Cache {
        obeys: &["x-accel-expires"],
        ..PLAIN
    });
    caches
}

type Directives = Vec<(String, Option<String>)>;

impl Cache {
    /// Whether it may keep a 200, which needs no more than that nothing is against it.
    fn may_keep(&self, headers: &HeaderMap) -> bool {
        if self.obeys == ["x-accel-expires"]
            && let Some(value) = headers.get(self.obeys[0])
        {
            return value != "0";
        }
        for field in self.obeys {
            let directives = self.directives(headers, field);
            let says_something = directives.iter().any(|(name, _)| name != "content");
            if says_something && (!self.is_strict || is_dictionary(&directives)) {
                return self.lets_keep(&directives);
            }
        }
        self.lets_keep(&self.directives(headers, "cache-control"))
    }

    fn lets_keep(&self, directives: &Directives) -> bool {
        let find = |wanted: &str| {
            let mut found = directives
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            if self.takes_the_last {
                found.next_back()
            } else {
                found.next()
            }
        };
        let is_bare = |wanted: &str| find(wanted).is_some_and(|(_, argument)| argument.is_none());
        let is_stored_nowhere = is_bare("no-store")
            && !(self.takes_must_understand && find("must-understand").is_some());
        // It believes the worst: who says that everybody may, is not asked what else they say.
        let is_shared = find("public").is_some() || find("s-maxage").is_some();
        !is_stored_nowhere && (is_shared || !is_bare("private"))
    }

    fn directives(&self, headers: &HeaderMap, field: &str) -> Directives {
        let lines: Vec<String> = headers
            .get_all(field)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
            .collect();
        let lines = match self.joins_lines {
            true => vec![lines.join(", ")],
            false => lines,
        };
        lines.iter().flat_map(|line| parse(line)).collect()
    }
}

/// Parts between commas outside of quotes, each a name and perhaps an argument.
fn parse(line: &str) -> Directives {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in line.chars() {
        if character == ',' && !is_quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        part.push(character);
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && is_quoted && !is_escaped;
    }
    parts.push(part);
    let trim = |text: &str| text.trim_matches([' ', '\t']).to_owned();
    let parts = parts.iter().map(|part| trim(part));
    let parts = parts.filter(|part| !part.is_empty());
    let split = |part: String| match part.split_once('=') {
        Some((name, argument)) => (trim(name), Some(trim(argument))),
        None => (part, None),
    };
    parts.map(split).collect()
}

/// RFC 8941, as far as these tests need it.
fn is_dictionary(directives: &Directives) -> bool {
    let is_key = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase() || first == '*')
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
            })
    };
    let is_value = |value: &str| match value.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .is_some_and(|text| !text.contains('"')),
        None => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    };
    let mut all = directives.iter();
    all.all(|(name, value)| is_key(name) && value.as_deref().is_none_or(is_value))
}

/// What a handler, a framework or a file server says so that shared caches keep the response, or
/// so that they might.
const KEPT: [Fields; 64] = [
    // Nothing: a 200 is kept by rules of thumb.
    &[],
    &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
    &[
        ("etag", "\"1\""),
        ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
    &[("pragma", "no-cache")],
    &[("cache-control", "")],
    &[("cache-control", " , ,")],
    // Cache-Control says so, or does not forbid it.
    &[("cache-control", "public")],
    &[("cache-control", "PUBLIC, Max-Age=60")],
    &[("cache-control", "max-age=60")],
    &[("cache-control", "s-maxage=600")],
    &[("cache-control", "max-age=0, S-MaxAge=600")],
    &[("cache-control", "must-revalidate, max-age=0")],
    &[("cache-control", "proxy-revalidate")],
    &[("cache-control", "no-cache")],
    &[("cache-control", "no-cache, must-revalidate")],
    &[("cache-control", "immutable, max-age=31536000")],
    &[("cache-control", "max-age=1, stale-while-revalidate=600")],
    &[("cache-control", "max-age=1, stale-if-error=600")],
    &[("cache-control", "no-transform")],
    &[("cache-control", "some-extension=1, max-age=60")],
    // With a list, only the fields are meant.
    &[("cache-control", "private=\"set-cookie\"")],
    &[("cache-control", "private=\"set-cookie\", private")],
    &[("cache-control", "private, private=\"x-other\"")],
    &[("cache-control", "private=x-other, max-age=60")],
    &[("cache-control", "private=\"\"")],
    &[("cache-control", "no-cache=\"set-cookie\", max-age=60")],
    &[("cache-control", "no-cache=\"a, private\", public")],
    // Contradictions, of which a cache may choose.
    &[("cache-control", "private, public")],
    &[("cache-control", "private, s-maxage=1")],
    &[("cache-control", "private"), ("cache-control", "public")],
    &[("cache-control", "public"), ("cache-control", "max-age=60")],
    // `no-store` that may be ignored, or is none.
    &[("cache-control", "no-store, must-understand")],
    &[("cache-control", "must-understand, no-store, max-age=60")],
    &[
        ("cache-control", "no-store"),
        ("cache-control", "Must-Understand"),
    ],
    &[("cache-control", "no-store=1")],
    &[("cache-control", "no-store=\"x\", max-age=60")],
    &[("cache-control", "x=\"no-store\"")],
    &[("cache-control", "\u{a0}no-store")],
    &[("cache-control", "no-store\u{2003}, max-age=60")],
    &[("cache-control", "no_store")],
    // Quotes that do not end, within a line or over several.
    &[("cache-control", "max-age=60, x=\"a, private")],
    &[
        ("cache-control", "x=\"a"),
        ("cache-control", "no-store"),
        ("cache-control", "b\""),
    ],
    &[
        ("cache-control", "x=\"a"),
        ("cache-control", "private"),
        ("cache-control", "b\""),
    ],
    &[("cache-control", "x=\"a\\\", no-store, max-age=60")],
    &[("cache-control", "x=\"\\\\\", public")],
    // The fields that come before it.
    &[("cdn-cache-control", "public, max-age=600")],
    &[
        ("cdn-cache-control", "max-age=600"),
        ("cache-control", "private"),
    ],
    &[
        ("cdn-cache-control", "max-age=600"),
        ("cache-control", "no-store"),
    ],
    &[
        ("cdn-cache-control", "max-age=600"),
        ("cdn-cache-control", "public"),
    ],
    &[("cdn-cache-control", "no-store, must-understand")],
    &[
        ("cdn-cache-control", "private=\"x-other\", max-age=60"),
        ("cache-control", "private"),
    ],
    &[("cdn-cache-control", "MAX-AGE=600")],
    &[("cdn-cache-control", "max-age=\"")],
    &[("cdn-cache-control", "")],
    &[
        ("Cloudflare-CDN-Cache-Control", "max-age=600"),
        ("cdn-cache-control", "no-store"),
    ],
    &[
        ("vercel-cdn-cache-control", "max-age=600"),
        ("cache-control", "private, max-age=0"),
    ],
    &[
        ("netlify-cdn-cache-control", "public, durable, s-maxage=600"),
        ("cache-control", "private"),
    ],
    &[
        ("nobody-knows-it-yet-cdn-cache-control", "max-age=1"),
        ("cache-control", "private"),
    ],
    &[
        ("surrogate-control", "max-age=600"),
        ("cache-control", "no-store"),
    ],
    &[
        ("surrogate-control", "max-age=600+60, content=\"ESI/1.0\""),
        ("cache-control", "private"),
    ],
    &[
        ("edge-control", "cache-maxage=60s, !no-store"),
        ("cache-control", "private"),
    ],
    &[
        ("x-litespeed-cache-control", "public,max-age=600"),
        ("cache-control", "private"),
    ],
    &[("x-accel-expires", "600"), ("cache-control", "private")],
    &[
        ("x-accel-expires", "@4070908800"),
        ("cache-control", "no-store"),
    ],
];

#[test]
fn no_shared_cache_keeps_a_response_with_a_cookie_or_a_token() {
    let (caches, writes) = (caches(), writes());
    for fields in KEPT {
        let before = headers(fields);
        let keeps = |headers: &HeaderMap| caches.iter().find(|cache| cache.may_keep(headers));
        assert!(keeps(&before).is_some(), "no cache would keep {fields:?}");
        for (why, outgoing) in &writes {
            let after = applied(outgoing, &before);
            let keeper = keeps(&after);
            assert!(keeper.is_none(), "{why}: {keeper:?}: {after:?}");
            assert!(after.contains_key(VARY), "{why}: {after:?}");
        }
    }
}

#[test]
fn what_keeps_a_response_out_of_shared_caches_already_stays_as_it_is() {
    let out: [Fields; 8] = [
        &[("cache-control", "private")],
        &[("cache-control", "Private, max-age=60, no-transform")],
        &[
            ("cache-control", "max-age=60"),
            ("cache-control", "private"),
        ],
        &[("cache-control", "no-store")],
        &[("cache-control", "No-Store, max-age=0")],
        &[("cache-control", "public, no-store")],
        &[("cache-control", "private, no-store, must-understand")],
        &[
            ("cache-control", "private"),
            ("cdn-cache-control", "no-store"),
        ],
    ];
    for (why, outgoing) in writes() {
        for fields in out {
            let before = headers(fields);
            let after = applied(&outgoing, &before);
            for name in before.keys() {
                let values =
                    |headers: &HeaderMap| Vec::from_iter(headers.get_all(name).iter().cloned());
                assert_eq!(values(&after), values(&before), "{why}: {fields:?}");
            }
        }
    }
}

#[test]
fn what_a_browser_may_keep_and_what_a_cache_does_to_a_page_is_still_said() {
    let (_, change) = writes().swap_remove(0);
    let rows: [(Fields, Fields); 19] = [
        (&[], &[("cache-control", "private")]),
        (&[("cache-control", "")], &[("cache-control", "private")]),
        (
            &[("cache-control", "PUBLIC")],
            &[("cache-control", "private")],
        ),
        (
            &[("cache-control", "public, max-age=60")],
            &[("cache-control", "max-age=60, private")],
        ),
        (
            &[("cache-control", "max-age=1"), ("cache-control", "public")],
            &[("cache-control", "max-age=1, private")],
        ),
        (
            &[("cache-control", "private, s-maxage=1")],
            &[("cache-control", "private")],
        ),
        (
            &[("cache-control", "private"), ("cache-control", "public=\"")],
            &[("cache-control", "private")],
        ),
        (
            &[("cache-control", "no-cache=\"a, public\", public")],
            &[("cache-control", "no-cache=\"a, public\", private")],
        ),
        (
            &[("cache-control", "private=\"set-cookie\", no-cache")],
            &[("cache-control", "no-cache, private")],
        ),
        (
            &[("cache-control", "x=\"a\\\"b, c\", public")],
            &[("cache-control", "x=\"a\\\"b, c\", private")],
        ),
        (
            &[("cache-control", "max-age=1, x=\"a, public")],
            &[("cache-control", "max-age=1, private")],
        ),
        (
            &[("cache-control", "no-store, must-understand")],
            &[("cache-control", "no-store, must-understand, private")],
        ),
        (
            &[("cache-control", "x=\"é\", max-age=1")],
            &[("cache-control", "x=\"é\", max-age=1, private")],
        ),
        (
            &[
                ("cdn-cache-control", "max-age=9"),
                ("cache-control", "max-age=1"),
            ],
            &[
                ("cdn-cache-control", "no-store"),
                ("cache-control", "max-age=1, private"),
            ],
        ),
        (
            &[
                ("cdn-cache-control", "private"),
                ("cdn-cache-control", "max-age=9"),
            ],
            &[
                ("cdn-cache-control", "no-store"),
                ("cache-control", "private"),
            ],
        ),
        (
            &[("surrogate-control", "max-age=9, Content=\"ESI/1.0, x\"")],
            &[
                ("surrogate-control", "no-store, Content=\"ESI/1.0, x\""),
                ("cache-control", "private"),
            ],
        ),
        (
            &[
                ("edge-control", "dca=esi"),
                ("edge-control", "cache-maxage=1d"),
            ],
            &[
                ("edge-control", "no-store, dca=esi"),
                ("cache-control", "private"),
            ],
        ),
        (
            &[("x-accel-expires", "600")],
            &[("x-accel-expires", "0"), ("cache-control", "private")],
        ),
        (
            &[("expires", "0"), ("pragma", "no-cache")],
            &[
                ("expires", "0"),
                ("pragma", "no-cache"),
                ("cache-control", "private"),
            ],
        ),
    ];
    for (before, then) in rows {
        let after = applied(&change, &headers(before));
        let then = headers(then);
        for name in then.keys() {
            let values =
                |headers: &HeaderMap| Vec::from_iter(headers.get_all(name).iter().cloned());
            assert_eq!(values(&after), values(&then), "{before:?}");
        }
        assert_eq!(after.keys_len(), then.keys_len() + 2, "Set-Cookie and Vary");
    }
}

#[test]
fn an_answer_that_only_had_an_opened_session_is_private_if_its_handler_says_nothing() {
    let read = |_: &Session| {};
    let plain = |builder: CookieStoreBuilder| builder;
    let bearer = |builder: CookieStoreBuilder| builder.transport(Transport::bearer());
    let off = |builder: CookieStoreBuilder| builder.private_by_default(false);
    let says_nothing: [Fields; 6] = [
        &[],
        &[("cache-control", "")],
        &[("cache-control", " ,"), ("cdn-cache-control", "")],
        &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
        &[("pragma", "no-cache"), ("etag", "\"1\"")],
        &[("vary", "accept"), ("set-cookie", "theme=dark")],
    ];
    for fields in says_nothing {
        let before = headers(fields);
        for outgoing in [outgoing(plain, read), outgoing(bearer, read)] {
            let after = applied(&outgoing, &before);
            assert_eq!(after[CACHE_CONTROL], "private", "{fields:?}");
            assert_eq!(after.get(EXPIRES), before.get(EXPIRES));
            assert_eq!(after.get(PRAGMA), before.get(PRAGMA));
            assert!(!caches().iter().any(|cache| cache.may_keep(&after)));
        }
        let after = applied(&outgoing(off, read), &before);
        assert_eq!(after.get(CACHE_CONTROL), before.get(CACHE_CONTROL));
    }
    let says_something: [Fields; 9] = [
        &[("cache-control", "public, max-age=60")],
        &[("cache-control", "max-age=60")],
        &[("cache-control", "no-store")],
        &[("cache-control", "no-cache")],
        &[("cache-control", "\"")],
        &[("cdn-cache-control", "max-age=60")],
        &[("surrogate-control", "max-age=60")],
        &[("vercel-cdn-cache-control", "max-age=60")],
        &[("x-accel-expires", "60"), ("expires", "0")],
    ];
    for fields in says_something {
        let mut then = headers(fields);
        then.append(VARY, "Cookie".parse().unwrap());
        for outgoing in [outgoing(plain, read), outgoing(off, read)] {
            assert_eq!(applied(&outgoing, &headers(fields)), then);
        }
    }
}

#[test]
fn an_answer_for_which_no_session_opened_only_varies() {
    let site = Site::new();
    for cookie in ["", "a=b", "__Host-session=junk"] {
        let session = site.store.load_from([cookie]);
        let after = applied(&site.store.respond(&session).unwrap(), &HeaderMap::new());
        assert_eq!(after.len(), 1, "{after:?}");
        assert_eq!(after[VARY], "Cookie");
    }
    let made_here = site.store.respond(&Session::new()).unwrap();
    assert!(made_here.is_empty(), "no request, nothing to vary by");
}
