//! The feed of changes: a ring of notices with a counter as cursor.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::Result;
use session_manager_core::clock::after;
use session_manager_core::storage::{FeedBatch, FeedCursor, Notice, RevocationFeed};

use crate::error::MemoryError;

/// The notices of this process. Announced is committed: what a cursor has passed is complete.
pub(crate) struct Feed {
    retention: Duration,
    capacity: usize,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    notices: VecDeque<Notice>,
    /// How many notices came before the first that is still there.
    passed: u64,
    /// The end of the last notice that had to go before its time, and how long it would have mattered.
    lost: Option<(u64, DateTime<Utc>)>,
}

impl Feed {
    pub(crate) fn new(retention: Duration, capacity: usize) -> Self {
        Self { retention, capacity, ring: Mutex::default() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn drop_first(&mut self) {
        if self.notices.pop_front().is_some() {
            self.passed = self.passed.saturating_add(1);
        }
    }
}

#[async_trait]
impl RevocationFeed for Feed {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        let mut ring = self.ring();
        for notice in notices {
            let over = |old: &Notice| after(old.at, self.retention) < notice.at;
            while ring.notices.front().is_some_and(over) {
                ring.drop_first();
            }
            if ring.notices.len() >= self.capacity
                && let Some(first) = ring.notices.front().copied()
            {
                ring.drop_first();
                let matters = after(first.at, self.retention);
                let until = ring.lost.map_or(matters, |(_, until)| until.max(matters));
                ring.lost = Some((ring.passed, until));
            }
            ring.notices.push_back(*notice);
        }
        Ok(())
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        let seen = match cursor {
            None => 0,
            Some(FeedCursor(text)) => text.parse::<u64>().map_err(|_| MemoryError::FeedCursor.during("feed"))?,
        };
        let ring = self.ring();
        let end = ring.passed.saturating_add(u64::try_from(ring.notices.len()).unwrap_or(u64::MAX));
        // A cursor from before a restart may be ahead of us: repeating is allowed, missing is not.
        let seen = if seen > end { 0 } else { seen };
        if ring.lost.is_some_and(|(lost, until)| seen < lost && now < until) {
            return Err(MemoryError::FeedLost.during("feed"));
        }
        let skip = usize::try_from(seen.saturating_sub(ring.passed)).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let taken: Vec<Notice> = ring.notices.iter().skip(skip).take(limit).copied().collect();
        let next = seen.max(ring.passed).saturating_add(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        let matter = |notice: &Notice| now <= after(notice.at, self.retention);
        let notices = taken.into_iter().filter(|notice| cursor.is_some() || matter(notice)).collect();
        Ok(FeedBatch::new(notices, FeedCursor(next.to_string()), next >= end))
    }

    fn retention(&self) -> Option<Duration> {
        Some(self.retention)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use futures_util::FutureExt;
    use session_manager_core::storage::{Phase, Subject};
    use session_manager_core::{ErrorKind, SessionId};

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn notice(number: u16, millis: i64) -> Notice {
        Notice::new(Subject::Session(SessionId::from(uuid::Uuid::from_u128(number.into()))), Phase::Done, at(millis))
    }

    fn poll(feed: &Feed, cursor: Option<&FeedCursor>, limit: u32, now: i64) -> Result<FeedBatch> {
        feed.since(cursor, limit, at(now)).now_or_never().unwrap()
    }

    #[test]
    fn a_cursor_misses_nothing() {
        let feed = Feed::new(Duration::from_millis(100), 1000);
        let all: Vec<Notice> = (0..10).map(|number| notice(number, i64::from(number))).collect();
        let empty = poll(&feed, None, 3, 0).unwrap();
        assert!(empty.complete && empty.notices.is_empty());
        feed.announce(&all).now_or_never().unwrap().unwrap();
        let (mut cursor, mut seen, mut polls) = (empty.next, Vec::new(), 0);
        loop {
            let batch = poll(&feed, Some(&cursor), 3, 9).unwrap();
            seen.extend(batch.notices);
            (cursor, polls) = (batch.next, polls + 1);
            if batch.complete {
                break;
            }
        }
        assert_eq!((seen, polls), (all.clone(), 4));
        feed.announce(&[notice(99, 50)]).now_or_never().unwrap().unwrap();
        assert_eq!(poll(&feed, Some(&cursor), 3, 50).unwrap().notices, [notice(99, 50)]);
        assert_eq!(
            poll(&feed, None, 100, 105).unwrap().notices.len(),
            6,
            "what matters no more is not told to newcomers"
        );
        assert_eq!(
            poll(&feed, Some(&FeedCursor("500".into())), 100, 50).unwrap().notices.len(),
            11,
            "a cursor from before a restart"
        );
        assert_eq!(poll(&feed, Some(&FeedCursor("x".into())), 1, 0).unwrap_err().kind(), ErrorKind::InvalidCursor);
    }

    #[test]
    fn a_reader_is_told_of_what_was_dropped_too_early_and_only_then() {
        let feed = Feed::new(Duration::from_millis(100), 4);
        let start = poll(&feed, None, 10, 0).unwrap().next;
        feed.announce(&[notice(1, 0), notice(2, 1), notice(3, 2), notice(4, 3), notice(5, 4)])
            .now_or_never()
            .unwrap()
            .unwrap();
        assert_eq!(poll(&feed, Some(&start), 10, 4).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(poll(&feed, None, 10, 4).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(poll(&feed, Some(&FeedCursor("1".into())), 10, 4).unwrap().notices.len(), 4);
        assert_eq!(poll(&feed, None, 10, 100).unwrap().notices.len(), 4, "the lost one matters no more");
        feed.announce(&[notice(6, 200)]).now_or_never().unwrap().unwrap();
        assert_eq!(poll(&feed, Some(&start), 10, 200).unwrap().notices, [notice(6, 200)]);
    }
}
