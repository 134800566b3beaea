//! Single flight: of many misses of one session at once, one asks the durable storage.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use session_manager_core::storage::Consistency;
use session_manager_core::{Clock, Result, SessionKey, SessionStorage, Snapshot, Telemetry};

use crate::cache::{Cache, Ticket};
use crate::shared_cache::{Found, SharedTier};

type Answer = BoxFuture<'static, Result<Option<Snapshot>>>;

/// The reads that are under way.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<SessionKey, Flight, RandomState>>);

struct Flight {
    ticket: Ticket,
    number: u64,
    /// Weak: a read that nobody waits for any more is dropped.
    answer: WeakShared<Answer>,
}

/// What a read needs, and may keep beyond the caller that began it.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) durable: Arc<dyn SessionStorage>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: Option<Arc<SharedTier>>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
}

impl Flights {
    /// Reads a session that the cache does not know.
    ///
    /// # Behaviour
    /// - A read that began before an invalidation is never joined by one that begins after it.
    /// - Whoever waits may be dropped at any time; the others go on.
    pub(crate) async fn fetch(&self, source: &Source, key: &SessionKey, ticket: Ticket) -> Result<Option<Snapshot>> {
        let (answer, _landing) = self.board(source, key, ticket);
        answer.await
    }

    fn board(&self, source: &Source, key: &SessionKey, ticket: Ticket) -> (Shared<Answer>, Option<Landing<'_>>) {
        let now = source.clock.now();
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key)
            && source.cache.may_join(flight.ticket, key, now)
            && let Some(answer) = flight.answer.upgrade()
        {
            source.cache.counters.joined.count();
            return (answer, None);
        }
        source.cache.counters.misses.count();
        let number = flights.get(key).map_or(0, |flight| flight.number.wrapping_add(1));
        let answer = read(source.clone(), *key, ticket).boxed().shared();
        if let Some(weak) = answer.downgrade() {
            flights.insert(*key, Flight { ticket, number, answer: weak });
        }
        (answer, Some(Landing { flights: self, key: *key, number }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Flight, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(source: Source, key: SessionKey, ticket: Ticket) -> Result<Option<Snapshot>> {
    let mut shared_ticket = None;
    if let Some(shared) = &source.shared {
        match shared.look(&source, &key).await {
            Found::Session(snapshot, read_at) => {
                source.cache.fill(ticket, &key, Some(&snapshot), Some(read_at), source.clock.now());
                return Ok(Some(snapshot));
            }
            Found::Nothing(ticket) => shared_ticket = ticket,
        }
    }
    let read_at = source.clock.now();
    let found = source.durable.read(&key, Consistency::Latest).await?;
    source.cache.fill(ticket, &key, found.as_ref(), None, source.clock.now());
    if let (Some(shared), Some(ticket), Some(snapshot)) = (&source.shared, shared_ticket, &found) {
        shared.fill(&source, snapshot, ticket, read_at).await;
    }
    Ok(found)
}

/// Takes a flight off the board when the one that began it has its answer or has given up.
struct Landing<'a> {
    flights: &'a Flights,
    key: SessionKey,
    number: u64,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if flights.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            flights.remove(&self.key);
        }
    }
}
