//! Revoke: announce, end in one atomic step, announce, audit.

use serde_json::json;

use super::request::RequestContext;
use super::scope::{Scope, subject_of, subject_of_user};
use crate::audit::AuditKind;
use crate::control::{Actor, RevocationReason};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, SessionKey};
use crate::session::ExternalId;
use crate::storage::{EndedSession, Revoke, RevokeTarget, SessionFilter, Subject};
use crate::user::UserId;

const REVOKE: &str = "revoke";

impl Scope<'_> {
    pub(super) async fn revoke_one(
        &self,
        owner: Option<&UserId>,
        key: SessionKey,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<EndedSession> {
        let key = match (key.locator, owner) {
            (None, Some(owner)) => SessionKey::new(key.id, owner.locator()),
            _ => key,
        };
        let target = RevokeTarget::One { key, owner: owner.cloned() };
        let (mut ended, already_ended) = self.end(subject_of(key), target, reason, owner, context).await?;
        match ended.pop() {
            Some(ended) => Ok(ended),
            None if already_ended > 0 => Err(Error::new(ErrorKind::AlreadyEnded, REVOKE)),
            None => Err(Error::new(ErrorKind::NotFound, REVOKE)),
        }
    }

    pub(super) async fn revoke_user(
        &self,
        user: &UserId,
        except: Option<SessionId>,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        // All of them end by the epoch, where there is one.
        let by_epoch = except.is_none() && self.storage.capabilities().epochs;
        let subject = if by_epoch { Subject::UserEpoch(user.locator()) } else { subject_of_user(user) };
        let target = RevokeTarget::User { user: user.clone(), except };
        Ok(self.end(subject, target, reason, Some(user), context).await?.0)
    }

    pub(super) async fn revoke_external(
        &self,
        external: ExternalId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        // Whose session it is shows only afterwards: everybody looks for the moment it takes.
        Ok(self.end(Subject::Global, RevokeTarget::External(external), reason, None, context).await?.0)
    }

    pub(super) async fn revoke_matching(
        &self,
        user: Option<&UserId>,
        filter: SessionFilter,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        if user.is_none() && !self.storage.capabilities().list_all {
            return Err(Error::new(ErrorKind::Unsupported, REVOKE).because("this storage cannot search across users"));
        }
        let subject = user.map_or(Subject::Global, subject_of_user);
        Ok(self.end(subject, RevokeTarget::Matching { user: user.cloned(), filter }, reason, user, context).await?.0)
    }

    async fn end(
        &self,
        subject: Subject,
        target: RevokeTarget,
        reason: RevocationReason,
        owner: Option<&UserId>,
        context: &RequestContext,
    ) -> Result<(Vec<EndedSession>, u64)> {
        let by = context.actor.clone().or_else(|| owner.cloned().map(Actor::User)).unwrap_or(Actor::System);
        by.validate()?;
        let announced = self.announce_intent(subject).await?;
        let revoked = self.storage.revoke(&Revoke::new(target, reason, by, self.now())).await?;
        self.announce_done(announced, &revoked.sessions).await;
        let mut happenings = self.endings(AuditKind::Revoked, &revoked.sessions, context);
        if let Some(by) = revoked.binds_by {
            tracing::warn!(%by, "a revocation is known everywhere only by then: another node or a shared cache could not be told");
            for happening in &mut happenings {
                happening.event.details.insert("binds_by".to_owned(), json!(by));
            }
        }
        self.emit(happenings).await?;
        if revoked.unconfirmed {
            return Err(unconfirmed(REVOKE));
        }
        Ok((revoked.sessions, revoked.already_ended))
    }
}

/// A change that was made, announced and recorded, and that a failover might still undo.
pub(super) fn unconfirmed(operation: &'static str) -> Error {
    let message = "it was done, but too few replicas have acknowledged it in time";
    Error::new(ErrorKind::Unconfirmed, operation).because(message)
}
