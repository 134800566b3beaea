//! How one storage follows the other: carried along after a change, fetched before one, repaired in the background.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use session_manager_core::storage::{Consistency, EndedSession, Query, SessionFilter};
use session_manager_core::{Error, ErrorKind, Result, SessionKey, SessionStorage, Snapshot, UserId};

use super::{Dual, Lead, MAX_LAGGING, count};
use crate::carry::{ATTEMPTS, carry, is_same};
use crate::epochs::raise_both;

/// How often what lags is written again.
const REPAIR: Duration = Duration::from_secs(5);

impl Dual {
    /// Brings the follower to what the leader answered; a failure is remembered and repaired later.
    pub(super) async fn follow(&self, snapshot: &Snapshot, now: DateTime<Utc>) {
        if self.try_follow(snapshot, now).await.is_err() {
            self.lag(snapshot.key());
        }
    }

    /// Brings the follower to what the leader answered, and says whether it is there.
    pub(super) async fn try_follow(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<()> {
        carry(self.leader(), self.follower(), snapshot.clone(), now).await?;
        count(&self.counters.followed);
        Ok(())
    }

    /// Brings to the follower how the leader ended these.
    pub(super) async fn follow_ended(&self, ended: &[EndedSession], now: DateTime<Utc>) {
        if ended.is_empty() {
            return;
        }
        let keys: Vec<SessionKey> = ended.iter().map(|ended| ended.session.key()).collect();
        match self.leader().read_many(&keys, Consistency::Latest).await {
            Ok(found) => {
                for snapshot in found.iter().flatten() {
                    self.follow(snapshot, now).await;
                }
            }
            Err(_) => keys.into_iter().for_each(|key| self.lag(key)),
        }
    }

    pub(super) fn lag(&self, key: SessionKey) {
        count(&self.counters.failed);
        self.wait(key);
    }

    /// Has a session written again in the background.
    pub(super) fn wait(&self, key: SessionKey) {
        let mut lagging = self.lagging();
        if lagging.len() < MAX_LAGGING || lagging.contains(&key) {
            lagging.insert(key);
        } else {
            count(&self.counters.forgotten);
        }
    }

    /// Fetches a session that the new storage does not have, and answers with what the new storage then has.
    pub(super) async fn fetch(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let Some(snapshot) = self.old.read(key, Consistency::Latest).await? else { return Ok(None) };
        let key = snapshot.key();
        carry(&*self.old, &*self.new, snapshot, self.clock.now()).await?;
        count(&self.counters.fetched);
        // Not what was carried: it may have ended since.
        self.new.read(&key, Consistency::Latest).await
    }

    /// Makes sure that the new storage knows a user before it changes something of theirs: their epoch and, where it falls back, their
    /// sessions, which count for the limit.
    pub(super) async fn acquaint(&self, user: &UserId, now: DateTime<Utc>) -> Result<()> {
        if self.config.lead == Lead::Old {
            return Ok(());
        }
        if self.falls_back() {
            self.fetch_user(user, now).await?;
        }
        if !self.new.capabilities().epochs {
            return Ok(());
        }
        let known = self.new.epochs(Some(user)).await?;
        if known.user.is_some() && known.global.is_some() {
            return Ok(());
        }
        raise_both(&*self.new, user, self.old.epochs(Some(user)).await?, now).await
    }

    /// Fetches all of a user's sessions that the new storage does not have.
    pub(super) async fn fetch_user(&self, user: &UserId, now: DateTime<Utc>) -> Result<()> {
        let mut query =
            Query::of(user.clone(), now).filtered(SessionFilter::including_ended()).limited(Query::MAX_LIMIT);
        loop {
            let page = self.old.list(&query).await?;
            let keys: Vec<SessionKey> = page.sessions.iter().map(Snapshot::key).collect();
            let there = self.new.read_many(&keys, Consistency::Latest).await?;
            for (snapshot, _) in page.sessions.into_iter().zip(there).filter(|(_, there)| there.is_none()) {
                carry(&*self.old, &*self.new, snapshot, now).await?;
                count(&self.counters.fetched);
            }
            match page.next {
                Some(next) => query = query.after(Some(next)),
                None => return Ok(()),
            }
        }
    }

    /// Writes again what waits, whatever becomes of the one before, and says how much still does.
    pub(super) async fn repair(&self) -> Result<u64> {
        let waiting: Vec<SessionKey> = self.lagging().iter().copied().collect();
        let mut outcome = Ok(());
        for key in waiting {
            outcome = outcome.and(self.write_again(key).await);
        }
        outcome.map(|()| self.stats().lagging)
    }

    async fn write_again(&self, key: SessionKey) -> Result<()> {
        // Off the list first: what fails to be written along from now on is a new reason to wait.
        if !self.lagging().remove(&key) {
            return Ok(());
        }
        let mut attempt = Attempt { dual: self, key, is_done: false };
        if let Some(snapshot) = self.leader().read(&key, Consistency::Latest).await? {
            self.try_follow(&snapshot, self.clock.now()).await?;
        }
        attempt.is_done = true;
        Ok(())
    }

    pub(super) fn work(&self) -> BoxFuture<'_, ()> {
        let repairing = async {
            loop {
                self.clock.sleep(REPAIR).await;
                // What fails waits for the next round, and is counted.
                let _ = self.repair().await;
            }
        };
        let work = [self.old.maintenance(), self.new.maintenance()].into_iter().flatten();
        future::join_all(work.chain([repairing.boxed()])).map(|_| ()).boxed()
    }

    /// Makes sure that the follower has a change that must not be missing there.
    pub(super) async fn confirm_follower(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<()> {
        let mut carried = snapshot.clone();
        for _ in 0..ATTEMPTS {
            self.try_follow(&carried, now).await?;
            let key = carried.key();
            // In this order: what changes a session meanwhile changes it in the leader first.
            let there = self.follower().read(&key, Consistency::Latest).await?;
            let here = self.leader().read(&key, Consistency::Latest).await?;
            let (Some(here), Some(there)) = (here, there) else { return Ok(()) };
            if there.revocation().is_some() || is_same(&here, &there) {
                return Ok(());
            }
            if is_same(&here, &carried) {
                break;
            }
            carried = here;
        }
        Err(Error::new(ErrorKind::Conflict, "migration").because("the other storage has kept a change of its own"))
    }
}

/// A session that is being written again; where that does not come to its end, it waits on.
struct Attempt<'a> {
    dual: &'a Dual,
    key: SessionKey,
    is_done: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.dual.wait(self.key);
        }
    }
}

/// The error of a change that the follower does not have.
pub(super) fn unconfirmed(operation: &'static str, source: Error) -> Error {
    Error::new(ErrorKind::Unconfirmed, operation)
        .because("the change was made in the leading storage and is not confirmed by the other")
        .with_source(source)
}
