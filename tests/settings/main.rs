//! Settings from files and from the environment, seen in what a store then does.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests do, by panicking"
)]

#[cfg(feature = "server")]
mod any;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sealed_session::{AppKey, CookieStore, KeyRing, Origin, Refusal, Session, Settings};
use serde_json::json;

fn read(settings: serde_json::Value) -> Settings {
    serde_json::from_value(settings).unwrap()
}

fn refused(settings: &str) -> String {
    serde_json::from_str::<Settings>(settings)
        .unwrap_err()
        .to_string()
}

/// A store whose clock stands at the seconds in the counter.
fn store(settings: serde_json::Value, key: &AppKey) -> (CookieStore, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(1_800_000_000));
    let clock = Arc::clone(&seconds);
    let now = move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
    let builder = read(settings).builder(key.clone()).unwrap();
    (builder.clock(now).build().unwrap(), seconds)
}

/// The Set-Cookie header of a session that is sealed now.
fn sealed(store: &CookieStore) -> String {
    let session = store.load_from::<str>([]);
    session.insert("user_id", 42).unwrap();
    set_cookie(store, &session).unwrap()
}

fn set_cookie(store: &CookieStore, session: &Session) -> Option<String> {
    let outgoing = store.respond(session).unwrap();
    outgoing.set_cookies().next().map(str::to_owned)
}

fn load(store: &CookieStore, set_cookie: &str) -> Session {
    store.load_from([set_cookie.split(';').next().unwrap()])
}

#[test]
fn each_setting_of_the_cookie_is_seen_in_its_header() {
    let key = AppKey::generate().unwrap();
    for (settings, name, attributes) in [
        (
            json!({}),
            "__Host-session",
            "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400",
        ),
        (
            json!({ "driver": "cookie", "cookie_name": null, "path": "", "max_age": null }),
            "__Host-session",
            "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400",
        ),
        (
            json!({ "cookie_name": "id", "secure": false, "max_age": 60 }),
            "id",
            "HttpOnly; SameSite=Lax; Path=/; Max-Age=60",
        ),
        (
            json!({ "http_only": "no", "same_site": "strict", "persistent": 0 }),
            "__Host-session",
            "SameSite=Strict; Secure; Path=/",
        ),
        (
            json!({
                "cookie_name": "__Secure-id", "domain": "example.com", "path": "/shop",
                "same_site": "NONE", "partitioned": true, "max_age": "1h 30m",
            }),
            "__Secure-id",
            "HttpOnly; SameSite=None; Partitioned; Secure; Path=/shop; Domain=example.com; \
             Max-Age=5400",
        ),
    ] {
        let header = sealed(&store(settings, &key).0);
        let (pair, rest) = header.split_once("; ").unwrap();
        assert_eq!((pair.split_once('=').unwrap().0, rest), (name, attributes));
    }
}

#[test]
fn the_lifetimes_are_those_of_the_store() {
    let key = AppKey::generate().unwrap();
    let (wide, now) = store(json!({ "max_age": "2h", "max_lifetime": "3h" }), &key);
    let cookie = sealed(&wide);
    now.fetch_add(3600, Ordering::Relaxed);
    let session = load(&wide, &cookie);
    assert_eq!(session.origin(), Origin::Opened);
    let issued_at = session.issued_at().unwrap();
    assert!(
        session
            .set_expiry(issued_at + Duration::from_secs(3 * 3600))
            .is_ok()
    );
    assert!(
        session
            .set_expiry(issued_at + Duration::from_secs(3 * 3600 + 1))
            .is_err()
    );

    let (narrow, now) = store(json!({ "max_lifetime": "30m" }), &key);
    assert_eq!(load(&narrow, &cookie).origin(), Origin::Opened);
    now.fetch_add(1800, Ordering::Relaxed);
    assert_eq!(
        load(&narrow, &cookie).origin(),
        Origin::Refused(Refusal::Expired)
    );
}

#[test]
fn the_idle_timeout_ends_a_session_and_refresh_after_keeps_it() {
    let key = AppKey::generate().unwrap();
    let settings = json!({ "idle_timeout": "10m", "refresh_after": "5m" });
    let (store, now) = store(settings, &key);
    let cookie = sealed(&store);
    now.fetch_add(299, Ordering::Relaxed);
    assert_eq!(set_cookie(&store, &load(&store, &cookie)), None);
    now.fetch_add(1, Ordering::Relaxed);
    let refreshed = set_cookie(&store, &load(&store, &cookie)).unwrap();
    now.fetch_add(300, Ordering::Relaxed);
    assert_eq!(
        load(&store, &cookie).origin(),
        Origin::Refused(Refusal::Idle)
    );
    assert_eq!(load(&store, &refreshed).origin(), Origin::Opened);
}

#[test]
fn context_and_not_before_keep_other_sessions_out() {
    let key = AppKey::generate().unwrap();
    let cookie = sealed(&store(json!({ "context": "staging" }), &key).0);
    for (settings, origin) in [
        (json!({ "context": "staging" }), Origin::Opened),
        (json!({}), Origin::Refused(Refusal::Forged)),
        (
            json!({ "context": "staging", "not_before": "2027-01-15T08:00:00Z" }),
            Origin::Opened,
        ),
        (
            json!({ "context": "staging", "not_before": "2027-01-15T09:00:00.001+01:00" }),
            Origin::Refused(Refusal::Cutoff),
        ),
    ] {
        assert_eq!(load(&store(settings, &key).0, &cookie).origin(), origin);
    }
}

#[test]
fn a_wrong_field_is_refused_by_name_and_its_content_is_not_shown() {
    for (settings, error) in [
        (
            r#"{ "driver": "hunter2" }"#,
            "driver: it must be `cookie`, `memory`, `file` or `redis`",
        ),
        (
            r#"{ "cookie_name": 7 }"#,
            "cookie_name: it must be UTF-8 text",
        ),
        (
            r#"{ "max_age": "hunter2" }"#,
            "max_age: it must be a length of time",
        ),
        (
            r#"{ "max_age": -1 }"#,
            "max_age: it must be a length of time",
        ),
        (
            r#"{ "max_age": 1.5 }"#,
            "max_age: it must be a length of time",
        ),
        (
            r#"{ "idle_timeout": true }"#,
            "idle_timeout: it must be a length of time",
        ),
        (r#"{ "secure": "hunter2" }"#, "secure: it must be `true`"),
        (r#"{ "secure": 2 }"#, "secure: it must be `true`"),
        (
            r#"{ "same_site": "hunter2" }"#,
            "same_site: it must be `lax`",
        ),
        (r#"{ "same_site": ["lax"] }"#, "same_site: it must be `lax`"),
        (
            r#"{ "max_size": "hunter2" }"#,
            "max_size: it must be a number of bytes",
        ),
        (
            r#"{ "redis_url": ["hunter2"] }"#,
            "redis_url: it must be UTF-8 text",
        ),
        (
            r#"{ "not_before": {"hunter2": 1} }"#,
            "not_before: it must be a moment",
        ),
        (
            r#"{ "not_before": 1800000000 }"#,
            "not_before: it must be a moment",
        ),
        (
            r#"{ "max-age": "1h" }"#,
            "unknown field `max-age`: nothing reads it; set `max_age` instead, or leave it out",
        ),
        (
            r#"{ "idleTimeout": "1h" }"#,
            "unknown field `idleTimeout`: nothing reads it; set `idle_timeout` instead",
        ),
        (
            r#"{ "idle_timout": "1h" }"#,
            "unknown field `idle_timout`: nothing reads it; set `idle_timeout` instead",
        ),
        (
            r#"{ "SESSION_MAX_AGE": "1h" }"#,
            "unknown field `SESSION_MAX_AGE`: nothing reads it; set `max_age` instead",
        ),
        (
            r#"{ "lifetime": "1h" }"#,
            "unknown field `lifetime`: nothing reads it; set `max_age` or `idle_timeout` instead",
        ),
        (
            r#"{ "secret": "hunter2" }"#,
            "unknown field `secret`: nothing reads it; set `APP_KEY` instead",
        ),
        (
            r#"{ "SESSION_LIFETIME": "1h" }"#,
            "unknown field `SESSION_LIFETIME`: nothing reads it; set `max_age` or",
        ),
        (
            r#"{ "encrypt": true }"#,
            "unknown field `encrypt`: nothing reads it, and every session is sealed anyway",
        ),
        (
            r#"{ "colour": "red" }"#,
            "unknown field `colour`, expected one of `driver`, ",
        ),
        (
            "{ \"\u{202e}colour\": 1 }",
            "unknown field `\\u{202e}colour`, expected one of `driver`, ",
        ),
        (
            r#"{ "idle_timeout": "30M" }"#,
            "idle_timeout: it must be a length of time such as `30d`, `24h`, `30m`",
        ),
        (r#"{ "path": "/", "path": "/" }"#, "duplicate field `path`"),
    ] {
        let shown = refused(settings);
        assert!(shown.starts_with(error), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_contradicts_another_field_is_refused_by_the_names_in_the_file() {
    let ring = KeyRing::new(AppKey::generate().unwrap());
    for (settings, error) in [
        (
            json!({ "secure": false }),
            "secure: the prefix of the name `__Host-session` requires Secure; \
             choose another `cookie_name` or keep the default",
        ),
        (
            json!({ "max_age": "2h", "max_lifetime": "1h" }),
            "max_age: it is longer than `max_lifetime`; raise that or lower this",
        ),
        (
            json!({ "refresh_after": "1m" }),
            "refresh_after: it does nothing without `idle_timeout`; set that or leave this out",
        ),
    ] {
        let refused = read(settings).builder(ring.clone()).unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
}

#[test]
fn settings_can_be_a_part_of_a_larger_configuration() {
    #[derive(serde::Deserialize)]
    struct Configuration {
        port: u16,
        #[serde(flatten)]
        session: Settings,
    }
    let text = r#"{ "port": 8080, "max_age": "8h", "same_site": "strict" }"#;
    let configuration: Configuration = serde_json::from_str(text).unwrap();
    assert_eq!(configuration.port, 8080);
    let eight_hours = Duration::from_secs(8 * 3600);
    assert_eq!(configuration.session.max_age, Some(eight_hours));
}

/// What a test of this name shows in a process of its own that has the variables, since it cannot
/// set them in this one; and whether it passes there. `None` if this is that process.
fn in_environment(test: &str, variables: &[(&str, &str)]) -> Option<(String, bool)> {
    if std::env::var_os("SEALED_SESSION_TEST_CHILD").is_some() {
        return None;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env("SEALED_SESSION_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let shown = String::from_utf8([child.stdout, child.stderr].concat()).unwrap();
    Some((shown, child.status.success()))
}

#[test]
fn a_store_comes_from_the_environment_alone() {
    const NAME: &str = "a_store_comes_from_the_environment_alone";
    let key = AppKey::generate().unwrap().to_base64();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", *key)).unwrap();
    let in_file = ("APP_KEY_FILE", file.path().to_str().unwrap());
    let key = ("APP_KEY", key.as_str());
    for (variables, outcome) in [
        (vec![key, ("SESSION_MAX_AGE", "7")], "1 passed"),
        (
            vec![key, ("SESSION_MAX_AGE", "x")],
            "refused by SESSION_MAX_AGE\n",
        ),
        (vec![("SESSION_MAX_AGE", "7")], "refused by APP_KEY\n"),
        (
            vec![key, ("SESSION_MAXAGE", "7")],
            "refused by SESSION_MAXAGE\n",
        ),
        (
            vec![key, ("SESSION_LIFETIME", "7")],
            "refused by SESSION_LIFETIME\n",
        ),
        (
            vec![key, ("APP_PREVIOUS_KEY", "base64:AAAA")],
            "refused by APP_PREVIOUS_KEY\n",
        ),
        (
            vec![
                key,
                ("SESSION_MAX_AGE", "7"),
                ("SESSION_MANAGER", "local/x"),
            ],
            "1 passed",
        ),
        (
            vec![("APP_KEY", ""), in_file, ("SESSION_MAX_AGE", "7")],
            "1 passed",
        ),
        (vec![key, in_file], "refused by APP_KEY_FILE\n"),
        (
            vec![("APP_KEY_FILE", "/nowhere/key")],
            "refused by APP_KEY_FILE\n",
        ),
        (
            vec![key, ("APP_PREVIOUS_KEYS", "base64:AAAA")],
            "refused by APP_PREVIOUS_KEYS, item 1\n",
        ),
    ] {
        let Some((shown, passed)) = in_environment(NAME, &variables) else {
            match CookieStore::from_env() {
                Ok(store) => assert!(sealed(&store).ends_with("Path=/; Max-Age=7")),
                Err(error) => panic!("refused by {}", error.setting()),
            }
            return;
        };
        assert!(shown.contains(outcome), "{shown}");
        assert_eq!(passed, outcome == "1 passed");
    }
}
