//! The headers that a response has already, whatever they are, and those that a session adds.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY};
use sealed_session::{AppKey, CookieConfig, CookieStore, Outgoing, Session, Transport};

const NAME: &str = "__Host-session";
const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// The fields that some caches obey before Cache-Control.
static TARGETED: [HeaderName; 3] = [
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
];

/// What a session may ask for, with a cookie, with a header, and with a cookie of a store that is
/// told to leave caches alone: as a new one, as one that opened, a removal, a token.
static OUTGOING: LazyLock<Vec<Outgoing>> = LazyLock::new(|| {
    let builder = || CookieStore::builder(AppKey::generate().expect("a random source"));
    let former = |name| CookieConfig::builder().name(name).path("/old").build();
    let with_cookie = builder()
        .former(former("__Secure-session").expect("a cookie"))
        .former(former("sid").expect("a cookie"));
    let with_header = builder().transport(Transport::bearer());
    let quiet = builder().private_by_default(false);
    let stores = [with_cookie, with_header, quiet];
    let stores = stores.map(|builder| builder.build().expect("settings"));
    let handlers: [fn(&Session); 3] = [
        |_| {},
        Session::destroy,
        |session| session.insert("a", 2).expect("a session that fits"),
    ];
    let outgoing = stores.iter().flat_map(|store| {
        let respond = |session: &Session| store.respond(session).expect("a random source");
        let new = store.load_from(["a=b"]);
        let mut outgoing = vec![respond(&new)];
        new.insert("a", 1).expect("a session that fits");
        let first = respond(&new);
        let field = match first.token_header() {
            Some((_, token)) => format!("Bearer {token}"),
            None => first.set_cookies().last().expect("a cookie").to_owned(),
        };
        outgoing.extend(handlers.map(|handler| {
            let session = store.load_from([&field]);
            handler(&session);
            respond(&session)
        }));
        outgoing
    });
    outgoing.collect()
});

/// `data`: a byte that chooses what is sent, then lines, each a letter that names a header and
/// the header's value.
pub fn response(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else {
        return;
    };
    let choice = usize::from(choice.wrapping_sub(b'0')) % OUTGOING.len();
    let outgoing = &OUTGOING[choice];
    let mut before = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((letter, value)) = line.split_first() else {
            continue;
        };
        let name = match letter {
            b's' => SET_COOKIE,
            b'v' => VARY,
            b'c' => CACHE_CONTROL,
            b't' => TOKEN,
            b'd' => TARGETED[0].clone(),
            b'g' => TARGETED[1].clone(),
            b'n' => TARGETED[2].clone(),
            _ => HeaderName::from_static("x-other"),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            before.append(name, value);
        }
    }

    let mut after = before.clone();
    outgoing.apply(&mut after);
    assert_eq!(changed(outgoing, &before), after, "both ways agree");
    let mut twice = after.clone();
    outgoing.apply(&mut twice);
    assert_eq!(twice, after, "saving again changes nothing");

    assert_eq!(values(&before, "x-other"), values(&after, "x-other"));
    let header = if choice / 4 == 1 {
        "authorization"
    } else {
        "cookie"
    };
    let varies = values(&after, "vary").iter().any(|line| {
        let mut names = line.split(|byte| *byte == b',');
        names.any(|name| {
            name.trim_ascii() == b"*" || name.trim_ascii().eq_ignore_ascii_case(header.as_bytes())
        })
    });
    assert!(varies, "{after:?}");

    let token = outgoing.token_header();
    if let Some((name, token)) = token {
        assert_eq!(values(&after, name.as_str()), [token.as_bytes()]);
    } else {
        assert_eq!(
            values(&before, "x-session-token"),
            values(&after, "x-session-token")
        );
    }
    let sets_a_cookie = outgoing.set_cookies().next().is_some();
    if sets_a_cookie {
        keeps_others(outgoing, &before, &after);
    } else {
        assert_eq!(values(&before, "set-cookie"), values(&after, "set-cookie"));
    }
    if sets_a_cookie || token.is_some() {
        return is_in_no_shared_cache(&after);
    }
    let fields = TARGETED.iter().chain([&CACHE_CONTROL]);
    let says_nothing = fields.clone().all(|name| {
        let is_said = |value: &&[u8]| value.iter().any(|byte| !b", \t".contains(byte));
        !values(&before, name.as_str()).iter().any(is_said)
    });
    let is_private = choice % 4 == 1 && choice / 4 < 2 && says_nothing;
    for name in fields {
        let (before, after) = (
            values(&before, name.as_str()),
            values(&after, name.as_str()),
        );
        if is_private && *name == CACHE_CONTROL {
            assert_eq!(after, [b"private"]);
        } else {
            assert_eq!(after, before, "what the handler says stays");
        }
    }
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect()
}

/// The headers by way of [`Outgoing::changes`].
fn changed(outgoing: &Outgoing, before: &HeaderMap) -> HeaderMap {
    let mut headers = before.clone();
    let present = before
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    for change in outgoing.changes(present) {
        let name: HeaderName = change.name().parse().expect("a name");
        headers.remove(&name);
        for value in change.values() {
            headers.append(
                &name,
                HeaderValue::from_bytes(value).expect("a header's value"),
            );
        }
    }
    headers
}

/// Our cookie is there once, as it was set now; those of other names are still there.
fn keeps_others(outgoing: &Outgoing, before: &HeaderMap, after: &HeaderMap) {
    let is_ours = |value: &&[u8]| {
        let name = value.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii() == NAME.as_bytes()
    };
    let (ours, kept): (Vec<_>, Vec<_>) = values(after, "set-cookie").into_iter().partition(is_ours);
    let set_now = outgoing.set_cookies().last().expect("one is set");
    assert_eq!(ours, [set_now.as_bytes()]);
    let others = values(before, "set-cookie")
        .into_iter()
        .filter(|value| !is_ours(value));
    others.for_each(|value| assert!(kept.contains(&value)));
}

/// Whether its lines are read each by itself or as one.
fn is_in_no_shared_cache(headers: &HeaderMap) {
    let lines: Vec<_> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    for lines in [&lines[..], &[lines.join(", ").into()]] {
        let directives = directives(lines);
        let name = |text: &str| text.split('=').next().unwrap_or_default().trim().to_owned();
        let has = |wanted: &str| directives.iter().any(|text| name(text) == wanted);
        let is = |wanted: &str| directives.iter().any(|text| text == wanted);
        let is_limited = directives
            .iter()
            .any(|text| name(text) == "private" && text != "private");
        let is_shared = has("public") || has("s-maxage") || is_limited;
        assert!(
            is("no-store") && !has("must-understand") || is("private") && !is_shared,
            "{directives:?}"
        );
    }
    for name in &TARGETED {
        let lines = values(headers, name.as_str());
        match lines[..] {
            [] => {}
            [line] if *name == TARGETED[2] => assert_eq!(line, b"0"),
            [line] => {
                let directives = directives(&[String::from_utf8_lossy(line)]);
                let is_allowed = |text: &String| {
                    let name = text.split('=').next().unwrap_or_default();
                    ["no-store", "content", "dca"].contains(&name.trim())
                };
                assert_eq!(directives[0], "no-store");
                assert!(directives.iter().all(is_allowed), "{directives:?}");
            }
            _ => panic!("{lines:?}"),
        }
    }
}

/// The directives of the lines in lower case. Within quotes, nothing ends one, and a backslash
/// takes the next character's meaning away.
fn directives(lines: &[Cow<'_, str>]) -> Vec<String> {
    let mut directives = Vec::new();
    for line in lines {
        let (mut directive, mut is_quoted) = (String::new(), false);
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            match character {
                ',' if !is_quoted => directives.push(std::mem::take(&mut directive)),
                '\\' if is_quoted => directive.extend(['\\'].into_iter().chain(characters.next())),
                _ => {
                    is_quoted ^= character == '"';
                    directive.push(character);
                }
            }
        }
        directives.push(directive);
    }
    directives
        .iter()
        .map(|text| text.trim().to_ascii_lowercase())
        .collect()
}
