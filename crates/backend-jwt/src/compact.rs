//! The compact form (RFC 7515 §7.1) and the header of an access token: what is looked at before any signature.

use serde_json::Value;
use session_manager_core::Rejection;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json;
use crate::keys::VerifyingKey;
use crate::ring::{JwtKeyRing, RingEntry};

/// The most bytes an access token may have, issued or presented. A cookie holds half of it.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// Header parameters that offer a key or ask for more than we do (RFC 7515 §4.1). We never send them, so a token that carries one is
/// refused, not tried: no key is ever taken from a token, and nothing is fetched.
const REFUSED: [&str; 5] = ["crit", "jku", "jwk", "x5c", "x5u"];

/// A token in compact form whose key is known and whose signature has not been checked.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'t> {
    message: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Compact<'t> {
    /// Reads the form and finds the key.
    pub(crate) fn read<'k>(token: &'t str, keys: &'k JwtKeyRing) -> Result<(Self, RingEntry<'k>), Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Rejection::Malformed)?;
        if payload.contains('.') {
            return Err(Rejection::Malformed);
        }
        // All headers that we write are known in advance; only others need reading.
        let found = match keys.by_header(header) {
            Some(found) => found,
            None => key_of_header(header, keys)?,
        };
        Ok((Self { message, payload, signature }, found))
    }

    /// The payload, once the signature is proven.
    pub(crate) fn proven(self, key: &VerifyingKey) -> Result<Vec<u8>, Rejection> {
        key.verify(self.message.as_bytes(), self.signature)?;
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Rejection::Malformed)
    }
}

fn key_of_header<'k>(encoded: &str, keys: &'k JwtKeyRing) -> Result<RingEntry<'k>, Rejection> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Rejection::Malformed)?;
    let header = json::object(&bytes).ok_or(Rejection::Malformed)?;
    if REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(Rejection::Malformed);
    }
    let alg = header.get("alg").and_then(Value::as_str).ok_or(Rejection::Malformed)?;
    if alg.eq_ignore_ascii_case("none") {
        return Err(Rejection::WrongAlgorithm);
    }
    if !header.get("typ").and_then(Value::as_str).is_some_and(is_access_token) {
        return Err(Rejection::WrongKind);
    }
    // A token that names no key is not tried with one.
    let kid = header.get("kid").and_then(Value::as_str).ok_or(Rejection::UnknownKey)?;
    let found = keys.by_kid(kid).ok_or(Rejection::UnknownKey)?;
    if alg == found.key.algorithm().as_str() { Ok(found) } else { Err(Rejection::WrongAlgorithm) }
}

/// Media types are compared without case, and their `application/` may be left out (RFC 7515 §4.1.9, RFC 9068 §2.1).
fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}
