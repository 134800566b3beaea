//! Authenticate: prove the token, read the session, judge it, note the activity.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::delivery::Happening;
use super::request::{Authenticated, Presence, RequestContext, SessionView};
use super::scope::{Scope, end_id, subject_of};
use super::verification::Verification;
use super::watch::Advice;
use crate::audit::AuditKind;
use crate::backend::{Presented, Verified};
use crate::clock::{after, before};
use crate::control::{Actor, RevocationReason};
use crate::enricher::Enrichment;
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::id::SessionKey;
use crate::snapshot::{LivePolicy, Snapshot, State};
use crate::storage::{Consistency, Revoke, RevokeTarget, Touch};
use crate::suspicion::{Evidence, Occasion};
use crate::telemetry::Incident;
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
    /// Whether the token is refused, rather than nothing known of it.
    pub(super) fn is_definitive(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::InvalidToken(_) | ErrorKind::SessionEnded(_) | ErrorKind::Superseded)
    }

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
        if let Some(binding) = accepted.binding()
            && let Err(error) = self.require_possession(Some(binding), Some(token), context, now).await
        {
            return Err(self.refuse(error.into(), context).await);
        }
        if !self.inner.rules.is_empty()
            && let Some(snapshot) = &accepted.snapshot
            && let Some(stepped) = self.suspect(Occasion::Access, snapshot, context, now).await?
        {
            // The very request that raised the suspicion is bound by it.
            accepted.snapshot = Some(stepped);
        }
        if context.presence == Presence::User {
            self.note_presence(&mut accepted, now).await;
        }
        if self.listened() && self.sampled() {
            self.emit(vec![self.access(&accepted, context)]).await?;
        }
        Ok(accepted)
    }

    /// The session of an accepted request: as it was read, or read now.
    pub(super) async fn load(&self, accepted: &Authenticated) -> Result<Snapshot> {
        if let Some(snapshot) = &accepted.snapshot {
            return Ok(snapshot.clone());
        }
        let now = self.now();
        let judged = match self.find(&accepted.verified.key, Consistency::Latest).await {
            Ok(snapshot) => self.judge(snapshot, &accepted.verified, now),
            Err(refused) => Err(refused),
        };
        judged.map_err(|refused| refused.error)
    }

    /// The event of an access: of its session, or of what its token says.
    fn access(&self, accepted: &Authenticated, context: &RequestContext) -> Happening {
        if let Some(snapshot) = &accepted.snapshot {
            return self.about(AuditKind::Accessed, &snapshot.session, context);
        }
        let acting = || accepted.verified.actor.clone().unwrap_or_else(|| Actor::User(accepted.user_id.clone()));
        let mut event = self.event(AuditKind::Accessed, context.actor.clone().unwrap_or_else(acting), context);
        event.session_id = Some(accepted.verified.key.id);
        event.user_id = Some(accepted.user_id.clone());
        Happening { event, session: None }
    }

    /// Judges an access token and leaves no trace.
    pub(super) async fn peek(&self, token: &str) -> Result<Authenticated> {
        self.examine(token, self.now()).await.map_err(|refused| refused.error)
    }

    async fn examine(&self, token: &str, now: DateTime<Utc>) -> Result<Authenticated, Refused> {
        let backend = &self.inner.backend;
        let presented = backend.parse(TokenKind::Access, token)?;
        if !backend.capabilities().self_contained {
            return self.examine_reference(&presented, now).await;
        }
        let verified = backend.verify(&presented, None, now)?;
        let (ticket, consistency) = match (self.inner.verification, &self.inner.watch) {
            (Verification::Stateless, _) => match Authenticated::unread(&verified) {
                Some(accepted) => return Ok(accepted),
                None => (None, Consistency::Latest),
            },
            (Verification::Feed { .. }, Some(watch)) => {
                let advice = watch.advise(&verified, self.inner.live == LivePolicy::TRACKED, now);
                match (advice, Authenticated::unread(&verified)) {
                    (Advice::Accept, Some(accepted)) => return Ok(accepted),
                    (Advice::Look(ticket), _) => (Some((watch, ticket)), Consistency::Latest),
                    (Advice::Accept, None) => (None, Consistency::Latest),
                }
            }
            (Verification::Cached { .. }, _) => (None, Consistency::Eventual),
            _ => (None, Consistency::Latest),
        };
        let found = self.find(&verified.key, consistency).await;
        let judged = match found {
            Ok(snapshot) => {
                if let Some((watch, ticket)) = ticket {
                    watch.learn(ticket, snapshot.session.user_id.locator(), &snapshot.epochs);
                }
                self.judge(snapshot, &verified, now)
            }
            Err(refused) => Err(refused),
        };
        let snapshot = match judged {
            // What is refused, the storage itself has refused.
            Err(refused) if consistency == Consistency::Eventual && refused.is_definitive() => {
                self.judge(self.find(&verified.key, Consistency::Latest).await?, &verified, now)?
            }
            judged => judged?,
        };
        Ok(Authenticated::of(snapshot, verified))
    }

    async fn examine_reference(&self, presented: &Presented<'_>, now: DateTime<Utc>) -> Result<Authenticated, Refused> {
        let cached = matches!(self.inner.verification, Verification::Cached { .. });
        if cached {
            let judged = match self.prove(presented, Consistency::Eventual, now).await {
                Ok((snapshot, verified)) => self.judge(snapshot, &verified, now).map(|snapshot| (snapshot, verified)),
                Err(refused) => Err(refused),
            };
            match judged {
                Ok((snapshot, verified)) => return Ok(Authenticated::of(snapshot, verified)),
                Err(refused) if refused.is_definitive() => {}
                Err(refused) => return Err(refused),
            }
        }
        let (snapshot, verified) = self.prove(presented, Consistency::Latest, now).await?;
        let snapshot = self.judge(snapshot, &verified, now)?;
        Ok(Authenticated::of(snapshot, verified))
    }

    /// Reads the session that a reference token names, and proves the token by it.
    pub(super) async fn prove(
        &self,
        presented: &Presented<'_>,
        consistency: Consistency,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Verified), Refused> {
        let key = presented.key().ok_or(Rejection::Malformed)?;
        let snapshot = self.find(&key, consistency).await?;
        let verified = self.inner.backend.verify(presented, Some(&snapshot.control), now)?;
        if key.locator.is_some_and(|locator| locator != snapshot.session.user_id.locator()) {
            return Err(Rejection::BadSignature.into());
        }
        Ok((snapshot, verified))
    }

    pub(super) async fn find(&self, key: &SessionKey, consistency: Consistency) -> Result<Snapshot, Refused> {
        let found = match self.storage.try_read(key) {
            Some(found) => found,
            None => self.storage.read(key, consistency).await?,
        };
        found.ok_or_else(|| Rejection::UnknownSession.into())
    }

    pub(super) fn judge(
        &self,
        snapshot: Snapshot,
        verified: &Verified,
        now: DateTime<Utc>,
    ) -> Result<Snapshot, Refused> {
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
        Ok(snapshot)
    }

    /// Records a refusal and hands its error on. Outages are no refusals.
    ///
    /// # Behaviour
    /// What leads to no session is counted by address, and only the first, the tenth, the hundredth refusal of one is recorded: garbage
    /// costs no I/O. The end of a session is recorded once, however often its tokens are presented.
    pub(super) async fn refuse(&self, refused: Refused, context: &RequestContext) -> Error {
        let Refused { error, snapshot } = refused;
        let kind = match error.kind() {
            ErrorKind::SessionEnded(state) if state.is_timeout() => AuditKind::Expired,
            ErrorKind::SessionEnded(_) | ErrorKind::Superseded | ErrorKind::InvalidToken(_) => AuditKind::Rejected,
            _ => return error,
        };
        if error.kind() == ErrorKind::SessionEnded(State::EpochLost) {
            self.inner.telemetry.incident(Incident::EpochLost);
        }
        // An expired access token is every client's daily business: it is refreshed, neither audited nor counted.
        if error.kind() == ErrorKind::InvalidToken(Rejection::Expired) {
            return error;
        }
        let happening = match &snapshot {
            Some(snapshot) => self.refused_session(kind, error.kind(), snapshot, context),
            None => self.refused_token(context).await,
        };
        let Some(mut happening) = happening else { return error };
        // Whoever presents a refused token is not thereby the user.
        happening.event.actor = context.actor.clone().unwrap_or(Actor::System);
        happening.event.reason = Some(error.kind().as_str().to_owned());
        self.emit_aside(vec![happening]).await;
        error
    }

    /// The event of a token whose session is over or whose generation is, unless it was told of before.
    fn refused_session(
        &self,
        kind: AuditKind,
        why: ErrorKind,
        snapshot: &Snapshot,
        context: &RequestContext,
    ) -> Option<Happening> {
        if !self.listened() {
            return None;
        }
        let mut happening = self.about(kind, &snapshot.session, context);
        // Idle or expired: the event of the clean-up has the same id.
        let detail = if kind == AuditKind::Expired { "" } else { why.as_str() };
        happening.event.id = end_id(kind, detail, &snapshot.session, snapshot.session.created_at);
        self.inner.recent.is_new(happening.event.id).then_some(happening)
    }

    /// Counts a token that leads to no session, and asks the rules; the event if it is one to be recorded.
    async fn refused_token(&self, context: &RequestContext) -> Option<Happening> {
        let now = self.now();
        let noted = self.inner.rejections.note(context.client.ip_address, now);
        self.inner.telemetry.incident(Incident::TokenRejected);
        if !noted.recorded {
            return None;
        }
        if !self.inner.rules.is_empty() {
            let client = self.as_recorded(&context.client);
            let known = Enrichment::default();
            let mut evidence = Evidence::new(Occasion::Rejection, &client, &known, now);
            evidence.rejections = noted.count;
            for (_, rule) in self.raised(&evidence).await {
                let mut happening =
                    Happening { event: self.event(AuditKind::Suspicious, Actor::System, context), session: None };
                happening.event.reason = Some(rule.to_owned());
                happening.event.details.insert("count".to_owned(), json!(noted.count));
                self.emit_aside(vec![happening]).await;
            }
        }
        if !self.listened() {
            return None;
        }
        let mut event = self.event(AuditKind::Rejected, Actor::System, context);
        event.details.insert("count".to_owned(), json!(noted.count));
        Some(Happening { event, session: None })
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

    /// Writes activity down, or notes it for the background work; a failure is reported and does not fail the request.
    async fn note_presence(&self, accepted: &mut Authenticated, now: DateTime<Utc>) {
        let key = accepted.verified.key;
        let written = match (self.inner.verification, &mut accepted.snapshot) {
            (Verification::Always, Some(snapshot)) => self.write_activity(snapshot, now).await,
            _ if !self.inner.notes_activity || self.inner.activity.note(key, now) => Ok(()),
            _ => self.inner.write_seen(&[(key, now)]).await,
        };
        if let Err(error) = written {
            self.inner.telemetry.incident(Incident::ActivityNotWritten);
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
        // Many requests see at once that a note is due: whoever comes after another one's note writes none.
        let touch = Touch::new(snapshot.key(), now, idle_expires_at).unless_seen_after(before(now, interval));
        self.storage.touch(&[touch], now).await?;
        snapshot.control.last_activity = now;
        snapshot.control.idle_expires_at = idle_expires_at;
        Ok(())
    }

    /// One in so many authentications is recorded.
    fn sampled(&self) -> bool {
        let every = self.inner.accessed_every.get();
        every == 1 || self.inner.accessed.fetch_add(1, Ordering::Relaxed).checked_rem(every) == Some(0)
    }

    /// Ends a session by the library's own decision.
    pub(super) async fn end_for(
        &self,
        snapshot: &Snapshot,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<EndedFor> {
        let subject = subject_of(snapshot.key());
        let announced = self.announce_intent(subject).await?;
        let target = RevokeTarget::One { key: snapshot.key(), owner: None };
        let revoked = self.storage.revoke(&Revoke::new(target, reason, Actor::System, self.now())).await?;
        self.announce_done(announced, &[]).await;
        Ok(EndedFor {
            by_this_call: !revoked.sessions.is_empty(),
            unconfirmed: revoked.unconfirmed,
            happenings: self.endings(AuditKind::Revoked, &revoked.sessions, context),
        })
    }
}

/// What became of a session that the library ended.
pub(super) struct EndedFor {
    pub(super) by_this_call: bool,
    /// Done, and not acknowledged by enough replicas.
    pub(super) unconfirmed: bool,
    /// To be told.
    pub(super) happenings: Vec<Happening>,
}

/// Whether an authentication is fresh enough for a sensitive operation.
pub(super) fn require_fresh(
    session: &Arc<crate::session::Session>,
    max_age: std::time::Duration,
    now: DateTime<Utc>,
) -> Result<()> {
    // Who acts in somebody's name has proven who they are, not that they are the user.
    if session.actor.is_none() && session.authentication.is_fresh(max_age, now) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::StepUpRequired, AUTHENTICATE))
    }
}
