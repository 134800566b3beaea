//! The feeds and scans of two storages as one.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{
    Consistency, FeedBatch, FeedCursor, Notice, PutOutcome, RevocationFeed, ScanCursor, ScanPage, SessionScan,
};
use session_manager_core::{Error, ErrorKind, Result, Snapshot};

use super::Dual;
use crate::carry::scan_of;

#[async_trait]
impl RevocationFeed for Dual {
    /// # Behaviour
    /// Written to both, so that nodes hear it whichever storage they are led by.
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        for feed in [self.old.feed(), self.new.feed()].into_iter().flatten() {
            feed.announce(notices).await?;
        }
        Ok(())
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        let feed = self.leader().feed().ok_or_else(|| Error::new(ErrorKind::Unsupported, "feed"))?;
        feed.since(cursor, limit, now).await
    }

    /// The leading storage's: it is the one that is read.
    fn retention(&self) -> Option<Duration> {
        self.leader().feed().map_or(Some(Duration::ZERO), RevocationFeed::retention)
    }
}

#[async_trait]
impl SessionScan for Dual {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        scan_of(self.leader())?.scan(cursor, limit).await
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        let outcome = scan_of(self.leader())?.put(snapshot).await?;
        if let Some(stored) = self.leader().read(&snapshot.key(), Consistency::Latest).await? {
            self.follow(&stored, self.clock.now()).await;
        }
        Ok(outcome)
    }
}
