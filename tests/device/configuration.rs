//! Settings that do not go with device-bound sessions are refused, by name.

use std::time::Duration;

use sealed_session::{
    CookieConfig, CookieConfigBuilder, CookieStore, DeviceBound, DeviceStage, SameSite, Settings,
    Transport,
};

use crate::support::*;

fn refused_setting(settings: DeviceBound, transport: Transport) -> String {
    let builder = CookieStore::builder(key()).transport(transport);
    let error = builder.device_bound(settings).build().unwrap_err();
    error.setting().to_owned()
}

#[test]
fn a_cookie_that_cannot_be_bound_is_refused_by_the_name_of_its_attribute() {
    let plain = || CookieConfig::builder().name("id");
    let cookies: [(&str, CookieConfigBuilder); 7] = [
        ("cookie domain", plain().domain("example.com")),
        ("cookie path", plain().path("/app")),
        ("cookie same_site", plain().same_site(SameSite::None)),
        ("cookie secure", plain().insecure_over_http()),
        ("cookie partitioned", plain().partitioned(true)),
        ("cookie name", plain().name("__Host-device-proof-session")),
        ("cookie name", plain().name("n".repeat(255))),
    ];
    for (setting, cookie) in cookies {
        let cookie = cookie.build().unwrap();
        for stage in [DeviceStage::Serve, DeviceStage::Offer, DeviceStage::Enforce] {
            let refused = refused_setting(stage.into(), cookie.clone().into());
            assert_eq!(refused, setting);
        }
        let off = CookieStore::builder(key()).cookie(cookie);
        assert!(off.device_bound(DeviceStage::Off).build().is_ok());
    }
    for transport in [Transport::bearer(), Transport::header("x-session").unwrap()] {
        assert_eq!(
            refused_setting(DeviceBound::default(), transport),
            "transport"
        );
    }
}

#[test]
fn settings_of_its_own_are_checked() {
    let cookie = || Transport::from(CookieConfig::default());
    let settings = DeviceBound::default;
    for lifetime in [0, 29, 3601] {
        let refused = settings().proof_lifetime(Duration::from_secs(lifetime));
        assert_eq!(
            refused_setting(refused, cookie()),
            "device_bound proof_lifetime"
        );
    }
    for path in ["", "public", "/a?b", "/a#b", "/*", "/a b", "/\"", "/é", "*"] {
        let refused = settings().exclude(path);
        assert_eq!(
            refused_setting(refused, cookie()),
            "device_bound exclude",
            "{path}"
        );
    }
    for host in [
        "*",
        "*.example.com",
        "",
        "https://example.com",
        "a b",
        "a/b",
        ".",
    ] {
        let refused = settings().refresh_from(host);
        assert_eq!(
            refused_setting(refused, cookie()),
            "device_bound refresh_from",
            "{host}"
        );
    }
    let good = settings()
        .proof_lifetime(Duration::from_secs(30))
        .exclude("/public/")
        .refresh_from("partner.example");
    assert!(
        CookieStore::builder(key())
            .device_bound(good)
            .build()
            .is_ok()
    );
    assert_eq!(settings().stage(), DeviceStage::Enforce);
    assert_eq!(
        settings().at(DeviceStage::Serve).stage(),
        DeviceStage::Serve
    );
}

#[test]
fn other_cookies_are_bound_too() {
    for cookie in [
        CookieConfig::builder().name("id"),
        CookieConfig::builder().name("__Secure-id"),
        CookieConfig::builder().same_site(SameSite::Strict),
        CookieConfig::builder().persistent(false),
    ] {
        let builder = CookieStore::builder(key()).cookie(cookie.build().unwrap());
        assert!(builder.device_bound(DeviceBound::default()).build().is_ok());
    }
}

#[test]
fn the_stage_is_a_setting() {
    for (text, stage) in [
        ("off", DeviceStage::Off),
        ("serve", DeviceStage::Serve),
        ("Offer", DeviceStage::Offer),
        (" ENFORCE ", DeviceStage::Enforce),
    ] {
        let json = format!(r#"{{ "device_bound": "{text}" }}"#);
        let settings: Settings = serde_json::from_str(&json).unwrap();
        assert_eq!(settings.device_bound, Some(stage));
        let store = settings.builder(key()).unwrap().build().unwrap();
        let answer = store.device_answer("GET", "/.device-bound-session/refresh", []);
        assert_eq!(answer.is_some(), stage != DeviceStage::Off, "{text}");
    }
    for bad in [r#""on""#, "true", "1"] {
        let json = format!(r#"{{ "device_bound": {bad} }}"#);
        let error = serde_json::from_str::<Settings>(&json)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("device_bound: it must be `off`"),
            "{error}"
        );
    }
    let json = r#"{ "device_bound": "enforce", "secure": false, "cookie_name": "id" }"#;
    let settings: Settings = serde_json::from_str(json).unwrap();
    let error = settings.builder(key()).unwrap_err();
    assert!(error.to_string().contains("device_bound"), "{error}");
}
