//! A storage of which every read may come from the cache: on one node, through which all changes go, nobody must notice.
#![allow(dead_code, reason = "shared by test programs of which not each needs everything")]

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};
use session_manager_storage_tiered::TieredStorage;

#[derive(Debug)]
pub(crate) struct Eventually(pub(crate) TieredStorage);

#[async_trait]
impl SessionStorage for Eventually {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn try_read(&self, _: &SessionKey) -> Option<Option<Snapshot>> {
        None
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        // Twice: what the first remembers the second must answer just so.
        let first = self.0.read(key, Consistency::Eventual).await?;
        if let Some(snapshot) = &first {
            return self.0.read(&snapshot.key(), Consistency::Eventual).await;
        }
        Ok(first)
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.0.read_many(keys, Consistency::Eventual).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.0.insert(request).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.0.advance(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.0.update(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.0.touch(batch, now).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.0.revoke(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.0.bump(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.0.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.0.list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.0.count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.0.purge(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.0.remember_once(key, now, until).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.0.check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.0.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.0.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.maintenance()
    }
}
