//! The durable storage's feed and scan, with the cache listening in.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{
    FeedBatch, FeedCursor, Notice, PutOutcome, RevocationFeed, ScanCursor, ScanPage, SessionScan,
};
use session_manager_core::{Error, ErrorKind, Result, SharedSubject, Snapshot};

use crate::effect::Tell;
use crate::tiers::{Tiers, about};

#[async_trait]
impl RevocationFeed for Tiers {
    /// # Behaviour
    /// This node heeds the notices before anybody else can. Publishing them on a bus is the caller's business.
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        let now = self.source.clock.now();
        for notice in notices {
            self.source.cache.hear(notice, now);
        }
        // Whoever announces may be about to change something past this storage: in the application's own transaction.
        let mut subjects: Vec<_> = notices.iter().map(|notice| about(notice.subject)).collect();
        subjects.dedup();
        if !self.bury(&subjects).await {
            for subject in subjects {
                self.distrust(subject);
            }
        }
        let feed = self.source.durable.feed().ok_or_else(|| absent("feed"))?;
        feed.announce(notices).await
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        let feed = self.source.durable.feed().ok_or_else(|| absent("feed"))?;
        feed.since(cursor, limit, now).await
    }

    fn retention(&self) -> Option<Duration> {
        self.source.durable.feed().map_or(Some(Duration::ZERO), RevocationFeed::retention)
    }
}

#[async_trait]
impl SessionScan for Tiers {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        self.source.durable.scan().ok_or_else(|| absent("scan"))?.scan(cursor, limit).await
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        let scan = self.source.durable.scan().ok_or_else(|| absent("scan"))?;
        let global = snapshot.epochs.global;
        let put_before = *self.put_global.lock().unwrap_or_else(PoisonError::into_inner);
        // A put may raise both epochs, and so end sessions that it does not name. Everybody's is raised only by a value that no put
        // brought before: an import does not empty the cache for each session.
        let subject = if global.is_none() || global == put_before {
            SharedSubject::user(&snapshot.session.user_id)
        } else {
            SharedSubject::Global
        };
        let outcome = self.change(subject, Tell::Both, scan.put(snapshot)).await?;
        if outcome == PutOutcome::Written && global.is_some() {
            *self.put_global.lock().unwrap_or_else(PoisonError::into_inner) = global;
        }
        Ok(outcome)
    }
}

fn absent(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation).because("the durable storage has none")
}
