//! Telling sinks and observers what happened. What a required sink could not take is owed to it and told before anything else.

use std::sync::{Arc, Mutex, PoisonError};

use super::Inner;
use crate::audit::{AuditBackend, AuditEvent, Delivery};
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::telemetry::Incident;
use crate::user::UserId;

/// How many events are kept for a required sink that fails. They are lost with the process: no operation was acknowledged with them.
const OWED: usize = 10_000;

/// An audit event with the session it is about.
pub(super) struct Happening {
    pub(super) event: AuditEvent,
    pub(super) session: Option<Arc<Session>>,
}

/// A sink, and what it has still to be told.
pub(super) struct Sink {
    backend: Arc<dyn AuditBackend>,
    delivery: Delivery,
    owed: Mutex<Vec<AuditEvent>>,
}

impl Sink {
    pub(super) fn new(backend: Arc<dyn AuditBackend>, delivery: Delivery) -> Self {
        Self { backend, delivery, owed: Mutex::default() }
    }

    pub(super) fn backend(&self) -> &dyn AuditBackend {
        &*self.backend
    }

    pub(super) fn is_required(&self) -> bool {
        self.delivery == Delivery::Required
    }

    /// Records what is owed and then these. What was not recorded, also because the future was dropped, is owed from then on.
    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        let mut all = std::mem::take(&mut *self.owed());
        all.extend_from_slice(events);
        if all.is_empty() {
            return Ok(());
        }
        let mut unrecorded = Unrecorded { sink: self, events: all };
        self.backend.record(&unrecorded.events).await?;
        unrecorded.events.clear();
        Ok(())
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, Vec<AuditEvent>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events on their way to a sink.
struct Unrecorded<'a> {
    sink: &'a Sink,
    events: Vec<AuditEvent>,
}

impl Drop for Unrecorded<'_> {
    fn drop(&mut self) {
        if self.events.is_empty() || !self.sink.is_required() {
            return;
        }
        let mut owed = self.sink.owed();
        // Others may have come to owe something meanwhile.
        self.events.append(&mut owed);
        let excess = self.events.len().saturating_sub(OWED);
        if excess > 0 {
            tracing::error!(sink = self.sink.backend.name(), lost = excess, "a required audit sink fails for too long");
            self.events.drain(..excess);
        }
        *owed = std::mem::take(&mut self.events);
    }
}

impl Inner {
    /// Tells sinks, only those that are not required where `joined` others have recorded for them, and observers.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`] when a required sink failed; the events are owed to it.
    pub(super) async fn deliver(&self, happenings: &[Happening], joined: bool) -> Result<()> {
        let mut outcome = Ok(());
        if !self.sinks.is_empty() {
            let events: Vec<AuditEvent> = happenings.iter().map(|happening| happening.event.clone()).collect();
            for sink in self.sinks.iter().filter(|sink| !(joined && sink.is_required())) {
                let Err(error) = sink.record(&events).await else { continue };
                self.telemetry.incident(Incident::AuditSinkFailed);
                let name = sink.backend.name();
                tracing::warn!(sink = name, required = sink.is_required(), %error, events = events.len(), "an audit sink failed");
                if sink.is_required() {
                    let message = "the change was made, but a required audit sink failed";
                    outcome = Err(Error::new(ErrorKind::Unconfirmed, "audit").because(message).with_source(error));
                }
            }
        }
        for observer in &self.observers {
            for happening in happenings {
                observer.observe(&happening.event, happening.session.as_ref()).await;
            }
        }
        outcome
    }

    /// Tells every sink what it is owed, and makes all of them safe what they know. Tries each, whatever fails before it.
    ///
    /// # Errors
    /// The first required sink's, or else the first one's.
    pub(super) async fn flush(&self) -> Result<()> {
        let mut failed: Option<(bool, Error)> = None;
        for sink in &self.sinks {
            let outcome = match sink.record(&[]).await {
                Ok(()) => sink.backend.flush().await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                self.telemetry.incident(Incident::AuditSinkFailed);
                tracing::warn!(sink = sink.backend.name(), %error, "an audit sink could not be flushed");
                if failed.as_ref().is_none_or(|(required, _)| sink.is_required() && !required) {
                    failed = Some((sink.is_required(), error));
                }
            }
        }
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Erases a user from what every sink holds and is owed. Tries each, whatever fails before it.
    ///
    /// # Errors
    /// The first one's: what is not erased must not be taken for erased, whether the sink is required or not.
    pub(super) async fn erase(&self, user: &UserId) -> Result<u64> {
        let (mut erased, mut failed) = (0_u64, None);
        for sink in &self.sinks {
            let outcome = match sink.record(&[]).await {
                Ok(()) => sink.backend.erase(user).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(events) => erased = erased.saturating_add(events),
                Err(error) => {
                    self.telemetry.incident(Incident::AuditSinkFailed);
                    tracing::warn!(sink = sink.backend.name(), %error, "a user could not be erased from an audit sink");
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(erased), Err)
    }
}
