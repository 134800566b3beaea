//! The plain token backend: reference tokens of both kinds, proven by the session alone.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    BackendCapabilities, Control, IssueContext, Presented, Rejection, Result, SessionBackend, Snapshot, TokenKind,
    TokenPair, Verified,
};

/// The key of every [`ReferenceBackend`]: known to everybody.
const KEY: &[u8] = b"the key of the test kit, which everybody knows";

/// The token backend that brings nothing of its own: core's reference tokens for access and refresh.
///
/// # Security
/// Its key is public. Never one for an application.
#[derive(Clone, Debug)]
pub struct ReferenceBackend {
    tokens: ReferenceTokens,
}

impl Default for ReferenceBackend {
    fn default() -> Self {
        let key = TokenKey::from_secret(KEY).expect("a key");
        Self { tokens: ReferenceTokens::new(Arc::new(KeyRing::new(key))) }
    }
}

#[async_trait]
impl SessionBackend for ReferenceBackend {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::new(false)
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        Ok(Presented::reference(kind, token, self.tokens.parse(kind, token)?))
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        _: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        // Read again: its kind may have been changed since.
        let token = self.tokens.parse(presented.kind, presented.raw)?;
        self.tokens.check(&token, control.ok_or(Rejection::UnknownSession)?)?;
        Ok(Verified::new(token.key(), token.generation()))
    }

    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair> {
        let mint = |kind| self.tokens.mint(kind, &snapshot.session, &snapshot.control);
        Ok(TokenPair::new(mint(TokenKind::Access), mint(TokenKind::Refresh), snapshot, context))
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
