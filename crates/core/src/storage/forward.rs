//! A reference, box or arc of a storage is a storage.
#![deny(clippy::missing_trait_methods)]
#![allow(clippy::option_option, reason = "the trait's own shape")]

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use super::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, SessionStorage, Touch,
    TouchReport, Update, UpdateOutcome,
};
use crate::epoch::Epochs;
use crate::error::Result;
use crate::id::SessionKey;
use crate::snapshot::Snapshot;
use crate::user::UserId;

macro_rules! forward {
    ($($pointer:ty),*) => { $(
        #[async_trait]
        impl<S: SessionStorage + ?Sized> SessionStorage for $pointer {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
                (**self).try_read(key)
            }
            async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
                (**self).read(key, consistency).await
            }
            async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
                (**self).read_many(keys, consistency).await
            }
            async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
                (**self).insert(request).await
            }
            async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
                (**self).advance(request).await
            }
            async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
                (**self).update(request).await
            }
            async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
                (**self).touch(batch, now).await
            }
            async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
                (**self).revoke(request).await
            }
            async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
                (**self).bump(request).await
            }
            async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
                (**self).epochs(user).await
            }
            async fn list(&self, query: &Query) -> Result<Page> {
                (**self).list(query).await
            }
            async fn count(&self, query: &Query) -> Result<Count> {
                (**self).count(query).await
            }
            async fn purge(&self, request: &Purge) -> Result<Purged> {
                (**self).purge(request).await
            }
            async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
                (**self).remember_once(key, now, until).await
            }
            async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
                (**self).check(now).await
            }
            fn feed(&self) -> Option<&dyn RevocationFeed> {
                (**self).feed()
            }
            fn scan(&self) -> Option<&dyn SessionScan> {
                (**self).scan()
            }
            fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
                (**self).maintenance()
            }
        }
    )* };
}

forward!(&S, Box<S>, Arc<S>);
