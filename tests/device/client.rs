//! A service, and a browser that binds its session to its device: it keeps cookies by their path,
//! holds requests back until it has a proof, and signs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::Cookie;
use http::{HeaderMap, HeaderName, StatusCode};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sealed_session::server::{Behind, Memory, MemoryStore};
use sealed_session::{
    AppKey, CookieStore, CookieStoreBuilder, DeviceAnswer, DeviceBound, Event, KeyRing, Keys,
    SaveError, Session, StoreBuilder,
};

use crate::now::now;
use crate::support::*;

pub(crate) const REGISTER: &str = "/.device-bound-session/register";
pub(crate) const REFRESH: &str = "/.device-bound-session/refresh";
pub(crate) const PROOF: &str = "__Host-device-proof-session";
pub(crate) const KEY: &str = "__Secure-device-key-session";
pub(crate) const OFFER: &str = "__Secure-device-offer-session";

/// A store of either kind.
#[derive(Clone)]
pub(crate) enum Store {
    Cookie(CookieStore),
    Memory(MemoryStore),
}

/// A service.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

impl Service {
    /// One with everything on.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(settings: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder) -> Self {
        Self::of(&start(), key(), |builder| {
            settings(builder.device_bound(DeviceBound::default()))
        })
    }

    pub(crate) fn of(
        clock: &Clock,
        keys: impl Into<Keys>,
        settings: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder,
    ) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (asked, seen) = (clock.clone(), Arc::clone(&events));
        let builder = CookieStore::builder(keys)
            .clock(move || asked.now())
            .on_event(move |event| seen.lock().unwrap().push(event));
        Self {
            clock: clock.clone(),
            store: Store::Cookie(settings(builder).build().unwrap()),
            events,
        }
    }

    /// One whose sessions are in memory, by a clock of the same time.
    pub(crate) fn in_memory(
        settings: impl FnOnce(StoreBuilder<Behind<Memory>>) -> StoreBuilder<Behind<Memory>>,
    ) -> Self {
        let clock = start();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (asked, seen, told) = (clock.clone(), Arc::clone(&events), clock.clone());
        let memory = Memory::builder().clock(move || told.now()).build().unwrap();
        let builder = MemoryStore::builder(key(), memory)
            .device_bound(DeviceBound::default())
            .clock(move || asked.now())
            .on_event(move |event| seen.lock().unwrap().push(event));
        Self {
            clock,
            store: Store::Memory(settings(builder).build().unwrap()),
            events,
        }
    }

    pub(crate) fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<DeviceAnswer> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        match &self.store {
            Store::Cookie(store) => store.device_answer(method, path, headers),
            Store::Memory(store) => store.device_answer(method, path, headers),
        }
    }

    pub(crate) fn load(&self, headers: &HeaderMap) -> Session {
        match &self.store {
            Store::Cookie(store) => store.load(headers),
            Store::Memory(store) => now(store.load(headers)).unwrap(),
        }
    }

    pub(crate) fn save(&self, session: &Session) -> Result<HeaderMap, SaveError> {
        let mut response = HeaderMap::new();
        match &self.store {
            Store::Cookie(store) => store.save(session, &mut response)?,
            Store::Memory(store) => now(store.save(session, &mut response))?,
        }
        Ok(response)
    }

    pub(crate) fn replace_keys(&self, ring: KeyRing) {
        match &self.store {
            Store::Cookie(store) => store.replace_keys(ring),
            Store::Memory(store) => store.replace_keys(ring),
        }
    }

    /// The events since the last call that are about devices.
    pub(crate) fn device_events(&self) -> Vec<Event> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let is_of_device = |event: &Event| event.as_str().starts_with("device");
        events.into_iter().filter(is_of_device).collect()
    }
}

pub(crate) fn start() -> Clock {
    Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY)
}

/// A cookie that a browser keeps.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) path: String,
    pub(crate) is_lax: bool,
    until: SystemTime,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Here,
    Elsewhere,
}

/// A browser with a device.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) service: Service,
    /// The browser's own clock.
    pub(crate) clock: Clock,
    pub(crate) jar: Vec<Kept>,
    pub(crate) device: SigningKey,
    /// Whether the browser has a device-bound session: its identifier and where to refresh it.
    pub(crate) bound: Option<(String, String)>,
}

impl Visitor {
    pub(crate) fn new(service: &Service) -> Self {
        Self {
            service: service.clone(),
            clock: service.clock.clone(),
            jar: Vec::new(),
            device: device(1),
            bound: None,
        }
    }

    /// One who has logged in, registered, and loaded a page.
    pub(crate) fn bound(service: &Service) -> Self {
        let mut visitor = Self::logged_in(service);
        visitor.visit(|_| {});
        visitor
    }

    /// One who has logged in and registered.
    pub(crate) fn logged_in(service: &Service) -> Self {
        let mut visitor = Self::new(service);
        visitor.visit(login);
        assert!(visitor.bound.is_some());
        visitor
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The headers of a request to this path.
    pub(crate) fn headers(&self, path: &str, from: From) -> HeaderMap {
        let is_below = |of: &str| of == "/" || path == of || path.starts_with(&format!("{of}/"));
        let sent: Vec<String> = self
            .jar
            .iter()
            .filter(|cookie| cookie.until > self.now() && is_below(&cookie.path))
            .filter(|cookie| from == From::Here || !cookie.is_lax)
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        let mut headers = HeaderMap::new();
        if !sent.is_empty() {
            headers.insert("cookie", sent.join("; ").parse().unwrap());
        }
        headers
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let cookie = self.jar.iter().find(|kept| kept.name == name)?;
        (cookie.until > self.now()).then_some(&cookie.value)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str, path: &str) {
        self.jar.retain(|kept| kept.name != name);
        self.jar.push(Kept {
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.to_owned(),
            is_lax: false,
            until: self.now() + DAY,
        });
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.jar.retain(|kept| kept.name != name);
    }

    pub(crate) fn receive(&mut self, response: &HeaderMap) {
        for field in response.get_all("set-cookie") {
            let cookie = Cookie::parse(field.to_str().unwrap().to_owned()).unwrap();
            assert_eq!(cookie.secure(), Some(true));
            assert_eq!(cookie.http_only(), Some(true));
            let path = cookie.path().unwrap().to_owned();
            self.jar
                .retain(|kept| kept.name != cookie.name() || kept.path != path);
            let age = cookie.max_age().unwrap().whole_seconds();
            if age > 0 {
                self.jar.push(Kept {
                    name: cookie.name().to_owned(),
                    value: cookie.value().to_owned(),
                    path,
                    is_lax: cookie.same_site() != Some(cookie::SameSite::None),
                    until: self.now() + Duration::from_secs(age.try_into().unwrap()),
                });
            }
        }
    }

    /// A request as the browser sends it: held back until there is a proof, and answered with a
    /// registration if one is offered.
    pub(crate) fn visit(&mut self, handler: impl FnOnce(&Session)) -> HeaderMap {
        self.hold_back();
        let response = self.request(handler).unwrap();
        self.follow(&response);
        response
    }

    /// Refreshes the proof if the browser would.
    pub(crate) fn hold_back(&mut self) {
        if self.bound.is_some() && self.cookie(PROOF).is_none() {
            self.refresh(From::Here);
        }
    }

    /// A request as it stands, and its response.
    pub(crate) fn request(
        &mut self,
        handler: impl FnOnce(&Session),
    ) -> Result<HeaderMap, SaveError> {
        let session = self.load();
        handler(&session);
        let response = self.service.save(&session)?;
        self.receive(&response);
        Ok(response)
    }

    /// The session of a request as it stands.
    pub(crate) fn load(&self) -> Session {
        self.service.load(&self.headers("/", From::Here))
    }

    /// Registers, if the response offers it.
    pub(crate) fn follow(&mut self, response: &HeaderMap) {
        if let Some(challenge) = offered(response) {
            let answer = self.register(&challenge, From::Here);
            self.registered(&answer);
        }
    }

    /// Takes the answer to a registration.
    pub(crate) fn registered(&mut self, answer: &DeviceAnswer) {
        if answer.status() == StatusCode::OK {
            self.receive(answer.headers());
            let told: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
            let text = |name: &str| told[name].as_str().unwrap().to_owned();
            self.bound = Some((text("session_identifier"), text("refresh_url")));
        }
    }

    /// The answer to a registration of this device's key.
    pub(crate) fn register(&self, challenge: &str, from: From) -> DeviceAnswer {
        let jwt = registration(&self.device, challenge);
        self.post(REGISTER, from, &[("secure-session-response", &jwt)])
    }

    /// Refreshes as a browser does: asked again at most three times. The last answer.
    pub(crate) fn refresh(&mut self, from: From) -> DeviceAnswer {
        let (_, path) = self.bound.clone().unwrap();
        let id = [("sec-secure-session-id", "session")];
        let mut answer = self.post(&path, from, &id);
        for _ in 0..3 {
            self.receive(answer.headers());
            if is_end(&answer) {
                self.bound = None;
                return answer;
            }
            if answer.status() != StatusCode::FORBIDDEN {
                return answer;
            }
            let jwt = proof(&self.device, &challenge(&answer).unwrap());
            answer = self.post(&path, from, &[("secure-session-response", &jwt)]);
        }
        self.receive(answer.headers());
        if answer.status() == StatusCode::FORBIDDEN {
            self.bound = None;
        }
        answer
    }

    /// A new challenge for the key that this browser has.
    pub(crate) fn asked(&self) -> String {
        challenge(&self.post(REFRESH, From::Here, &[])).unwrap()
    }

    pub(crate) fn post(
        &self,
        path: &str,
        from: From,
        fields: &[(&'static str, &str)],
    ) -> DeviceAnswer {
        let mut headers = self.headers(path, from);
        // Browsers say so even if a page of another site caused it.
        headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        self.service.answer("POST", path, &headers).unwrap()
    }
}

/// A handler that logs somebody in.
pub(crate) fn login(session: &Session) {
    session.log_in().unwrap();
    session.set_subject("ada").unwrap();
    session.insert("user_id", 42).unwrap();
}

pub(crate) fn user(session: &Session) -> Option<u64> {
    session.get("user_id").unwrap()
}

/// The key of a device.
pub(crate) fn device(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn signed(device: &SigningKey, header: &str, claims: &str) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let signature: Signature = device.sign(text.as_bytes());
    format!("{text}.{}", encoded(signature.to_bytes()))
}

pub(crate) fn jwk(device: &SigningKey) -> String {
    let point = device.verifying_key().to_sec1_point(false);
    let (x, y) = (encoded(point.x().unwrap()), encoded(point.y().unwrap()));
    format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
}

pub(crate) fn registration(device: &SigningKey, challenge: &str) -> String {
    let header = format!(
        r#"{{"alg":"ES256","jwk":{},"typ":"dbsc+jwt"}}"#,
        jwk(device)
    );
    signed(device, &header, &format!(r#"{{"jti":"{challenge}"}}"#))
}

pub(crate) fn proof(device: &SigningKey, challenge: &str) -> String {
    let header = r#"{"alg":"ES256","typ":"dbsc+jwt"}"#;
    signed(device, header, &format!(r#"{{"jti":"{challenge}"}}"#))
}

/// The challenge of an offer to register, if the response has one.
pub(crate) fn offered(response: &HeaderMap) -> Option<String> {
    let field = response.get("secure-session-registration")?;
    let (start, challenge) = field.to_str().unwrap().split_once("challenge=\"").unwrap();
    assert_eq!(start, format!("(ES256);path=\"{REGISTER}\";"));
    Some(challenge.trim_end_matches('"').to_owned())
}

/// The challenge of an answer, if it has one.
pub(crate) fn challenge(answer: &DeviceAnswer) -> Option<String> {
    let field = answer.headers().get("secure-session-challenge")?;
    let (challenge, id) = field.to_str().unwrap().split_once(';').unwrap();
    assert_eq!(id, "id=\"session\"");
    Some(challenge.trim_matches('"').to_owned())
}

pub(crate) fn is_end(answer: &DeviceAnswer) -> bool {
    answer.body() == r#"{"continue":false}"#
}

/// Whether the answer sets the cookie, to something.
pub(crate) fn sets(headers: &HeaderMap, name: &str) -> bool {
    cookie_in(headers, name).is_some_and(|value| !value.is_empty())
}

/// Whether the answer removes the cookie.
pub(crate) fn removes(headers: &HeaderMap, name: &str) -> bool {
    cookie_in(headers, name).is_some_and(|value| value.is_empty())
}

pub(crate) fn cookie_in(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all("set-cookie").iter().find_map(|field| {
        let cookie = Cookie::parse(field.to_str().unwrap()).unwrap();
        (cookie.name() == name).then(|| cookie.value().to_owned())
    })
}

pub(crate) fn app_keys() -> [AppKey; 2] {
    [key(), key()]
}
