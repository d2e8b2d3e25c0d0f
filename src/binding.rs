//! Binds a session to a device, without state on the server: whatever must be remembered is sealed,
//! and the browser carries it. This module has the sealed tokens, their cookies, and the check of a
//! proof. The module `device` has the endpoints where browsers register and prove their keys.

mod cookies;
mod names;
mod settings;
mod tokens;

use std::time::Duration;

use http::HeaderValue;

pub use settings::{DeviceBound, DeviceStage};

pub(crate) use cookies::Jar;
pub(crate) use tokens::{Challenge, For, Key, Offer, POINT, Proof, Sealed};

use crate::cookie::CookieConfig;
use crate::cookie::header::Candidates;
use crate::envelope::{Envelope, KeyId, KeyRing, Kind, Random};
use crate::error::{ConfigError, NotSealed, Refusal};
use crate::policy::{CLOCK_SKEW, LONGEST_MAX_AGE};
use crate::record::{BindingId, Header, SessionId};
use crate::session::Device;
use crate::time::Millis;
use cookies::Cookies;
use names::Names;
use tokens::MINUTE;

/// Binds the sessions of one store.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) settings: DeviceBound,
    pub(crate) names: Names,
    pub(crate) cookies: Cookies,
    /// The longest lifetime of a session.
    longest: Duration,
    // Boxed, because each is large, and a binding is moved on the stack while it is made.
    offers: Box<Envelope>,
    keys: Box<Envelope>,
    proofs: Box<Envelope>,
    challenges: Box<Envelope>,
}

/// A token of the kind that was asked for, and which key sealed it.
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub(crate) token: T,
    pub(crate) key: KeyId,
    pub(crate) under_old_key: bool,
}

/// A proof that a request brought, and that this store has sealed.
#[derive(Debug)]
pub(crate) enum Shown {
    Proof(Proof),
    /// The proof is over, or not yet good.
    Over,
}

impl Binding {
    /// `keys_for` makes the envelope for a kind of token.
    ///
    /// # Errors
    ///
    /// If the session's cookie does not go with device binding.
    pub(crate) fn new(
        settings: DeviceBound,
        cookie: &CookieConfig,
        longest: Duration,
        keys_for: impl Fn(Kind) -> Envelope,
    ) -> Result<Self, ConfigError> {
        let names = Names::of(cookie.name());
        let boxed = |kind| Box::new(keys_for(kind));
        Ok(Self {
            cookies: Cookies::of(&names, cookie)?,
            names,
            settings,
            longest,
            offers: boxed(Kind::DeviceOffer),
            keys: boxed(Kind::DeviceKey),
            proofs: boxed(Kind::DeviceProof),
            challenges: boxed(Kind::DeviceChallenge),
        })
    }

    pub(crate) fn replace_keys(&self, ring: &KeyRing) {
        for envelope in [&self.offers, &self.keys, &self.proofs, &self.challenges] {
            envelope.replace_keys(ring);
        }
    }

    /// Whether the ring still has each of these keys. Asked after something was sealed: the first
    /// envelope to get a new ring says so before any of the others can have sealed under it.
    pub(crate) fn has_all(&self, keys: &[Option<KeyId>]) -> bool {
        self.offers.has_all(keys)
    }

    fn envelope<T: Sealed>(&self) -> &Envelope {
        match T::KIND {
            Kind::DeviceOffer => &self.offers,
            Kind::DeviceKey => &self.keys,
            Kind::DeviceProof => &self.proofs,
            _ => &self.challenges,
        }
    }

    pub(crate) fn seal<T: Sealed>(
        &self,
        token: &T,
        random: Random<'_>,
    ) -> Result<String, NotSealed> {
        let bytes = token.encode();
        let mut text = String::new();
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&bytes);
        self.envelope::<T>()
            .seal_into(&mut text, bytes.len(), write, random)?;
        Ok(text)
    }

    /// Opens a token, and checks that it is good for this moment.
    pub(crate) fn open<T: Sealed>(&self, text: &[u8], now: Millis) -> Result<Found<T>, Refusal> {
        let opened = self.envelope::<T>().open(text, T::MAX_LENGTH)?;
        let token = T::decode(&opened.plaintext)?;
        token.check(now, self.key_lifetime())?;
        Ok(Found {
            token,
            key: opened.key,
            under_old_key: !opened.under_sealing_key,
        })
    }

    /// The newest of the proofs that a request brought.
    pub(crate) fn proof(&self, candidates: &Candidates<'_>, now: Millis) -> Option<Shown> {
        let shown = candidates.iter().filter_map(|text| {
            match self.open(text, now) {
                Ok(Found { token, .. }) => Some(Shown::Proof(token)),
                // The browser would go on to send the proof: its clock is behind, or this server's
                // was ahead. Remember it, so that the response removes it.
                Err(Refusal::Expired | Refusal::Future) => Some(Shown::Over),
                Err(_) => None,
            }
        });
        shown.max_by_key(|shown| match shown {
            Shown::Proof(proof) => Some(proof.proven_at),
            Shown::Over => None,
        })
    }

    /// Decides what the proof `shown` means for the session with this header. `listed` is the
    /// session's binding if the revocation list knows one. The record may not have it yet.
    pub(crate) fn judge(
        &self,
        header: &Header,
        shown: Option<&Shown>,
        listed: Option<BindingId>,
    ) -> Device {
        let stage = self.settings.stage();
        if stage == DeviceStage::Off {
            return Device::default();
        }
        let known = header.binding.or(listed);
        let proof = match shown {
            Some(Shown::Proof(proof)) => Some(proof),
            _ => None,
        };
        let own = proof.filter(|proof| match known {
            Some(binding) => proof.binding == binding,
            None => proof.session == Some(header.id),
        });
        let own = own.filter(|proof| listed.is_none_or(|listed| listed == proof.binding));
        Device {
            is_missing: stage == DeviceStage::Enforce && known.is_some() && own.is_none(),
            proven_at: own.map(|proof| proof.proven_at),
            binds: own
                .map(|proof| proof.binding)
                .filter(|_| stage >= DeviceStage::Offer && header.binding.is_none()),
            drops_proof: shown.is_some() && own.is_none(),
            is_asked: false,
        }
    }

    /// Offers a browser to register, when somebody logs in: a cookie that names the session, and
    /// the header that asks.
    pub(crate) fn offer(
        &self,
        session: SessionId,
        now: Millis,
        random: Random<'_>,
    ) -> Result<[Option<HeaderValue>; 2], NotSealed> {
        let expires_at = now.plus(MINUTE);
        let offer = self.seal(
            &Offer {
                session,
                expires_at,
            },
            random,
        )?;
        let challenge = self.challenge(For::Registering(session), now, random)?;
        let path = &self.names.register;
        let header = format!("(ES256);path=\"{path}\";challenge=\"{challenge}\"");
        let cookie = self.cookies.offer.set(&offer, Some(MINUTE));
        Ok([cookie, HeaderValue::try_from(header).ok()])
    }

    pub(crate) fn challenge(
        &self,
        purpose: For,
        now: Millis,
        random: Random<'_>,
    ) -> Result<String, NotSealed> {
        let expires_at = now.plus(MINUTE);
        let challenge = Challenge {
            purpose,
            expires_at,
        };
        self.seal(&challenge, random)
    }

    /// The header that makes a browser sign this challenge next.
    pub(crate) fn challenge_header(&self, challenge: &str) -> Option<HeaderValue> {
        let text = format!("\"{challenge}\";id=\"{}\"", self.names.identifier);
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The cookie with a new proof of this binding. The device has signed a challenge from
    /// `asked_at`.
    ///
    /// The browser forgets the cookie before the proof expires on the server, so that it proves its
    /// key again in time, whichever server's clock is ahead.
    pub(crate) fn prove(
        &self,
        binding: BindingId,
        session: Option<SessionId>,
        (asked_at, now): (Millis, Millis),
        random: Random<'_>,
    ) -> Result<Option<HeaderValue>, NotSealed> {
        let lifetime = self.settings.proof_lifetime;
        let proof = Proof {
            binding,
            session,
            proven_at: asked_at.min(now),
            expires_at: now.plus(lifetime),
        };
        let kept = lifetime.saturating_sub(CLOCK_SKEW.min(lifetime / 4));
        let token = self.seal(&proof, random)?;
        Ok(self.cookies.proof.set(&token, Some(kept)))
    }

    /// How old a key may be before a refresh seals it anew. Browsers forget it after
    /// [`LONGEST_MAX_AGE`], and until then, its session may get a whole lifetime.
    pub(crate) fn key_is_young_for(&self) -> Duration {
        (self.longest / 2).min(LONGEST_MAX_AGE.saturating_sub(self.longest))
    }

    /// How long a key lasts. A session can get a new lifetime as long as its last proof is good, and
    /// the refresh before may have found the key just young enough.
    fn key_lifetime(&self) -> Duration {
        (self.longest / 2)
            .saturating_add(self.settings.proof_lifetime)
            .saturating_add(self.longest)
    }

    /// The cookie with a key.
    pub(crate) fn keep_key(
        &self,
        key: &Key,
        random: Random<'_>,
    ) -> Result<Option<HeaderValue>, NotSealed> {
        let token = self.seal(key, random)?;
        Ok(self.cookies.key.set(&token, Some(self.key_lifetime())))
    }

    /// The headers that remove everything but the session's own cookie.
    pub(crate) fn removals(&self) -> impl Iterator<Item = HeaderValue> {
        let Cookies {
            proof, key, offer, ..
        } = &self.cookies;
        [proof, key, offer].into_iter().filter_map(Jar::remove)
    }
}
