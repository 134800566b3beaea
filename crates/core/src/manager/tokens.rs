//! What the OAuth endpoints ask of a token, whichever kind it is: end its session (RFC 7009), or tell of it (RFC 7662).

use chrono::{DateTime, Utc};

use super::authenticate::Refused;
use super::request::{Introspection, RequestContext};
use super::scope::Scope;
use crate::backend::Verified;
use crate::control::RevocationReason;
use crate::error::{ErrorKind, Rejection, Result};
use crate::refresh::{Verdict, judge};
use crate::snapshot::Snapshot;
use crate::storage::{Consistency, EndedSession};
use crate::token::TokenKind;

impl Scope<'_> {
    /// Ends the session of a proven token, whatever its age and generation.
    pub(super) async fn revoke_token(&self, token: &str, context: &RequestContext) -> Result<Option<EndedSession>> {
        let now = self.now();
        let (snapshot, ..) = match self.prove_any(token, now).await {
            Ok(proven) => proven,
            Err(refused) if refused.is_definitive() => {
                // Guesses are counted here as anywhere.
                drop(self.refuse(refused, context).await);
                return Ok(None);
            }
            Err(refused) => return Err(refused.error),
        };
        let owner = &snapshot.session.user_id;
        match self.revoke_one(Some(owner), snapshot.key(), RevocationReason::LOGOUT, context).await {
            Ok(ended) => Ok(Some(ended)),
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyEnded | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the storage says of a token now. `None`: it would not be accepted.
    pub(super) async fn introspect(&self, token: &str) -> Result<Option<Introspection>> {
        let now = self.now();
        let (snapshot, verified, kind) = match self.prove_any(token, now).await {
            Ok(proven) => proven,
            Err(refused) if refused.is_definitive() => return Ok(None),
            Err(refused) => return Err(refused.error),
        };
        let accepted = match kind {
            TokenKind::Refresh => self.would_refresh(&snapshot, &verified, now),
            _ => match self.judge(snapshot.clone(), &verified, now) {
                Ok(_) => true,
                Err(refused) if refused.is_definitive() => false,
                Err(refused) => return Err(refused.error),
            },
        };
        Ok(accepted.then_some(Introspection { kind, snapshot, verified }))
    }

    fn would_refresh(&self, snapshot: &Snapshot, verified: &Verified, now: DateTime<Utc>) -> bool {
        let grace = self.inner.policy.refresh_grace;
        matches!(
            judge(snapshot, verified.generation, now, grace, self.inner.live),
            Verdict::Advance | Verdict::Converge | Verdict::Ahead
        )
    }

    async fn prove_any(&self, token: &str, now: DateTime<Utc>) -> Result<(Snapshot, Verified, TokenKind), Refused> {
        let backend = &self.inner.backend;
        match backend.parse(TokenKind::Refresh, token) {
            Ok(presented) => {
                let (snapshot, verified) = self.prove(&presented, Consistency::Latest, now).await?;
                Ok((snapshot, verified, TokenKind::Refresh))
            }
            Err(Rejection::WrongKind) => {
                let presented = backend.parse(TokenKind::Access, token)?;
                if !backend.capabilities().self_contained {
                    let (snapshot, verified) = self.prove(&presented, Consistency::Latest, now).await?;
                    return Ok((snapshot, verified, TokenKind::Access));
                }
                let verified = backend.verify(&presented, None, now)?;
                let snapshot = self.find(&verified.key, Consistency::Latest).await?;
                if verified.user_id.as_ref().is_some_and(|user| *user != snapshot.session.user_id) {
                    return Err(Rejection::UnknownSession.into());
                }
                Ok((snapshot, verified, TokenKind::Access))
            }
            Err(rejection) => Err(rejection.into()),
        }
    }
}
