//! [`LogAudit`]: one `tracing` event for each audit event.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::SecondsFormat;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use session_manager_core::{AuditBackend, AuditEvent, AuditKind, Result, UserId};
use tracing::Level;

use crate::text::{escape, safe};

/// The target of every event, for filters: `session_manager::audit=info`.
pub const TARGET: &str = "session_manager::audit";

/// Writes each audit event as exactly one structured `tracing` event.
///
/// # Behaviour
/// - Neither method fails or waits: the application's subscriber decides where events go. [`flush`](AuditBackend::flush) cannot reach
///   it; a subscriber that buffers is flushed by the application.
/// - Fields that have nothing to say are left out.
///
/// # Security
/// Text is escaped so that no value splits a line, whatever the subscriber does, and a run of more than 64 token characters is shown
/// as `[redacted]`. Only `user_id` and `actor`, which the application itself chooses, are always shown whole: the trail must say who. It is
/// meant for people and log pipelines, not for reading values back.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAudit;

impl LogAudit {
    /// A sink.
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl AuditBackend for LogAudit {
    fn name(&self) -> &'static str {
        "log"
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        events.iter().for_each(write);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn erase(&self, _: &UserId) -> Result<u64> {
        Ok(0)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// The level that events of this kind are written at.
pub const fn level(kind: AuditKind) -> Level {
    match kind {
        AuditKind::Accessed => Level::DEBUG,
        AuditKind::Revoked | AuditKind::Evicted | AuditKind::Rejected | AuditKind::Rotated => Level::WARN,
        AuditKind::Suspicious => Level::ERROR,
        // Created, Refreshed, Reauthenticated, Updated, Expired, Deleted, and kinds that are yet to come.
        _ => Level::INFO,
    }
}

/// A level is part of a `tracing` callsite, so there is one callsite a level.
macro_rules! emit {
    ($level:expr, $event:expr) => {{
        let event: &AuditEvent = $event;
        tracing::event!(
            target: TARGET,
            $level,
            event_id = %event.id,
            kind = event.kind.as_str(),
            at = %event.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            session_id = event.session_id.map(tracing::field::display),
            user_id = event.user_id.as_ref().map(|user| escape(user.as_str())).as_deref(),
            actor = &*escape(&event.actor.to_string()),
            ip_address = event.client.ip_address.map(tracing::field::display),
            user_agent = event.client.user_agent.as_deref().map(safe).as_deref(),
            device_name = event.client.device_name.as_deref().map(safe).as_deref(),
            application = event.client.application.as_deref().map(safe).as_deref(),
            hints = hints(&event.client.hints).as_deref(),
            reason = event.reason.as_deref().map(safe).as_deref(),
            request_id = event.request_id.as_deref().map(safe).as_deref(),
            details = details(&event.details).as_deref(),
            "session audit event"
        );
    }};
}

fn write(event: &AuditEvent) {
    match level(event.kind) {
        Level::ERROR => emit!(Level::ERROR, event),
        Level::WARN => emit!(Level::WARN, event),
        Level::INFO => emit!(Level::INFO, event),
        Level::DEBUG | Level::TRACE => emit!(Level::DEBUG, event),
    }
}

fn hints(hints: &BTreeMap<String, String>) -> Option<String> {
    if hints.is_empty() { None } else { json(hints) }
}

fn details(details: &Map<String, Value>) -> Option<String> {
    if details.is_empty() { None } else { json(details) }
}

/// Names and texts cannot fail to become JSON.
fn json(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_string(value).ok().map(|text| safe(&text).into_owned())
}
