//! The JWT with which a browser proves its key: ES256 alone, in the compact form (RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};

use super::json::Json;
use crate::binding::POINT;

/// The most characters that are read. Browsers send about 500.
const MAX_LENGTH: usize = 4096;

/// The bytes of a coordinate.
const COORDINATE: usize = 32;

/// The first byte of an uncompressed point (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 0x04;

/// A JWT of the right form. Nothing in it is proven yet.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    signed: &'a [u8],
    header: Json,
    claims: Json,
    signature: Signature,
}

impl<'a> Jwt<'a> {
    /// Reads the value of a header: bare, or quoted as the draft has it. `None` if this is no JWT
    /// with ES256 of the type that browsers send.
    pub(super) fn read(field: &'a [u8]) -> Option<Self> {
        let field = field.trim_ascii();
        let quoted = field
            .strip_prefix(b"\"")
            .and_then(|it| it.strip_suffix(b"\""));
        let jwt = quoted.unwrap_or(field);
        if jwt.len() > MAX_LENGTH {
            return None;
        }
        let end = jwt.iter().rposition(|byte| *byte == b'.')?;
        let (signed, signature) = jwt.split_at_checked(end)?;
        let at = signed.iter().position(|byte| *byte == b'.')?;
        let (header, claims) = signed.split_at_checked(at)?;
        let (claims, signature) = (claims.get(1..)?, signature.get(1..)?);
        let header = Json::object(&decoded(header)?)?;
        let is_known = header.text("alg") == Some("ES256")
            && header
                .text("typ")
                .is_some_and(|typ| typ.eq_ignore_ascii_case("dbsc+jwt"))
            && header.get("crit").is_none();
        if !is_known {
            return None;
        }
        Some(Self {
            signed,
            header,
            claims: Json::object(&decoded(claims)?)?,
            signature: Signature::from_slice(&decoded(signature)?).ok()?,
        })
    }

    /// The challenge that the browser has signed.
    pub(super) fn challenge(&self) -> Option<&str> {
        self.claims.text("jti")
    }

    /// The public key that comes with a registration: a point on the curve.
    pub(super) fn key(&self) -> Option<VerifyingKey> {
        let jwk = self.header.get("jwk")?;
        if jwk.text("kty") != Some("EC") || jwk.text("crv") != Some("P-256") {
            return None;
        }
        let mut point = vec![UNCOMPRESSED];
        for name in ["x", "y"] {
            let coordinate = decoded(jwk.text(name)?.as_bytes())?;
            if coordinate.len() != COORDINATE {
                return None;
            }
            point.extend_from_slice(&coordinate);
        }
        VerifyingKey::from_sec1_bytes(&point).ok()
    }

    /// Whether this key has signed the JWT. Signatures with a low and with a high s are both good,
    /// because nothing here depends on a message having only one signature.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify(self.signed, &self.signature).is_ok()
    }
}

/// Unpadded base64url, and nothing else.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The key in its compressed form.
pub(super) fn compressed(key: &VerifyingKey) -> Option<[u8; POINT]> {
    key.to_sec1_point(true).as_bytes().try_into().ok()
}

/// The key of a compressed point.
pub(super) fn decompressed(point: &[u8; POINT]) -> Option<VerifyingKey> {
    VerifyingKey::from_sec1_bytes(point).ok()
}

#[cfg(test)]
mod tests;
