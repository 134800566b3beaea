//! Reading, listing, counting, and looking whether all is well.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Count, Cursor, Health, Page, Query, Severity};
use session_manager_core::{Epochs, GlobalEpoch, LivePolicy, Locator, Result, SessionId, SessionKey, Snapshot, UserId};

use crate::account::{Account, ttl_until};
use crate::cache::{CacheClient, CacheConnection, CacheError, TimeToLive};
use crate::encoding;
use crate::error::Failure;
use crate::storage::{MemcachedStorage, unsupported};

/// How many sessions are asked for in one command.
const TOGETHER: usize = 100;

impl<C: CacheClient> MemcachedStorage<C> {
    pub(crate) async fn read_keys(&self, keys: &[SessionKey]) -> Result<Vec<Option<Snapshot>>, Failure> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            let places = self.places(keys).await?;
            found.extend(self.read_at(&places).await?);
        }
        Ok(found)
    }

    /// Where the sessions are. The second round trip is made only for those of which no more than the id is known.
    pub(crate) async fn places(&self, keys: &[SessionKey]) -> Result<Vec<Option<(SessionId, Locator)>>, Failure> {
        let unknown = keys.iter().filter(|key| key.locator.is_none());
        let pointers: Vec<_> = unknown.map(|key| self.keys().pointer(key.id)).collect();
        let mut pointed = if pointers.is_empty() { Vec::new() } else { self.fetch(&pointers).await?.0 }.into_iter();
        let mut place = |key: &SessionKey| {
            let locator = match key.locator {
                Some(locator) => Some(locator),
                None => pointed.next().flatten().map(|bytes| encoding::read_pointer(&bytes)).transpose()?,
            };
            Ok(locator.map(|locator| (key.id, locator)))
        };
        keys.iter().map(&mut place).collect()
    }

    /// Where one session is.
    pub(crate) async fn place(&self, key: SessionKey) -> Result<Option<Locator>, Failure> {
        match key.locator {
            Some(locator) => Ok(Some(locator)),
            None => Ok(self.places(&[key]).await?.into_iter().flatten().next().map(|(_, locator)| locator)),
        }
    }

    async fn read_at(&self, places: &[Option<(SessionId, Locator)>]) -> Result<Vec<Option<Snapshot>>, Failure> {
        let known = || places.iter().flatten();
        let mut locators: Vec<Locator> = known().map(|(_, locator)| *locator).collect();
        locators.sort_unstable();
        locators.dedup();
        if locators.is_empty() {
            return Ok(vec![None; places.len()]);
        }
        // The pointers are read although nobody asks for them: so they stay as long in the cache as the sessions they lead to, and one that
        // is lost is noticed. The global epoch comes last: no session that is read is stamped with a newer one.
        let mut keys: Vec<_> = locators.iter().map(|locator| self.keys().user(*locator)).collect();
        keys.extend(known().map(|(id, _)| self.keys().pointer(*id)));
        keys.push(self.keys().global());
        let (mut values, connection) = self.fetch(&keys).await?;
        let global = values.pop().flatten().map(|bytes| encoding::read_global(&bytes)).transpose()?;
        let mut pointers = values.split_off(locators.len().min(values.len())).into_iter();
        let (mut found, mut lost) = (Vec::with_capacity(places.len()), Vec::new());
        for place in places {
            let Some((id, locator)) = place else {
                found.push(None);
                continue;
            };
            let has_pointer = pointers.next().flatten().is_some();
            let item = locators.binary_search(locator).ok().and_then(|at| values.get(at)).and_then(Option::as_ref);
            let Some(bytes) = item else {
                found.push(None);
                continue;
            };
            let entry = encoding::read_entry(bytes, *locator, *id)?;
            if let Some((_, entry)) = entry.as_ref().filter(|_| !has_pointer) {
                lost.push((*id, *locator, entry.expires_at));
            }
            let snapshot = entry.map(|(user, entry)| {
                let epochs = Epochs::new(Some(user), global);
                entry.record().map(|record| Snapshot::new(record, epochs))
            });
            found.push(snapshot.transpose()?);
        }
        self.put_back(connection, &lost).await;
        Ok(found)
    }

    /// Writes pointers that were forgotten before their sessions. What was read is true even if that fails.
    async fn put_back(&self, mut connection: C::Connection, lost: &[(SessionId, Locator, DateTime<Utc>)]) {
        for (id, locator, expires_at) in lost {
            let ttl = ttl_until(*expires_at, self.config().retention, self.clock().now());
            if connection.add(&self.keys().pointer(*id), &encoding::pointer(*locator), ttl).await.is_err() {
                return;
            }
        }
    }

    pub(crate) async fn read_epochs(&self, user: Option<&UserId>) -> Result<Epochs, Failure> {
        let (account, global) = self.read_user(user).await?;
        Ok(Epochs::new(account.map(|account| account.epoch), global))
    }

    async fn read_user(&self, user: Option<&UserId>) -> Result<(Option<Account>, Option<GlobalEpoch>), Failure> {
        let mut keys: Vec<_> = user.map(|user| self.keys().user(user.locator())).into_iter().collect();
        keys.push(self.keys().global());
        let (mut values, _) = self.fetch(&keys).await?;
        let global = values.pop().flatten().map(|bytes| encoding::read_global(&bytes)).transpose()?;
        let account = match (user, values.pop().flatten()) {
            (Some(user), Some(bytes)) => Some(encoding::read_account(&bytes, user.locator())?),
            _ => None,
        };
        Ok((account.filter(|account| Some(&account.user) == user), global))
    }

    async fn matching(&self, query: &Query, operation: &'static str) -> Result<Vec<Snapshot>> {
        let Some(user) = &query.user else {
            return Err(unsupported(operation, "sessions are kept by user, and nobody knows all users"));
        };
        let read = self.read_user(Some(user)).await.and_then(|(account, global)| match account {
            Some(account) if query.filter.active_only => account.live(global, query.now),
            Some(account) => account.snapshots(global),
            None => Ok(Vec::new()),
        });
        let mut found = read.map_err(|error| error.during(operation))?;
        found.retain(|one| query.filter.matches(one, query.now, LivePolicy::TRACKED));
        Ok(found)
    }

    pub(crate) async fn list_page(&self, query: &Query) -> Result<Page> {
        let position = query.position()?;
        let mut sessions = self.matching(query, "list").await?;
        sessions
            .retain(|one| position.is_none_or(|position| position.precedes(one.session.created_at, one.session.id)));
        sessions.sort_unstable_by_key(|one| Reverse((one.session.created_at, one.session.id)));
        let limit = usize::try_from(query.limit.clamp(1, Query::MAX_LIMIT)).unwrap_or(1);
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| more).map(|last| Cursor::after(query, last));
        Ok(Page::new(sessions, next))
    }

    pub(crate) async fn count_matching(&self, query: &Query) -> Result<Count> {
        let found = self.matching(query, "count").await?.len();
        Ok(Count::exact(u64::try_from(found).unwrap_or(u64::MAX)))
    }

    /// Tries out whether the largest item fits: the server's limit is nothing that every client can ask for.
    pub(crate) async fn examine(&self) -> Result<Health, Failure> {
        let probe = self.keys().probe();
        let (_, mut connection) = self.fetch(std::slice::from_ref(&probe)).await?;
        let largest = vec![b'x'; self.config().max_item_bytes.saturating_add(crate::MemcachedStorageConfig::SLACK)];
        match connection.add(&probe, &largest, TimeToLive::For(std::time::Duration::from_secs(1))).await {
            Ok(_) => {
                connection.delete(&probe).await?;
                Ok(Health::well())
            }
            Err(CacheError::TooLarge) => Ok(Health::well().finding(
                Severity::Error,
                "the server's item size limit (-I) is lower than max_item_bytes: users with many sessions could not sign in or out",
            )),
            Err(CacheError::Refused(_)) => {
                Ok(Health::well().finding(Severity::Error, "the server refuses to store: it is out of memory and may not evict (-M)"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
