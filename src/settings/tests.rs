use proptest::prelude::*;

use super::*;
use crate::envelope::AppKey;

fn from<const N: usize>(variables: [(&str, &str); N]) -> Result<Settings, ConfigError> {
    Settings::from_variables(&|wanted| {
        let found = variables.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, content)| content.into())
    })
}

#[test]
fn every_variable_is_read_into_its_field() {
    let settings = from([
        ("SESSION_DRIVER", "Redis"),
        ("SESSION_COOKIE_NAME", " __Secure-id\n"),
        ("SESSION_MAX_AGE", "1h 30m"),
        ("SESSION_MAX_LIFETIME", "7200"),
        ("SESSION_IDLE_TIMEOUT", "30m"),
        ("SESSION_REFRESH_AFTER", "90s"),
        ("SESSION_SECURE", "TRUE"),
        ("SESSION_HTTP_ONLY", "off"),
        ("SESSION_SAME_SITE", "None"),
        ("SESSION_DOMAIN", "example.com"),
        ("SESSION_PATH", "/shop"),
        ("SESSION_PARTITIONED", "1"),
        ("SESSION_PERSISTENT", "no"),
        ("SESSION_CONTEXT", "staging"),
        ("SESSION_NOT_BEFORE", "1970-01-01T03:00:00.5+02:00"),
        ("SESSION_MAX_SIZE", "65536"),
        ("SESSION_EMPTY_IF_UNAVAILABLE", "yes"),
        ("SESSION_ADOPT_COOKIES", "on"),
        ("SESSION_SMALL_IN_COOKIE", "0"),
        ("SESSION_MEMORY_MAX_BYTES", "1048576"),
        ("SESSION_FILE_PATH", "/var/lib/sessions"),
        ("SESSION_REDIS_URL", "redis://:hunter2@host/"),
        ("SESSION_REDIS_PREFIX", "shop:"),
    ])
    .unwrap();
    assert_eq!(settings.driver, Some(Driver::Redis));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(settings.max_age, seconds(5400));
    assert_eq!(settings.max_lifetime, seconds(7200));
    assert_eq!(settings.idle_timeout, seconds(1800));
    assert_eq!(settings.refresh_after, seconds(90));
    assert_eq!(settings.context.as_deref(), Some("staging"));
    let since_epoch = Duration::from_millis(3_600_500);
    assert_eq!(
        settings.not_before,
        Some(SystemTime::UNIX_EPOCH + since_epoch)
    );
    let cookie = settings.cookie().unwrap();
    assert!(!cookie.is_persistent());
    assert_eq!(
        format!("{cookie:?}"),
        "__Secure-id=; SameSite=None; Partitioned; Secure; Path=/shop; Domain=example.com"
    );
    assert_eq!(settings.max_size, Some(65_536));
    assert_eq!(settings.empty_if_unavailable, Some(true));
    assert_eq!(settings.adopt_cookies, Some(true));
    assert_eq!(settings.small_in_cookie, Some(false));
    assert_eq!(settings.memory_max_bytes, Some(1_048_576));
    let path = settings.file_path.as_deref().unwrap();
    assert_eq!(path.to_str(), Some("/var/lib/sessions"));
    let url = settings.redis_url.as_ref().unwrap();
    assert_eq!(url.as_str(), "redis://:hunter2@host/");
    assert_eq!(settings.redis_prefix.as_deref(), Some("shop:"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn unset_and_empty_variables_mean_the_defaults() {
    for empty in ["", " \t\n"] {
        let settings = Settings::from_variables(&|_| Some(empty.into())).unwrap();
        assert_eq!(settings.cookie().unwrap(), CookieConfig::default());
        assert_eq!((settings.max_age, settings.not_before), (None, None));
    }
    assert_eq!(from([]).unwrap().cookie().unwrap(), CookieConfig::default());
}

#[test]
fn what_cannot_be_read_is_refused_by_the_name_of_its_variable() {
    for (variable, content, possible) in [
        (
            "SESSION_DRIVER",
            "mongodb",
            "`cookie`, `memory`, `file` or `redis`",
        ),
        ("SESSION_MAX_SIZE", "1 MiB", "`1048576`"),
        ("SESSION_MAX_SIZE", "-1", "`1048576`"),
        ("SESSION_EMPTY_IF_UNAVAILABLE", "maybe", "`true`"),
        ("SESSION_ADOPT_COOKIES", "never", "`true`"),
        ("SESSION_SMALL_IN_COOKIE", "2", "`true`"),
        ("SESSION_MAX_AGE", "soon", "`24h`"),
        ("SESSION_MAX_AGE", "-1", "whole seconds"),
        ("SESSION_MAX_AGE", "18446744073709551616", "whole seconds"),
        ("SESSION_MAX_LIFETIME", "99999999999999y", "`24h`"),
        ("SESSION_IDLE_TIMEOUT", "1.2.3h", "`24h`"),
        ("SESSION_REFRESH_AFTER", "5 apples", "`24h`"),
        ("SESSION_SECURE", "maybe", "`true`"),
        ("SESSION_HTTP_ONLY", "2", "`true`"),
        ("SESSION_PARTITIONED", "truthy", "`true`"),
        ("SESSION_PERSISTENT", "-", "`true`"),
        ("SESSION_SAME_SITE", "loose", "`lax`"),
        ("SESSION_NOT_BEFORE", "yesterday", "RFC 3339"),
        ("SESSION_NOT_BEFORE", "2026-02-30T00:00:00Z", "RFC 3339"),
        ("SESSION_NOT_BEFORE", "1969-12-31T23:59:59Z", "since 1970"),
    ] {
        let error = from([(variable, content)]).unwrap_err();
        assert_eq!(error.setting(), variable);
        assert!(error.problem().contains(possible), "{error}");
    }
}

#[test]
fn what_contradicts_another_variable_is_refused_in_the_words_of_the_environment() {
    let ring = AppKey::generate().unwrap();
    let refused = |settings: Result<Settings, ConfigError>| {
        settings.unwrap().builder(ring.clone()).unwrap_err()
    };
    let secure = refused(from([("SESSION_SECURE", "false")]));
    assert_eq!(
        secure.to_string(),
        "SESSION_SECURE: the prefix of the name `__Host-session` requires Secure; \
         choose another `SESSION_COOKIE_NAME` or keep the default"
    );
    let lifetime = refused(from([
        ("SESSION_MAX_AGE", "2h"),
        ("SESSION_MAX_LIFETIME", "1h"),
    ]));
    assert_eq!(
        lifetime.to_string(),
        "SESSION_MAX_AGE: it is longer than `SESSION_MAX_LIFETIME`; raise that or lower this"
    );
    let long = "c".repeat(256);
    for (variable, settings) in [
        (
            "SESSION_COOKIE_NAME",
            from([("SESSION_COOKIE_NAME", "a b")]),
        ),
        ("SESSION_DOMAIN", from([("SESSION_DOMAIN", "a.b")])),
        ("SESSION_PATH", from([("SESSION_PATH", "/x")])),
        (
            "SESSION_SAME_SITE",
            from([
                ("SESSION_COOKIE_NAME", "id"),
                ("SESSION_SECURE", "0"),
                ("SESSION_SAME_SITE", "none"),
            ]),
        ),
        (
            "SESSION_PARTITIONED",
            from([
                ("SESSION_COOKIE_NAME", "id"),
                ("SESSION_SECURE", "0"),
                ("SESSION_PARTITIONED", "1"),
            ]),
        ),
        (
            "SESSION_HTTP_ONLY",
            from([
                ("SESSION_COOKIE_NAME", "__Http-id"),
                ("SESSION_HTTP_ONLY", "0"),
            ]),
        ),
        ("SESSION_MAX_AGE", from([("SESSION_MAX_AGE", "0")])),
        (
            "SESSION_MAX_LIFETIME",
            from([("SESSION_MAX_LIFETIME", "1us")]),
        ),
        (
            "SESSION_IDLE_TIMEOUT",
            from([("SESSION_IDLE_TIMEOUT", "0s")]),
        ),
        (
            "SESSION_REFRESH_AFTER",
            from([("SESSION_REFRESH_AFTER", "1m")]),
        ),
        ("SESSION_CONTEXT", from([("SESSION_CONTEXT", &long)])),
        ("SESSION_DRIVER", from([("SESSION_DRIVER", "memory")])),
        // Without a driver these are for nothing.
        ("SESSION_MAX_SIZE", from([("SESSION_MAX_SIZE", "65536")])),
        (
            "SESSION_EMPTY_IF_UNAVAILABLE",
            from([("SESSION_EMPTY_IF_UNAVAILABLE", "1")]),
        ),
        (
            "SESSION_ADOPT_COOKIES",
            from([("SESSION_ADOPT_COOKIES", "1")]),
        ),
        (
            "SESSION_SMALL_IN_COOKIE",
            from([("SESSION_SMALL_IN_COOKIE", "1")]),
        ),
        (
            "SESSION_MEMORY_MAX_BYTES",
            from([("SESSION_MEMORY_MAX_BYTES", "65536")]),
        ),
        ("SESSION_FILE_PATH", from([("SESSION_FILE_PATH", "/x")])),
        ("SESSION_REDIS_URL", from([("SESSION_REDIS_URL", "x")])),
        (
            "SESSION_REDIS_PREFIX",
            from([("SESSION_REDIS_PREFIX", "x")]),
        ),
    ] {
        assert_eq!(refused(settings).setting(), variable);
    }
}

#[test]
fn what_is_for_another_driver_than_the_one_that_is_named_does_nothing() {
    let settings = from([
        ("SESSION_DRIVER", "cookie"),
        ("SESSION_MAX_SIZE", "1"),
        ("SESSION_FILE_PATH", "/x"),
        ("SESSION_REDIS_URL", "x"),
    ]);
    let key = AppKey::generate().unwrap();
    assert!(settings.unwrap().builder(key.clone()).is_ok());
    // What is switched off is as if it were not there.
    let settings = from([
        ("SESSION_ADOPT_COOKIES", "no"),
        ("SESSION_SMALL_IN_COOKIE", "no"),
        ("SESSION_EMPTY_IF_UNAVAILABLE", "no"),
    ]);
    assert!(settings.unwrap().builder(key).is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt;
    for field in FIELDS {
        let variable = Source::Environment.name_of(field);
        let error = Settings::from_variables(&|wanted| {
            (wanted == variable).then(|| OsString::from_vec(vec![b'x', 0xff]))
        });
        assert_eq!(error.unwrap_err().setting(), variable);
    }
}

proptest! {
    #[test]
    fn no_content_makes_it_panic_or_gets_into_an_error(
        content in "(QQ)?[ -~]{0,12}|[0-9.]{1,20} ?(ns|s|h|y|QQ)|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z]{0,12}|.{0,8}",
    ) {
        let key = AppKey::from_bytes(&[[7; 16], [9; 16]].concat()).unwrap();
        for field in FIELDS {
            let variable = Source::Environment.name_of(field);
            let lookup = |wanted: &str| (wanted == variable).then(|| content.clone().into());
            let builder = Settings::from_variables(&lookup)
                .and_then(|settings| settings.builder(key.clone()));
            if let Err(error) = builder {
                prop_assert_eq!(error.setting(), variable);
                prop_assert!(!error.to_string().contains("QQ"));
            }
        }
    }
}
