//! Counters that several servers share, in the Redis that their sessions, or the cache of these, are in.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::ConnectionLike;
use redis::{Script, ScriptInvocation};

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

/// Takes one off, where there is one.
const BACK: &str = "
local counted = tonumber(redis.call('GET', KEYS[1]) or '0')
if counted > 0 then counted = redis.call('DECR', KEYS[1]) end
return {1, math.max(0, tonumber(ARGV[1]) - counted)}
";

/// Counters over the application's connection: one server, the primary that Sentinel names, or a cluster.
pub(crate) struct RedisCounters<C> {
    connection: C,
    step: Script,
    back: Script,
}

impl<C> RedisCounters<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection, step: Script::new(STEP), back: Script::new(BACK) }
    }
}

impl<C: ConnectionLike + Clone> RedisCounters<C> {
    async fn call(&self, call: &ScriptInvocation<'_>) -> Result<Counted, CountersDown> {
        let mut connection = self.connection.clone();
        let asked = tokio::time::timeout(PATIENCE, call.invoke_async::<(u8, u32)>(&mut connection)).await;
        let (admitted, remaining) =
            asked.map_err(|late| CountersDown(Box::new(late)))?.map_err(|error| CountersDown(Box::new(error)))?;
        Ok(Counted { admitted: admitted == 1, remaining })
    }
}

fn key(counter: &CounterName<'_>) -> String {
    format!("{PREFIX}{} {} {}", counter.route, counter.window, counter.whose)
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Counters for RedisCounters<C> {
    async fn count(&self, counter: &CounterName<'_>, cost: u32) -> Result<Counted, CountersDown> {
        let mut call = self.step.key(key(counter));
        // Clocks of servers may be apart: the window is over by its number, and its counter some time later.
        let life = u64::try_from(counter.length.saturating_mul(2).as_millis()).unwrap_or(u64::MAX);
        call.arg(cost).arg(counter.most).arg(life);
        self.call(&call).await
    }

    async fn give_back(&self, counter: &CounterName<'_>) -> Result<Counted, CountersDown> {
        let mut call = self.back.key(key(counter));
        call.arg(counter.most);
        self.call(&call).await
    }
}

impl<C> fmt::Debug for RedisCounters<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCounters").finish_non_exhaustive()
    }
}
