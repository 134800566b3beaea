//! Refresh: prove the token, take the one atomic step, issue; a replay ends the session before the error returns.

use serde_json::json;

use super::authenticate::Refused;
use super::request::{RefreshReplay, Refreshed, RequestContext};
use super::revoke::unconfirmed;
use super::scope::Scope;
use crate::audit::AuditKind;
use crate::control::RevocationReason;
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::snapshot::Snapshot;
use crate::storage::{Advance, AdvanceOutcome, Consistency};
use crate::suspicion::Occasion;
use crate::telemetry::Incident;
use crate::token::TokenKind;

const REFRESH: &str = "refresh";

impl Scope<'_> {
    pub(super) async fn refresh(&self, token: &str, context: &RequestContext) -> Result<Refreshed> {
        match self.step(token, context).await {
            Ok(refreshed) => Ok(refreshed),
            Err(refused) => Err(self.refuse(refused, context).await),
        }
    }

    async fn step(&self, token: &str, context: &RequestContext) -> Result<Refreshed, Refused> {
        let presented = self.inner.backend.parse(TokenKind::Refresh, token)?;
        let now = self.now();
        let (snapshot, verified) = self.prove(&presented, Consistency::Latest, now).await?;
        self.require_possession(snapshot.session.binding.as_ref(), None, context, now).await?;
        if !self.inner.rules.is_empty() && snapshot.state(now, self.inner.live).is_live() {
            // A step-up that was asked for changes no generation; the refresh goes on and its session says so.
            self.suspect(Occasion::Refresh, &snapshot, context, now).await?;
        }
        let advance = Advance::new(snapshot.key(), verified.generation, self.inner.policy.refresh_grace, now);
        let (snapshot, converged) = match self.storage.advance(&advance).await? {
            AdvanceOutcome::Advanced(snapshot) => (snapshot, false),
            AdvanceOutcome::Converge(snapshot) => (snapshot, true),
            AdvanceOutcome::Ahead(snapshot) => {
                self.report_rollback(&snapshot, verified.generation, context).await?;
                (snapshot, false)
            }
            AdvanceOutcome::Behind(snapshot) => {
                return Err(self.end_replayed(&snapshot, verified.generation, context).await.into());
            }
            AdvanceOutcome::BelowFloor(snapshot) => return Err(Refused::of(ErrorKind::Superseded, REFRESH, snapshot)),
            AdvanceOutcome::Ended(state, snapshot) => {
                return Err(Refused::of(ErrorKind::SessionEnded(state), REFRESH, snapshot));
            }
            AdvanceOutcome::Missing => return Err(Rejection::UnknownSession.into()),
        };
        let tokens = self.issue(&snapshot, now).await?;
        if self.listened() {
            let mut happening = self.about(AuditKind::Refreshed, &snapshot.session, context);
            happening.event.details.insert("generation".to_owned(), json!(snapshot.control.generation));
            happening.event.details.insert("converged".to_owned(), json!(converged));
            self.emit(vec![happening]).await?;
        }
        Ok(Refreshed { snapshot, tokens, converged })
    }

    /// Ends the session of a replayed token. Only the call that ended it reports the replay: however many replays race, one report.
    async fn end_replayed(&self, snapshot: &Snapshot, presented: u64, context: &RequestContext) -> Error {
        let ended = match self.end_for(snapshot, RevocationReason::REFRESH_REPLAY, context).await {
            Ok(ended) => ended,
            Err(error) => return error,
        };
        if ended.by_this_call && self.listened() {
            let mut happening = self.about(AuditKind::Suspicious, &snapshot.session, context);
            happening.event.reason = Some(RefreshReplay::of(snapshot, presented).as_str().to_owned());
            happening.event.details.insert("presented_generation".to_owned(), json!(presented));
            happening.event.details.insert("current_generation".to_owned(), json!(snapshot.control.generation));
            let mut happenings = ended.happenings;
            happenings.push(happening);
            // The session has ended all the same, and a required sink is owed what it could not take.
            self.emit_aside(happenings).await;
        }
        if ended.unconfirmed {
            return unconfirmed(REFRESH);
        }
        Error::new(ErrorKind::ReplayDetected, REFRESH)
    }

    async fn report_rollback(&self, snapshot: &Snapshot, presented: u64, context: &RequestContext) -> Result<()> {
        tracing::error!(generation = presented, "the storage had lost a refresh: was it restored or failed over?");
        self.inner.telemetry.incident(Incident::StorageRollback);
        if !self.listened() {
            return Ok(());
        }
        let mut happening = self.about(AuditKind::Suspicious, &snapshot.session, context);
        happening.event.reason = Some("storage_rollback".to_owned());
        happening.event.details.insert("presented_generation".to_owned(), json!(presented));
        self.emit(vec![happening]).await
    }
}
