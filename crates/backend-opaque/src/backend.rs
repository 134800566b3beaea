//! [`OpaqueBackend`]: the implementation of core's `SessionBackend`.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::clock::after;
use session_manager_core::token::ReferenceTokens;
use session_manager_core::{
    BackendCapabilities, Control, Error, ErrorKind, IssueContext, Presented, Rejection, Result, SessionBackend,
    Snapshot, TokenKind, TokenPair, Verified,
};

use crate::builder::OpaqueBackendBuilder;

/// How far the clock of the node that issued a token may be ahead before the token is "not yet valid".
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// Access and refresh tokens as core's reference tokens: each is proven by the session that it names, and says nothing to its holder.
///
/// # Behaviour
/// - An access token of a generation lives for the configured lifetime after that generation began. Which one began when is known of the
///   current generation and the one before; any other has expired.
/// - A token below the session's floor is genuine, and for the manager to refuse: it knows better words for it than "expired".
///
/// # Security
/// Forms and unknown keys are refused without I/O. Access and refresh tokens are made with separate keys, so that one never becomes the
/// other. Tokens are compared in constant time.
#[derive(Debug)]
pub struct OpaqueBackend {
    pub(crate) tokens: ReferenceTokens,
    pub(crate) access_token_lifetime: Duration,
}

impl OpaqueBackend {
    /// Begins a backend that makes its tokens with `tokens`.
    pub fn builder(tokens: ReferenceTokens) -> OpaqueBackendBuilder {
        OpaqueBackendBuilder::new(tokens)
    }

    /// When an access token of this generation expires.
    fn expiry(&self, generation: u64, control: &Control, now: DateTime<Utc>) -> Result<DateTime<Utc>, Rejection> {
        let issued_at = if generation == control.generation {
            control.rotated_at
        } else if generation.checked_add(1) == Some(control.generation) {
            control.previous_rotated_at
        } else {
            // Older than what is remembered; or newer, of a storage that lost a refresh: refreshing repairs that.
            return Err(Rejection::Expired);
        };
        if issued_at > after(now, CLOCK_LEEWAY) {
            return Err(Rejection::NotYetValid);
        }
        let expires_at = after(issued_at, self.access_token_lifetime);
        if now < expires_at { Ok(expires_at) } else { Err(Rejection::Expired) }
    }

    /// The token does not say how long it lives, so this backend and the policy have to agree.
    fn agree(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<()> {
        // A policy takes off half of the lifetime at most, and never goes beyond the session's own deadlines.
        let latest = after(context.now, self.access_token_lifetime);
        let earliest = after(context.now, self.access_token_lifetime / 2).min(snapshot.token_deadline(context.now));
        if (earliest..=latest).contains(&context.access_expires_at) {
            return Ok(());
        }
        let message = "the opaque backend and the policy need the same access_token_lifetime";
        Err(Error::new(ErrorKind::Misconfigured, "issue token").because(message))
    }
}

#[async_trait]
impl SessionBackend for OpaqueBackend {
    fn capabilities(&self) -> BackendCapabilities {
        let mut capabilities = BackendCapabilities::new(false);
        capabilities.access_token_lifetime = Some(self.access_token_lifetime);
        capabilities
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        self.tokens.parse(kind, token).map(|reference| Presented::reference(kind, token, reference))
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        let reference = presented.reference.as_ref().ok_or(Rejection::Malformed)?;
        if reference.kind() != presented.kind {
            return Err(Rejection::WrongKind);
        }
        let control = control.ok_or(Rejection::UnknownSession)?;
        self.tokens.check(reference, control)?;
        let mut verified = Verified::new(reference.key(), reference.generation());
        if presented.kind == TokenKind::Access && reference.generation() >= control.floor {
            verified.expires_at = Some(self.expiry(reference.generation(), control, now)?);
        }
        Ok(verified)
    }

    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair> {
        self.agree(snapshot, context)?;
        let access = self.tokens.mint(TokenKind::Access, &snapshot.session, &snapshot.control);
        let refresh = self.tokens.mint(TokenKind::Refresh, &snapshot.session, &snapshot.control);
        // A refresh that is repeated gets the same token, which is as old as its generation.
        let expires_at = after(snapshot.control.rotated_at, self.access_token_lifetime).min(context.access_expires_at);
        Ok(TokenPair::new(access, refresh, snapshot, &IssueContext::new(context.now, expires_at)))
    }

    /// None: its keys are given to it, and nothing is fetched.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
