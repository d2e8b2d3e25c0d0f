use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cookie::CookieConfig;
use crate::envelope::AppKey;

fn stores(domain_of: fn(&str) -> Option<String>) -> (HostStores<CookieStore>, Arc<AtomicUsize>) {
    let (key, made) = (AppKey::generate().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&made);
    let stores = HostStores::new(move |host| {
        count.fetch_add(1, Ordering::Relaxed);
        let Some(domain) = domain_of(host) else {
            return Ok(None);
        };
        let mut cookie = CookieConfig::builder().name("__Secure-session");
        if !domain.is_empty() {
            cookie = cookie.domain(domain);
        }
        let store = CookieStore::builder(key.clone()).cookie(cookie.build()?);
        store.context(host).build().map(Some)
    });
    (stores, made)
}

#[test]
fn each_host_has_a_store_that_is_made_when_it_is_first_seen() {
    let (stores, made) = stores(|host| Some(host.to_owned()));
    for host in [
        "a.example",
        "A.Example",
        "a.example.",
        "a.example:8080",
        "a.example:",
    ] {
        let store = stores.store(host).unwrap();
        assert_eq!(
            store.transport().cookie().unwrap().domain(),
            Some("a.example")
        );
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
    stores.store("b.example").unwrap();
    assert_eq!((stores.len(), made.load(Ordering::Relaxed)), (2, 2));
    assert!(format!("{stores:?}").contains("len: 2"));

    stores.forget("A.example:443");
    assert_eq!(stores.len(), 1);
    stores.store("a.example").unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 3);
    stores.forget_all();
    assert!(stores.is_empty());
}

#[test]
fn what_is_no_host_is_unknown_and_not_even_asked_for() {
    let (stores, made) = stores(|_| Some(String::new()));
    let long = "a".repeat(254);
    for host in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a:b",
        "a:80:80",
        "é.example",
        "a;b",
        "a\r\nb",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "a%2eb",
        &long,
    ] {
        let error = stores.store(host).unwrap_err();
        assert!(error.is_unknown(), "{host:?}");
    }
    assert_eq!(made.load(Ordering::Relaxed), 0);
    for host in [
        "localhost",
        "127.0.0.1:3000",
        "[::1]:3000",
        "[::1]",
        "a_b.example",
    ] {
        stores.store(host).unwrap();
    }
    assert_eq!(stores.len(), 4, "the two spellings of ::1 are one");
}

#[test]
fn a_cookie_that_browsers_would_refuse_from_this_host_is_an_error() {
    for (domain, is_right) in [
        ("", true),
        ("shop.example.org", true),
        ("example.org", true),
        ("Example.ORG", true),
        ("p.example.org", false),
        ("a.shop.example.org", false),
        ("ample.org", false),
        ("other.example", false),
    ] {
        let key = AppKey::generate().unwrap();
        let stores = HostStores::new(move |_| {
            let mut cookie = CookieConfig::builder().name("session");
            if !domain.is_empty() {
                cookie = cookie.domain(domain);
            }
            CookieStore::builder(key.clone())
                .cookie(cookie.build()?)
                .build()
                .map(Some)
        });
        match stores.store("shop.example.org") {
            Ok(_) => assert!(is_right, "{domain}"),
            Err(error) => {
                assert!(!is_right, "{domain}: {error}");
                assert_eq!(error.config().unwrap().setting(), "domain");
                assert!(!error.is_unknown() && stores.is_empty());
            }
        }
    }
}

#[test]
fn made_up_hosts_take_no_memory_and_real_ones_a_bounded_one() {
    let (stores, made) = stores(|host| host.ends_with(".example").then(|| host.to_owned()));
    let stores = stores.keep_at_most(3);
    for n in 0..1000 {
        assert!(stores.store(&format!("{n}.evil")).unwrap_err().is_unknown());
    }
    assert!(stores.is_empty());
    made.store(0, Ordering::Relaxed);
    for host in [
        "a.example",
        "b.example",
        "c.example",
        "a.example",
        "d.example",
        "a.example",
    ] {
        stores.store(host).unwrap();
    }
    assert_eq!((stores.len(), made.load(Ordering::Relaxed)), (3, 4));
    stores.store("b.example").unwrap();
    assert_eq!(
        made.load(Ordering::Relaxed),
        5,
        "it was not used for longest"
    );
}

#[test]
fn a_functions_own_error_is_told_and_tried_again() {
    let stores =
        HostStores::<CookieStore>::new(|_| Err(ConfigError::new("tenants", "it is locked")));
    for _ in 0..2 {
        let error = stores.store("a.example").unwrap_err();
        assert_eq!(error.config().unwrap().setting(), "tenants");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn a_store_that_was_made_before_all_were_forgotten_is_not_kept() {
    let key = AppKey::generate().unwrap();
    let slot: Arc<Mutex<Option<HostStores<CookieStore>>>> = Arc::default();
    let inner = Arc::clone(&slot);
    let stores = HostStores::new(move |_| {
        // As another thread would, while this store is being made.
        if let Some(stores) = inner.lock().unwrap().take() {
            stores.forget_all();
        }
        Ok(Some(CookieStore::new(key.clone())))
    });
    *slot.lock().unwrap() = Some(stores.clone());
    stores.store("a.example").unwrap();
    assert!(stores.is_empty());
    stores.store("a.example").unwrap();
    assert_eq!(stores.len(), 1);
}

#[test]
fn a_request_names_its_host_once() {
    let (stores, _) = stores(|host| Some(host.to_owned()));
    let of = |uri: &'static str, hosts: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append("host", host.parse().unwrap());
        }
        headers.append("x-forwarded-host", "evil.example".parse().unwrap());
        let store = stores.store_of(&Uri::from_static(uri), &headers).ok()?;
        Some(store.transport().cookie()?.domain()?.to_owned())
    };
    for (uri, hosts, named) in [
        ("/", &["a.example"][..], Some("a.example")),
        ("/", &["a.example:8080"], Some("a.example")),
        ("/", &[], None),
        ("/", &["a.example", "b.example"], None),
        ("https://b.example/", &["a.example"], Some("b.example")),
        ("https://a.example@b.example:443/", &[], Some("b.example")),
    ] {
        assert_eq!(of(uri, hosts).as_deref(), named, "{uri} {hosts:?}");
    }
}
