//! Suspicion: ask the rules, and do what the strictest says.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::request::RequestContext;
use super::scope::Scope;
use crate::audit::AuditKind;
use crate::client::ClientInfo;
use crate::control::RevocationReason;
use crate::enricher::Enrichment;
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::session::Session;
use crate::snapshot::{Snapshot, State};
use crate::storage::{SessionPatch, Update, UpdateOutcome};
use crate::suspicion::{Evidence, Occasion, SuspicionAction};
use crate::telemetry::Incident;

const SUSPECT: &str = "authenticate";

/// How often a step-up is asked for again when others are faster.
const ATTEMPTS: u32 = 16;

/// What enrichers know of a client that is still as it was at sign-in, so that they are not asked again at every request.
fn learnt_at_sign_in(session: &Session, recorded: &ClientInfo, client: &ClientInfo) -> Option<Enrichment> {
    let is_same = session.ip_address == recorded.ip_address && session.user_agent == recorded.user_agent;
    // An address that is not recorded may have changed.
    let is_comparable = recorded.ip_address.is_some() || client.ip_address.is_none();
    (is_same && is_comparable).then(|| Enrichment {
        device_info: session.device_info.clone(),
        device: session.device.clone(),
        location: session.location.clone(),
        attributes: session.attributes.clone(),
    })
}

impl Scope<'_> {
    /// Asks the suspicion rules about a session, records what each says, and does what the strictest does. Returns the session where that
    /// changed it.
    pub(super) async fn suspect(
        &self,
        occasion: Occasion,
        snapshot: &Snapshot,
        context: &RequestContext,
        now: DateTime<Utc>,
    ) -> Result<Option<Snapshot>> {
        let session = &snapshot.session;
        let client = self.as_recorded(&context.client);
        let known = match learnt_at_sign_in(session, &client, &context.client) {
            Some(known) => known,
            None => self.enrich(&context.client).await,
        };
        let mut evidence = Evidence::new(occasion, &client, &known, now);
        evidence.session = Some(session);
        evidence.last_activity = Some(snapshot.control.last_activity);
        evidence.rejections = self.inner.rejections.count(context.client.ip_address, now);
        let raised = self.raised(&evidence).await;
        let Some(strictest) = raised.iter().map(|(action, _)| *action).max() else { return Ok(None) };
        let happenings = raised.into_iter().map(|(action, name)| {
            let mut happening = self.about(AuditKind::Suspicious, session, context);
            happening.event.reason = Some(name.to_owned());
            happening.event.details.insert("action".to_owned(), json!(action.as_str()));
            happening
        });
        self.emit(happenings.collect()).await?;
        match strictest {
            SuspicionAction::Record => Ok(None),
            SuspicionAction::StepUp => self.demand_step_up(snapshot, now).await.map(Some),
            SuspicionAction::Revoke => {
                let ended = self.end_for(snapshot, RevocationReason::SUSPICIOUS, context).await?;
                self.emit(ended.happenings).await?;
                Err(Error::new(ErrorKind::SessionEnded(State::Revoked), SUSPECT))
            }
        }
    }

    /// What the rules say, in their order; one that fails says nothing.
    pub(super) async fn raised(&self, evidence: &Evidence<'_>) -> Vec<(SuspicionAction, &'static str)> {
        let mut raised = Vec::new();
        for rule in &self.inner.rules {
            match rule.judge(evidence).await {
                Ok(Some(action)) => raised.push((action, rule.name())),
                Ok(None) => {}
                Err(error) => {
                    self.inner.telemetry.incident(Incident::RuleFailed);
                    tracing::warn!(rule = rule.name(), %error, "a suspicion rule failed");
                }
            }
        }
        raised
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
