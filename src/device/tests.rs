//! What happens between two steps of an answer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

use super::*;
use crate::binding::{Binding, For, Key, Offer};
use crate::envelope::os_random;
use crate::record::{BindingId, SessionId};
use crate::{AppKey, CookieStore, DeviceBound};

fn device() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

/// What the device signs, with these members in its header too.
fn signed(members: &str, challenge: &str) -> String {
    let header = format!(r#"{{"alg":"ES256","typ":"dbsc+jwt"{members}}}"#);
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature: Signature = device().sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// The path, the cookie and the JWT of a good registration.
fn registration(binding: &Binding, core: &StoreCore<crate::InCookie>) -> [String; 3] {
    let (session, now) = (SessionId::random(&mut os_random).unwrap(), core.now());
    let expires_at = now.plus(std::time::Duration::from_secs(60));
    let offer = Offer {
        session,
        expires_at,
    };
    let offer = binding.seal(&offer, &mut os_random).unwrap();
    let challenge = binding.challenge(For::Registering(session), now, &mut os_random);
    let point = device().verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|part| URL_SAFE_NO_PAD.encode(part.unwrap()));
    let jwk = format!(r#","jwk":{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    [
        binding.names.register.clone(),
        format!("{}={offer}", binding.cookies.offer.name()),
        signed(&jwk, &challenge.unwrap()),
    ]
}

/// The path, the cookie and the JWT of a good refresh.
fn refresh(binding: &Binding, core: &StoreCore<crate::InCookie>) -> [String; 3] {
    let (id, now) = (BindingId::random(&mut os_random).unwrap(), core.now());
    let key = Key {
        binding: id,
        session: SessionId::random(&mut os_random).unwrap(),
        point: jwt::compressed(device().verifying_key()).unwrap(),
        issued_at: now,
    };
    let key = binding.seal(&key, &mut os_random).unwrap();
    let challenge = binding.challenge(For::Refreshing(id), now, &mut os_random);
    [
        binding.names.refresh.clone(),
        format!("{}={key}", binding.cookies.key.name()),
        signed("", &challenge.unwrap()),
    ]
}

fn post<'h>(
    core: &StoreCore<crate::InCookie>,
    path: &str,
    headers: &[(&str, &'h [u8])],
    random: Random<'_>,
) -> Option<DeviceAnswer> {
    let each = |name: &'static str, take: &mut dyn FnMut(&'h [u8])| {
        let found = headers.iter().filter(|(of, _)| *of == name);
        found.for_each(|(_, value)| take(value));
    };
    let request = Request {
        method: "POST",
        path,
        each: &each,
    };
    answer(core, &request, random)
}

#[test]
fn keys_that_are_replaced_while_an_endpoint_seals_leave_no_proof_of_the_old_ones() {
    for request_of in [registration, refresh] {
        for is_replaced in [false, true] {
            let builder = CookieStore::builder(AppKey::generate().unwrap());
            let store = builder.device_bound(DeviceBound::default());
            let store = store.build().unwrap();
            let core = &store.core;
            let [path, cookie, jwt] = request_of(core.flow.devices.binding().unwrap(), core);
            let headers = [
                ("cookie", cookie.as_bytes()),
                ("sec-fetch-site", b"same-origin"),
                ("secure-session-response", jwt.as_bytes()),
            ];
            let answer = post(core, &path, &headers, &mut |bytes| {
                if is_replaced {
                    store.replace_keys(AppKey::generate().unwrap());
                }
                os_random(bytes)
            });
            let answer = answer.unwrap();
            let cookies = answer.headers().iter();
            let cookies = cookies.filter(|(name, _)| *name == "set-cookie").count();
            assert_eq!(cookies == 0, is_replaced, "{path}");
            assert_eq!(answer.status() == 200, !is_replaced, "{path}");
        }
    }
}
