//! device.json: what a browser carries beside a device-bound session, and what it signs.

use std::fmt::Debug;
use std::time::Duration;

use super::{DeviceToken, File, Vector, vectors};
use crate::binding::{Challenge, For, Key, Offer, Proof, Sealed};
use crate::envelope::Kind;
use crate::error::Refusal;
use crate::record::{BindingId, SessionId};
use crate::time::Millis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the token that a vector states.
trait Stated: Sealed {
    fn stated(token: &DeviceToken) -> Self;
}

fn session(token: &DeviceToken) -> Option<SessionId> {
    let id = token.session.as_ref()?;
    Some(SessionId::from_bytes(id[..].try_into().unwrap()))
}

fn binding(token: &DeviceToken) -> Option<BindingId> {
    let id = token.binding.as_ref()?;
    Some(BindingId::from_bytes(id[..].try_into().unwrap()))
}

fn moment(millis: Option<u64>) -> Millis {
    Millis::from_raw(millis.unwrap())
}

impl Stated for Offer {
    fn stated(token: &DeviceToken) -> Self {
        Self {
            session: session(token).unwrap(),
            expires_at: moment(token.expires_at),
        }
    }
}

impl Stated for Key {
    fn stated(token: &DeviceToken) -> Self {
        Self {
            binding: binding(token).unwrap(),
            session: session(token).unwrap(),
            point: token.point.as_ref().unwrap()[..].try_into().unwrap(),
            issued_at: moment(token.issued_at),
        }
    }
}

impl Stated for Proof {
    fn stated(token: &DeviceToken) -> Self {
        Self {
            binding: binding(token).unwrap(),
            proven_at: moment(token.proven_at),
            expires_at: moment(token.expires_at),
            session: session(token),
        }
    }
}

impl Stated for Challenge {
    fn stated(token: &DeviceToken) -> Self {
        Self {
            purpose: match (session(token), binding(token)) {
                (Some(session), None) => For::Registering(session),
                (None, Some(binding)) => For::Refreshing(binding),
                _ => panic!("one of them"),
            },
            expires_at: moment(token.expires_at),
        }
    }
}

fn found<T: Sealed>(vector: &Vector) -> Result<T, Refusal> {
    let opened = vector.open()?;
    let token = T::decode(&opened.plaintext)?;
    token.check(vector.now(), DAY)?;
    Ok(token)
}

fn is_as_stated<T: Stated + PartialEq + Debug>(vector: &Vector) {
    let stated = T::stated(vector.device.as_ref().unwrap());
    assert_eq!(stated.encode(), *vector.plaintext, "{vector}");
    assert_eq!(found(vector), Ok(stated), "{vector}");
    assert_eq!(T::KIND, vector.kind, "{vector}");
    assert!(vector.token.len() <= T::MAX_LENGTH, "{vector}");
}

#[test]
fn every_token_says_what_is_stated_and_is_written_alike() {
    let file: File = vectors!("device.json");
    assert_eq!(file.vectors.len(), 12);
    for vector in &file.vectors {
        match vector.kind {
            Kind::DeviceOffer => is_as_stated::<Offer>(vector),
            Kind::DeviceKey => is_as_stated::<Key>(vector),
            Kind::DeviceProof => is_as_stated::<Proof>(vector),
            Kind::DeviceChallenge => is_as_stated::<Challenge>(vector),
            _ => panic!("{vector}"),
        }
    }
}

#[test]
fn every_refused_token_is_refused_for_the_stated_reason() {
    let file: File = vectors!("device.json");
    assert_eq!(file.refused.len(), 30);
    for vector in &file.refused {
        let refusal = match vector.kind {
            Kind::DeviceOffer => found::<Offer>(vector).unwrap_err(),
            Kind::DeviceKey => found::<Key>(vector).unwrap_err(),
            Kind::DeviceProof => found::<Proof>(vector).unwrap_err(),
            Kind::DeviceChallenge => found::<Challenge>(vector).unwrap_err(),
            _ => vector.open().map(drop).unwrap_err(),
        };
        assert_eq!(refusal.as_str(), vector.reason, "{vector}");
    }
}
