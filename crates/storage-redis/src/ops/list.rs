//! Lists and counts of one user: the script brings all of theirs, core filters and cuts.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Count, Cursor, Page, Query, SessionFilter};
use session_manager_core::{Error, ErrorKind, LivePolicy, Snapshot, UserId};

use crate::error::Outcome;
use crate::reply::Reply;
use crate::script;
use crate::storage::RedisStorage;
use crate::value;

impl RedisStorage {
    pub(crate) async fn list_page(&self, query: &Query) -> Outcome<Page> {
        let position = query.position()?;
        let user = one_user(query, "list")?;
        let mut found = self.sessions_of(user, &query.filter, query.now).await?;
        found.retain(|one| position.is_none_or(|place| place.precedes(one.session.created_at, one.session.id)));
        found.sort_unstable_by_key(|one| Reverse((one.session.created_at, one.session.id)));
        let limit = usize::try_from(query.limit.clamp(1, Query::MAX_LIMIT)).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor::after(query, last));
        Ok(Page::new(found, next))
    }

    pub(crate) async fn count_matching(&self, query: &Query) -> Outcome<Count> {
        let user = one_user(query, "count")?;
        let found = self.sessions_of(user, &query.filter, query.now).await?.len();
        Ok(Count::exact(u64::try_from(found).unwrap_or(u64::MAX)))
    }

    /// A user's sessions that a filter means, in no order.
    pub(crate) async fn sessions_of(
        &self,
        user: &UserId,
        filter: &SessionFilter,
        now: DateTime<Utc>,
    ) -> Outcome<Vec<Snapshot>> {
        let (place, locator) = (self.keys.shard(user.shard()), user.locator());
        // What is over by time cannot be live: for live ones it need not be read.
        let from = if filter.active_only { format!("({}", now.timestamp_millis()) } else { "-inf".to_owned() };
        let call = script::LIST
            .on([&place.user(locator), &place.global(), &place.index(locator)])
            .with(from)
            .with(place.sessions());
        let mut healed = false;
        loop {
            let mut reply = Reply::of(self.run(&call).await?)?;
            let (record, global) = (reply.filled()?, reply.filled()?);
            if global.is_none() && record.is_some() && !healed && self.restore_copy(user.shard()).await? {
                healed = true;
                continue;
            }
            let mut found = Vec::new();
            for session in reply.rest() {
                let snapshot = value::snapshot(&session?, record.as_deref(), global.as_deref())?;
                if filter.matches(&snapshot, now, LivePolicy::TRACKED) {
                    found.push(snapshot);
                }
            }
            return Ok(found);
        }
    }
}

fn one_user<'q>(query: &'q Query, operation: &'static str) -> Outcome<&'q UserId> {
    let unsupported =
        || Error::new(ErrorKind::Unsupported, operation).because("redis lists sessions of one user at a time").into();
    query.user.as_ref().ok_or_else(unsupported)
}
