//! [`JwtVerifier`]: access tokens are checked, and none is issued.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::{
    BackendCapabilities, Control, Error, ErrorKind, IssueContext, Presented, Rejection, Result, SessionBackend,
    Snapshot, TokenKind, TokenPair, Verified,
};

use crate::compact::{Compact, MAX_TOKEN_BYTES};
use crate::json;
use crate::memo::Memo;
use crate::ring::JwtKeyProvider;
use crate::validation::{self, Expected};

/// How many proven tokens are remembered, unless told otherwise: some 20 MB when all of them are there.
const DEFAULT_MEMO: usize = 10_000;

/// Checks access tokens with public keys: for services that can read who is signed in, and must not be able to sign anybody in.
///
/// # Behaviour
/// - It does no I/O. The application reads the issuer's JWK Set and replaces the ring while the service runs.
/// - As a `SessionBackend` it issues nothing and knows no refresh token.
///
/// # Security
/// What is checked is what [`JwtBackend`](crate::JwtBackend) checks: it uses this.
///
/// ```
/// use std::sync::Arc;
/// use session_manager_backend_jwt::{JwtKeyRing, JwtVerifier};
/// use session_manager_core::token::RotatingKeys;
///
/// # let jwks = r#"{"keys":[]}"#;
/// # let fresh = jwks;
/// let keys = Arc::new(RotatingKeys::new(JwtKeyRing::from_jwks(jwks)?));
/// let verifier = JwtVerifier::builder(keys.clone())
///     .issuer("https://login.example")
///     .audience("https://api.example")
///     .build()?;
/// // Later, when the set was read again:
/// keys.replace(JwtKeyRing::from_jwks(fresh)?);
/// assert!(verifier.check("no token", chrono::DateTime::UNIX_EPOCH).is_err());
/// # Ok::<(), session_manager_core::Error>(())
/// ```
#[derive(Debug)]
pub struct JwtVerifier {
    expected: Expected,
    keys: Arc<dyn JwtKeyProvider>,
    memo: Option<Memo>,
}

impl JwtVerifier {
    /// Begins a verifier. Issuer and audience are still needed.
    pub fn builder(keys: Arc<dyn JwtKeyProvider>) -> JwtVerifierBuilder {
        JwtVerifierBuilder { keys, issuer: String::new(), audience: String::new(), memo: DEFAULT_MEMO }
    }

    /// Checks an access token at `now`.
    ///
    /// # Behaviour
    /// What is proven is the token. Whether its session still lives, only the storage or its feed can say.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLong);
        }
        let ring = self.keys.ring();
        let Some(memo) = &self.memo else {
            let (compact, found) = Compact::read(token, &ring)?;
            return self.prove(compact, found, now).map(|proven| proven.verified);
        };
        let digest = Memo::digest(token);
        if let Some(entry) = memo.find(&digest, &ring, now) {
            validation::judge_again(&entry.proven, &self.expected, now)?;
            return Ok(entry.proven.verified.clone());
        }
        let (compact, found) = Compact::read(token, &ring)?;
        let proven = self.prove(compact, found, now)?;
        let verified = proven.verified.clone();
        memo.remember(digest, proven, &ring, found.accepted_until);
        Ok(verified)
    }

    /// How many proven tokens are remembered now.
    pub fn remembered(&self) -> usize {
        self.memo.as_ref().map_or(0, Memo::len)
    }

    pub(crate) const fn keys(&self) -> &Arc<dyn JwtKeyProvider> {
        &self.keys
    }

    pub(crate) const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Reads the form of an access token, and whether its key is known.
    pub(crate) fn read(&self, token: &str) -> Result<(), Rejection> {
        Compact::read(token, &self.keys.ring()).map(drop)
    }

    fn prove(
        &self,
        compact: Compact<'_>,
        found: crate::ring::RingEntry<'_>,
        now: DateTime<Utc>,
    ) -> Result<validation::Proven, Rejection> {
        if found.accepted_until.is_some_and(|until| until <= now) {
            return Err(Rejection::UnknownKey);
        }
        let payload = compact.proven(found.key)?;
        let claims = json::object(&payload).ok_or(Rejection::Malformed)?;
        validation::judge(claims, &self.expected, now)
    }
}

#[async_trait]
impl SessionBackend for JwtVerifier {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::new(true)
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        match kind {
            TokenKind::Access => self.read(token).map(|()| Presented::self_contained(kind, token)),
            _ => Err(Rejection::WrongKind),
        }
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        _: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        match (presented.kind, &presented.reference) {
            (TokenKind::Access, None) => self.check(presented.raw, now),
            _ => Err(Rejection::WrongKind),
        }
    }

    /// Fails: [`ErrorKind::Unsupported`].
    async fn issue(&self, _: &Snapshot, _: &IssueContext) -> Result<TokenPair> {
        Err(Error::new(ErrorKind::Unsupported, "issue token").because("this service only verifies tokens"))
    }

    /// None: its keys are given to it, and nothing is fetched.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// Builds a [`JwtVerifier`]; made by [`JwtVerifier::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct JwtVerifierBuilder {
    keys: Arc<dyn JwtKeyProvider>,
    issuer: String,
    audience: String,
    memo: usize,
}

impl JwtVerifierBuilder {
    /// Who issues the tokens (`iss`). Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// For whom the tokens are (`aud`): this service. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How many proven tokens are remembered, so that a signature is checked once: 10,000 unless set, 0 for none. Each takes about 2 KB.
    pub const fn memo(mut self, tokens: usize) -> Self {
        self.memo = tokens;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] without an issuer or audience.
    pub fn build(self) -> Result<JwtVerifier> {
        for (name, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.trim().is_empty() {
                let message = format!("JWTs need an {name}");
                return Err(Error::new(ErrorKind::Misconfigured, "jwt backend").because(message));
            }
        }
        let expected = Expected { issuer: self.issuer, audience: self.audience };
        let memo = (self.memo > 0).then(|| Memo::new(self.memo));
        Ok(JwtVerifier { expected, keys: self.keys, memo })
    }
}
