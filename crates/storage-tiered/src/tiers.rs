//! The durable storage, the cache and the bus together: how a change goes through all three.

use std::sync::{Arc, Mutex};

use futures_util::future::{self, BoxFuture, Either};
use session_manager_core::storage::{Notice, Phase, Subject};
use session_manager_core::{GlobalEpoch, InvalidationBus, Result};

use crate::effect::{Effect, Outcome, Tell};
use crate::flight::Source;

/// What a change needs.
pub(crate) struct Tiers {
    pub(crate) source: Source,
    pub(crate) bus: Option<Arc<dyn InvalidationBus>>,
    /// The global epoch of the last import.
    pub(crate) put_global: Mutex<Option<GlobalEpoch>>,
}

impl Tiers {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, bus: None, put_global: Mutex::default() }
    }

    /// Makes a change of `subject`. The future that is handed in must have done nothing yet.
    pub(crate) async fn change<T: Outcome>(
        &self,
        subject: Subject,
        tell: Tell,
        call: BoxFuture<'_, Result<T>>,
    ) -> Result<T> {
        let Source { cache, clock, .. } = &self.source;
        let change = cache.begin(subject, clock.now());
        let mut is_open = tell == Tell::Both && self.tell(subject, Phase::Intent).await;
        // With an error nobody knows what has happened, or will have in a moment: the subject stays out of every cache until nobody
        // remembers it any more.
        let outcome = call.await.inspect_err(|_| cache.counters.unconfirmed.count())?;
        let Effect { changed, now_is } = outcome.effect();
        cache.end(&change, now_is, clock.now());
        if tell == Tell::Both || changed && tell == Tell::After {
            // An end without its beginning would count as the end of somebody else's change, who may just be ending the session.
            is_open = is_open || self.tell(subject, Phase::Intent).await;
            if is_open {
                self.tell(subject, Phase::Done).await;
            }
        }
        Ok(outcome)
    }

    /// Publishes a notice; without waiting longer than configured, and without failing. Returns whether the bus has taken it.
    async fn tell(&self, subject: Subject, phase: Phase) -> bool {
        let (Some(bus), clock) = (&self.bus, &self.source.clock) else { return false };
        let notice = Notice::new(subject, phase, clock.now());
        let limit = clock.sleep(self.source.cache.config().publish_timeout);
        let told = match future::select(bus.publish(&notice), limit).await {
            Either::Left((told, _)) => told.is_ok(),
            Either::Right(_) => false,
        };
        if !told {
            self.source.cache.counters.unannounced.count();
        }
        told
    }
}
