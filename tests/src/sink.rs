//! An audit sink that remembers, and fails when told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{AuditBackend, AuditEvent, AuditKind, Error, ErrorKind, Result, UserId};

/// Remembers every event.
#[derive(Debug, Default)]
pub struct RememberingSink {
    name: Option<&'static str>,
    events: Mutex<Vec<AuditEvent>>,
    failing: AtomicBool,
}

impl RememberingSink {
    /// A sink with a name of its own.
    pub fn named(name: &'static str) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// Everything recorded so far.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.events.lock().unwrap().clone()
    }

    /// The kinds recorded so far, in order.
    pub fn kinds(&self) -> Vec<AuditKind> {
        self.events().iter().map(|event| event.kind).collect()
    }

    /// How many of a kind there are.
    pub fn count(&self, kind: AuditKind) -> usize {
        self.kinds().iter().filter(|found| **found == kind).count()
    }

    /// The last event.
    pub fn last(&self) -> AuditEvent {
        self.events().pop().expect("something was recorded")
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.events.lock().unwrap().clear();
    }

    /// Fails from now on, or no longer.
    pub fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }
}

#[async_trait]
impl AuditBackend for RememberingSink {
    fn name(&self) -> &'static str {
        self.name.unwrap_or("remembering")
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "audit"));
        }
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "audit"));
        }
        let mut events = self.events.lock().unwrap();
        let before = events.len();
        events.retain(|event| event.user_id.as_ref() != Some(person));
        Ok(u64::try_from(before - events.len()).unwrap())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
