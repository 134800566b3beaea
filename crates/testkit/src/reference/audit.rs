//! The plain audit sink: a list.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{AuditBackend, AuditEvent, Result};

use crate::conformance::audit::AuditProbe;

/// The audit sink that keeps every event in memory, once, in the order of recording.
#[derive(Default)]
pub struct ReferenceAudit(Mutex<Vec<AuditEvent>>);

impl ReferenceAudit {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was recorded so far, oldest first.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for ReferenceAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReferenceAudit")
    }
}

#[async_trait]
impl AuditBackend for ReferenceAudit {
    fn name(&self) -> &'static str {
        "reference"
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if held.iter().all(|other| other.id != event.id) {
                held.push(event.clone());
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[async_trait]
impl AuditProbe for ReferenceAudit {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        Some(self.events())
    }
}
