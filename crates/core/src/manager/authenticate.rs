//! Authenticate: prove the token, read the session, judge it, note the activity.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::request::{Authenticated, Presence, RequestContext, SessionView};
use super::scope::{Scope, subject_of};
use crate::audit::AuditKind;
use crate::backend::{Presented, Verified};
use crate::clock::after;
use crate::control::{Actor, RevocationReason};
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::id::SessionKey;
use crate::snapshot::{Snapshot, State};
use crate::storage::{Consistency, Revoke, RevokeTarget, SessionPatch, Touch, Update, UpdateOutcome};
use crate::suspicion::{Evidence, Occasion, SuspicionAction};
use crate::token::TokenKind;

const AUTHENTICATE: &str = "authenticate";

/// Why a token is not accepted, with the session where it is known: refused tokens are audited by it.
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) snapshot: Option<Box<Snapshot>>,
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { error: error.into(), snapshot: None }
    }
}

impl Refused {
    pub(super) fn of(kind: ErrorKind, operation: &'static str, snapshot: Snapshot) -> Self {
        Self { error: Error::new(kind, operation), snapshot: Some(Box::new(snapshot)) }
    }
}

impl Scope<'_> {
    pub(super) async fn authenticate(&self, token: &str, context: &RequestContext) -> Result<Authenticated> {
        let now = self.now();
        let mut accepted = match self.examine(token, now).await {
            Ok(accepted) => accepted,
            Err(refused) => return Err(self.refuse(refused, context).await),
        };
        if !self.inner.rules.is_empty() {
            self.suspect(Occasion::Access, &accepted.snapshot, context, now).await?;
        }
        if context.presence == Presence::User {
            self.touch_if_due(&mut accepted.snapshot, now).await;
        }
        if self.listened() && self.sampled() {
            self.emit(vec![self.about(AuditKind::Accessed, &accepted.snapshot.session, context)]).await?;
        }
        Ok(accepted)
    }

    /// Judges an access token and leaves no trace.
    pub(super) async fn peek(&self, token: &str) -> Result<Authenticated> {
        self.examine(token, self.now()).await.map_err(|refused| refused.error)
    }

    async fn examine(&self, token: &str, now: DateTime<Utc>) -> Result<Authenticated, Refused> {
        let backend = &self.inner.backend;
        let presented = backend.parse(TokenKind::Access, token)?;
        if backend.capabilities().self_contained {
            let verified = backend.verify(&presented, None, now)?;
            let snapshot = self.find(&verified.key).await?;
            self.judge(snapshot, verified, now)
        } else {
            let (snapshot, verified) = self.prove(&presented, now).await?;
            self.judge(snapshot, verified, now)
        }
    }

    /// Reads the session that a reference token names, and proves the token by it.
    pub(super) async fn prove(
        &self,
        presented: &Presented<'_>,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Verified), Refused> {
        let key = presented.key().ok_or(Rejection::Malformed)?;
        let snapshot = self.find(&key).await?;
        let verified = self.inner.backend.verify(presented, Some(&snapshot.control), now)?;
        if key.locator.is_some_and(|locator| locator != snapshot.session.user_id.locator()) {
            return Err(Rejection::BadSignature.into());
        }
        Ok((snapshot, verified))
    }

    async fn find(&self, key: &SessionKey) -> Result<Snapshot, Refused> {
        let found = match self.storage.try_read(key) {
            Some(found) => found,
            None => self.storage.read(key, Consistency::Latest).await?,
        };
        found.ok_or_else(|| Rejection::UnknownSession.into())
    }

    fn judge(&self, snapshot: Snapshot, verified: Verified, now: DateTime<Utc>) -> Result<Authenticated, Refused> {
        if verified.user_id.as_ref().is_some_and(|user| *user != snapshot.session.user_id) {
            return Err(Rejection::UnknownSession.into());
        }
        let state = snapshot.state(now, self.inner.live);
        if !state.is_live() {
            return Err(Refused::of(ErrorKind::SessionEnded(state), AUTHENTICATE, snapshot));
        }
        if verified.generation < snapshot.control.floor {
            return Err(Refused::of(ErrorKind::Superseded, AUTHENTICATE, snapshot));
        }
        Ok(Authenticated { snapshot, verified })
    }

    /// Records a refusal and hands its error on. Outages are no refusals.
    pub(super) async fn refuse(&self, refused: Refused, context: &RequestContext) -> Error {
        let Refused { error, snapshot } = refused;
        let kind = match error.kind() {
            ErrorKind::SessionEnded(state) if state.is_timeout() => AuditKind::Expired,
            ErrorKind::SessionEnded(_) | ErrorKind::Superseded | ErrorKind::InvalidToken(_) => AuditKind::Rejected,
            _ => return error,
        };
        // An expired access token is every client's daily business: it is refreshed, not audited.
        if !self.listened() || error.kind() == ErrorKind::InvalidToken(Rejection::Expired) {
            return error;
        }
        let mut happening = match &snapshot {
            Some(snapshot) => self.about(kind, &snapshot.session, context),
            None => super::scope::Happening { event: self.event(kind, Actor::System, context), session: None },
        };
        // Whoever presents a refused token is not thereby the user.
        happening.event.actor = context.actor.clone().unwrap_or(Actor::System);
        happening.event.reason = Some(error.kind().as_str().to_owned());
        self.emit_aside(vec![happening]).await;
        error
    }

    pub(super) async fn touch(&self, key: SessionKey) -> Result<SessionView> {
        let now = self.now();
        let view = self.get(None, key).await?.ok_or_else(|| Error::new(ErrorKind::NotFound, "touch"))?;
        if !view.state.is_live() {
            return Err(Error::new(ErrorKind::SessionEnded(view.state), "touch"));
        }
        let mut snapshot = view.snapshot;
        self.write_activity(&mut snapshot, now).await?;
        Ok(self.view(snapshot))
    }

    /// Writes activity down; a failure is reported and does not fail the request.
    async fn touch_if_due(&self, snapshot: &mut Snapshot, now: DateTime<Utc>) {
        if let Err(error) = self.write_activity(snapshot, now).await {
            tracing::warn!(%error, "activity was not written down");
        }
    }

    /// Writes activity down when the last note is old enough.
    async fn write_activity(&self, snapshot: &mut Snapshot, now: DateTime<Utc>) -> Result<()> {
        let interval = self.inner.policy.touch_interval_for(snapshot.session.idle_timeout);
        if now < after(snapshot.control.last_activity, interval) || now <= snapshot.control.last_activity {
            return Ok(());
        }
        let idle_expires_at = snapshot.session.idle_deadline(now);
        self.storage.touch(&[Touch::new(snapshot.key(), now, idle_expires_at)], now).await?;
        snapshot.control.last_activity = now;
        snapshot.control.idle_expires_at = idle_expires_at;
        Ok(())
    }

    /// One in so many authentications is recorded.
    fn sampled(&self) -> bool {
        let every = self.inner.accessed_every.get();
        every == 1 || self.inner.accessed.fetch_add(1, Ordering::Relaxed).checked_rem(every) == Some(0)
    }

    /// Asks the suspicion rules and does what the strictest says.
    pub(super) async fn suspect(
        &self,
        occasion: Occasion,
        snapshot: &Snapshot,
        context: &RequestContext,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let session = &snapshot.session;
        let client = self.as_recorded(&context.client);
        let known = self.enrich(&context.client).await;
        let evidence = Evidence {
            occasion,
            session: Some(session),
            client: &client,
            known: &known,
            last_activity: Some(snapshot.control.last_activity),
            rejections: 0,
            now,
        };
        let mut strictest: Option<(SuspicionAction, &'static str)> = None;
        for rule in &self.inner.rules {
            match rule.judge(&evidence).await {
                Ok(Some(action)) if strictest.is_none_or(|(worst, _)| action > worst) => {
                    strictest = Some((action, rule.name()));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(rule = rule.name(), %error, "a suspicion rule failed"),
            }
        }
        let Some((action, name)) = strictest else { return Ok(()) };
        let mut happening = self.about(AuditKind::Suspicious, session, context);
        happening.event.reason = Some(name.to_owned());
        happening.event.details.insert("action".to_owned(), json!(format!("{action:?}").to_lowercase()));
        self.emit(vec![happening]).await?;
        match action {
            SuspicionAction::Record => Ok(()),
            SuspicionAction::StepUp => self.demand_step_up(snapshot, now).await,
            SuspicionAction::Revoke => {
                self.end_for(snapshot, RevocationReason::SUSPICIOUS, context).await?;
                Err(Error::new(ErrorKind::SessionEnded(State::Revoked), AUTHENTICATE))
            }
        }
    }

    /// Ends a session by the library's own decision. Says whether this call ended it.
    pub(super) async fn end_for(
        &self,
        snapshot: &Snapshot,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<bool> {
        let subject = subject_of(snapshot.key());
        self.announce_intent(subject).await?;
        let target = RevokeTarget::One { key: snapshot.key(), owner: None };
        let revoked = self.storage.revoke(&Revoke::new(target, reason, Actor::System, self.now())).await?;
        self.announce_done(subject).await;
        self.emit(self.endings(AuditKind::Revoked, &revoked.sessions, context)).await?;
        Ok(!revoked.sessions.is_empty())
    }

    async fn demand_step_up(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<()> {
        if snapshot
            .session
            .authentication
            .step_up_since
            .is_some_and(|since| since >= snapshot.session.authentication.at)
        {
            return Ok(());
        }
        let mut patch = SessionPatch::new();
        let mut authentication = snapshot.session.authentication.clone();
        authentication.step_up_since = Some(now);
        patch.authentication = Some(authentication);
        let update = Update::new(snapshot.key(), snapshot.control.version, patch, now);
        match self.storage.update(&update).await? {
            // Whoever was faster either asked for the same or proved who they are: the next request is judged anew.
            UpdateOutcome::Updated(_) | UpdateOutcome::Conflict(_) => Ok(()),
            UpdateOutcome::Ended(state, _) => Err(Error::new(ErrorKind::SessionEnded(state), AUTHENTICATE)),
            UpdateOutcome::Missing => Err(Rejection::UnknownSession.into()),
        }
    }
}

/// Whether an authentication is fresh enough for a sensitive operation.
pub(super) fn require_fresh(
    session: &Arc<crate::session::Session>,
    max_age: std::time::Duration,
    now: DateTime<Utc>,
) -> Result<()> {
    if session.authentication.is_fresh(max_age, now) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::StepUpRequired, AUTHENTICATE))
    }
}
