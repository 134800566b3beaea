//! Listening to the bus: the work that `maintenance()` returns.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future, future::BoxFuture};
use session_manager_core::{BusEvent, Clock, InvalidationBus, SessionStorage};

use crate::cache::Cache;
use crate::tiers::Tiers;

/// How long after its end a stream is subscribed to again.
const RETRY: Duration = Duration::from_secs(1);

impl Tiers {
    /// Listens, and does the durable storage's own work beside it.
    pub(crate) fn work(&self) -> Option<BoxFuture<'_, ()>> {
        let durable = self.source.durable.maintenance();
        let Some(bus) = &self.bus else { return durable };
        let listening = self.listen(&**bus).boxed();
        Some(match durable {
            Some(durable) => future::join(durable, listening).map(|_| ()).boxed(),
            None => listening,
        })
    }

    async fn listen(&self, bus: &dyn InvalidationBus) {
        let (cache, clock) = (&*self.source.cache, &*self.source.clock);
        loop {
            {
                let mut events = bus.subscribe();
                let _listening = Listening::begin(cache);
                // Nobody knows what was said before.
                cache.flush(clock.now());
                while let Some(event) = events.next().await {
                    heed(cache, clock, event);
                }
            }
            cache.flush(clock.now());
            clock.sleep(RETRY).await;
        }
    }
}

fn heed(cache: &Cache, clock: &dyn Clock, event: BusEvent) {
    let now = clock.now();
    let was_silent = cache.heard(now);
    match event {
        BusEvent::Notice(notice) => {
            if was_silent {
                cache.flush(now);
            }
            cache.hear(&notice, now);
        }
        BusEvent::Heartbeat if !was_silent => {}
        // Lost, a heartbeat after too long a silence, or something that this version does not know.
        _ => cache.flush(now),
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
