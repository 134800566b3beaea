//! Reading keys from JWK and JWK Set (RFC 7517, RFC 7518 §6, RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use session_manager_core::Result;
use zeroize::Zeroizing;

use super::{SigningKey, VerifyingKey, der, misconfigured};
use crate::json;

/// The members of a private or symmetric key.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key as it was read: its members, and what it can be used for.
pub(crate) struct Jwk {
    members: Map<String, Value>,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ed25519,
    P256,
    Rsa,
    Secret,
}

/// Reads one JWK.
pub(crate) fn read(json: &str) -> Result<Jwk> {
    json::object(json.as_bytes()).map(Jwk::new).ok_or_else(|| misconfigured("the JWK is no JSON object"))
}

/// The key of a public JWK whose members were read before.
#[cfg(feature = "dpop")]
pub(crate) fn public(members: Map<String, Value>) -> Result<VerifyingKey> {
    let jwk = Jwk::new(members);
    if jwk.is_secret() {
        return Err(misconfigured("the JWK holds a private key, where a public one belongs"));
    }
    verifying(&jwk)
}

/// Reads the keys of a JWK Set, also those that are of no use to us.
pub(crate) fn read_set(json: &str) -> Result<Vec<Jwk>> {
    let wrong = || misconfigured("the JWK Set is no JSON object with a list of keys");
    let set = json::object(json.as_bytes()).ok_or_else(wrong)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or_else(wrong)?;
    let keys = keys.iter().map(|key| key.as_object().cloned().map(Jwk::new).ok_or_else(wrong));
    keys.collect()
}

/// The key that tokens are verified with.
pub(crate) fn verifying(jwk: &Jwk) -> Result<VerifyingKey> {
    let key = match jwk.kind {
        None => return Err(unusable()),
        Some(Kind::Secret) => VerifyingKey::hs256(&jwk.number("k")?)?,
        Some(_) if jwk.is_secret() => {
            return Err(misconfigured("the JWK holds a private key, where a public one belongs"));
        }
        Some(Kind::Ed25519) => VerifyingKey::ed25519_from_bytes(&jwk.number("x")?)?,
        Some(Kind::P256) => VerifyingKey::es256(&jwk.number("x")?, &jwk.number("y")?)?,
        Some(Kind::Rsa) => VerifyingKey::rs256(&jwk.number("n")?, &jwk.number("e")?)?,
    };
    jwk.kid()?.map_or(Ok(key.clone()), |kid| key.with_kid(kid))
}

/// The key that tokens are signed with.
pub(crate) fn signing(jwk: &Jwk) -> Result<SigningKey> {
    let key = match jwk.kind {
        None => return Err(unusable()),
        Some(Kind::Secret) => SigningKey::hs256(&jwk.number("k")?)?,
        Some(Kind::Ed25519) => SigningKey::ed25519_from_seed(&*jwk.bytes("d")?)?,
        Some(Kind::P256) => {
            SigningKey::es256_from_pkcs8(&der::p256(&*jwk.bytes("d")?, &*jwk.bytes("x")?, &*jwk.bytes("y")?))?
        }
        Some(Kind::Rsa) => {
            let mut numbers: [Zeroizing<Vec<u8>>; 8] = Default::default();
            for (number, name) in numbers.iter_mut().zip(["n", "e", "d", "p", "q", "dp", "dq", "qi"]) {
                *number = jwk.number(name)?;
            }
            SigningKey::rs256_from_pkcs1(&der::rsa(&numbers))?
        }
    };
    // The public part is derived from the private one; where the JWK says it too, it says the same.
    let said = Jwk { members: jwk.without_secrets(), kind: jwk.kind };
    if jwk.kind != Some(Kind::Secret) {
        let said = verifying(&said)?.with_kid(key.verifying_key().kid())?;
        if said.to_jwk() != key.verifying_key().to_jwk() {
            return Err(misconfigured("the two halves of the JWK do not belong together"));
        }
    }
    jwk.kid()?.map_or(Ok(key.clone()), |kid| key.with_kid(kid))
}

impl Jwk {
    fn new(members: Map<String, Value>) -> Self {
        let kind = kind(&members);
        Self { members, kind }
    }

    /// Whether it is a key of ours at all: of a known type and algorithm, and for signatures.
    pub(crate) const fn is_usable(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether it holds anything that is nobody's business.
    pub(crate) fn is_secret(&self) -> bool {
        SECRET_MEMBERS.iter().any(|name| self.members.contains_key(*name))
    }

    fn without_secrets(&self) -> Map<String, Value> {
        let mut members = self.members.clone();
        members.retain(|name, _| !SECRET_MEMBERS.contains(&name.as_str()));
        members
    }

    fn kid(&self) -> Result<Option<&str>> {
        match self.members.get("kid") {
            None => Ok(None),
            Some(kid) => kid.as_str().map(Some).ok_or_else(|| misconfigured("the kid of a JWK is a text")),
        }
    }

    /// The bytes of a member in strict base64url.
    fn number(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let wrong = || misconfigured(format!("the member {name} of the JWK is missing or no base64url"));
        let text = self.members.get(name).and_then(Value::as_str).ok_or_else(wrong)?;
        URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| wrong())
    }

    /// The same, where the number of bytes is fixed.
    fn bytes(&self, name: &str) -> Result<Zeroizing<[u8; 32]>> {
        let number = self.number(name)?;
        let bytes = <[u8; 32]>::try_from(number.as_slice()).map(Zeroizing::new);
        bytes.map_err(|_| misconfigured(format!("the member {name} of the JWK has 32 bytes")))
    }
}

/// What a key is, unless it is none that we use: RFC 7517 §5 has the others skipped.
fn kind(members: &Map<String, Value>) -> Option<Kind> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let (kind, names): (_, &[&str]) = match (text("kty")?, text("crv")) {
        // RFC 9864 names the algorithm of the curve; keys of both spellings are the same.
        ("OKP", Some("Ed25519")) => (Kind::Ed25519, &["EdDSA", "Ed25519"]),
        ("EC", Some("P-256")) => (Kind::P256, &["ES256"]),
        ("RSA", _) => (Kind::Rsa, &["RS256"]),
        ("oct", _) => (Kind::Secret, &["HS256"]),
        _ => return None,
    };
    let fits = |name: &str, good: &[&str]| match members.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(|value| good.contains(&value)),
    };
    let operations = match members.get("key_ops") {
        None => true,
        Some(value) => value.as_array().is_some_and(|many| many.iter().any(|one| one == "verify" || one == "sign")),
    };
    (fits("alg", names) && fits("use", &["sig"]) && operations).then_some(kind)
}

fn unusable() -> session_manager_core::Error {
    misconfigured("the JWK is no key for signatures with EdDSA, ES256, RS256 or HS256")
}
