//! Activity that is noted in memory and written down in batches, by managers that do not touch the storage with every request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Inner;
use crate::clock::{before, to_millis};
use crate::error::Result;
use crate::id::{SessionId, SessionKey};
use crate::storage::{Consistency, Touch};
use crate::telemetry::Incident;

/// How many sessions' activity waits at most. What does not fit is written at once.
const CAPACITY: usize = 100_000;
/// How many sessions are read and written at a time.
const BATCH: usize = 500;

/// When each session was last seen, since it was last written down.
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<HashMap<SessionId, (SessionKey, DateTime<Utc>)>>);

impl Activity {
    /// Notes that the user was there. `false`: there is no room.
    pub(super) fn note(&self, key: SessionKey, now: DateTime<Utc>) -> bool {
        let mut seen = self.seen();
        let full = seen.len() >= CAPACITY;
        match seen.entry(key.id) {
            Entry::Occupied(mut entry) => {
                let (_, at) = entry.get_mut();
                *at = now.max(*at);
                true
            }
            Entry::Vacant(_) if full => false,
            Entry::Vacant(entry) => {
                entry.insert((key, now));
                true
            }
        }
    }

    fn take(&self) -> Vec<(SessionKey, DateTime<Utc>)> {
        // Drained in place: the room is kept for the next round.
        self.seen().drain().map(|(_, seen)| seen).collect()
    }

    // A panic cannot leave a note half-written: a poisoned lock is used on.
    fn seen(&self) -> MutexGuard<'_, HashMap<SessionId, (SessionKey, DateTime<Utc>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// How often noted activity is written down.
    pub(super) fn activity_interval(&self) -> Duration {
        self.policy.touch_interval_for(self.policy.idle_timeout)
    }

    /// Writes down what was noted. What could not be written is noted again, as far as there is room.
    pub(super) async fn write_activity(&self) {
        let seen = self.activity.take();
        for batch in seen.chunks(BATCH) {
            if let Err(error) = self.write_seen(batch).await {
                self.telemetry.incident(Incident::ActivityNotWritten);
                tracing::warn!(%error, "activity was not written down and will be tried again");
                for (key, at) in batch {
                    self.activity.note(*key, *at);
                }
            }
        }
    }

    /// Writes down when sessions were seen: their deadlines follow from their own idle timeouts, which are read for it.
    pub(super) async fn write_seen(&self, seen: &[(SessionKey, DateTime<Utc>)]) -> Result<()> {
        let now = to_millis(self.clock.now());
        let keys: Vec<SessionKey> = seen.iter().map(|(key, _)| *key).collect();
        let found = self.storage.read_many(&keys, Consistency::Latest).await?;
        let touches: Vec<Touch> = seen
            .iter()
            .zip(found)
            .filter_map(|((_, at), found)| {
                let snapshot = found.filter(|snapshot| snapshot.state(now, self.live).is_live())?;
                let interval = self.policy.touch_interval_for(snapshot.session.idle_timeout);
                let touch = Touch::new(snapshot.key(), *at, snapshot.session.idle_deadline(*at));
                // Nodes that saw the same session write once.
                Some(touch.unless_seen_after(before(*at, interval)))
            })
            .collect();
        if touches.is_empty() {
            return Ok(());
        }
        self.storage.touch(&touches, now).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_latest_activity_counts_and_the_memory_is_bounded() {
        let activity = Activity::default();
        let key = |number: usize| SessionKey::from(SessionId::from(Uuid::from_u128(number.try_into().unwrap_or(0))));
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        assert!(activity.note(key(1), at(5)) && activity.note(key(1), at(9)) && activity.note(key(1), at(7)));
        assert_eq!(activity.take(), [(key(1), at(9))]);
        assert_eq!(activity.take(), []);
        assert!((0..CAPACITY).all(|number| activity.note(key(number), at(1))));
        assert!(!activity.note(key(CAPACITY), at(1)), "no room");
        assert!(activity.note(key(3), at(2)), "known ones need none");
    }
}
