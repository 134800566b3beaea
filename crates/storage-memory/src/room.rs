//! What a full storage does: ended sessions go, users without a session are forgotten.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use session_manager_core::clock::before;

use crate::storage::{Inner, MemoryStorage};

/// How many ended sessions an insert removes at once when the storage is full: enough that the next inserts find room.
const ROOM_STEP: usize = 128;

/// How many sessions it looks at for one that a rotation ended: some hundred microseconds, then it is refused and the next one goes on.
const SEARCH_STEP: usize = 4096;

impl MemoryStorage {
    /// Removes ended sessions because the storage is full: first those past their retention, then any.
    pub(crate) fn make_room(&self, now: DateTime<Utc>) {
        let first = self.pressure().next_room.fetch_add(1, Ordering::Relaxed) % self.table().shard_count();
        let old = before(now, self.config().retention).timestamp_millis();
        if self.purge_ended(old, ROOM_STEP, first, now).sessions.is_empty() {
            self.drop_early(ROOM_STEP, first, SEARCH_STEP, now);
        }
    }

    /// Removes at most `limit` ended sessions before their retention is over. Those that an epoch ended are looked for among the next
    /// `examine` sessions only if there are no others.
    pub(crate) fn drop_early(&self, limit: usize, first: usize, examine: usize, now: DateTime<Utc>) -> usize {
        let ended = now.timestamp_millis().saturating_add(1);
        let mut removed = self.purge_ended(ended, limit, first, now).sessions.len();
        if removed == 0 {
            removed = self.drop_rotated_out(limit, examine, now);
        }
        self.pressure().dropped_early.fetch_add(removed, Ordering::Relaxed);
        removed
    }

    /// The queue knows nothing of epochs: sessions are looked at in turn, each call where the last one stopped.
    fn drop_rotated_out(&self, limit: usize, mut examine: usize, now: DateTime<Utc>) -> usize {
        let (shards, next, mut removed) = (self.table().shard_count(), &self.pressure().next_searched, 0_usize);
        // A round ends in the shard in the midst of which it began.
        for _ in 0..=shards {
            let number = next.load(Ordering::Relaxed) % shards;
            let mut shard = self.table().write(number);
            let part = shard.search(examine, limit.saturating_sub(removed), now);
            if part.complete {
                next.store(number.saturating_add(1), Ordering::Relaxed);
            }
            let gone = part.found.into_iter().filter_map(|id| self.table().remove(&mut shard, id)).count();
            removed = removed.saturating_add(gone);
            examine = examine.saturating_sub(part.examined);
            if examine == 0 || removed >= limit {
                break;
            }
        }
        removed
    }
}

impl Inner {
    /// Called without a lock by whatever may have made a user's record.
    pub(crate) fn bound_users(&self) {
        let forgotten = self.table.forget_surplus(self.config.user_bound());
        self.pressure.forgotten.fetch_add(forgotten, Ordering::Relaxed);
    }
}
