//! Proofs of possession: `DPoP` (RFC 9449).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use session_manager_core::clock::{after, before};
use session_manager_core::storage::OnceKey;
use session_manager_core::{
    Binding, Error, ErrorKind, Possession, PossessionVerifier, PresentedProof, Rejection, Result,
};
use sha2::{Digest, Sha256};
use url::Url;

use crate::json;
use crate::keys::{KeyAlgorithm, VerifyingKey, jwk};

/// The most bytes a proof may have.
pub const MAX_PROOF_BYTES: usize = 4096;
/// The most bytes its `jti` may have.
const MAX_ID_BYTES: usize = 256;
/// How far the client's clock may be ahead.
const LEEWAY: Duration = Duration::from_secs(5);

/// Verifies `DPoP` proofs by the rules of RFC 9449 §4.3: `EdDSA`, ES256 and RS256, one minute old at most.
///
/// # Security
/// - The key comes from the proof itself, and is worth nothing but for its thumbprint being the one that the session is bound to.
/// - A private or symmetric key in a proof is refused: whoever sends one has leaked it.
/// - That a proof is used once, the manager makes sure of: its `jti` is remembered with the key until the proof is too old.
/// - Nonces (§8) are not asked for. A proof made in advance is good for as long as `max_age` and the leeway of 5 s allow.
///
/// ```
/// use std::sync::Arc;
/// use session_manager_backend_jwt::DpopVerifier;
/// # fn example(builder: session_manager_core::SessionManagerBuilder) -> session_manager_core::SessionManagerBuilder {
/// builder.possession(Arc::new(DpopVerifier::new()))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DpopVerifier {
    max_age: Duration,
}

impl Default for DpopVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl DpopVerifier {
    /// A verifier of proofs that are one minute old at most.
    pub const fn new() -> Self {
        Self { max_age: Duration::from_mins(1) }
    }

    /// Another age.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] unless it is 1 s to 10 min.
    pub fn max_age(mut self, max_age: Duration) -> Result<Self> {
        if max_age < Duration::from_secs(1) || max_age > Duration::from_mins(10) {
            let message = "the age of a proof must be 1s to 10m";
            return Err(Error::new(ErrorKind::Misconfigured, "dpop").because(message));
        }
        self.max_age = max_age;
        Ok(self)
    }
}

impl PossessionVerifier for DpopVerifier {
    fn verify(
        &self,
        proof: &PresentedProof,
        access_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Possession, Rejection> {
        if proof.text.len() > MAX_PROOF_BYTES {
            return Err(Rejection::TooLong);
        }
        let (message, signature) = proof.text.rsplit_once('.').ok_or(Rejection::BadProof)?;
        let (header, payload) = message.split_once('.').ok_or(Rejection::BadProof)?;
        let key = key_of(&decode(header)?)?;
        key.verify(message.as_bytes(), signature).map_err(|_| Rejection::BadProof)?;
        let claims = decode(payload)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).ok_or(Rejection::BadProof);
        if text("htm")? != proof.method || !is_same_target(text("htu")?, &proof.target) {
            return Err(Rejection::BadProof);
        }
        if let Some(token) = access_token
            && text("ath")? != encode(&Sha256::digest(token))
        {
            return Err(Rejection::BadProof);
        }
        let issued_at = claims.get("iat").and_then(Value::as_i64).and_then(|iat| DateTime::from_timestamp(iat, 0));
        let issued_at = issued_at.ok_or(Rejection::BadProof)?;
        if issued_at < before(now, self.max_age) || issued_at > after(now, LEEWAY) {
            return Err(Rejection::BadProof);
        }
        let id = text("jti")?;
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(Rejection::BadProof);
        }
        // One second more than it could be accepted for: the oldest acceptable moment is itself acceptable.
        let until = after(issued_at, self.max_age.saturating_add(Duration::from_secs(1)));
        Ok(Possession::new(Binding::Dpop(key.kid().to_owned()), once(key.kid(), id)?, until))
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, Rejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::BadProof)?;
    json::object(&bytes).ok_or(Rejection::BadProof)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key of a proof, named by its thumbprint (RFC 7638).
fn key_of(header: &Map<String, Value>) -> Result<VerifyingKey, Rejection> {
    if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") || header.contains_key("crit") {
        return Err(Rejection::BadProof);
    }
    let mut members = header.get("jwk").and_then(Value::as_object).cloned().ok_or(Rejection::BadProof)?;
    // A name of the client's choosing would stand for the thumbprint.
    members.remove("kid");
    let key = jwk::public(members).map_err(|_| Rejection::BadProof)?;
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Rejection::BadProof)?;
    if key.algorithm() == KeyAlgorithm::Hs256 || algorithm != key.algorithm().as_str() {
        return Err(Rejection::WrongAlgorithm);
    }
    Ok(key)
}

/// Whether two targets are the same without query and fragment, normalised as URLs (§4.3, number 9).
fn is_same_target(one: &str, other: &str) -> bool {
    let normal = |text: &str| {
        let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
        url.set_query(None);
        url.set_fragment(None);
        (url.username().is_empty() && url.password().is_none()).then_some(url)
    };
    match (normal(one), normal(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn once(thumbprint: &str, id: &str) -> Result<OnceKey, Rejection> {
    let digest = Sha256::new()
        .chain_update(b"sm-dpop/1")
        .chain_update(thumbprint.as_bytes())
        .chain_update([0])
        .chain_update(id.as_bytes())
        .finalize();
    OnceKey::parse(&encode(&digest)).map_err(|_| Rejection::BadProof)
}
