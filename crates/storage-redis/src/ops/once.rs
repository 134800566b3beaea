//! Remembering values once.

use chrono::{DateTime, Utc};
use session_manager_core::storage::OnceKey;

use crate::error::Outcome;
use crate::reply;
use crate::script;
use crate::storage::RedisStorage;

/// How much longer than `until` a value is kept: what clocks may differ, and more.
const SLACK: i64 = 3_600_000;

impl RedisStorage {
    pub(crate) async fn remember(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Outcome<bool> {
        let ttl = (until - now).num_milliseconds().max(0).saturating_add(SLACK);
        let call = script::ONCE
            .on([&self.keys.once(key)])
            .with(now.timestamp_millis())
            .with(until.timestamp_millis())
            .with(ttl);
        Ok(reply::number(&self.run(&call).await?)? == 1)
    }
}
