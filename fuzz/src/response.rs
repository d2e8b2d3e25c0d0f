//! The headers that a response has already, whatever they are, and those that a session adds.

use std::sync::LazyLock;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY};
use sealed_session::{AppKey, CookieConfig, CookieStore, Outgoing, Session, Transport};

const NAME: &str = "__Host-session";
const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// What a session may ask for, with a cookie and with a header: nothing, to vary, a removal, a
/// token.
static OUTGOING: LazyLock<Vec<Outgoing>> = LazyLock::new(|| {
    let builder = || CookieStore::builder(AppKey::generate().expect("a random source"));
    let former = |name| CookieConfig::builder().name(name).path("/old").build();
    let with_cookie = builder()
        .former(former("__Secure-session").expect("a cookie"))
        .former(former("sid").expect("a cookie"));
    let with_header = builder().transport(Transport::bearer());
    let stores = [with_cookie, with_header].map(|builder| builder.build().expect("settings"));
    let handlers: [fn(&Session); 4] = [
        |_| {},
        |session| _ = session.len(),
        Session::destroy,
        |session| session.insert("a", 1).expect("a session that fits"),
    ];
    let after = |store: &CookieStore, handler: fn(&Session)| {
        let session = store.load_from(["a=b"]);
        handler(&session);
        store.respond(&session).expect("a random source")
    };
    let outgoing = stores
        .iter()
        .flat_map(|store| handlers.map(|handler| after(store, handler)));
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

    if outgoing.is_empty() {
        return assert_eq!(before, after);
    }
    assert_eq!(values(&before, "x-other"), values(&after, "x-other"));
    let header = if choice < 4 {
        "cookie"
    } else {
        "authorization"
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
        is_in_no_shared_cache(&after);
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

fn is_in_no_shared_cache(headers: &HeaderMap) {
    let directives = directives(headers);
    let has = |name: &str| {
        let mut names = directives
            .iter()
            .map(|text| text.split('=').next().unwrap_or_default());
        names.any(|known| known.trim() == name)
    };
    let is_private = directives.iter().any(|directive| directive == "private");
    let is_shared = has("public") || has("s-maxage");
    assert!(
        has("no-store") || is_private && !is_shared,
        "{directives:?}"
    );
}

/// The directives of Cache-Control in lower case. Within quotes, nothing ends one, and a
/// backslash takes the next character's meaning away.
fn directives(headers: &HeaderMap) -> Vec<String> {
    let mut directives = Vec::new();
    for line in headers.get_all(CACHE_CONTROL) {
        let (mut directive, mut is_quoted) = (String::new(), false);
        let text = String::from_utf8_lossy(line.as_bytes());
        let mut characters = text.chars();
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
