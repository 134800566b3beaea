//! The kit's suite for audit sinks, of which nothing can be read back here.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_audit_metrics::MetricsAudit;
use session_manager_core::{AuditBackend, AuditEvent, Result, UserId};
use session_manager_testkit::audit_conformance;
use session_manager_testkit::conformance::audit::AuditProbe;

#[derive(Debug, Default)]
struct Counted(MetricsAudit);

#[async_trait]
impl AuditBackend for Counted {
    fn name(&self) -> &str {
        AuditBackend::name(&self.0)
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        self.0.record(events).await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        AuditBackend::erase(&self.0, person).await
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.maintenance()
    }
}

#[async_trait]
impl AuditProbe for Counted {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        None
    }
}

audit_conformance!(metrics, async || Counted::default(), lacking = [ReadBack, Once, Verbatim, Erasure]);
