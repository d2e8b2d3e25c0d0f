//! The store that the driver names.

use pollster::block_on;
use sealed_session::server::{Memory, ServerStore};
use sealed_session::{AnyStore, ConfigError};

use super::*;

fn store(settings: serde_json::Value, key: &AppKey) -> Result<AnyStore, ConfigError> {
    AnyStore::new(key.clone(), &read(settings))
}

fn load(store: &AnyStore, set_cookie: &str) -> Session {
    let pair = set_cookie.split(';').next().unwrap();
    block_on(store.load_from([pair])).unwrap()
}

fn respond(store: &AnyStore, session: &Session) -> Option<String> {
    let outgoing = block_on(store.respond(session)).unwrap();
    outgoing.set_cookies().next().map(str::to_owned)
}

fn logged_in(store: &AnyStore, name: &str) -> String {
    let session = block_on(store.load_from::<str>([])).unwrap();
    session.insert("name", name).unwrap();
    respond(store, &session).unwrap()
}

#[test]
fn the_driver_decides_where_sessions_are_and_the_rest_holds_for_each() {
    let key = AppKey::generate().unwrap();
    for driver in [None, Some("cookie"), Some("Memory")] {
        let settings = json!({ "driver": driver, "cookie_name": "__Host-id", "max_age": 3600 });
        let store = store(settings, &key).unwrap();
        let is_in_cookie = matches!(store, AnyStore::Cookie(_));
        assert_eq!(is_in_cookie, driver != Some("Memory"));
        let mut response = http::HeaderMap::new();
        let session = block_on(store.load(&response)).unwrap();
        session.insert("name", "x".repeat(1000)).unwrap();
        block_on(store.save(&session, &mut response)).unwrap();
        let cookie = response["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("__Host-id="), "{cookie}");
        assert!(cookie.ends_with("; Max-Age=3600"), "{cookie}");
        assert_eq!(cookie.len() > 1000, is_in_cookie, "{cookie}");
        assert_eq!(load(&store, cookie).origin(), Origin::Opened);
        assert_eq!(store.request_header(), "cookie");

        store.set_not_before(SystemTime::now() + Duration::from_secs(1));
        let refused = Origin::Refused(Refusal::Cutoff);
        assert_eq!(load(&store, cookie).origin(), refused);
        store.replace_keys(AppKey::generate().unwrap());
        let refused = Origin::Refused(Refusal::UnknownKey);
        assert_eq!(load(&store, cookie).origin(), refused);
    }
}

#[test]
fn what_only_code_can_set_is_set_at_the_builder() {
    let key = AppKey::generate().unwrap();
    for driver in ["cookie", "memory"] {
        let settings = read(json!({ "driver": driver, "idle_timeout": "1h" }));
        let builder = AnyStore::builder(key.clone(), &settings).unwrap();
        let store = builder.clock(|| SystemTime::UNIX_EPOCH).build().unwrap();
        let session = load(&store, &logged_in(&store, "ada"));
        assert_eq!(session.issued_at(), Some(SystemTime::UNIX_EPOCH));
        let twice = AnyStore::builder(key.clone(), &settings).unwrap();
        let error = twice.former(Default::default()).build().unwrap_err();
        assert_eq!(error.setting(), "former");
    }
}

#[test]
fn the_settings_of_backends_reach_the_store() {
    let key = AppKey::generate().unwrap();
    let in_cookie = logged_in(&store(json!({}), &key).unwrap(), "ada");
    for (settings, origin, is_small) in [
        (json!({}), Origin::Refused(Refusal::InCookie), true),
        (json!({ "adopt_cookies": true }), Origin::Opened, true),
        (json!({ "small_in_cookie": "yes" }), Origin::Opened, false),
    ] {
        let mut settings = settings;
        settings["driver"] = "memory".into();
        let store = store(settings, &key).unwrap();
        assert_eq!(load(&store, &in_cookie).origin(), origin);
        let cookie = logged_in(&store, &"x".repeat(1000));
        assert_eq!(cookie.len() < 1000, is_small);
    }

    let store = store(json!({ "driver": "memory", "max_size": 4096 }), &key).unwrap();
    let session = block_on(store.load_from::<str>([])).unwrap();
    assert!(session.insert("name", "x".repeat(3900)).is_ok());
    assert!(session.insert("name", "x".repeat(4100)).is_err());
}

#[cfg(all(feature = "file", unix))]
#[test]
fn a_directory_outlives_the_store() {
    let key = AppKey::generate().unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let settings = json!({ "driver": "file", "file_path": folder.path().join("sessions") });
    let cookie = {
        let store = store(settings.clone(), &key).unwrap();
        let session = block_on(store.load_from::<str>([])).unwrap();
        session.insert("name", "ada").unwrap();
        let outgoing = block_on(store.respond(&session)).unwrap();
        outgoing.set_cookies().next().unwrap().to_owned()
    };
    let store = store(settings, &key).unwrap();
    assert!(matches!(store, AnyStore::File(_)));
    let pair = cookie.split(';').next().unwrap();
    let session = block_on(store.load_from([pair])).unwrap();
    assert_eq!(session.get("name"), Ok(Some("ada".to_owned())));
}

/// Nothing connects before a session is asked for.
#[cfg(feature = "redis")]
#[test]
fn redis_is_named_by_its_url() {
    let settings = json!({
        "driver": "redis", "redis_url": "redis://:hunter2@localhost:1/", "redis_prefix": "s:",
    });
    let store = store(settings, &AppKey::generate().unwrap()).unwrap();
    let AnyStore::Redis(redis) = &store else {
        panic!("{store:?}");
    };
    let shown = format!("{:?}", redis.backend());
    assert!(shown.contains("\"s:\""), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(store.request_header(), "cookie");
}

#[test]
fn a_backend_of_ones_own_takes_the_same_settings() {
    let settings = read(json!({ "driver": "redis", "max_size": 8192, "max_age": 60 }));
    let key = AppKey::generate().unwrap();
    let builder = settings.server_builder(key.clone(), Memory::new());
    let store: ServerStore<Memory> = builder.unwrap().build().unwrap();
    let session = block_on(store.load_from::<str>([])).unwrap();
    session.insert("name", "x".repeat(8000)).unwrap();
    let outgoing = block_on(store.respond(&session)).unwrap();
    assert!(outgoing.set_cookies().next().unwrap().ends_with("=60"));
    assert!(session.insert("name", "x".repeat(8200)).is_err());
    let settings = read(json!({ "max_size": 4095 }));
    let error = settings.server_builder(key, Memory::new()).unwrap_err();
    assert_eq!(error.setting(), "max_size");
}

#[test]
fn a_driver_that_cannot_be_is_refused_with_what_it_lacks() {
    let key = AppKey::generate().unwrap();
    for (settings, setting, problem) in [
        #[cfg(not(all(feature = "file", unix)))]
        (
            json!({ "driver": "file" }),
            "driver",
            "turn on the feature `file`",
        ),
        #[cfg(all(feature = "file", unix))]
        (
            json!({ "driver": "file" }),
            "file_path",
            "the driver needs it",
        ),
        #[cfg(all(feature = "file", unix))]
        (
            json!({ "driver": "file", "file_path": "/proc/self/sessions" }),
            "file_path",
            "/proc/self/sessions: ",
        ),
        #[cfg(not(feature = "redis"))]
        (
            json!({ "driver": "redis" }),
            "driver",
            "turn on the feature `redis`",
        ),
        #[cfg(feature = "redis")]
        (
            json!({ "driver": "redis" }),
            "redis_url",
            "the driver needs it",
        ),
        #[cfg(feature = "redis")]
        (
            json!({ "driver": "redis", "redis_url": "hunter2" }),
            "redis_url",
            "write `redis://",
        ),
        (
            json!({ "driver": "memory", "max_size": 1 }),
            "max_size",
            "at least 4096 bytes",
        ),
        (
            json!({ "driver": "memory", "memory_max_bytes": 100 }),
            "memory_max_bytes",
            "less than one session takes",
        ),
        (
            json!({ "driver": "memory", "max_age": 0 }),
            "max_age",
            "shorter than a millisecond",
        ),
        (
            json!({ "adopt_cookies": true }),
            "adopt_cookies",
            "set `driver`",
        ),
    ] {
        let error = store(settings, &key).unwrap_err();
        assert_eq!(error.setting(), setting);
        assert!(error.to_string().contains(problem), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let cookie_only = read(json!({ "driver": "memory" })).builder(key);
    assert_eq!(cookie_only.unwrap_err().setting(), "driver");
}

#[test]
fn the_environment_names_the_driver() {
    const NAME: &str = "any::the_environment_names_the_driver";
    let key = AppKey::generate().unwrap().to_base64();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\r\n", *key)).unwrap();
    let previous = file.path().to_str().unwrap();
    let variables = [
        ("APP_KEY", key.as_str()),
        ("APP_PREVIOUS_KEYS_FILE", previous),
        ("SESSION_DRIVER", "memory"),
        ("SESSION_REDIS_URL_FILE", previous),
    ];
    match in_environment(NAME, &variables) {
        Some((shown, _)) => assert!(shown.contains("1 passed"), "{shown}"),
        None => assert!(matches!(AnyStore::from_env(), Ok(AnyStore::Memory(_)))),
    }
}
