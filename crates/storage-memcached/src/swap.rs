//! The one way to change an item: read it, decide, swap it if it is still the same, or begin again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::{GlobalEpoch, Locator, SessionId};

use crate::account::Account;
use crate::cache::{Added, CacheClient, CacheConnection, CacheError, Swapped, TimeToLive};
use crate::encoding;
use crate::error::Failure;
use crate::key::CacheKey;
use crate::storage::MemcachedStorage;

/// How often a step turns to another connection because the one it got had died in the pool.
const REPLACEMENTS: u32 = 2;
/// The longest wait between two attempts is 2 to this power in milliseconds.
const LONGEST_WAIT: u32 = 6;

/// An item to be written.
pub(crate) struct Write {
    pub(crate) key: CacheKey,
    pub(crate) value: Vec<u8>,
    pub(crate) ttl: TimeToLive,
}

/// What was decided on a reading of an item.
pub(crate) enum Move<R> {
    /// There is nothing to write.
    Done(R),
    /// Something else must be there first; then read again.
    Need(Write),
    /// Write this, after making sure that `first` exists; if `first` did exist, read again.
    Store { value: Vec<u8>, ttl: TimeToLive, first: Option<Write>, result: R },
}

/// How an attempt ended.
enum Attempt<R> {
    Done(R),
    /// Somebody else was faster.
    Overtaken,
    /// Something was missing and is there now.
    Prepared,
    /// The connection had died before anything was written.
    Dead(CacheError),
}

/// What a step on a user reads.
pub(crate) struct Reading {
    pub(crate) account: Option<Account>,
    pub(crate) global: Option<GlobalEpoch>,
    /// Where the pointer that was asked for leads.
    pub(crate) pointer: Option<Locator>,
}

/// What was decided on the reading of a user.
pub(crate) enum Step<R> {
    /// There is nothing to write.
    Done(R),
    /// There is no global epoch, and one is needed that begins with this incarnation.
    NoGlobal(u64),
    /// Write this.
    Store(Store<R>),
}

pub(crate) struct Store<R> {
    pub(crate) account: Account,
    pub(crate) result: R,
    /// A pointer that must be there before the session is.
    pub(crate) pointer: Option<SessionId>,
    /// Whether the step may be refused for want of room. Ending and refreshing may not.
    pub(crate) refusable: bool,
}

impl<R> Step<R> {
    /// Writes the account, whatever room there is.
    pub(crate) const fn store(account: Account, result: R) -> Self {
        Self::Store(Store { account, result, pointer: None, refusable: false })
    }
}

impl<C: CacheClient> MemcachedStorage<C> {
    /// Changes a user's item in one atomic step. `decide` runs once for every attempt.
    pub(crate) async fn change<R: Send>(
        &self,
        locator: Locator,
        pointer: Option<SessionId>,
        now: DateTime<Utc>,
        mut decide: impl FnMut(Reading) -> Result<Step<R>, Failure> + Send,
    ) -> Result<R, Failure> {
        let config = self.config();
        // The user's item is read first: what is stamped in it is never newer than the global epoch that is read after it.
        let beside: Vec<_> =
            [Some(self.keys().global()), pointer.map(|id| self.keys().pointer(id))].into_iter().flatten().collect();
        self.swap(&self.keys().user(locator), &beside, |item, beside| {
            let account = item.map(|bytes| encoding::read_account(&bytes, locator)).transpose()?;
            let mut beside = beside.into_iter();
            let global = beside.next().flatten().map(|bytes| encoding::read_global(&bytes)).transpose()?;
            let pointer = beside.next().flatten().map(|bytes| encoding::read_pointer(&bytes)).transpose()?;
            let Store { mut account, result, pointer, refusable } = match decide(Reading { account, global, pointer })?
            {
                Step::Done(result) => return Ok(Move::Done(result)),
                Step::NoGlobal(incarnation) => return self.first_global(incarnation).map(Move::Need),
                Step::Store(store) => store,
            };
            let slack = if refusable { 0 } else { crate::MemcachedStorageConfig::SLACK };
            let value = account.fit(config.max_item_bytes.saturating_add(slack), global, now)?;
            let ttl = account.ttl(config.retention, now);
            let value_of = encoding::pointer(locator);
            let first = pointer.map(|id| Write { key: self.keys().pointer(id), value: value_of, ttl });
            Ok(Move::Store { value, ttl, first, result })
        })
        .await
    }

    fn first_global(&self, incarnation: u64) -> Result<Write, Failure> {
        let global = GlobalEpoch::new(session_manager_core::Epoch::first(incarnation));
        Ok(Write { key: self.keys().global(), value: encoding::global(&global)?, ttl: TimeToLive::Unlimited })
    }

    /// Changes one item. `decide` gets the item and what stands beside it, and runs once for every attempt.
    pub(crate) async fn swap<R: Send>(
        &self,
        key: &CacheKey,
        beside: &[CacheKey],
        mut decide: impl FnMut(Option<Vec<u8>>, Vec<Option<Vec<u8>>>) -> Result<Move<R>, Failure> + Send,
    ) -> Result<R, Failure> {
        let (mut overtaken, mut dead) = (0, 0);
        while overtaken < self.config().max_attempts {
            match self.attempt(key, beside, &mut decide).await? {
                Attempt::Done(result) => return Ok(result),
                Attempt::Overtaken => {
                    overtaken += 1;
                    self.give_way(overtaken).await;
                }
                // Evicted at every attempt, it would go on for ever: so this counts too.
                Attempt::Prepared => overtaken += 1,
                Attempt::Dead(_) if dead < REPLACEMENTS => dead += 1,
                Attempt::Dead(error) => return Err(error.into()),
            }
        }
        Err(Failure::Contended)
    }

    /// One attempt, on one connection from the first read to the last write: a token is good on no other.
    async fn attempt<R: Send>(
        &self,
        key: &CacheKey,
        beside: &[CacheKey],
        decide: &mut (impl FnMut(Option<Vec<u8>>, Vec<Option<Vec<u8>>>) -> Result<Move<R>, Failure> + Send),
    ) -> Result<Attempt<R>, Failure> {
        let mut connection = self.client().connection().await?;
        let (item, beside) = match read_both(&mut connection, key, beside).await {
            Ok(both) => both,
            Err(error @ CacheError::Unreachable(_)) => return Ok(Attempt::Dead(error)),
            Err(error) => return Err(error.into()),
        };
        let (value, token) = item.map_or((None, None), |item| (Some(item.value), Some(item.token)));
        // From here on an error says that nothing is known: the caller, who may repeat the call, has to hear of it.
        let (value, ttl, first, result) = match decide(value, beside)? {
            Move::Done(result) => return Ok(Attempt::Done(result)),
            Move::Need(write) => {
                connection.add(&write.key, &write.value, write.ttl).await?;
                return Ok(Attempt::Prepared);
            }
            Move::Store { value, ttl, first, result } => (value, ttl, first, result),
        };
        if let Some(write) = first
            && connection.add(&write.key, &write.value, write.ttl).await? == Added::Exists
        {
            return Ok(Attempt::Overtaken);
        }
        let stored = match token {
            Some(token) => connection.compare_and_swap(key, &value, token, ttl).await? == Swapped::Stored,
            None => connection.add(key, &value, ttl).await? == Added::Stored,
        };
        Ok(if stored { Attempt::Done(result) } else { Attempt::Overtaken })
    }

    /// Waits a random while that grows with every defeat, so that those who met do not meet again.
    async fn give_way(&self, overtaken: u32) {
        let longest = 1000_u64 << overtaken.min(LONGEST_WAIT);
        let mut drawn = [0; 8];
        // Without randomness they meet more often; that is all.
        let _ = self.random().fill(&mut drawn);
        self.clock().sleep(Duration::from_micros(u64::from_be_bytes(drawn) % longest)).await;
    }

    /// Reads values in one round trip, on another connection if the first had died in the pool.
    pub(crate) async fn fetch(&self, keys: &[CacheKey]) -> Result<(Vec<Option<Vec<u8>>>, C::Connection), Failure> {
        let mut dead = 0;
        loop {
            let mut connection = self.client().connection().await?;
            match connection.read(keys).await {
                Ok(values) => return Ok((values, connection)),
                Err(CacheError::Unreachable(_)) if dead < REPLACEMENTS => dead += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn read_both<T: CacheConnection>(
    connection: &mut T,
    key: &CacheKey,
    beside: &[CacheKey],
) -> Result<(Option<crate::CacheItem>, Vec<Option<Vec<u8>>>), CacheError> {
    let item = connection.get(key).await?;
    let beside = if beside.is_empty() { Vec::new() } else { connection.read(beside).await? };
    Ok((item, beside))
}
