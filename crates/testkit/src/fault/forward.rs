//! Every method of a storage, its feed and its scan, with the hook around it.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the storage's own")]
#![allow(clippy::as_conversions, reason = "a cast to a trait object loses nothing")]

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, FeedBatch, FeedCursor, Health,
    Insert, InsertOutcome, Notice, OnceKey, Page, Purge, Purged, PutOutcome, Query, RevocationFeed, Revoke, Revoked,
    ScanCursor, ScanPage, SessionScan, Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, Error, ErrorKind, Result, SessionKey, SessionStorage, Snapshot, UserId};

use super::hooked::{Around, Hook, Hooked};
use super::method::Method;

#[async_trait]
impl<S: SessionStorage, H: Hook> SessionStorage for Hooked<S, H> {
    fn capabilities(&self) -> Capabilities {
        self.parts().storage.capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        let this = self.parts();
        if this.hook.try_read() { this.storage.try_read(key) } else { None }
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        let this = self.parts();
        this.around(Method::Read, this.storage.read(key, consistency)).await
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        let this = self.parts();
        this.around(Method::ReadMany, this.storage.read_many(keys, consistency)).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let this = self.parts();
        this.around(Method::Insert, this.storage.insert(request)).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let this = self.parts();
        this.around(Method::Advance, this.storage.advance(request)).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let this = self.parts();
        this.around(Method::Update, this.storage.update(request)).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let this = self.parts();
        this.around(Method::Touch, this.storage.touch(batch, now)).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let this = self.parts();
        this.around(Method::Revoke, this.storage.revoke(request)).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        let this = self.parts();
        this.around(Method::Bump, this.storage.bump(request)).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        let this = self.parts();
        this.around(Method::Epochs, this.storage.epochs(user)).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let this = self.parts();
        this.around(Method::List, this.storage.list(query)).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        let this = self.parts();
        this.around(Method::Count, this.storage.count(query)).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let this = self.parts();
        this.around(Method::Purge, this.storage.purge(request)).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let this = self.parts();
        this.around(Method::RememberOnce, this.storage.remember_once(key, now, until)).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        let this = self.parts();
        this.around(Method::Check, this.storage.check(now)).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        let this = self.parts();
        this.storage.feed().map(|_| this as &dyn RevocationFeed)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        let this = self.parts();
        this.storage.scan().map(|_| this as &dyn SessionScan)
    }

    /// A failure ends the future, before its work or after it.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        let this = self.parts();
        let work = this.storage.maintenance()?;
        let done = work.map(Ok).boxed();
        Some(this.around(Method::Maintenance, done).map(drop).boxed())
    }
}

#[async_trait]
impl<S: SessionStorage, H: Hook> RevocationFeed for Around<S, H> {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.around(Method::Announce, feed(&self.storage)?.announce(notices)).await
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        self.around(Method::Since, feed(&self.storage)?.since(cursor, limit, now)).await
    }

    fn retention(&self) -> Option<Duration> {
        self.storage.feed()?.retention()
    }
}

#[async_trait]
impl<S: SessionStorage, H: Hook> SessionScan for Around<S, H> {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        self.around(Method::Scan, scan(&self.storage)?.scan(cursor, limit)).await
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        self.around(Method::Put, scan(&self.storage)?.put(snapshot)).await
    }
}

/// A storage whose feed went away after it was seen answers as one that never had any.
fn feed(storage: &impl SessionStorage) -> Result<&dyn RevocationFeed> {
    storage.feed().ok_or_else(|| Error::new(ErrorKind::Unsupported, "feed"))
}

fn scan(storage: &impl SessionStorage) -> Result<&dyn SessionScan> {
    storage.scan().ok_or_else(|| Error::new(ErrorKind::Unsupported, "scan"))
}
