//! Rotate: end all sessions of a user, or of everybody, by raising an epoch.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::create::accept_text;
use super::delivery::Happening;
use super::request::{Refreshed, RequestContext, Rotated, Rotation};
use super::revoke::unconfirmed;
use super::scope::{Scope, subject_of_user};
use crate::audit::AuditKind;
use crate::control::Actor;
use crate::epoch::Epochs;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Bump, BumpOutcome, BumpTarget, Bumped, Subject};
use crate::user::UserId;

const ROTATE: &str = "rotate";

/// The most bytes that the reason of a rotation may have.
const REASON: usize = 1000;

impl Scope<'_> {
    pub(super) async fn rotate_user(
        &self,
        user: &UserId,
        rotation: &Rotation,
        context: &RequestContext,
    ) -> Result<Rotated> {
        let now = self.now();
        let target = BumpTarget::User { user: user.clone(), keep: rotation.keep };
        let by_epoch = self.storage.capabilities().epochs;
        let subject = if by_epoch { Subject::UserEpoch(user.locator()) } else { subject_of_user(user) };
        let bumped = self.bump(subject, target, rotation, false).await?;
        let version = bumped.epochs.user.map_or(0, |epoch| epoch.version);
        self.audit_rotation(Some(user), &bumped, version, rotation, context).await?;
        if bumped.unconfirmed {
            return Err(unconfirmed(ROTATE));
        }
        let kept = match &bumped.kept {
            Some(snapshot) => {
                let tokens = self.issue(snapshot, now).await?;
                Some(Refreshed { snapshot: snapshot.clone(), tokens, converged: false })
            }
            None => None,
        };
        Ok(rotated(&bumped, version, None, kept))
    }

    pub(super) async fn rotate_all(
        &self,
        rotation: &Rotation,
        anew: bool,
        context: &RequestContext,
    ) -> Result<Rotated> {
        if !self.storage.capabilities().epochs {
            return Err(Error::new(ErrorKind::Unsupported, ROTATE).because("this storage keeps no epochs"));
        }
        let bumped =
            self.bump(Subject::GlobalEpoch, BumpTarget::Global { grace: rotation.grace }, rotation, anew).await?;
        let global = bumped.epochs.global;
        let version = global.map_or(0, |global| global.epoch.version);
        self.audit_rotation(None, &bumped, version, rotation, context).await?;
        if bumped.unconfirmed {
            return Err(unconfirmed(ROTATE));
        }
        Ok(rotated(&bumped, version, global.and_then(|global| global.grace_until), None))
    }

    pub(super) async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.storage.epochs(user).await
    }

    async fn bump(&self, subject: Subject, target: BumpTarget, rotation: &Rotation, anew: bool) -> Result<Bumped> {
        accept_text("reason", Some(&rotation.reason), REASON)?;
        let mut bump = Bump::new(target, self.incarnations()?, self.now());
        bump.expected = rotation.expected;
        bump.new_incarnation = anew;
        let announced = self.announce_intent(subject).await?;
        let outcome = self.storage.bump(&bump).await?;
        // Whatever it is, it is known: the subject may be remembered again.
        self.announce_done(announced, &[]).await;
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
        rotation: &Rotation,
        context: &RequestContext,
    ) -> Result<()> {
        if !self.listened() {
            return Ok(());
        }
        let actor = context.actor.clone().or_else(|| user.cloned().map(Actor::User)).unwrap_or(Actor::System);
        let mut event = self.event(AuditKind::Rotated, actor, context);
        event.user_id = user.cloned();
        event.session_id = bumped.kept.as_ref().map(|kept| kept.session.id);
        event.reason = Some(rotation.reason.clone());
        event.details.insert("scope".to_owned(), json!(if user.is_some() { "user" } else { "global" }));
        event.details.insert("old_version".to_owned(), json!(bumped.before.map(|epoch| epoch.version)));
        event.details.insert("new_version".to_owned(), json!(version));
        if !bumped.applied {
            event.details.insert("repeated".to_owned(), json!(true));
        }
        self.emit(vec![Happening { event, session: bumped.kept.as_ref().map(|kept| kept.session.clone()) }]).await
    }
}

fn rotated(bumped: &Bumped, version: u64, grace_until: Option<DateTime<Utc>>, kept: Option<Refreshed>) -> Rotated {
    let old_version = if bumped.applied { bumped.before.map(|epoch| epoch.version) } else { version.checked_sub(1) };
    Rotated { old_version, new_version: version, grace_until, kept, binds_by: bumped.binds_by }
}
