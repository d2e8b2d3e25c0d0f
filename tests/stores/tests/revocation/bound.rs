//! Sessions that are bound to a device, across processes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sealed_session::DeviceBound;

use super::*;

const REGISTER: &str = "/.device-bound-session/register";

/// The cookies that a response sets.
fn set(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all(SET_COOKIE).iter();
    let pairs = fields.map(|field| field.to_str().unwrap().split(';').next().unwrap());
    pairs.map(str::to_owned).collect()
}

fn with(cookies: &[String]) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, cookies.join("; ").parse().unwrap())])
}

fn registration(challenge: &str) -> String {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|part| URL_SAFE_NO_PAD.encode(part.unwrap()));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let header = format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#);
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature: Signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

impl Fleet {
    async fn binding(&self) -> Store {
        let builder = self.builder().device_bound(DeviceBound::default());
        let store = builder.build().unwrap();
        let is_current = async || store.catch_up().await.is_ok();
        wait_for("a process that has caught up", is_current).await;
        tokio::spawn(store.keep_current());
        store
    }
}

/// Logs in at one process and registers at another: a copy from before, and the cookies since.
async fn registered(one: &Store, other: &Store) -> (HeaderMap, Vec<String>) {
    let session = one.load(&HeaderMap::new()).unwrap();
    session.insert("user_id", 42).unwrap();
    session.set_subject("ada").unwrap();
    let response = saved(one, &session).await;
    let mut cookies = set(&response);
    let copy = with(&cookies[..1]);
    let offer = response["secure-session-registration"].to_str().unwrap();
    let jwt = registration(offer.split('"').nth(3).unwrap());
    let sent = cookies.join("; ");
    let headers = [
        ("cookie", sent.as_bytes()),
        ("sec-fetch-site", b"same-origin"),
        ("secure-session-response", jwt.as_bytes()),
    ];
    let answer = other.device_answer("POST", REGISTER, headers).unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    cookies.extend(set(answer.headers()));
    (copy, cookies)
}

#[tokio::test]
async fn a_copy_from_before_the_binding_ends_in_every_process() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.binding().await, fleet.binding().await);
    let (copy, cookies) = registered(&one, &other).await;
    assert!(is_alive(&one, &copy) && is_alive(&other, &copy));
    // The first page with a proof, which only reads.
    let session = one.load(&with(&cookies)).unwrap();
    assert!(session.is_device_bound());
    let response = saved(&one, &session).await;
    assert!(set(&response)[0].starts_with("__Host-session="));
    let unproven = Origin::Refused(Refusal::Unproven);
    let has_ended = async || other.load(&copy).unwrap().origin() == unproven;
    wait_for("the end of a copy", has_ended).await;
    assert_eq!(one.load(&copy).unwrap().origin(), unproven);
    // The browser's requests that were on their way with the cookie from before go on.
    assert!(other.load(&with(&cookies)).unwrap().is_device_bound());
    // A process that starts knows it from Redis.
    let later = fleet.binding().await;
    assert_eq!(later.load(&copy).unwrap().origin(), unproven);
    // A logout without the proof ends the session everywhere.
    let bound = with(&set(&response));
    let session = other.load(&bound).unwrap();
    assert_eq!(session.origin(), unproven);
    session.destroy();
    saved(&other, &session).await;
    until_revoked(&one, &bound).await;
}

#[tokio::test]
async fn while_redis_is_away_a_page_is_read_and_its_session_bound_later() {
    let mut fleet = Fleet::new().await;
    let store = fleet.binding().await;
    let (copy, cookies) = registered(&store, &store).await;
    let session = store.load(&with(&cookies)).unwrap();
    fleet.server.kill();
    let response = saved(&store, &session).await;
    assert!(set(&response).is_empty(), "it is not bound yet");
    assert!(fleet.reported(Event::BackendFailed));
    assert!(is_alive(&store, &copy));
    fleet.server.start_again().await;
    let bound = async || {
        let session = store.load(&with(&cookies)).unwrap();
        !set(&saved(&store, &session).await).is_empty()
    };
    wait_for("a session that is bound", bound).await;
    assert!(!is_alive(&store, &copy));
}
