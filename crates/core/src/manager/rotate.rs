//! Rotate: end all sessions of a user, or of everybody, by raising an epoch.

use std::time::Duration;

use serde_json::json;

use super::request::{Refreshed, RequestContext, Rotated};
use super::scope::{Happening, Scope, subject_of_user};
use crate::audit::AuditKind;
use crate::control::Actor;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::storage::{Bump, BumpOutcome, BumpTarget, Bumped, Subject};
use crate::user::UserId;

const ROTATE: &str = "rotate";

impl Scope<'_> {
    pub(super) async fn rotate_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
        reason: &str,
        context: &RequestContext,
    ) -> Result<Rotated> {
        let now = self.now();
        let target = BumpTarget::User { user: user.clone(), keep };
        let bumped = self.bump(subject_of_user(user), Bump::new(target, self.incarnations()?, now)).await?;
        let kept = match &bumped.kept {
            Some(snapshot) => {
                let tokens = self.issue(snapshot, now).await?;
                Some(Refreshed { snapshot: snapshot.clone(), tokens, converged: false })
            }
            None => None,
        };
        let version = bumped.epochs.user.map_or(0, |epoch| epoch.version);
        self.audit_rotation(Some(user), &bumped, version, reason, context).await?;
        Ok(Rotated {
            old_version: bumped.before.map(|epoch| epoch.version),
            new_version: version,
            grace_until: None,
            kept,
        })
    }

    pub(super) async fn rotate_all(
        &self,
        grace: Duration,
        anew: bool,
        reason: &str,
        context: &RequestContext,
    ) -> Result<Rotated> {
        if !self.storage.capabilities().epochs {
            return Err(Error::new(ErrorKind::Unsupported, ROTATE).because("this storage keeps no epochs"));
        }
        let mut bump = Bump::new(BumpTarget::Global { grace }, self.incarnations()?, self.now());
        bump.new_incarnation = anew;
        let bumped = self.bump(Subject::Global, bump).await?;
        let global = bumped.epochs.global;
        let version = global.map_or(0, |global| global.epoch.version);
        self.audit_rotation(None, &bumped, version, reason, context).await?;
        let grace_until = global.and_then(|global| global.grace_until);
        Ok(Rotated {
            old_version: bumped.before.map(|epoch| epoch.version),
            new_version: version,
            grace_until,
            kept: None,
        })
    }

    async fn bump(&self, subject: Subject, bump: Bump) -> Result<Bumped> {
        self.announce_intent(subject).await?;
        let outcome = self.storage.bump(&bump).await?;
        // Whatever it is, it is known: the subject may be remembered again.
        self.announce_done(subject).await;
        match outcome {
            BumpOutcome::Bumped(bumped) => Ok(bumped),
            BumpOutcome::Conflict { .. } => Err(Error::new(ErrorKind::Conflict, ROTATE)),
            BumpOutcome::KeepEnded => {
                Err(Error::new(ErrorKind::AlreadyEnded, ROTATE).because("the session to keep has ended"))
            }
        }
    }

    async fn audit_rotation(
        &self,
        user: Option<&UserId>,
        bumped: &Bumped,
        version: u64,
        reason: &str,
        context: &RequestContext,
    ) -> Result<()> {
        if !self.listened() {
            return Ok(());
        }
        let actor = context.actor.clone().or_else(|| user.cloned().map(Actor::User)).unwrap_or(Actor::System);
        let mut event = self.event(AuditKind::Rotated, actor, context);
        event.user_id = user.cloned();
        event.session_id = bumped.kept.as_ref().map(|kept| kept.session.id);
        event.reason = Some(reason.to_owned());
        event.details.insert("scope".to_owned(), json!(if user.is_some() { "user" } else { "global" }));
        event.details.insert("old_version".to_owned(), json!(bumped.before.map(|epoch| epoch.version)));
        event.details.insert("new_version".to_owned(), json!(version));
        self.emit(vec![Happening { event, session: bumped.kept.as_ref().map(|kept| kept.session.clone()) }]).await
    }
}
