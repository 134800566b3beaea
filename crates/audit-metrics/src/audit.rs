//! The sink and the telemetry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use metrics::Recorder;
use session_manager_core::{AuditBackend, AuditEvent, ErrorKind, Incident, Operation, Result, Telemetry, UserId};

use crate::names::{EVENTS, INCIDENTS, NONE, OPERATIONS, OTHER, reasons};
use crate::series::{Series, Source};

/// Counts what happens to sessions, and measures operations.
///
/// It is an [`AuditBackend`] and a [`Telemetry`]; clones share their series, so that one can be given as both.
///
/// # Behaviour
/// - Nothing fails or waits. A series is registered when it is first needed, and from then on only counted.
/// - No label has a value from outside: `kind`, `operation`, `result` and `incident` are core's own names, and a `reason` that is neither
///   core's nor [known](Self::knowing) is `other`. No user, session, address or text is ever a label.
#[derive(Clone, Debug)]
pub struct MetricsAudit {
    series: Arc<Series>,
    reasons: Arc<HashSet<String>>,
}

impl MetricsAudit {
    /// Over the recorder of the process. Install it before the first operation: a series stays with the recorder it was first counted in.
    pub fn new() -> Self {
        Self::over(Source::Global)
    }

    /// Over a recorder of the application's.
    pub fn with_recorder(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self::over(Source::Own(recorder))
    }

    fn over(source: Source) -> Self {
        Self { series: Arc::new(Series::new(source)), reasons: Arc::new(reasons().collect()) }
    }

    /// Also counts these reasons by their own names: the application's own reasons for revocations, and the names of its suspicion rules.
    ///
    /// # Security
    /// Only fixed names, never what somebody has typed.
    pub fn knowing<I: IntoIterator<Item = S>, S: Into<String>>(mut self, reasons: I) -> Self {
        Arc::make_mut(&mut self.reasons).extend(reasons.into_iter().map(Into::into));
        self
    }

    pub(crate) fn series(&self) -> &Series {
        &self.series
    }

    fn count(&self, event: &AuditEvent) {
        let reason = event.reason.as_deref();
        if reason.is_none()
            && let Some(counter) = self.series.event(event.kind)
        {
            return counter.increment(1);
        }
        let reason = reason.map_or(NONE, |reason| if self.reasons.contains(reason) { reason } else { OTHER });
        self.series.count(EVENTS, ("kind", event.kind.as_str()), Some(("reason", reason)));
    }
}

impl Default for MetricsAudit {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl AuditBackend for MetricsAudit {
    fn name(&self) -> &'static str {
        "metrics"
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        for event in events {
            self.count(event);
        }
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

impl Telemetry for MetricsAudit {
    fn operation(&self, operation: Operation, outcome: Result<(), ErrorKind>, elapsed: Duration) {
        let usual = self.series.usual(operation);
        if let Some((_, seconds)) = usual {
            seconds.record(elapsed.as_secs_f64());
        }
        match (outcome, usual) {
            (Ok(()), Some((ok, _))) => ok.increment(1),
            (outcome, _) => {
                let result = outcome.map_or_else(ErrorKind::as_str, |()| "ok");
                self.series.count(OPERATIONS, ("operation", operation.as_str()), Some(("result", result)));
            }
        }
    }

    fn incident(&self, incident: Incident) {
        self.series.count(INCIDENTS, ("incident", incident.as_str()), None);
    }
}
