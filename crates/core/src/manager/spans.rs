//! The span and the measurement of every operation.

use std::time::Instant;

use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::SessionManager;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{OPERATION_TARGET, Operation};

impl SessionManager {
    /// Does the work inside the operation's span, and tells the telemetry of it.
    pub(super) async fn measure<T>(&self, operation: Operation, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = self.0.measured.then(Instant::now);
        let span = span(operation);
        let outcome = if span.is_disabled() { work.await } else { work.instrument(span.clone()).await };
        let told = outcome.as_ref().map(drop).map_err(Error::kind);
        if !span.is_disabled() {
            record(&span, told);
        }
        if let Some(begun) = begun {
            self.0.telemetry.operation(operation, told, begun.elapsed());
        }
        outcome
    }
}

fn span(operation: Operation) -> Span {
    tracing::debug_span!(
        target: OPERATION_TARGET,
        "session_manager",
        otel.name = operation.span_name(),
        otel.kind = "internal",
        otel.status_code = Empty,
        error.type = Empty,
        operation = operation.as_str(),
        result = Empty,
    )
}

fn record(span: &Span, outcome: Result<(), ErrorKind>) {
    let Err(kind) = outcome else {
        span.record("result", "ok");
        return;
    };
    span.record("result", kind.as_str());
    // A refusal is an answer; these are failures of the service.
    let is_fault = matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Unconfirmed | ErrorKind::Internal | ErrorKind::Misconfigured
    );
    if is_fault {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind.as_str());
    }
}
