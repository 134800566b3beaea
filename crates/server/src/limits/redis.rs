//! Counters that several servers share, in the Redis that their sessions, or the cache of these, are in.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use redis::aio::ConnectionLike;

use super::counters::{Counted, CounterName, Counters, CountersDown};

/// A request waits no longer for its count.
const PATIENCE: Duration = Duration::from_millis(250);
/// What every key begins with.
const PREFIX: &str = "session-manager:limit:";

/// Looks and adds in one step. The first one in a window says when it is forgotten; a counter whose time to live was lost gets it again.
const STEP: &str = "
local counted = tonumber(redis.call('GET', KEYS[1]) or '0')
local cost, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if counted + cost > most then return {0, 0} end
if cost > 0 then
    counted = redis.call('INCRBY', KEYS[1], cost)
    if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
end
return {1, most - counted}
";

/// Counters over the application's connection: one server, the primary that Sentinel names, or a cluster.
pub(crate) struct RedisCounters<C> {
    connection: C,
    step: Script,
}

impl<C> RedisCounters<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection, step: Script::new(STEP) }
    }
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Counters for RedisCounters<C> {
    async fn count(&self, counter: &CounterName<'_>, cost: u32) -> Result<Counted, CountersDown> {
        let key = format!("{PREFIX}{} {} {}", counter.route, counter.window, counter.whose);
        let mut call = self.step.key(key);
        // Clocks of servers may be apart: the window is over by its number, and its counter some time later.
        let life = u64::try_from(counter.length.saturating_mul(2).as_millis()).unwrap_or(u64::MAX);
        call.arg(cost).arg(counter.most).arg(life);
        let mut connection = self.connection.clone();
        let asked = tokio::time::timeout(PATIENCE, call.invoke_async::<(u8, u32)>(&mut connection)).await;
        let (admitted, remaining) =
            asked.map_err(|late| CountersDown(Box::new(late)))?.map_err(|error| CountersDown(Box::new(error)))?;
        Ok(Counted { admitted: admitted == 1, remaining })
    }
}

impl<C> fmt::Debug for RedisCounters<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCounters").finish_non_exhaustive()
    }
}
