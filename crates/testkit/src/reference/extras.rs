//! The model's lists, clean-up, one-time values, feed and scan.

use std::cmp::Reverse;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{
    Count, Cursor, EndedSession, FeedBatch, FeedCursor, Notice, OnceKey, Page, Purge, PurgeScope, Purged, PutOutcome,
    Query, RevocationFeed, ScanCursor, ScanPage, SessionScan,
};
use session_manager_core::{LivePolicy, Result, SessionRecord, Snapshot};

use super::{Model, ReferenceStorage};

impl Model {
    pub(super) fn list(&self, query: &Query, live: LivePolicy) -> Result<Page> {
        let position = query.position()?;
        let mut found = self.matching(query, live);
        found.retain(|snapshot| {
            position.is_none_or(|position| position.precedes(snapshot.session.created_at, snapshot.session.id))
        });
        let limit = usize::try_from(query.limit).expect("a limit fits");
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor::after(query, last));
        Ok(Page::new(found, next))
    }

    pub(super) fn count(&self, query: &Query, live: LivePolicy) -> Count {
        Count::exact(u64::try_from(self.matching(query, live).len()).expect("a count fits"))
    }

    /// What a query means, newest first.
    fn matching(&self, query: &Query, live: LivePolicy) -> Vec<Snapshot> {
        let mut found = self.snapshots();
        found.retain(|snapshot| {
            query.user.as_ref().is_none_or(|user| *user == snapshot.session.user_id)
                && query.filter.matches(snapshot, query.now, live)
        });
        found.sort_by_key(|snapshot| Reverse((snapshot.session.created_at, snapshot.session.id)));
        found
    }

    pub(super) fn purge(&mut self, request: &Purge, live: LivePolicy) -> Purged {
        let meant = |snapshot: &Snapshot| match &request.scope {
            PurgeScope::EndedBefore(time) => {
                snapshot.revocation().is_some_and(|revocation| revocation.at < *time) || snapshot.deadline() < *time
            }
            PurgeScope::One(key) => snapshot.session.id == key.id,
            PurgeScope::User(user) => snapshot.session.user_id == *user,
            other => panic!("the reference does not know {other:?} yet"),
        };
        let mut found = self.snapshots();
        found.retain(meant);
        let limit = usize::try_from(request.limit).expect("a limit fits");
        let more = found.len() > limit;
        found.truncate(limit);
        self.records.retain(|record| found.iter().all(|snapshot| snapshot.session.id != record.session.id));
        let ended = found.into_iter().map(|snapshot| {
            let state = snapshot.state(request.now, live);
            EndedSession::new(snapshot.session, state, snapshot.control.revocation)
        });
        Purged::new(ended.collect(), more)
    }

    pub(super) fn remember_once(&mut self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        if self.once.iter().any(|(known, known_until)| known == key && now < *known_until) {
            return false;
        }
        self.once.retain(|(known, _)| known != key);
        self.once.push((key.clone(), until));
        true
    }

    fn put(&mut self, snapshot: &Snapshot) -> PutOutcome {
        let record: SessionRecord = snapshot.record();
        match self.position(&snapshot.key()) {
            None => self.records.push(record),
            Some(at) => {
                let present = &self.records[at].control;
                if present.revocation.is_some() || present.version >= record.control.version {
                    return PutOutcome::Kept;
                }
                self.records[at] = record;
            }
        }
        self.raise_epochs(snapshot);
        PutOutcome::Written
    }

    fn raise_epochs(&mut self, snapshot: &Snapshot) {
        let user = &snapshot.session.user_id;
        if let Some(theirs) = snapshot.epochs.user
            && self
                .user_epoch(user)
                .is_none_or(|own| own.incarnation == theirs.incarnation && own.version < theirs.version)
        {
            self.set_user_epoch(user, theirs);
        }
        if let Some(theirs) = snapshot.epochs.global
            && self.global.is_none_or(|own| {
                own.epoch.incarnation == theirs.epoch.incarnation && own.epoch.version < theirs.epoch.version
            })
        {
            self.global = Some(theirs);
        }
    }
}

#[async_trait]
impl RevocationFeed for ReferenceStorage {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.with(|model| model.notices.extend_from_slice(notices));
        Ok(())
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, _: DateTime<Utc>) -> Result<FeedBatch> {
        let start = cursor.map_or(0, |cursor| cursor.0.parse().expect("a cursor of this feed"));
        let limit = usize::try_from(limit).expect("a limit fits");
        Ok(self.with(|model| {
            let notices: Vec<Notice> = model.notices.iter().skip(start).take(limit).copied().collect();
            let next = start + notices.len();
            FeedBatch::new(notices, FeedCursor(next.to_string()), next == model.notices.len())
        }))
    }

    fn retention(&self) -> Option<std::time::Duration> {
        None
    }
}

#[async_trait]
impl SessionScan for ReferenceStorage {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        let limit = usize::try_from(limit).expect("a limit fits");
        Ok(self.with(|model| {
            // By id, so that a removal between two pages makes the scan miss nothing.
            let mut found = model.snapshots();
            found.sort_by_key(|snapshot| snapshot.session.id);
            found.retain(|snapshot| cursor.is_none_or(|cursor| snapshot.session.id.to_string() > cursor.0));
            let more = found.len() > limit;
            found.truncate(limit);
            let next = found.last().filter(|_| more).map(|last| ScanCursor(last.session.id.to_string()));
            ScanPage::new(found, next)
        }))
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        Ok(self.with(|model| model.put(snapshot)))
    }
}
