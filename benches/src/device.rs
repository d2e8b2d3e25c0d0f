//! A session that is bound to a device, and what its browser sends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey};
use sealed_session::{CookieStore, DeviceAnswer, DeviceBound, Session};

use crate::sealing_first;

const REGISTER: &str = "/.device-bound-session/register";
const REFRESH: &str = "/.device-bound-session/refresh";

/// A store that binds sessions, one of them bound and one not, and a device.
pub struct Device {
    pub store: CookieStore,
    /// The Cookie header of a session that is not bound.
    pub unbound: HeaderMap,
    /// The Cookie header of one that is, with its proof.
    pub bound: HeaderMap,
    key: SigningKey,
    kept: String,
    genuine: String,
    wrong: String,
}

impl Device {
    pub fn new(fill: impl Fn(&Session)) -> Self {
        let builder = CookieStore::builder(sealing_first(1));
        let store = builder
            .device_bound(DeviceBound::default())
            .build()
            .unwrap();
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let mut jar = Jar::default();

        let session = store.load_from::<str>([]);
        fill(&session);
        session.set_subject("48213").unwrap();
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).unwrap();
        jar.receive(&response);
        let unbound = jar.send("__Host-");
        let offer = response["secure-session-registration"].to_str().unwrap();
        let challenge = offer.split('"').nth(3).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let [x, y] = [point.x(), point.y()].map(|part| URL_SAFE_NO_PAD.encode(part.unwrap()));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let jwt = signed(&key, &format!(r#","jwk":{jwk}"#), challenge);
        let answer = post(&store, REGISTER, &jar.all(), Some(&jwt));
        jar.receive(answer.headers());

        let session = store.load(&jar.send("__Host-"));
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).unwrap();
        jar.receive(&response);
        let (bound, kept) = (jar.send("__Host-"), jar.all());
        let asked = post(&store, REFRESH, &kept, None);
        let challenge = asked.headers()["secure-session-challenge"]
            .to_str()
            .unwrap();
        let challenge = challenge.split('"').nth(1).unwrap().to_owned();
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        Self {
            genuine: signed(&key, "", &challenge),
            wrong: signed(&other, "", &challenge),
            store,
            unbound,
            bound,
            key,
            kept,
        }
    }

    /// A refresh with a genuine proof.
    pub fn refresh(&self) -> DeviceAnswer {
        post(&self.store, REFRESH, &self.kept, Some(&self.genuine))
    }

    /// One with a proof of another key.
    pub fn refuse(&self) -> DeviceAnswer {
        post(&self.store, REFRESH, &self.kept, Some(&self.wrong))
    }

    /// One with junk for a proof.
    pub fn refuse_junk(&self) -> DeviceAnswer {
        let junk = "e30".repeat(170);
        post(&self.store, REFRESH, &self.kept, Some(&junk))
    }

    /// One with junk for a key, too.
    pub fn refuse_stranger(&self) -> DeviceAnswer {
        let kept = format!("__Secure-device-key-session={}", "A".repeat(200));
        post(&self.store, REFRESH, &kept, Some(&self.genuine))
    }

    /// What a genuine proof cannot cost less than.
    pub fn verify(&self) -> bool {
        let (signed, signature) = self.genuine.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        let key = self.key.verifying_key();
        key.verify(signed.as_bytes(), &signature).is_ok()
    }
}

fn signed(key: &SigningKey, header: &str, challenge: &str) -> String {
    let header = format!(r#"{{"alg":"ES256","typ":"dbsc+jwt"{header}}}"#);
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature: Signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn post(store: &CookieStore, path: &str, cookies: &str, jwt: Option<&str>) -> DeviceAnswer {
    let fixed = [
        ("cookie", cookies.as_bytes()),
        ("sec-fetch-site", b"same-origin"),
    ];
    let jwt = jwt.map(|jwt| ("secure-session-response", jwt.as_bytes()));
    let answer = store.device_answer("POST", path, fixed.into_iter().chain(jwt));
    answer.expect("an endpoint answers")
}

/// The cookies that the store has set.
#[derive(Default)]
struct Jar(Vec<(String, String)>);

impl Jar {
    fn receive(&mut self, response: &HeaderMap) {
        for field in response.get_all("set-cookie") {
            let pair = field.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn all(&self) -> String {
        self.text("")
    }

    /// A request to a page, with the cookies whose names begin so.
    fn send(&self, prefix: &str) -> HeaderMap {
        let field = HeaderValue::try_from(self.text(prefix)).unwrap();
        HeaderMap::from_iter([(COOKIE, field)])
    }

    fn text(&self, prefix: &str) -> String {
        let sent = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        let pairs = sent.map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }
}
