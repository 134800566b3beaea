//! The plain audit sink: a list.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{Actor, AuditBackend, AuditEvent, ClientInfo, Result, UserId};

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

    async fn erase(&self, person: &UserId) -> Result<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = Actor::User(person.clone());
        let mut erased = 0;
        for event in held.iter_mut() {
            let (is_subject, acted) = (event.user_id.as_ref() == Some(person), event.actor == theirs);
            if !is_subject && !acted {
                continue;
            }
            erased += 1;
            if acted || (is_subject && event.actor == Actor::System) {
                event.client = ClientInfo::new();
            }
            if is_subject {
                event.user_id = None;
            }
            if acted {
                event.actor = Actor::System;
            }
            (event.reason, event.request_id) = (None, None);
            event.details.clear();
        }
        Ok(erased)
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
