//! The envelope alone, for tokens that are not sessions.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::token::{EXPIRY, MAX_SEALED, encoded_len};
use super::{
    Envelope, Kept, KeyRing, Keys, Kind, MAX_LABEL, Plaintext, Random, TakesKeys, Use, in_turn,
    os_random,
};
use crate::error::{ConfigError, OpenError, Refusal, SealError};
use crate::reader::Reader;
use crate::time::Millis;

/// Seals bytes into tokens and opens them again. Use it for tokens other than sessions:
/// invitations, password resets, CSRF tokens, other cookies.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::{AppKey, Sealer};
///
/// let sealer = Sealer::new(AppKey::generate()?, "password-reset")?;
/// let token = sealer.seal_for(b"user 42", Duration::from_secs(15 * 60))?;
/// assert_eq!(&*sealer.open(&token)?, b"user 42");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A token opens only under the purpose for which it was sealed. This holds for any name: a purpose
/// named like a session's cookie does not open that cookie. Clones are cheap and share the keys.
///
/// A token opens as often as somebody shows it. If it may count only once, remember on your server
/// which ones were used.
#[derive(Clone)]
pub struct Sealer {
    inner: Arc<Inner>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// The keys for tokens without an expiry, and for those with one.
struct Inner {
    plain: Envelope,
    timed: Envelope,
    kept: Kept,
}

impl TakesKeys for Inner {
    fn take_keys(&self, ring: &KeyRing) {
        let _turn = in_turn();
        self.plain.replace_keys(ring);
        self.timed.replace_keys(ring);
    }
}

impl Sealer {
    /// The most bytes in one token: 65,536.
    pub const MAX_PLAINTEXT: usize = MAX_SEALED;

    /// The most characters in a token.
    pub(crate) const MAX_TOKEN: usize = encoded_len(Self::MAX_PLAINTEXT + EXPIRY);

    /// Makes a sealer for `purpose`, 1 to 255 bytes. Give each kind of token a purpose of its own:
    ///
    /// ```
    /// # use sealed_session::{AppKey, Sealer};
    /// # let key = AppKey::generate()?;
    /// let invitations = Sealer::new(key.clone(), "invitation")?;
    /// let resets = Sealer::new(key, "password-reset")?;
    /// assert!(resets.open(&invitations.seal(b"user 42")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the purpose is empty or has more than 255 bytes.
    pub fn new(keys: impl Into<Keys>, purpose: &str) -> Result<Self, ConfigError> {
        Self::with_context(keys, purpose, "")
    }

    /// Makes a sealer for `purpose` and `context`. The context is at most 255 bytes, and separates
    /// applications or stages that share a key, like a store's
    /// [`context`](crate::StoreBuilder::context).
    ///
    /// ```
    /// # use sealed_session::{AppKey, Sealer};
    /// # let key = AppKey::generate()?;
    /// let staging = Sealer::with_context(key.clone(), "invitation", "staging")?;
    /// let live = Sealer::with_context(key, "invitation", "live")?;
    /// assert!(live.open(&staging.seal(b"user 42")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the purpose is empty, or if either has more than 255 bytes.
    pub fn with_context(
        keys: impl Into<Keys>,
        purpose: &str,
        context: &str,
    ) -> Result<Self, ConfigError> {
        if purpose.is_empty() || purpose.len() > MAX_LABEL {
            let problem = format!(
                "it has {} bytes, 1 to {MAX_LABEL} are possible",
                purpose.len()
            );
            return Err(ConfigError::new("purpose", problem));
        }
        check_context(context)?;
        let keys = keys.into();
        let ring = keys.ring();
        let envelope = |kind| {
            let (name, context) = (purpose.to_owned(), context.to_owned());
            Envelope::new(
                &ring,
                Use {
                    kind,
                    name,
                    context,
                },
            )
        };
        let inner = Inner {
            plain: envelope(Kind::Token),
            timed: envelope(Kind::Timed),
            kept: keys.kept(),
        };
        let inner = Arc::new(inner);
        inner.kept.tell(&inner);
        Ok(Self {
            inner,
            clock: Arc::new(SystemTime::now),
        })
    }

    /// The same sealer with another source of the time, for tests:
    /// [`seal_for`](Self::seal_for) has an example.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Replaces the keys of this sealer and all its clones, while others seal and open. With
    /// managed keys you don't need it: the sealer follows the ring, and the ring's next change
    /// replaces the keys again.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.take_keys(&ring.into());
    }

    /// Returns the longest lifetime of a token under managed keys, or `None` with a [`KeyRing`].
    /// [`seal_for`](Self::seal_for) refuses more. A token of [`seal`](Self::seal) opens at least as
    /// long, until its key ends.
    pub fn longest_lifetime(&self) -> Option<Duration> {
        self.inner.kept.longest()
    }

    /// Seals `bytes` into a token without an expiry. The token is 4/3 as long, plus 103 characters,
    /// and fits into a URL as it is.
    ///
    /// ```
    /// # use sealed_session::{AppKey, Sealer};
    /// let sealer = Sealer::new(AppKey::generate()?, "unsubscribe")?;
    /// let token = sealer.seal(b"ada@example.com")?;
    /// let link = format!("https://example.com/unsubscribe?token={token}");
    /// # assert!(token.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_'));
    /// # assert!(link.len() < 180);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there are more than [`MAX_PLAINTEXT`](Self::MAX_PLAINTEXT) bytes, or if the random source
    /// fails.
    pub fn seal(&self, bytes: &[u8]) -> Result<String, SealError> {
        self.seal_with(bytes, &mut os_random)
    }

    /// Seals `bytes` into a token that opens only for `lifetime` from now. The expiry is inside the
    /// seal, in milliseconds.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, Refusal, Sealer};
    /// # let sealer = Sealer::new(AppKey::generate()?, "password-reset")?;
    /// let token = sealer.seal_for(b"user 42", Duration::from_secs(15 * 60))?;
    ///
    /// let later = sealer.clock(|| SystemTime::now() + Duration::from_secs(16 * 60));
    /// assert_eq!(later.open(&token).unwrap_err().reason(), Refusal::Expired);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as for [`seal`](Self::seal). With managed keys also if the token would live longer
    /// than [`longest_lifetime`](Self::longest_lifetime).
    pub fn seal_for(&self, bytes: &[u8], lifetime: Duration) -> Result<String, SealError> {
        self.seal_for_with(bytes, lifetime, &mut os_random)
    }

    /// Opens a token from [`seal`](Self::seal) or [`seal_for`](Self::seal_for), under any key of
    /// the ring.
    ///
    /// ```
    /// # use sealed_session::{AppKey, Refusal, Sealer};
    /// # let sealer = Sealer::new(AppKey::generate()?, "invitation")?;
    /// let error = sealer.open("junk").unwrap_err(); // answer with status 400, say
    /// assert_eq!(error.reason(), Refusal::Malformed); // for your log only
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the token does not open. The error looks the same for every reason, so it reveals nothing
    /// to a client.
    pub fn open(&self, token: &str) -> Result<Plaintext, OpenError> {
        match self.inner.plain.open(token.as_bytes(), Self::MAX_TOKEN) {
            Ok(opened) => Ok(opened.plaintext),
            Err(Refusal::Forged) => Ok(self.open_timed(token)?),
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn seal_with(&self, bytes: &[u8], random: Random<'_>) -> Result<String, SealError> {
        seal(&self.inner.plain, &[bytes], random)
    }

    fn seal_for_with(
        &self,
        bytes: &[u8],
        lifetime: Duration,
        random: Random<'_>,
    ) -> Result<String, SealError> {
        if let Some(limit) = self.longest_lifetime().filter(|limit| lifetime > *limit) {
            return Err(SealError::LongLived { lifetime, limit });
        }
        let expires_at = self.now().plus(lifetime).to_be_bytes();
        seal(&self.inner.timed, &[&expires_at, bytes], random)
    }

    fn open_timed(&self, token: &str) -> Result<Plaintext, Refusal> {
        let mut plaintext = self
            .inner
            .timed
            .open(token.as_bytes(), Self::MAX_TOKEN)?
            .plaintext;
        let expires_at = Reader::new(&plaintext)
            .array()
            .map_err(|_| Refusal::BadRecord)?;
        if self.now() >= Millis::from_be_bytes(expires_at) {
            return Err(Refusal::Expired);
        }
        plaintext.skip(EXPIRY);
        Ok(plaintext)
    }

    fn now(&self) -> Millis {
        (self.clock)().into()
    }
}

fn seal(envelope: &Envelope, parts: &[&[u8]], random: Random<'_>) -> Result<String, SealError> {
    let length = parts.iter().map(|part| part.len()).sum();
    let bytes = parts.last().map_or(0, |bytes| bytes.len());
    if bytes > Sealer::MAX_PLAINTEXT {
        return Err(SealError::TooLarge {
            size: bytes,
            limit: Sealer::MAX_PLAINTEXT,
        });
    }
    let mut token = String::with_capacity(encoded_len(length));
    let write = |buffer: &mut Vec<u8>| parts.iter().for_each(|part| buffer.extend_from_slice(part));
    envelope.seal_into(&mut token, length, write, random)?;
    Ok(token)
}

/// Refuses a context that is too long.
pub(crate) fn check_context(context: &str) -> Result<(), ConfigError> {
    if context.len() > MAX_LABEL {
        let problem = format!(
            "it has {} bytes, at most {MAX_LABEL} are possible",
            context.len()
        );
        return Err(ConfigError::new("context", problem));
    }
    Ok(())
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("purpose", &self.inner.plain.used_for.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
