//! A shared cache in this process, without a clock: what is put into it stays until the test takes it away, and it can be out of reach.
#![allow(dead_code, reason = "shared by test programs of which not each needs everything")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::{
    Error, ErrorKind, Locator, Result, SessionId, SharedCache, SharedFill, SharedLook, SharedSubject, SharedTicket,
    Snapshot,
};

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    entries: Mutex<HashMap<SessionId, (Snapshot, DateTime<Utc>)>>,
    tombstones: Mutex<HashMap<SharedSubject, Duration>>,
    sequence: AtomicU64,
    is_out: AtomicBool,
    /// Takes anything, as a cache would that knows no tombstones.
    is_credulous: AtomicBool,
}

impl Shelf {
    /// Out of reach, or within it again.
    pub(crate) fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::SeqCst);
    }

    pub(crate) fn credulous() -> Self {
        Self { is_credulous: AtomicBool::new(true), ..Self::default() }
    }

    pub(crate) fn has(&self, id: SessionId) -> bool {
        self.entries.lock().unwrap().contains_key(&id)
    }

    pub(crate) fn tombstone(&self, subject: SharedSubject) -> Option<Duration> {
        self.tombstones.lock().unwrap().get(&subject).copied()
    }

    /// All tombstones have stood long enough.
    pub(crate) fn pass(&self) {
        self.tombstones.lock().unwrap().clear();
    }

    fn reach(&self) -> Result<()> {
        if self.is_out.load(Ordering::SeqCst) { Err(Error::new(ErrorKind::Unavailable, "shelf")) } else { Ok(()) }
    }

    fn is_buried(&self, id: SessionId, locator: Locator) -> bool {
        let key = session_manager_core::SessionKey::new(id, locator);
        self.tombstones.lock().unwrap().keys().any(|subject| subject.concerns(&key))
    }
}

#[async_trait]
impl SharedCache for Shelf {
    async fn look(&self, id: SessionId, locator: Locator) -> Result<SharedLook> {
        self.reach()?;
        if !self.is_credulous.load(Ordering::SeqCst) && self.is_buried(id, locator) {
            return Ok(SharedLook::Buried);
        }
        if let Some((snapshot, read_at)) = self.entries.lock().unwrap().get(&id).cloned() {
            return Ok(SharedLook::Hit { snapshot, read_at });
        }
        Ok(SharedLook::Miss(SharedTicket(self.sequence.fetch_add(1, Ordering::SeqCst))))
    }

    async fn fill(&self, fill: &SharedFill<'_>) -> Result<bool> {
        self.reach()?;
        let session = &fill.snapshot.session;
        let is_buried = self.is_buried(session.id, session.user_id.locator());
        if is_buried && !self.is_credulous.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.entries.lock().unwrap().insert(session.id, (fill.snapshot.clone(), fill.read_at));
        Ok(true)
    }

    async fn bury(&self, subjects: &[SharedSubject], life: Duration) -> Result<()> {
        self.reach()?;
        for subject in subjects {
            self.tombstones.lock().unwrap().insert(*subject, life);
            self.entries.lock().unwrap().retain(|_, (snapshot, _)| !subject.concerns(&snapshot.key()));
        }
        Ok(())
    }
}
