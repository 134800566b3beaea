//! Listing and counting.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::task::Poll;

use session_manager_core::storage::{Count, Cursor, Page, Position, Query, SessionFilter};
use session_manager_core::{LivePolicy, Result, Snapshot};

use crate::shard::{Entry, Shard};
use crate::storage::MemoryStorage;

/// After so many shards of a look at everybody's sessions the thread is handed back: some milliseconds at a million sessions.
const SHARDS_AT_ONCE: usize = 8;

impl MemoryStorage {
    pub(crate) async fn list_pages(&self, query: &Query) -> Result<Page> {
        let mut newest = Newest::new(query)?;
        if let Some(user) = &query.user {
            let shard = self.table().read(self.table().number(user.shard()));
            newest.offer(&shard, shard.sessions_of(user, !query.filter.active_only));
        } else {
            for number in 0..self.table().shard_count() {
                {
                    let shard = self.table().read(number);
                    newest.offer(&shard, shard.entries());
                }
                breathe(number).await;
            }
        }
        Ok(newest.page())
    }

    pub(crate) async fn count_matching(&self, query: &Query) -> Result<Count> {
        let everything = query.filter == SessionFilter::including_ended();
        let mut sum = 0_usize;
        if let Some(user) = &query.user {
            let shard = self.table().read(self.table().number(user.shard()));
            sum = matching(&shard, shard.sessions_of(user, !query.filter.active_only), query);
        } else {
            for number in 0..self.table().shard_count() {
                {
                    let shard = self.table().read(number);
                    let part = if everything { shard.len() } else { matching(&shard, shard.entries(), query) };
                    sum = sum.saturating_add(part);
                }
                breathe(number).await;
            }
        }
        Ok(Count::exact(u64::try_from(sum).unwrap_or(u64::MAX)))
    }
}

fn matching<'a>(shard: &Shard, entries: impl Iterator<Item = &'a Entry>, query: &Query) -> usize {
    entries.filter(|entry| query.filter.matches(&shard.snapshot(entry), query.now, LivePolicy::TRACKED)).count()
}

/// Lets others run, now and then.
async fn breathe(number: usize) {
    if number % SHARDS_AT_ONCE != SHARDS_AT_ONCE - 1 {
        return;
    }
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The newest sessions of those that were offered: one page and one more, which tells whether there is a next page.
struct Newest<'q> {
    query: &'q Query,
    position: Option<Position>,
    limit: usize,
    found: BinaryHeap<Reverse<ByAge>>,
}

impl<'q> Newest<'q> {
    fn new(query: &'q Query) -> Result<Self> {
        let limit = usize::try_from(query.limit.clamp(1, Query::MAX_LIMIT)).unwrap_or(1);
        Ok(Self { query, position: query.position()?, limit, found: BinaryHeap::new() })
    }

    fn offer<'a>(&mut self, shard: &Shard, entries: impl Iterator<Item = &'a Entry>) {
        for entry in entries {
            let place = (entry.session.created_at, entry.session.id);
            let full = self.found.len() > self.limit;
            let too_old = full && self.found.peek().is_some_and(|Reverse(oldest)| place < oldest.place());
            if too_old || self.position.is_some_and(|position| !position.precedes(place.0, place.1)) {
                continue;
            }
            let snapshot = shard.snapshot(entry);
            if self.query.filter.matches(&snapshot, self.query.now, LivePolicy::TRACKED) {
                self.found.push(Reverse(ByAge(snapshot)));
                if full {
                    self.found.pop();
                }
            }
        }
    }

    fn page(self) -> Page {
        // Ascending order of the reversed is newest first.
        let mut sessions: Vec<Snapshot> =
            self.found.into_sorted_vec().into_iter().map(|Reverse(ByAge(one))| one).collect();
        let more = sessions.len() > self.limit;
        sessions.truncate(self.limit);
        let next = sessions.last().filter(|_| more).map(|last| Cursor::after(self.query, last));
        Page::new(sessions, next)
    }
}

/// A session, ordered by creation and id.
struct ByAge(Snapshot);

impl ByAge {
    fn place(&self) -> (chrono::DateTime<chrono::Utc>, session_manager_core::SessionId) {
        (self.0.session.created_at, self.0.session.id)
    }
}

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByAge {}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}
