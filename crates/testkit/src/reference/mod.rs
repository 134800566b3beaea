//! The naive model of a storage: one lock over plain vectors, scanned from end to end, and so plainly right.

mod audit;
mod backend;
mod epochs;
mod extras;
mod sessions;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Durability, Health, Insert,
    InsertOutcome, Notice, OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch,
    TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{
    Epoch, Epochs, GlobalEpoch, LivePolicy, Result, SessionKey, SessionRecord, SessionStorage, Snapshot, UserId,
};

pub use audit::ReferenceAudit;
pub use backend::ReferenceBackend;

/// The storage that others are compared with. Correct, slow and forgetful: never one for an application.
pub struct ReferenceStorage {
    live: LivePolicy,
    model: Mutex<Model>,
}

/// Everything that a storage remembers.
#[derive(Default)]
struct Model {
    records: Vec<SessionRecord>,
    users: Vec<(UserId, Epoch)>,
    global: Option<GlobalEpoch>,
    once: Vec<(OnceKey, DateTime<Utc>)>,
    notices: Vec<Notice>,
}

impl ReferenceStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self { live: LivePolicy::TRACKED, model: Mutex::default() }
    }

    /// An empty storage that keeps no epochs.
    pub fn without_epochs() -> Self {
        Self { live: LivePolicy::UNTRACKED, model: Mutex::default() }
    }

    fn tracks(&self) -> bool {
        self.live == LivePolicy::TRACKED
    }

    fn with<T>(&self, step: impl FnOnce(&mut Model) -> T) -> T {
        // A check that panicked elsewhere must not turn into failures of all that follow.
        step(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for ReferenceStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReferenceStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReferenceStorage")
    }
}

impl Model {
    fn position(&self, key: &SessionKey) -> Option<usize> {
        self.records.iter().position(|record| record.session.id == key.id)
    }

    fn user_epoch(&self, user: &UserId) -> Option<Epoch> {
        self.users.iter().find(|(of, _)| of == user).map(|(_, epoch)| *epoch)
    }

    fn set_user_epoch(&mut self, user: &UserId, epoch: Epoch) {
        self.users.retain(|(of, _)| of != user);
        self.users.push((user.clone(), epoch));
    }

    fn epochs_of(&self, user: &UserId) -> Epochs {
        Epochs::new(self.user_epoch(user), self.global)
    }

    fn snapshot(&self, at: usize) -> Snapshot {
        let record = self.records[at].clone();
        let epochs = self.epochs_of(&record.session.user_id);
        Snapshot::new(record, epochs)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        (0..self.records.len()).map(|at| self.snapshot(at)).collect()
    }

    fn read(&self, key: &SessionKey) -> Option<Snapshot> {
        self.position(key).map(|at| self.snapshot(at))
    }
}

#[async_trait]
impl SessionStorage for ReferenceStorage {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full(Durability::Volatile);
        capabilities.epochs = self.tracks();
        capabilities
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        Some(self.with(|model| model.read(key)))
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        Ok(self.with(|model| model.read(key)))
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        Ok(self.with(|model| keys.iter().map(|key| model.read(key)).collect()))
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        Ok(self.with(|model| model.insert(request, self.live)))
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        Ok(self.with(|model| model.advance(request, self.live)))
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        Ok(self.with(|model| model.update(request, self.live)))
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        Ok(self.with(|model| model.touch(batch, now, self.live)))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        Ok(self.with(|model| model.revoke(request, self.live)))
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.with(|model| model.bump(request, self.live))
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        Ok(self.with(|model| Epochs::new(user.and_then(|user| model.user_epoch(user)), model.global)))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.with(|model| model.list(query, self.live))
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        Ok(self.with(|model| model.count(query, self.live)))
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        Ok(self.with(|model| model.purge(request, self.live)))
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        Ok(self.with(|model| model.remember_once(key, now, until)))
    }

    async fn check(&self, _: DateTime<Utc>) -> Result<Health> {
        Ok(Health::well())
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(self)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
