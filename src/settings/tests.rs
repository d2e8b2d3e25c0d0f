use proptest::prelude::*;

use super::given::ALSO_CALLED;
use super::*;
use crate::envelope::{AppKey, KEY_VARIABLES};

fn from<const N: usize>(variables: [(&str, &str); N]) -> Result<Settings, ConfigError> {
    Settings::from_variables(&&variables[..])
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
        let names = FIELDS.map(|field| Source::Environment.name_of(field));
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), empty)).collect();
        let settings = Settings::from_variables(&&variables[..]).unwrap();
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
        ("SESSION_MAX_LIFETIME", "99999999999999w", "`24h`"),
        ("SESSION_MAX_LIFETIME", "1y", "`24h`"),
        ("SESSION_IDLE_TIMEOUT", "30M", "`30m`"),
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
    let domain = refused(from([("SESSION_DOMAIN", "localhost")]));
    assert!(
        domain.problem().contains("leave `SESSION_DOMAIN` out"),
        "{domain}"
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
            from([("SESSION_MAX_LIFETIME", "0s")]),
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
        // Without a driver, these settings would have no effect.
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
fn a_name_that_was_meant_to_be_one_of_ours_is_refused_and_ours_is_named() {
    for (stray, ours) in [
        // Misspelled names.
        ("SESSION_IDLE_TIMOUT", "`SESSION_IDLE_TIMEOUT`"),
        ("SESSION_IDEL_TIMEOUT", "`SESSION_IDLE_TIMEOUT`"),
        ("SESSION_IDLETIMEOUT", "`SESSION_IDLE_TIMEOUT`"),
        ("SESSION_MAXAGE", "`SESSION_MAX_AGE`"),
        ("SESSION_MAX_AGES", "`SESSION_MAX_AGE`"),
        ("SESSION_MAX_LIFE_TIME", "`SESSION_MAX_LIFETIME`"),
        ("SESSION_MAX_LIFTIME", "`SESSION_MAX_LIFETIME`"),
        ("SESION_MAX_LIFETIME", "`SESSION_MAX_LIFETIME`"),
        ("SESSIONS_MAX_AGE", "`SESSION_MAX_AGE`"),
        ("SESSION-MAX-AGE", "`SESSION_MAX_AGE`"),
        ("SESSION__MAX_AGE", "`SESSION_MAX_AGE`"),
        ("session_max_age", "`SESSION_MAX_AGE`"),
        ("SESSION_COOKIENAME", "`SESSION_COOKIE_NAME`"),
        ("SESSION_COOKE_NAME", "`SESSION_COOKIE_NAME`"),
        ("SESSION_HTTPONLY", "`SESSION_HTTP_ONLY`"),
        ("SESSION_SAMESITE", "`SESSION_SAME_SITE`"),
        ("SESSION_SAME_SIT", "`SESSION_SAME_SITE`"),
        ("SESSION_DRIVE", "`SESSION_DRIVER`"),
        ("SESSION_DOMIAN", "`SESSION_DOMAIN`"),
        ("SESSION_DOMAINS", "`SESSION_DOMAIN`"),
        ("SESSION_SECUR", "`SESSION_SECURE`"),
        ("SESSION_PAHT", "`SESSION_PATH`"),
        ("SESSION_REDIS_URI", "`SESSION_REDIS_URL`"),
        ("SESSION_REDIS_URLFILE", "`SESSION_REDIS_URL_FILE`"),
        ("SESSION_NOTBEFORE", "`SESSION_NOT_BEFORE`"),
        ("SESSION_ADOPT_COOKIE", "`SESSION_ADOPT_COOKIES`"),
        // Settings that cannot be in a file.
        ("SESSION_COOKIE_NAME_FILE", "`SESSION_COOKIE_NAME`"),
        ("SESSION_DOMAIN_FILE", "`SESSION_DOMAIN`"),
        ("SESSION_SECRET_FILE", "`APP_KEY`"),
        ("SESSION_REDIS_PASSWORD_FILE", "`SESSION_REDIS_URL`"),
        // Names of other frameworks.
        (
            "SESSION_LIFETIME",
            "`SESSION_MAX_AGE` or `SESSION_IDLE_TIMEOUT`",
        ),
        ("SESSION_COOKIE", "`SESSION_COOKIE_NAME`"),
        ("SESSION_SECURE_COOKIE", "`SESSION_SECURE`"),
        ("SESSION_COOKIE_AGE", "`SESSION_MAX_AGE`"),
        ("SESSION_COOKIE_HTTPONLY", "`SESSION_HTTP_ONLY`"),
        ("SESSION_COOKIE_SAMESITE", "`SESSION_SAME_SITE`"),
        ("SESSION_EXPIRE_AT_BROWSER_CLOSE", "`SESSION_PERSISTENT`"),
        ("SESSION_ENGINE", "`SESSION_DRIVER`"),
        ("SESSION_SECRET", "`APP_KEY`"),
        ("SESSION_TIMEOUT", "`SESSION_IDLE_TIMEOUT`"),
        ("SESSION_REDIS", "`SESSION_REDIS_URL`"),
    ] {
        let error = from([(stray, "hunter2")]).unwrap_err();
        assert_eq!(error.setting(), stray);
        let problem = format!("nothing reads it; set {ours} instead, or leave it out");
        assert_eq!(error.problem(), problem, "{stray}");
        assert!(from([(stray, " ")]).is_ok(), "{stray}");
    }
    for (other, fields) in ALSO_CALLED {
        let stray = format!("SESSION_{other}");
        let error = from([(&stray, "1")]).unwrap_err();
        assert_eq!(error.setting(), stray);
        for field in fields {
            let is_field = FIELDS.contains(field);
            assert!(is_field || KEY_VARIABLES.contains(field), "{field}");
        }
    }
    let strange = from([("SESSION_MAX\u{202e}AGE", "1")]).unwrap_err();
    assert_eq!(strange.setting(), r"SESSION_MAX\u{202e}AGE");
    // The first in alphabetical order, wherever it is.
    let two = from([("SESSION_TTL", "1"), ("SESSION_MAXAGE", "1")]).unwrap_err();
    assert_eq!(two.setting(), "SESSION_MAXAGE");
}

/// Variables that desktops, shells, clouds and other programs set.
#[test]
fn names_of_others_are_left_alone() {
    for stranger in [
        "SESSION_MANAGER",
        "SESSION_ID",
        "SESSION_NAME",
        "SESSION_TYPE",
        "SESSION_USER",
        "SESSION_TOKEN",
        "SESSION_PID",
        "SESSION_UID",
        "SESSION_HOST",
        "SESSION_PORT",
        "SESSION_HASH",
        "SESSION_AUTH",
        "SESSION_STATE",
        "SESSION_SERVER",
        "SESSION_SERVICE",
        "SESSION_LOG_DIR",
        "SESSION_BUS_ADDRESS",
        "SESSION_",
        "SESSION",
        "SESSIONS",
        "SESSIONNAME",
        "DESKTOP_SESSION",
        "GDMSESSION",
        "XDG_SESSION_ID",
        "XDG_SESSION_TYPE",
        "XDG_SESSION_PATH",
        "XDG_SESSION_CLASS",
        "XDG_SESSION_DESKTOP",
        "DBUS_SESSION_BUS_ADDRESS",
        "GNOME_DESKTOP_SESSION_ID",
        "KDE_SESSION_VERSION",
        "ZELLIJ_SESSION_NAME",
        "AWS_SESSION_TOKEN",
        "SUPERVISOR_SESSION_SECRET",
        "DOMAIN",
        "PATH",
        "SECRET_KEY",
        "",
        "é",
        "SESSIO\u{301}",
    ] {
        assert!(from([(stranger, "hunter2")]).is_ok(), "{stranger}");
    }
}

/// The page's tables have every setting, and nothing that the code does not know.
#[test]
fn the_page_on_settings_lists_what_is_read() {
    let page = include_str!("../../docs/settings.md");
    let rows = |section: &str| {
        let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap();
        let section = rest.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.collect::<Vec<_>>()
    };
    let names = |cell: &str| {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect::<Vec<_>>()
    };
    let listed = |section: &str| {
        let cells = rows(section)
            .into_iter()
            .map(|row| row.split('|').nth(1).unwrap());
        cells.flat_map(names).collect::<Vec<_>>()
    };
    assert_eq!(listed("Keys"), KEY_VARIABLES);
    let mut settings = listed("The cookie and lifetimes");
    settings.extend(listed("The store"));
    let mut read: Vec<_> = FIELDS
        .into_iter()
        .map(|field| Source::Environment.name_of(field))
        .chain(["SESSION_REDIS_URL_FILE".to_owned()])
        .collect();
    settings.sort();
    read.sort();
    assert_eq!(settings, read);

    let mut others = Vec::new();
    for row in rows("Names that are not ours") {
        let mut cells = row.split('|').skip(1);
        let (strays, ours) = (cells.next().unwrap(), cells.next().unwrap());
        others.extend(names(strays).into_iter().map(|stray| (stray, names(ours))));
    }
    let mut known: Vec<_> = ALSO_CALLED
        .into_iter()
        .map(|(other, fields)| {
            let ours = fields.iter().map(|name| match FIELDS.contains(name) {
                true => Source::Environment.name_of(name),
                false => (*name).to_owned(),
            });
            (other.to_owned(), ours.collect::<Vec<_>>())
        })
        .collect();
    others.sort();
    known.sort();
    assert_eq!(others, known);
}

#[test]
fn the_url_may_be_in_a_file_and_its_errors_name_that_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let in_file = path.to_str().unwrap();
    std::fs::write(&path, "redis://:hunter2@host/\n").unwrap();
    for direct in ["", " "] {
        let settings = from([
            ("SESSION_REDIS_URL", direct),
            ("SESSION_REDIS_URL_FILE", in_file),
        ]);
        let url = settings.unwrap().redis_url.unwrap();
        assert_eq!(url.as_str(), "redis://:hunter2@host/");
    }
    for (variables, problem) in [
        (
            [
                ("SESSION_REDIS_URL", "x"),
                ("SESSION_REDIS_URL_FILE", in_file),
            ],
            "it and `SESSION_REDIS_URL` are both set",
        ),
        (
            [
                ("SESSION_REDIS_URL", ""),
                ("SESSION_REDIS_URL_FILE", "/nowhere/url"),
            ],
            "\"/nowhere/url\": ",
        ),
    ] {
        let error = from(variables).unwrap_err();
        assert_eq!(error.setting(), "SESSION_REDIS_URL_FILE");
        assert!(error.problem().starts_with(problem), "{error}");
    }
    // Without a driver, the setting would have no effect, whatever its value.
    let settings = from([("SESSION_REDIS_URL_FILE", in_file)]).unwrap();
    let error = settings.builder(AppKey::generate().unwrap()).unwrap_err();
    assert_eq!(error.setting(), "SESSION_REDIS_URL_FILE");
    #[cfg(feature = "redis")]
    {
        std::fs::write(&path, "hunter2").unwrap();
        let settings = from([("SESSION_REDIS_URL_FILE", in_file)]).unwrap();
        let error = settings.redis().unwrap_err();
        assert_eq!(error.setting(), "SESSION_REDIS_URL_FILE");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    // An empty file counts as an empty variable.
    std::fs::write(&path, "\n").unwrap();
    let settings = from([("SESSION_REDIS_URL_FILE", in_file)]).unwrap();
    assert!(settings.redis_url.is_none());
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
    // A setting that is switched off counts as unset.
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
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    struct Binary(String);
    impl Variables for Binary {
        fn get(&self, name: &str) -> Option<OsString> {
            (name == self.0).then(|| OsString::from_vec(vec![b'x', 0xff]))
        }

        fn names(&self) -> Vec<String> {
            vec![self.0.clone()]
        }
    }
    for field in FIELDS {
        let variable = Source::Environment.name_of(field);
        let error = Settings::from_variables(&Binary(variable.clone()));
        assert_eq!(error.unwrap_err().setting(), variable);
    }
}

proptest! {
    #[test]
    fn no_content_makes_it_panic_or_gets_into_an_error(
        content in "(QQ)?[ -~]{0,12}|[0-9.]{1,20} ?(ms|s|h|d|y|M|QQ)|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z]{0,12}|.{0,8}",
    ) {
        let key = AppKey::from_bytes(&[[7; 16], [9; 16]].concat()).unwrap();
        for field in FIELDS {
            let variable = Source::Environment.name_of(field);
            let builder = from([(&variable, &content)])
                .and_then(|settings| settings.builder(key.clone()));
            if let Err(error) = builder {
                prop_assert_eq!(error.setting(), variable);
                prop_assert!(!error.to_string().contains("QQ"));
            }
        }
    }
}
