//! Suspicion: ask the rules, and do what the strictest says.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::request::RequestContext;
use super::scope::Scope;
use crate::audit::AuditKind;
use crate::control::RevocationReason;
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::snapshot::{Snapshot, State};
use crate::storage::{SessionPatch, Update, UpdateOutcome};
use crate::suspicion::{Evidence, Occasion, SuspicionAction};
use crate::telemetry::Incident;

const SUSPECT: &str = "authenticate";

/// How often a step-up is asked for again when others are faster.
const ATTEMPTS: u32 = 16;

impl Scope<'_> {
    /// Asks the suspicion rules about a session and does what the strictest says. Returns the session where that changed it.
    pub(super) async fn suspect(
        &self,
        occasion: Occasion,
        snapshot: &Snapshot,
        context: &RequestContext,
        now: DateTime<Utc>,
    ) -> Result<Option<Snapshot>> {
        let session = &snapshot.session;
        let client = self.as_recorded(&context.client);
        let known = self.enrich(&context.client).await;
        let evidence = Evidence {
            occasion,
            session: Some(session),
            client: &client,
            known: &known,
            last_activity: Some(snapshot.control.last_activity),
            rejections: self.inner.rejections.count(context.client.ip_address, now),
            now,
        };
        let Some((action, name)) = self.strictest(&evidence).await else { return Ok(None) };
        let mut happening = self.about(AuditKind::Suspicious, session, context);
        happening.event.reason = Some(name.to_owned());
        happening.event.details.insert("action".to_owned(), json!(format!("{action:?}").to_lowercase()));
        self.emit(vec![happening]).await?;
        match action {
            SuspicionAction::Record => Ok(None),
            SuspicionAction::StepUp => self.demand_step_up(snapshot, now).await.map(Some),
            SuspicionAction::Revoke => {
                let ended = self.end_for(snapshot, RevocationReason::SUSPICIOUS, context).await?;
                self.emit(ended.happenings).await?;
                Err(Error::new(ErrorKind::SessionEnded(State::Revoked), SUSPECT))
            }
        }
    }

    pub(super) async fn strictest(&self, evidence: &Evidence<'_>) -> Option<(SuspicionAction, &'static str)> {
        let mut strictest: Option<(SuspicionAction, &'static str)> = None;
        for rule in &self.inner.rules {
            match rule.judge(evidence).await {
                Ok(Some(action)) if strictest.is_none_or(|(worst, _)| action > worst) => {
                    strictest = Some((action, rule.name()));
                }
                Ok(_) => {}
                Err(error) => {
                    self.inner.telemetry.incident(Incident::RuleFailed);
                    tracing::warn!(rule = rule.name(), %error, "a suspicion rule failed");
                }
            }
        }
        strictest
    }

    /// Asks for a step-up; whoever changes the session meanwhile is waited for.
    async fn demand_step_up(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<Snapshot> {
        let mut snapshot = snapshot.clone();
        for _ in 0..ATTEMPTS {
            let mut authentication = snapshot.session.authentication.clone();
            if authentication.step_up_since.is_some_and(|since| since >= authentication.at) {
                return Ok(snapshot);
            }
            authentication.step_up_since = Some(now.max(authentication.at));
            let mut patch = SessionPatch::new();
            patch.authentication = Some(authentication);
            snapshot =
                match self.storage.update(&Update::new(snapshot.key(), snapshot.control.version, patch, now)).await? {
                    UpdateOutcome::Updated(snapshot) => return Ok(snapshot),
                    UpdateOutcome::Conflict(current) => current,
                    UpdateOutcome::Ended(state, _) => {
                        return Err(Error::new(ErrorKind::SessionEnded(state), SUSPECT));
                    }
                    UpdateOutcome::Missing => return Err(Rejection::UnknownSession.into()),
                };
        }
        Err(Error::new(ErrorKind::Conflict, SUSPECT))
    }
}
