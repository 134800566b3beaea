//! The reference with work to do in the background: it notes that it was done.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};
use session_manager_testkit::ReferenceStorage;

#[derive(Debug, Default)]
pub(crate) struct Worker {
    storage: ReferenceStorage,
    worked: AtomicBool,
}

impl Worker {
    /// Whether it worked since it was last asked.
    pub(crate) fn has_worked(&self) -> bool {
        self.worked.swap(false, Ordering::SeqCst)
    }
}

#[async_trait]
impl SessionStorage for Worker {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.storage.try_read(key)
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        self.storage.read(key, consistency).await
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.storage.read_many(keys, consistency).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.storage.insert(request).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.storage.advance(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.storage.update(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.storage.touch(batch, now).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.storage.revoke(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.storage.bump(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.storage.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.storage.list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.storage.count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.storage.purge(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.storage.remember_once(key, now, until).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.storage.check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.storage.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        SessionStorage::scan(&self.storage)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        Some(Box::pin(async { self.worked.store(true, Ordering::SeqCst) }))
    }
}
