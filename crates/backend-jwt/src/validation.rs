//! Judging the claims of a token whose signature is proven, at a time that the caller names.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use session_manager_core::{
    Actor, Binding, ClaimedEpoch, ClaimedEpochs, Rejection, SessionId, SessionKey, UserId, Verified,
};

/// How far the clock of another node may be ahead before its tokens are "not yet valid". There is none for `exp`.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// The end of the year 9999, which is as far as storages go.
const LAST_SECOND: i64 = 253_402_300_799;

/// By whom and for whom tokens are.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

/// A token whose signature is proven and whose claims are good at some time.
pub(crate) struct Proven {
    pub(crate) verified: Verified,
    expires_at: DateTime<Utc>,
    /// The later of `nbf` and `iat`.
    starts_at: DateTime<Utc>,
}

/// Judges all claims and reads from them what the manager needs.
pub(crate) fn judge(claims: Map<String, Value>, expected: &Expected, now: DateTime<Utc>) -> Result<Proven, Rejection> {
    let claim = |name: &str| claims.get(name).ok_or(Rejection::MissingClaim);
    parties(&claims, expected)?;
    let expires_at = numeric_date(claim("exp")?)?;
    if now >= expires_at {
        return Err(Rejection::Expired);
    }
    let starts_at = numeric_date(claim("nbf")?)?.max(numeric_date(claim("iat")?)?);
    times(expires_at, starts_at, now)?;
    let user = UserId::parse(text(claim("sub")?)?).map_err(|_| Rejection::MissingClaim)?;
    let id = SessionId::parse(text(claim("sid")?)?).map_err(|_| Rejection::MissingClaim)?;
    let generation = claim("gen")?.as_u64().ok_or(Rejection::MissingClaim)?;
    let epochs = match (claims.get("uep"), claims.get("gep")) {
        (None, None) => None,
        (Some(user), Some(global)) => Some(ClaimedEpochs { user: epoch(user)?, global: epoch(global)? }),
        _ => return Err(Rejection::MissingClaim),
    };
    let mut verified = Verified::new(SessionKey::new(id, user.locator()), generation);
    verified.user_id = Some(user);
    verified.expires_at = Some(expires_at);
    verified.epochs = epochs;
    verified.authenticated_at = claims.get("auth_time").map(numeric_date).transpose()?;
    verified.actor = claims.get("act").map(actor).transpose()?;
    verified.binding = claims.get("cnf").map(binding).transpose()?;
    verified.claims = Some(Arc::new(claims));
    Ok(Proven { verified, expires_at, starts_at })
}

/// Judges again what was good at another time: everything that time can change, and by whom and for whom it is. It allocates nothing.
pub(crate) fn judge_again(proven: &Proven, expected: &Expected, now: DateTime<Utc>) -> Result<(), Rejection> {
    parties(proven.verified.claims.as_ref().ok_or(Rejection::MissingClaim)?, expected)?;
    times(proven.expires_at, proven.starts_at, now)
}

fn parties(claims: &Map<String, Value>, expected: &Expected) -> Result<(), Rejection> {
    let claim = |name: &str| claims.get(name).ok_or(Rejection::MissingClaim);
    if text(claim("iss")?)? != expected.issuer {
        return Err(Rejection::WrongIssuer);
    }
    if names_audience(claim("aud")?, &expected.audience)? { Ok(()) } else { Err(Rejection::WrongAudience) }
}

fn times(expires_at: DateTime<Utc>, starts_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Rejection> {
    if now >= expires_at {
        return Err(Rejection::Expired);
    }
    let latest_start = now.checked_add_signed(TimeDelta::from_std(CLOCK_LEEWAY).unwrap_or_default()).unwrap_or(now);
    if starts_at > latest_start { Err(Rejection::NotYetValid) } else { Ok(()) }
}

/// The actor (RFC 8693 §4.1), in the form in which we write it.
fn actor(value: &Value) -> Result<Actor, Rejection> {
    let subject = value.get("sub").and_then(Value::as_str).ok_or(Rejection::MissingClaim)?;
    Actor::parse(subject).map_err(|_| Rejection::MissingClaim)
}

/// The confirmation (RFC 7800): a key of `DPoP` (RFC 9449 §6) or a certificate (RFC 8705 §3.1). One that we do not know is not passed over.
fn binding(value: &Value) -> Result<Binding, Rejection> {
    let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match (member("jkt"), member("x5t#S256")) {
        (Some(thumbprint), None) => Ok(Binding::Dpop(thumbprint)),
        (None, Some(thumbprint)) => Ok(Binding::Certificate(thumbprint)),
        _ => Err(Rejection::MissingClaim),
    }
}

fn text(value: &Value) -> Result<&str, Rejection> {
    value.as_str().ok_or(Rejection::MissingClaim)
}

/// A text, or a list of texts (RFC 7519 §4.1.3), compared exactly.
fn names_audience(value: &Value, audience: &str) -> Result<bool, Rejection> {
    match value {
        Value::String(one) => Ok(one == audience),
        Value::Array(many) => many.iter().try_fold(false, |found, one| Ok(found | (text(one)? == audience))),
        _ => Err(Rejection::MissingClaim),
    }
}

/// Whole seconds from 1970 to 9999. RFC 7519 would allow fractions; we write none and read none.
fn numeric_date(value: &Value) -> Result<DateTime<Utc>, Rejection> {
    let seconds = value.as_i64().filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).ok_or(Rejection::MissingClaim)
}

fn epoch(value: &Value) -> Result<ClaimedEpoch, Rejection> {
    let [version, incarnation] = value.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(Rejection::MissingClaim);
    };
    let incarnation = incarnation.as_u64().and_then(|low| u32::try_from(low).ok());
    match (version.as_u64(), incarnation) {
        (Some(version), Some(incarnation)) => Ok(ClaimedEpoch { version, incarnation }),
        _ => Err(Rejection::MissingClaim),
    }
}
