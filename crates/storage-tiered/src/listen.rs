//! Listening to the bus: the work that `maintenance()` returns.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future, future::BoxFuture};
use session_manager_core::clock::after;
use session_manager_core::{BusEvent, Clock, Incident, InvalidationBus, SessionStorage};

use crate::cache::Cache;
use crate::shared_cache::{self, SharedTier};
use crate::tiers::Tiers;

/// How long after its end a stream is subscribed to again; twice as long each time, as long as none says anything.
const RETRY: Duration = Duration::from_secs(1);

/// The longest of these waits. A stream that lived longer than this was a good one, also if there was nothing to say.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Tiers {
    /// Listens, and does the durable storage's and the bus's own work beside it.
    pub(crate) fn work(&self) -> Option<BoxFuture<'_, ()>> {
        let bus = self.bus.as_ref();
        let work: Vec<_> = [
            self.source.durable.maintenance(),
            bus.and_then(|bus| bus.maintenance()),
            bus.map(|bus| self.listen(&**bus).boxed()),
            self.source.shared.as_ref().map(|shared| self.retry(shared).boxed()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if work.is_empty() { None } else { Some(future::join_all(work).map(|_| ()).boxed()) }
    }

    /// Buries in the shared cache what could not be buried when it was changed.
    async fn retry(&self, shared: &SharedTier) {
        loop {
            self.source.clock.sleep(shared_cache::RETRY).await;
            shared.retry(&self.source).await;
        }
    }

    async fn listen(&self, bus: &dyn InvalidationBus) {
        let (cache, clock) = (&*self.source.cache, &*self.source.clock);
        let mut wait = RETRY;
        loop {
            let began_at = clock.now();
            {
                let mut events = bus.subscribe();
                let _listening = Listening::begin(cache);
                // Nobody knows what was said before.
                cache.flush(clock.now());
                while let Some(event) = events.next().await {
                    wait = RETRY;
                    if heed(cache, clock, event) {
                        self.source.telemetry.incident(Incident::BusUnheard);
                    }
                }
            }
            let now = clock.now();
            cache.break_off(now);
            self.source.telemetry.incident(Incident::BusUnheard);
            if after(began_at, LONGEST_RETRY) <= now {
                wait = RETRY;
            }
            clock.sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_RETRY);
        }
    }
}

/// Returns whether notices may have been lost.
fn heed(cache: &Cache, clock: &dyn Clock, event: BusEvent) -> bool {
    let now = clock.now();
    // What was said meanwhile is unknown.
    let is_back = cache.heard(&event, now);
    // Or something that this version does not know.
    let is_lost = !matches!(event, BusEvent::Notice(_) | BusEvent::Heartbeat);
    if is_lost || is_back {
        cache.flush(now);
    }
    if let BusEvent::Notice(notice) = event {
        cache.hear(&notice, now);
    }
    is_lost
}

/// The bus is heard while this lives.
struct Listening<'a>(&'a Cache);

impl<'a> Listening<'a> {
    fn begin(cache: &'a Cache) -> Self {
        cache.listen();
        Self(cache)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.stop_listening();
    }
}
