//! The cache that nodes share, as this one uses it: never waited for long, and not believed about what could not be buried in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use futures_util::future::{self, Either};
use session_manager_core::clock::after;
use session_manager_core::{
    Incident, Result, SessionKey, SharedCache, SharedFill, SharedLook, SharedSubject, SharedTicket, Snapshot,
};

use crate::cache::may_have_been_touched;
use crate::flight::Source;

/// How often what could not be buried is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// More subjects than that which could not be buried are everybody.
const MANY: usize = 10_000;

/// What a shared cache needs beside itself.
pub(crate) struct SharedTier {
    cache: Arc<dyn SharedCache>,
    /// Of whom something may stand there that has been changed since, and until when.
    unburied: Mutex<HashMap<SharedSubject, DateTime<Utc>, RandomState>>,
}

/// What was found in it.
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one, and lives for a moment")]
pub(crate) enum Found {
    /// This was read at that time.
    Session(Snapshot, DateTime<Utc>),
    /// Read the durable storage; with a ticket, come back.
    Nothing(Option<SharedTicket>),
}

impl SharedTier {
    pub(crate) fn new(cache: Arc<dyn SharedCache>) -> Self {
        Self { cache, unburied: Mutex::default() }
    }

    /// Asks for a session.
    pub(crate) async fn look(&self, source: &Source, key: &SessionKey) -> Found {
        let Some(locator) = key.locator.filter(|_| !self.is_unburied(key, source.clock.now())) else {
            return Found::Nothing(None);
        };
        let counters = &source.cache.counters;
        match in_time(source, self.cache.look(key.id, locator)).await {
            Some(SharedLook::Hit { snapshot, read_at }) if is_good(source, key, &snapshot, read_at) => {
                counters.shared_hits.count();
                Found::Session(snapshot, read_at)
            }
            Some(SharedLook::Miss(ticket)) => {
                counters.shared_misses.count();
                Found::Nothing(Some(ticket))
            }
            _ => Found::Nothing(None),
        }
    }

    /// Brings what a read found.
    pub(crate) async fn fill(&self, source: &Source, found: &Snapshot, ticket: SharedTicket, read_at: DateTime<Utc>) {
        let config = source.cache.config();
        if self.is_unburied(&found.key(), source.clock.now()) {
            return;
        }
        let fill = SharedFill::new(found, ticket, read_at, config.fill_timeout, config.max_age);
        if in_time(source, self.cache.fill(&fill)).await == Some(false) {
            source.cache.counters.shared_refused.count();
        }
    }

    /// Puts up a tombstone that outlives every read that has begun, and every entry. Returns whether it stands.
    pub(crate) async fn bury(&self, source: &Source, subjects: &[SharedSubject]) -> bool {
        let stands = in_time(source, self.cache.bury(subjects, life(source))).await.is_some();
        if stands {
            let mut unburied = self.unburied();
            for subject in subjects {
                unburied.remove(subject);
            }
        }
        stands
    }

    /// Takes out what is merely old: whoever reads next brings what is newer.
    pub(crate) async fn forget(&self, source: &Source, subjects: &[SharedSubject]) {
        in_time(source, self.cache.bury(subjects, Duration::from_millis(1))).await;
    }

    /// What stands there of a subject is not believed any more, and is buried as soon as that is possible.
    pub(crate) fn distrust(&self, subject: SharedSubject, until: DateTime<Utc>) {
        let mut unburied = self.unburied();
        if unburied.len() >= MANY && !unburied.contains_key(&subject) {
            let latest = unburied.values().copied().max().unwrap_or(until).max(until);
            unburied.clear();
            unburied.insert(SharedSubject::Global, latest);
            return;
        }
        unburied.insert(subject, until);
    }

    /// Buries what could not be buried, as long as it may still be answered.
    pub(crate) async fn retry(&self, source: &Source) {
        let now = source.clock.now();
        let left: Vec<_> = {
            let mut unburied = self.unburied();
            unburied.retain(|_, until| now < *until);
            unburied.keys().copied().collect()
        };
        if !left.is_empty() {
            self.bury(source, &left).await;
        }
    }

    pub(crate) fn unburied_count(&self) -> usize {
        self.unburied().len()
    }

    fn is_unburied(&self, key: &SessionKey, now: DateTime<Utc>) -> bool {
        let unburied = self.unburied();
        let is_out = |subject| unburied.get(&subject).is_some_and(|until| now < *until);
        !unburied.is_empty()
            && (is_out(SharedSubject::Session(key.id))
                || is_out(SharedSubject::Global)
                || unburied.iter().any(|(subject, until)| now < *until && subject.concerns(key)))
    }

    fn unburied(&self) -> MutexGuard<'_, HashMap<SharedSubject, DateTime<Utc>, RandomState>> {
        self.unburied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a tombstone stands: a change whose outcome nobody knows may be made until its entry would have aged out, and whatever began to
/// read before that may still come.
fn life(source: &Source) -> Duration {
    let config = source.cache.config();
    config.max_age.saturating_add(config.fill_timeout.saturating_mul(2))
}

/// Whether an answer may be given: as from the cache of this process.
fn is_good(source: &Source, key: &SessionKey, snapshot: &Snapshot, read_at: DateTime<Utc>) -> bool {
    let now = source.clock.now();
    (read_at <= now && now < after(read_at, source.cache.config().max_age))
        && key.locator == Some(snapshot.session.user_id.locator())
        && !may_have_been_touched(snapshot, now)
}

/// Its answer, unless it fails or takes too long.
async fn in_time<T>(source: &Source, call: impl Future<Output = Result<T>> + Send) -> Option<T> {
    let limit = source.clock.sleep(source.cache.config().shared_timeout);
    let answer = match future::select(std::pin::pin!(call), limit).await {
        Either::Left((answer, _)) => answer.ok(),
        Either::Right(_) => None,
    };
    if answer.is_none() {
        source.cache.counters.shared_failed.count();
        source.telemetry.incident(Incident::SharedCacheFailed);
    }
    answer
}
