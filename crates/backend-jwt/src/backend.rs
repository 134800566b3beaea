//! [`JwtBackend`]: the implementation of core's `SessionBackend`.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use session_manager_core::clock::after;
use session_manager_core::token::ReferenceTokens;
use session_manager_core::{
    BackendCapabilities, Control, Error, ErrorKind, IssueContext, Presented, Random, Rejection, Result, SessionBackend,
    Snapshot, Token, TokenKind, TokenPair, Verified,
};

use crate::builder::JwtBackendBuilder;
use crate::claims::{ClaimSource, Issuance};
use crate::compact::MAX_TOKEN_BYTES;
use crate::keys::SigningKey;
use crate::ring::JwtKeyProvider;
use crate::verifier::JwtVerifier;

/// Access tokens as signed JWTs (RFC 9068), refresh tokens as core's reference tokens.
///
/// # Security
/// Every reason to refuse an access token has its own [`Rejection`]; the signature is proven before any claim is looked at. No I/O, no
/// key from a token, no time but the caller's.
#[derive(Debug)]
pub struct JwtBackend {
    pub(crate) verifier: JwtVerifier,
    pub(crate) client_id: String,
    pub(crate) refresh: ReferenceTokens,
    pub(crate) claims: Option<Arc<dyn ClaimSource>>,
    pub(crate) random: Arc<dyn Random>,
}

impl JwtBackend {
    /// Begins a backend that signs with `key` and makes refresh tokens with `refresh`. Issuer and audience are still needed.
    pub fn builder(key: SigningKey, refresh: ReferenceTokens) -> JwtBackendBuilder {
        JwtBackendBuilder::fixed(key, refresh)
    }

    /// The same with keys that change while the application runs, see [`JwtKeyRing`](crate::JwtKeyRing).
    pub fn with_keys(keys: Arc<dyn JwtKeyProvider>, refresh: ReferenceTokens) -> JwtBackendBuilder {
        JwtBackendBuilder::provided(keys, refresh)
    }

    /// What checks its access tokens: for places that have no session at hand.
    pub const fn verifier(&self) -> &JwtVerifier {
        &self.verifier
    }

    /// Signs with the key whose turn it is.
    fn sign(&self, claims: &Map<String, Value>, context: &IssueContext) -> Result<Token> {
        let ring = self.verifier.keys().ring();
        let Some((key, retired_at)) = ring.signer(context.now) else {
            return Err(refused("no key of the ring signs now"));
        };
        // Its tokens are refused soon after it has retired, so none of them may live longer than that.
        if retired_at.is_some() && context.access_expires_at > after(context.now, ring.overlap()) {
            return Err(refused("access tokens live longer than the token_lifetime of the key ring"));
        }
        let payload = serde_json::to_vec(claims)
            .map_err(|source| Error::new(ErrorKind::Internal, "issue token").with_source(source))?;
        compose(key, &payload)
    }
}

/// A token in compact form.
fn compose(key: &SigningKey, payload: &[u8]) -> Result<Token> {
    let header = key.header();
    // Room for everything, so that no growing leaves a copy of the token behind. The longest signature is that of RSA.
    let mut text = String::with_capacity(header.len() + payload.len().div_ceil(3) * 4 + 1400);
    text.push_str(header);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&signature);
    let token = Token::new(text);
    if token.expose().len() > MAX_TOKEN_BYTES {
        return Err(refused(format!("an access token has at most {MAX_TOKEN_BYTES} bytes: add fewer claims")));
    }
    Ok(token)
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "issue token").because(message)
}

#[async_trait]
impl SessionBackend for JwtBackend {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::new(true)
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        match kind {
            TokenKind::Access => match self.verifier.read(token) {
                Ok(()) => Ok(Presented::self_contained(kind, token)),
                // Where it is no JWT, core tells whether it is a refresh token.
                Err(Rejection::Malformed) => match self.refresh.parse(kind, token) {
                    Err(Rejection::WrongKind) => Err(Rejection::WrongKind),
                    _ => Err(Rejection::Malformed),
                },
                Err(rejection) => Err(rejection),
            },
            TokenKind::Refresh => match self.refresh.parse(kind, token) {
                Ok(reference) => Ok(Presented::reference(kind, token, reference)),
                Err(_) if self.verifier.read(token).is_ok() => Err(Rejection::WrongKind),
                Err(rejection) => Err(rejection),
            },
            _ => Err(Rejection::WrongKind),
        }
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        match (presented.kind, &presented.reference) {
            // Read again: a `Presented` can be made without `parse`.
            (TokenKind::Access, None) => self.verifier.check(presented.raw, now),
            (TokenKind::Refresh, Some(reference)) => {
                self.refresh.check(reference, control.ok_or(Rejection::UnknownSession)?)?;
                Ok(Verified::new(reference.key(), reference.generation()))
            }
            _ => Err(Rejection::WrongKind),
        }
    }

    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair> {
        let own = match &self.claims {
            Some(source) => source.claims(&snapshot.session).await?,
            None => Map::new(),
        };
        let issuance = Issuance { expected: self.verifier.expected(), client_id: &self.client_id };
        let access = self.sign(&issuance.claims(own, snapshot, context, &*self.random)?, context)?;
        let refresh = self.refresh.mint(TokenKind::Refresh, &snapshot.session, &snapshot.control);
        // What the client is told is what the token says: whole seconds.
        let expires_at =
            DateTime::from_timestamp(context.access_expires_at.timestamp(), 0).unwrap_or(context.access_expires_at);
        Ok(TokenPair::new(access, refresh, snapshot, &IssueContext::new(context.now, expires_at)))
    }

    /// None: its keys are given to it, and nothing is fetched.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
