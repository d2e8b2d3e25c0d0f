//! What is sealed for a browser to carry. Each has a kind of its own, so that none opens as another.
//!
//! ```text
//! device-offer       0x01, session 16, expires_at 6
//! device-key         0x01, binding 16, session 16, algorithm 0x01 (ES256), point 33, issued_at 6
//! device-proof       0x01, binding 16, proven_at 6, expires_at 6, session 16 or nothing
//! device-challenge   0x01, 0x01 to register or 0x02 to refresh, 16, expires_at 6
//! ```
//!
//! Times are Unix milliseconds, big-endian. The point is a public key of P-256, compressed. The
//! sixteen bytes of a challenge are the session that registers, or the binding that refreshes.

use std::time::Duration;

use crate::envelope::{Kind, encoded_len};
use crate::error::Refusal;
use crate::policy::CLOCK_SKEW;
use crate::reader::{Malformed, Reader};
use crate::record::{BindingId, SessionId};
use crate::time::Millis;

const FORMAT: u8 = 1;
const ES256: u8 = 1;
const REGISTER: u8 = 1;
const REFRESH: u8 = 2;

/// How long a challenge and an offer are good for.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The length of a compressed public key.
pub(crate) const POINT: usize = 33;

/// The session to which a registration was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) session: SessionId,
    pub(crate) expires_at: Millis,
}

/// The public key of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) binding: BindingId,
    /// The session that registered the key. It may have another id by now.
    pub(crate) session: SessionId,
    pub(crate) point: [u8; POINT],
    pub(crate) issued_at: Millis,
}

/// States that a device has proven its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) binding: BindingId,
    pub(crate) proven_at: Millis,
    pub(crate) expires_at: Millis,
    /// The session that registered the key. `None` once the session's record has the binding.
    pub(crate) session: Option<SessionId>,
}

/// What a browser signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) purpose: For,
    pub(crate) expires_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Registering(SessionId),
    Refreshing(BindingId),
}

impl Challenge {
    /// When the browser was asked.
    pub(crate) fn asked_at(self) -> Millis {
        let since_epoch = self.expires_at.since(Millis::default());
        Millis::default().plus(since_epoch.saturating_sub(MINUTE))
    }
}

/// A kind of token.
pub(crate) trait Sealed: Sized {
    const KIND: Kind;
    const MAX_LENGTH: usize;

    fn encode(&self) -> Vec<u8>;

    fn decode(bytes: &[u8]) -> Result<Self, Refusal>;

    /// Checks that the token is good for this moment. `key_lifetime` is how long a key lasts.
    fn check(&self, now: Millis, key_lifetime: Duration) -> Result<(), Refusal>;
}

/// Checks the first byte, and returns a reader of the rest.
fn begin(bytes: &[u8]) -> Result<Reader<'_>, Refusal> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? == FORMAT {
        Ok(reader)
    } else {
        Err(Refusal::Newer)
    }
}

fn moment(reader: &mut Reader<'_>) -> Result<Millis, Malformed> {
    reader.array().map(Millis::from_be_bytes)
}

/// Checks a token that lives for `lifetime`. The clock of the server that made it may be off.
fn check_short(expires_at: Millis, lifetime: Duration, now: Millis) -> Result<(), Refusal> {
    if now >= expires_at.plus(CLOCK_SKEW) {
        Err(Refusal::Expired)
    } else if expires_at > now.plus(lifetime + CLOCK_SKEW) {
        Err(Refusal::Future)
    } else {
        Ok(())
    }
}

impl Sealed for Offer {
    const KIND: Kind = Kind::DeviceOffer;
    const MAX_LENGTH: usize = encoded_len(1 + 16 + 6);

    fn encode(&self) -> Vec<u8> {
        let expires_at = self.expires_at.to_be_bytes();
        [&[FORMAT][..], self.session.as_bytes(), &expires_at].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = begin(bytes)?;
        let offer = Self {
            session: SessionId::from_bytes(reader.array()?),
            expires_at: moment(&mut reader)?,
        };
        reader.finish()?;
        Ok(offer)
    }

    fn check(&self, now: Millis, _: Duration) -> Result<(), Refusal> {
        check_short(self.expires_at, MINUTE, now)
    }
}

impl Sealed for Key {
    const KIND: Kind = Kind::DeviceKey;
    const MAX_LENGTH: usize = encoded_len(1 + 16 + 16 + 1 + POINT + 6);

    fn encode(&self) -> Vec<u8> {
        let issued_at = self.issued_at.to_be_bytes();
        [
            &[FORMAT][..],
            self.binding.as_bytes(),
            self.session.as_bytes(),
            &[ES256],
            &self.point,
            &issued_at,
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = begin(bytes)?;
        let binding = BindingId::from_bytes(reader.array()?);
        let session = SessionId::from_bytes(reader.array()?);
        if reader.byte()? != ES256 {
            return Err(Refusal::Newer);
        }
        let key = Self {
            binding,
            session,
            point: reader.array()?,
            issued_at: moment(&mut reader)?,
        };
        reader.finish()?;
        Ok(key)
    }

    fn check(&self, now: Millis, key_lifetime: Duration) -> Result<(), Refusal> {
        if self.issued_at > now.plus(CLOCK_SKEW) {
            Err(Refusal::Future)
        } else if now >= self.issued_at.plus(key_lifetime) {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }
}

impl Sealed for Proof {
    const KIND: Kind = Kind::DeviceProof;
    const MAX_LENGTH: usize = encoded_len(1 + 16 + 6 + 6 + 16);

    fn encode(&self) -> Vec<u8> {
        let session = self.session.as_ref();
        [
            &[FORMAT][..],
            self.binding.as_bytes(),
            &self.proven_at.to_be_bytes(),
            &self.expires_at.to_be_bytes(),
            session.map_or(&[][..], |session| session.as_bytes()),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = begin(bytes)?;
        let binding = BindingId::from_bytes(reader.array()?);
        let (proven_at, expires_at) = (moment(&mut reader)?, moment(&mut reader)?);
        let session = if reader.rest().is_empty() {
            None
        } else {
            Some(SessionId::from_bytes(reader.array()?))
        };
        reader.finish()?;
        Ok(Self {
            binding,
            proven_at,
            expires_at,
            session,
        })
    }

    fn check(&self, now: Millis, _: Duration) -> Result<(), Refusal> {
        if self.proven_at > now.plus(CLOCK_SKEW) {
            Err(Refusal::Future)
        } else if now >= self.expires_at {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }
}

impl Sealed for Challenge {
    const KIND: Kind = Kind::DeviceChallenge;
    const MAX_LENGTH: usize = encoded_len(1 + 1 + 16 + 6);

    fn encode(&self) -> Vec<u8> {
        let (purpose, what) = match &self.purpose {
            For::Registering(session) => (REGISTER, session.as_bytes()),
            For::Refreshing(binding) => (REFRESH, binding.as_bytes()),
        };
        let expires_at = self.expires_at.to_be_bytes();
        [&[FORMAT, purpose][..], what, &expires_at].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = begin(bytes)?;
        let (purpose, what) = (reader.byte()?, reader.array()?);
        let challenge = Self {
            purpose: match purpose {
                REGISTER => For::Registering(SessionId::from_bytes(what)),
                REFRESH => For::Refreshing(BindingId::from_bytes(what)),
                _ => return Err(Refusal::Newer),
            },
            expires_at: moment(&mut reader)?,
        };
        reader.finish()?;
        Ok(challenge)
    }

    fn check(&self, now: Millis, _: Duration) -> Result<(), Refusal> {
        check_short(self.expires_at, MINUTE, now)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(millis: u64) -> Millis {
        Millis::from_raw(millis)
    }

    fn binding() -> BindingId {
        BindingId::from_bytes([0xb1; 16])
    }

    fn session() -> SessionId {
        SessionId::from_bytes([0x5e; 16])
    }

    fn proof(session: Option<SessionId>) -> Proof {
        Proof {
            binding: binding(),
            proven_at: at(1_000_000),
            expires_at: at(1_600_000),
            session,
        }
    }

    fn key() -> Key {
        Key {
            binding: binding(),
            session: session(),
            point: [2; POINT],
            issued_at: at(1_000_000),
        }
    }

    fn challenge(purpose: For) -> Challenge {
        let expires_at = at(1_060_000);
        Challenge {
            purpose,
            expires_at,
        }
    }

    fn offer() -> Offer {
        let (session, expires_at) = (session(), at(1_060_000));
        Offer {
            session,
            expires_at,
        }
    }

    /// What is encoded decodes; cut short, lengthened or of another format it does not.
    fn is_strict<T: Sealed + PartialEq + Debug>(token: T, length: usize, shorter: Option<usize>) {
        let bytes = token.encode();
        assert_eq!(bytes.len(), length, "{token:?}");
        assert!(encoded_len(length) <= T::MAX_LENGTH);
        assert_eq!(T::decode(&bytes).as_ref(), Ok(&token));
        for end in 0..length {
            let is_whole = shorter == Some(end);
            assert_eq!(
                T::decode(&bytes[..end]).is_ok(),
                is_whole,
                "{token:?} {end}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(T::decode(&longer), Err(Refusal::BadRecord), "{token:?}");
        let newer = [&[2], &bytes[1..]].concat();
        assert_eq!(T::decode(&newer), Err(Refusal::Newer), "{token:?}");
    }

    #[test]
    fn every_token_is_read_strictly() {
        is_strict(offer(), 23, None);
        is_strict(key(), 73, None);
        is_strict(proof(None), 29, None);
        is_strict(proof(Some(session())), 45, Some(29));
        is_strict(challenge(For::Registering(session())), 24, None);
        is_strict(challenge(For::Refreshing(binding())), 24, None);
        let mut unknown = key().encode();
        unknown[33] = 2;
        assert_eq!(Key::decode(&unknown), Err(Refusal::Newer), "an algorithm");
        let mut unknown = challenge(For::Refreshing(binding())).encode();
        unknown[1] = 3;
        assert_eq!(
            Challenge::decode(&unknown),
            Err(Refusal::Newer),
            "a purpose"
        );
    }

    #[test]
    fn every_bound_is_exact_to_the_millisecond() {
        for (now, outcome) in [
            (939_999, Err(Refusal::Future)),
            (940_000, Ok(())),
            (1_119_999, Ok(())),
            (1_120_000, Err(Refusal::Expired)),
        ] {
            assert_eq!(offer().check(at(now), DAY), outcome, "{now}");
            let purpose = For::Refreshing(binding());
            assert_eq!(challenge(purpose).check(at(now), DAY), outcome, "{now}");
        }
        for (now, outcome) in [
            (939_999, Err(Refusal::Future)),
            (940_000, Ok(())),
            (1_599_999, Ok(())),
            (1_600_000, Err(Refusal::Expired)),
        ] {
            assert_eq!(proof(None).check(at(now), DAY), outcome, "{now}");
        }
        let day = 24 * 60 * 60 * 1000;
        for (now, outcome) in [
            (939_999, Err(Refusal::Future)),
            (940_000, Ok(())),
            (1_000_000 + day - 1, Ok(())),
            (1_000_000 + day, Err(Refusal::Expired)),
        ] {
            assert_eq!(key().check(at(now), DAY), outcome, "{now}");
        }
    }
}
