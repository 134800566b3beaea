//! Create: enrich, insert under the limit, issue, audit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use futures_util::future::{self, Either};
use serde_json::json;

use super::request::{Created, NewSession, RequestContext};
use super::scope::{Scope, subject_of_user};
use super::verification::Verification;
use crate::audit::AuditKind;
use crate::backend::{IssueContext, TokenPair};
use crate::client::ClientInfo;
use crate::clock::{after, to_millis};
use crate::control::{Control, RevocationReason, Seed};
use crate::enricher::{Enrichment, SessionEnricher};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::policy::PolicyOverrides;
use crate::random::random_u64;
use crate::session::{Authentication, Session};
use crate::snapshot::{SessionRecord, Snapshot};
use crate::storage::{EndedSession, Incarnations, Insert, InsertOutcome, OnLimit, SessionLimit};
use crate::suspicion::Occasion;
use crate::telemetry::Incident;
use crate::user::UserId;

const CREATE: &str = "create";

/// How many authentication methods a session may have.
const METHODS: usize = 16;

impl Scope<'_> {
    pub(super) async fn create(&self, mut new: NewSession, context: &RequestContext) -> Result<Created> {
        self.restrain_impersonation(&mut new);
        let client = self.accept_client(&context.client)?;
        self.accept_new(&new)?;
        self.warn_without_maintenance();
        let enrichment = self.enrich(&client).await;
        let now = self.now();
        let limit = new.overrides.limit.unwrap_or_else(|| self.inner.policy.limit());
        let user = new.user_id.clone();
        let session = self.session(new, client, enrichment, now)?;
        let control = Control::new(Seed::generate(&*self.inner.random)?, now, session.idle_deadline(now));
        let insert = Insert::new(SessionRecord::new(session, control), limit, self.incarnations()?, now);

        let (snapshot, evicted) = self.insert(&insert, &user).await?;
        match self.hand_out(&snapshot, &evicted, context, now).await {
            Ok((snapshot, tokens)) => Ok(Created { snapshot, tokens, evicted }),
            Err(error) => Err(self.undo(&snapshot, error, context).await),
        }
    }

    /// Whoever acts in a user's name does so for a short while, and ends none of the user's own sessions by it.
    fn restrain_impersonation(&self, new: &mut NewSession) {
        if new.actor.is_none() {
            return;
        }
        let policy = &self.inner.policy;
        let lifetime = new.overrides.absolute_lifetime.unwrap_or(policy.absolute_lifetime);
        new.overrides.absolute_lifetime = Some(lifetime.min(policy.impersonation_lifetime));
        if self.storage.capabilities().cap {
            new.overrides.limit = Some(SessionLimit::new(policy.max_sessions, OnLimit::Unlimited));
        }
    }

    /// Stores the session. Whatever is known of the outcome, the subject may be remembered again.
    async fn insert(&self, insert: &Insert, user: &UserId) -> Result<(Snapshot, Vec<EndedSession>)> {
        let evicts = !insert.limit.rejects();
        let announced = if evicts { Some(self.announce_intent(subject_of_user(user)).await?) } else { None };
        let outcome = self.storage.insert(insert).await?;
        if let Some(announced) = announced {
            let evicted = match &outcome {
                InsertOutcome::Inserted { evicted, .. } => evicted.as_slice(),
                _ => &[],
            };
            self.announce_done(announced, evicted).await;
        }
        match outcome {
            InsertOutcome::Inserted { snapshot, evicted } => Ok((snapshot, evicted)),
            InsertOutcome::LimitReached { .. } => Err(Error::new(ErrorKind::LimitReached, CREATE)),
            InsertOutcome::DuplicateId => {
                let message = "another session has this id";
                Err(Error::new(ErrorKind::Conflict, CREATE).because(message).retryable(false))
            }
        }
    }

    /// What stands between a stored session and its user: what it made room by is told, rules judge it, tokens are issued, it is recorded.
    async fn hand_out(
        &self,
        snapshot: &Snapshot,
        evicted: &[EndedSession],
        context: &RequestContext,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, TokenPair)> {
        // First: it has happened, whatever becomes of the new session.
        self.emit(self.endings(AuditKind::Evicted, evicted, context)).await?;
        let mut snapshot = snapshot.clone();
        if !self.inner.rules.is_empty()
            && let Some(stepped) = self.suspect(Occasion::SignIn, &snapshot, context, now).await?
        {
            snapshot = stepped;
        }
        let tokens = self.issue(&snapshot, now).await?;
        self.audit_creation(&snapshot, context).await?;
        Ok((snapshot, tokens))
    }

    /// Issues the tokens of the current generation.
    pub(super) async fn issue(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<TokenPair> {
        let policy = &self.inner.policy;
        let percent = random_u64(&*self.inner.random)? % (u64::from(policy.access_token_jitter).saturating_add(1));
        let kept = u32::try_from(100_u64.saturating_sub(percent)).unwrap_or(100);
        let lifetime = policy.access_token_lifetime.saturating_mul(kept) / 100;
        let expires_at = to_millis(after(now, lifetime)).min(snapshot.token_deadline(now));
        self.inner.backend.issue(snapshot, &IssueContext::new(now, expires_at)).await
    }

    /// Random numbers for epoch records that do not exist yet.
    pub(super) fn incarnations(&self) -> Result<Incarnations> {
        Ok(Incarnations { user: random_u64(&*self.inner.random)?, global: random_u64(&*self.inner.random)? })
    }

    /// A session whose tokens nobody will get is ended; the error that caused it is the one that counts.
    async fn undo(&self, snapshot: &Snapshot, error: Error, context: &RequestContext) -> Error {
        match self.end_for(snapshot, RevocationReason::ISSUE_FAILED, context).await {
            Ok(ended) => self.emit_aside(ended.happenings).await,
            Err(second) => tracing::warn!(error = %second, "a session without tokens could not be ended"),
        }
        match error.kind() {
            ErrorKind::Unconfirmed => {
                error.because("a required audit sink failed, and the new session was ended again")
            }
            _ => error,
        }
    }

    async fn audit_creation(&self, snapshot: &Snapshot, context: &RequestContext) -> Result<()> {
        if !self.listened() {
            return Ok(());
        }
        let mut happening = self.about(AuditKind::Created, &snapshot.session, context);
        if let Some(place) = &snapshot.session.location {
            happening.event.details.insert("location".to_owned(), json!(place.to_string()));
        }
        happening.event.details.insert("methods".to_owned(), json!(snapshot.session.authentication.methods));
        self.emit(vec![happening]).await
    }

    /// Parts that need the background work say nothing of it when it is missing: once, the manager does.
    fn warn_without_maintenance(&self) {
        let inner = self.inner;
        if inner.maintained.swap(true, Ordering::Relaxed) {
            return;
        }
        let parts = [inner.storage.maintenance().is_some(), inner.backend.maintenance().is_some()]
            .into_iter()
            .chain(inner.sinks.iter().map(|sink| sink.backend().maintenance().is_some()))
            .chain(inner.enrichers.iter().map(|enricher| enricher.maintenance().is_some()))
            .chain(inner.bus.iter().map(|bus| bus.maintenance().is_some()));
        if parts.into_iter().any(|needed| needed) {
            tracing::warn!("a part of the session manager needs SessionManager::maintenance(), which nobody has taken");
        }
    }

    fn accept_client(&self, client: &ClientInfo) -> Result<ClientInfo> {
        let policy = &self.inner.policy;
        let mut client = client.clone();
        if let Some(agent) = &mut client.user_agent {
            *agent = printable(agent, policy.limits.user_agent);
        }
        client.user_agent.take_if(|agent| agent.is_empty());
        if policy.require_user_agent && client.user_agent.is_none() {
            return Err(Error::new(ErrorKind::InvalidInput, CREATE).because("a user agent is required"));
        }
        accept_text("device name", client.device_name.as_deref(), policy.limits.device_name)?;
        accept_text("application", client.application.as_deref(), policy.limits.application)?;
        client.ip_address = client.ip_address.map(|address| address.to_canonical());
        Ok(client)
    }

    /// A client in the form in which a session keeps it, so that what is the same compares equal.
    pub(super) fn as_recorded(&self, client: &ClientInfo) -> ClientInfo {
        let policy = &self.inner.policy;
        let mut client = client.clone();
        client.user_agent = client
            .user_agent
            .map(|agent| printable(&agent, policy.limits.user_agent))
            .filter(|agent| !agent.is_empty());
        client.ip_address = client.ip_address.and_then(|address| policy.ip_recording.apply(address.to_canonical()));
        client
    }

    fn accept_new(&self, new: &NewSession) -> Result<()> {
        let policy = &self.inner.policy;
        accept_attributes(&new.attributes, policy.limits.attributes)?;
        if new.methods.len() > METHODS {
            let message = format!("a session has at most {METHODS} authentication methods");
            return Err(Error::new(ErrorKind::InvalidInput, CREATE).because(message));
        }
        let external = new.external.iter().flat_map(|external| [external.issuer.as_str(), external.sid.as_str()]);
        external
            .chain(new.methods.iter().map(String::as_str))
            .chain(new.level.as_deref())
            .try_for_each(|text| accept_text("external id, method or level", Some(text), 255))?;
        if let Some(actor) = &new.actor {
            actor.validate()?;
        }
        self.accept_binding(new.binding.as_ref())?;
        self.accept_idle_timeout(&new.overrides)?;
        if new.overrides.limit.is_some() && !self.storage.capabilities().cap {
            let message = "the storage cannot enforce a limit of sessions";
            return Err(Error::new(ErrorKind::Unsupported, CREATE).because(message));
        }
        policy.overridden(&new.overrides).validate().map_err(|error| {
            Error::new(ErrorKind::InvalidInput, CREATE)
                .because(error.message().unwrap_or("the overrides break the policy").to_owned())
        })
    }

    /// Where activity is written down in rounds, an idle timeout must leave room for them.
    fn accept_idle_timeout(&self, overrides: &PolicyOverrides) -> Result<()> {
        let Some(Some(idle)) = overrides.idle_timeout else { return Ok(()) };
        if self.inner.verification == Verification::Always {
            return Ok(());
        }
        let interval = self.inner.activity_interval();
        if self.inner.notes_activity && idle / 10 >= interval {
            return Ok(());
        }
        let message = match (self.inner.notes_activity, self.inner.verification.as_str()) {
            (false, mode) => format!("with verification {mode} an idle timeout needs build_with_maintenance"),
            (true, mode) => {
                let least = humantime::format_duration(interval.saturating_mul(10));
                format!("with verification {mode} an idle timeout of one session is at least {least}")
            }
        };
        Err(Error::new(ErrorKind::InvalidInput, CREATE).because(message))
    }

    fn session(
        &self,
        new: NewSession,
        client: ClientInfo,
        enrichment: Enrichment,
        now: DateTime<Utc>,
    ) -> Result<Session> {
        let policy = &self.inner.policy;
        let id = SessionId::generate(&new.user_id, now, &*self.inner.random)?;
        let lifetime = new.overrides.absolute_lifetime.unwrap_or(policy.absolute_lifetime);
        let mut session = Session::new(id, new.user_id, now, to_millis(after(now, lifetime)));
        session.idle_timeout = new.overrides.idle_timeout.unwrap_or(policy.idle_timeout);
        session.ip_address = client.ip_address.and_then(|address| policy.ip_recording.apply(address));
        session.user_agent = client.user_agent;
        session.device_name = client.device_name;
        session.application = client.application;
        session.device_info = enrichment.device_info.map(|text| printable(&text, policy.limits.user_agent));
        session.device = enrichment.device;
        session.location = enrichment.location;
        session.attributes = new.attributes;
        // The application's own attributes win over an enricher's, and leave it no more room than there is.
        let mut enriched = enrichment.attributes;
        enriched.extend(session.attributes.clone());
        if accept_attributes(&enriched, policy.limits.attributes).is_ok() {
            session.attributes = enriched;
        } else {
            self.inner.telemetry.incident(Incident::EnricherFailed);
            tracing::warn!("the enrichers' attributes were left out: they take more room than the policy gives");
        }
        // A time in the future would make the authentication fresh for ever.
        session.authentication =
            Authentication::at(to_millis(new.authenticated_at.map_or(now, |at| at.min(now)))).by(new.methods);
        session.authentication.level = new.level;
        session.is_trusted = new.is_trusted;
        session.binding = new.binding;
        session.actor = new.actor;
        session.external = new.external;
        Ok(session)
    }

    /// What the enrichers know, as far as they are in time.
    pub(super) async fn enrich(&self, client: &ClientInfo) -> Enrichment {
        let enrichers = &self.inner.enrichers;
        let mut known = Enrichment::default();
        if enrichers.is_empty() {
            return known;
        }
        let runs = enrichers.iter().map(|enricher| self.enrich_by(enricher, client));
        for learnt in future::join_all(runs).await.into_iter().flatten() {
            known.merge(learnt);
        }
        known
    }

    async fn enrich_by(&self, enricher: &Arc<dyn SessionEnricher>, client: &ClientInfo) -> Option<Enrichment> {
        let mut learnt = Enrichment::default();
        let timer = self.inner.clock.sleep(self.inner.policy.enricher_timeout);
        let outcome = match future::select(enricher.enrich(client, &mut learnt), timer).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Error::new(ErrorKind::Unavailable, "enrich").because("the enricher took too long")),
        };
        match outcome {
            Ok(()) => Some(learnt),
            Err(error) => {
                self.inner.telemetry.incident(Incident::EnricherFailed);
                tracing::warn!(enricher = enricher.name(), %error, "an enricher failed");
                None
            }
        }
    }
}

/// Refuses texts that are too long or hold control characters.
pub(super) fn accept_text(what: &str, text: Option<&str>, limit: usize) -> Result<()> {
    match text {
        Some(text) if text.len() > limit || text.chars().any(char::is_control) => {
            let message = format!("the {what} has at most {limit} bytes and no control characters");
            Err(Error::new(ErrorKind::InvalidInput, "session").because(message))
        }
        _ => Ok(()),
    }
}

/// Refuses attributes that take too much room.
pub(super) fn accept_attributes(attributes: &serde_json::Map<String, serde_json::Value>, limit: usize) -> Result<()> {
    let size = serde_json::to_vec(attributes).map_or(usize::MAX, |json| json.len());
    if size > limit {
        let message = format!("the attributes take at most {limit} bytes as JSON");
        return Err(Error::new(ErrorKind::InvalidInput, "session").because(message));
    }
    Ok(())
}

/// A header's text without control characters, cut at a character boundary: its sender cannot be told of a mistake.
fn printable(text: &str, limit: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(limit));
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len().saturating_add(character.len_utf8()) > limit {
            break;
        }
        kept.push(character);
    }
    kept
}
