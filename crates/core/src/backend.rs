//! The seam of token backends: what an access token looks like and how it is proven.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::control::{Actor, Control};
use crate::epoch::Epoch;
use crate::error::{Rejection, Result};
use crate::id::SessionKey;
use crate::session::Binding;
use crate::snapshot::Snapshot;
use crate::token::{ReferenceToken, Token, TokenKind};
use crate::user::UserId;

/// Makes and proves tokens.
///
/// # Behaviour
/// - [`parse`](Self::parse) and [`verify`](Self::verify) do no I/O.
/// - Nothing is read for a token that `parse` refuses, and nothing is written, cached or revoked for one that `verify` has not proven.
/// - Refresh tokens are always proven by the session's control part. Access tokens are proven without it exactly when
///   [`BackendCapabilities::self_contained`] is set.
#[async_trait]
pub trait SessionBackend: Send + Sync + fmt::Debug {
    /// What its tokens can do. Constant over its life.
    fn capabilities(&self) -> BackendCapabilities;

    /// Reads a token's form.
    ///
    /// # Errors
    /// Why it cannot be a token of this kind and ring.
    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection>;

    /// Proves a token.
    ///
    /// # Errors
    /// Why it is refused.
    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection>;

    /// Makes the tokens of the session's current generation.
    ///
    /// # Behaviour
    /// The refresh token of one generation is the same however often it is issued.
    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair>;

    /// The background work, where there is any (fetching keys): a future that runs until it is dropped.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>>;
}

/// What a backend's tokens can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BackendCapabilities {
    /// An access token proves itself, without the session.
    pub self_contained: bool,
    /// How long an access token lives, where the backend and not the token says so: it must be the policy's.
    pub access_token_lifetime: Option<Duration>,
}

impl BackendCapabilities {
    /// Access tokens prove themselves, or not.
    pub const fn new(self_contained: bool) -> Self {
        Self { self_contained, access_token_lifetime: None }
    }
}

/// A token as read, not yet proven.
#[derive(Clone)]
#[non_exhaustive]
pub struct Presented<'t> {
    /// What it was presented as.
    pub kind: TokenKind,
    /// Its text.
    pub raw: &'t str,
    /// Its parts, where it is a reference token.
    pub reference: Option<ReferenceToken>,
}

impl<'t> Presented<'t> {
    /// A token that proves itself.
    pub const fn self_contained(kind: TokenKind, raw: &'t str) -> Self {
        Self { kind, raw, reference: None }
    }

    /// A token that is proven by its session.
    pub const fn reference(kind: TokenKind, raw: &'t str, token: ReferenceToken) -> Self {
        Self { kind, raw, reference: Some(token) }
    }

    /// The session it claims to belong to, where that can be told before it is proven.
    pub fn key(&self) -> Option<SessionKey> {
        self.reference.as_ref().map(ReferenceToken::key)
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A proven token.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Its session.
    pub key: SessionKey,
    /// Whose it is, where the token says so.
    pub user_id: Option<UserId>,
    /// Its generation.
    pub generation: u64,
    /// When it expires, where the token says so.
    pub expires_at: Option<DateTime<Utc>>,
    /// The user's and the global epoch it was issued under, where the token says so.
    pub epochs: Option<ClaimedEpochs>,
    /// When the user proved who they are, where the token says so.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// Who acts in the user's name, where the token says so.
    pub actor: Option<Actor>,
    /// What the token is bound to, where it says so.
    pub binding: Option<Binding>,
    /// All claims, where it carries claims.
    pub claims: Option<Arc<Map<String, Value>>>,
}

impl Verified {
    /// A proven token of this session and generation.
    pub const fn new(key: SessionKey, generation: u64) -> Self {
        Self {
            key,
            user_id: None,
            generation,
            expires_at: None,
            epochs: None,
            authenticated_at: None,
            actor: None,
            binding: None,
            claims: None,
        }
    }
}

/// The epochs in a token: versions and the low 32 bits of the incarnations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimedEpochs {
    /// The user's.
    pub user: ClaimedEpoch,
    /// Everybody's.
    pub global: ClaimedEpoch,
}

/// An epoch in a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimedEpoch {
    /// The version.
    pub version: u64,
    /// The low 32 bits of the incarnation.
    pub incarnation: u32,
}

impl From<Epoch> for ClaimedEpoch {
    fn from(epoch: Epoch) -> Self {
        let low = epoch.incarnation & u64::from(u32::MAX);
        Self { version: epoch.version, incarnation: u32::try_from(low).unwrap_or_default() }
    }
}

/// What a backend is told for issuing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssueContext {
    /// The present.
    pub now: DateTime<Utc>,
    /// When the access token must expire: lifetime, jitter, deadlines and grace already weighed.
    pub access_expires_at: DateTime<Utc>,
}

impl IssueContext {
    /// Tokens issued at `now`, the access token expiring at `access_expires_at`.
    pub const fn new(now: DateTime<Utc>, access_expires_at: DateTime<Utc>) -> Self {
        Self { now, access_expires_at }
    }
}

/// An access token and the refresh token of the same generation.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TokenPair {
    /// For every request.
    pub access: Token,
    /// For the next pair.
    pub refresh: Token,
    /// When they were issued: the clock that clients should reckon with.
    pub issued_at: DateTime<Utc>,
    /// When the access token expires.
    pub access_expires_at: DateTime<Utc>,
    /// When the session ends at the latest, and the refresh token with it.
    pub refresh_expires_at: DateTime<Utc>,
}

impl TokenPair {
    /// The tokens of a session.
    pub fn new(access: Token, refresh: Token, snapshot: &Snapshot, context: &IssueContext) -> Self {
        Self {
            access,
            refresh,
            issued_at: context.now,
            access_expires_at: context.access_expires_at,
            refresh_expires_at: snapshot.session.expires_at,
        }
    }
}
