//! The conformance suite for audit sinks: what is written to a log, as JSON, read back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::Value;
use session_manager_audit_log::LogAudit;
use session_manager_core::{Actor, AuditBackend, AuditEvent, AuditKind, ClientInfo, Result, UserId};
use session_manager_testkit::audit_conformance;
use session_manager_testkit::conformance::audit::AuditProbe;
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Level};

/// What the subscriber wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sink with a log of its own.
struct Logged {
    sink: LogAudit,
    log: Log,
    subscriber: Dispatch,
}

impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.sink, f)
    }
}

async fn fresh() -> Logged {
    let log = Log::default();
    let writer = log.clone();
    // One call of the writer is one line, so that lines of several threads are not mixed.
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(move || writer.clone());
    Logged { sink: LogAudit::new(), log, subscriber: Dispatch::new(subscriber.finish()) }
}

#[async_trait]
impl AuditBackend for Logged {
    fn name(&self) -> &str {
        self.sink.name()
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        self.sink.record(events).with_subscriber(self.subscriber.clone()).await
    }

    async fn flush(&self) -> Result<()> {
        self.sink.flush().await
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        AuditBackend::erase(&self.sink, person).await
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.sink.maintenance()
    }
}

#[async_trait]
impl AuditProbe for Logged {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        Some(text.lines().map(|line| event(&serde_json::from_str::<Value>(line).unwrap()["fields"])).collect())
    }
}

/// The event that a line tells of.
fn event(fields: &Value) -> AuditEvent {
    let text = |name: &str| fields.get(name).map(|value| value.as_str().unwrap().to_owned());
    let kind = AuditKind::ALL.into_iter().find(|kind| Some(kind.as_str()) == fields["kind"].as_str()).unwrap();
    let at = text("at").unwrap().parse().unwrap();
    let actor = Actor::parse(&text("actor").unwrap()).unwrap();
    let mut event = AuditEvent::new(text("event_id").unwrap().parse().unwrap(), kind, at, actor);
    event.session_id = text("session_id").map(|id| id.parse().unwrap());
    event.user_id = text("user_id").map(|id| UserId::parse(&id).unwrap());
    event.client = ClientInfo::new();
    event.client.ip_address = text("ip_address").map(|address| address.parse().unwrap());
    event.client.user_agent = text("user_agent");
    event.client.device_name = text("device_name");
    event.client.application = text("application");
    event.client.hints = text("hints").map(|hints| serde_json::from_str(&hints).unwrap()).unwrap_or_default();
    event.reason = text("reason");
    event.request_id = text("request_id");
    event.details = text("details").map(|details| serde_json::from_str(&details).unwrap()).unwrap_or_default();
    event
}

// A log is a stream: it holds what it is told as often as it is told, and its text is escaped for whoever reads it.
audit_conformance!(log, fresh, lacking = [Once, Verbatim, Erasure]);
