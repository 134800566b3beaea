//! Listening to the bus: the work that `maintenance()` returns.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future, future::BoxFuture};
use session_manager_core::clock::after;
use session_manager_core::{BusEvent, Clock, InvalidationBus, SessionStorage};

use crate::cache::Cache;
use crate::tiers::Tiers;

/// How long after its end a stream is subscribed to again; twice as long each time, as long as none says anything.
const RETRY: Duration = Duration::from_secs(1);

/// The longest of these waits. A stream that lived longer than this was a good one, also if there was nothing to say.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Tiers {
    /// Listens, and does the durable storage's and the bus's own work beside it.
    pub(crate) fn work(&self) -> Option<BoxFuture<'_, ()>> {
        let durable = self.source.durable.maintenance();
        let Some(bus) = &self.bus else { return durable };
        let work = [durable, bus.maintenance(), Some(self.listen(&**bus).boxed())];
        Some(future::join_all(work.into_iter().flatten()).map(|_| ()).boxed())
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
                    heed(cache, clock, event);
                }
            }
            let now = clock.now();
            cache.break_off(now);
            if after(began_at, LONGEST_RETRY) <= now {
                wait = RETRY;
            }
            clock.sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_RETRY);
        }
    }
}

fn heed(cache: &Cache, clock: &dyn Clock, event: BusEvent) {
    let now = clock.now();
    // What was said meanwhile is unknown.
    let is_back = cache.heard(&event, now);
    match event {
        BusEvent::Notice(_) | BusEvent::Heartbeat if is_back => cache.flush(now),
        BusEvent::Notice(_) | BusEvent::Heartbeat => {}
        // Lost, or something that this version does not know.
        _ => cache.flush(now),
    }
    if let BusEvent::Notice(notice) = event {
        cache.hear(&notice, now);
    }
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
