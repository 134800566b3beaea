//! A storage of which one thing is broken: everything else goes to the storage within.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};

/// What a broken storage overrides; the rest is right.
#[async_trait]
pub trait Twist: Send + Sync + Debug {
    /// The storage that does the rest.
    fn inner(&self) -> &dyn SessionStorage;

    /// What every reading of a session looks like.
    fn seen(&self, snapshot: Snapshot) -> Snapshot {
        snapshot
    }

    #[allow(clippy::option_option, reason = "the storage's own answer")]
    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.inner().try_read(key).map(|found| found.map(|snapshot| self.seen(snapshot)))
    }

    async fn read(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let found = self.inner().read(key, Consistency::Latest).await?;
        Ok(found.map(|snapshot| self.seen(snapshot)))
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.inner().insert(request).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.inner().advance(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.inner().update(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.inner().touch(batch, now).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.inner().revoke(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.inner().bump(request).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.inner().list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.inner().count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.inner().purge(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.inner().remember_once(key, now, until).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.inner().feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.inner().scan()
    }
}

/// A broken storage, as a storage.
#[derive(Debug)]
pub struct Twisted<T>(pub(crate) T);

#[async_trait]
impl<T: Twist> SessionStorage for Twisted<T> {
    fn capabilities(&self) -> Capabilities {
        self.0.inner().capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.0.try_read(key)
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        self.0.read(key).await
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        let mut found = Vec::new();
        for key in keys {
            found.push(self.0.read(key).await?);
        }
        Ok(found)
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
        self.0.inner().epochs(user).await
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
        self.0.inner().check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.0.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.0.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.inner().maintenance()
    }
}

/// Declares broken storages with a storage within and some memory of their own.
macro_rules! broken {
    ($($(#[$doc:meta])* $name:ident $(<$memory:ty>)?;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<S> {
            inner: S,
            $(#[allow(dead_code, reason = "not all that is remembered is read")]
            memory: std::sync::Mutex<$memory>,)?
        }

        impl<S: SessionStorage> $name<S> {
            /// Breaks a storage.
            pub fn over(inner: S) -> Twisted<Self> {
                Twisted(Self { inner, $(memory: std::sync::Mutex::<$memory>::default(),)? })
            }
        }
    )* };
}

pub(crate) use broken;
