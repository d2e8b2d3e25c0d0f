//! Derives the keys for one use from an app key (HKDF-SHA256, RFC 5869).
//!
//! ```text
//! PRK     = HKDF-Extract(salt = "sealed-session/v1", ikm = app key)
//! key_id  = HKDF-Expand(PRK, LP("kid"), 4)
//! K_label = HKDF-Expand(PRK, LP(label) ‖ LP(kind) ‖ LP(name) ‖ LP(context), 32)
//! LP(x)   = u16 big-endian length of x ‖ x
//! ```

use zeroize::Zeroizing;

use super::primitives;

pub(super) const SALT: &[u8] = b"sealed-session/v1";

const KID: &str = "kid";
pub(super) const ENC: &str = "enc";
pub(super) const MAC: &str = "mac";
pub(super) const TAG: &str = "tag";
#[cfg(feature = "server")]
pub(super) const SUBJECT: &str = "subject";
#[cfg(feature = "server")]
pub(super) const SID: &str = "sid";

/// The longest name or context, in bytes.
pub(crate) const MAX_LABEL: usize = 255;

/// The kind of a token. A token of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cookie,
    Header,
    #[cfg_attr(
        not(any(test, feature = "server")),
        expect(dead_code, reason = "of the format, and for backends")
    )]
    Store,
    Token,
    Timed,
    #[cfg(feature = "redis")]
    Revocation,
    #[cfg(feature = "device-bound")]
    DeviceOffer,
    #[cfg(feature = "device-bound")]
    DeviceKey,
    #[cfg(feature = "device-bound")]
    DeviceProof,
    #[cfg(feature = "device-bound")]
    DeviceChallenge,
    /// The ring of a key store, sealed as a whole.
    #[cfg(feature = "managed-keys")]
    Keys,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Store => "store",
            Self::Token => "token",
            Self::Timed => "timed",
            #[cfg(feature = "redis")]
            Self::Revocation => "revocation",
            #[cfg(feature = "device-bound")]
            Self::DeviceOffer => "device-offer",
            #[cfg(feature = "device-bound")]
            Self::DeviceKey => "device-key",
            #[cfg(feature = "device-bound")]
            Self::DeviceProof => "device-proof",
            #[cfg(feature = "device-bound")]
            Self::DeviceChallenge => "device-challenge",
            #[cfg(feature = "managed-keys")]
            Self::Keys => "keys",
        }
    }
}

/// One use of keys: a kind, a name and a context. The name is that of the cookie or header, or the
/// sealer's purpose. The context is the application's.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) context: String,
}

/// The derivation's input: each part after its length, so that no two lists of parts are alike.
pub(super) fn info(parts: &[&str]) -> Vec<u8> {
    let mut info = Vec::new();
    for part in parts {
        // The builders of names and contexts allow at most MAX_LABEL bytes.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        info.extend_from_slice(&length.to_be_bytes());
        info.extend_from_slice(part.as_bytes());
    }
    info
}

pub(super) fn extract(ikm: &[u8]) -> Zeroizing<[u8; 32]> {
    primitives::extract(SALT, ikm)
}

pub(super) fn key_id(prk: &[u8; 32]) -> [u8; 4] {
    let mut id = [0; 4];
    expand(prk, &[KID], &mut id);
    id
}

fn expand(prk: &[u8; 32], parts: &[&str], out: &mut [u8]) {
    primitives::expand(prk, &info(parts), out);
}

pub(super) fn subkey(prk: &[u8; 32], label: &str, used_for: &Use) -> Zeroizing<[u8; 32]> {
    let mut subkey = Zeroizing::new([0; 32]);
    let parts = [
        label,
        used_for.kind.label(),
        &used_for.name,
        &used_for.context,
    ];
    expand(prk, &parts, subkey.as_mut());
    subkey
}
