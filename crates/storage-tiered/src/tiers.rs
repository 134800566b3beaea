//! The durable storage, the cache and the bus together: how a change goes through all three.

use std::sync::{Arc, Mutex};

use futures_util::future::{self, BoxFuture, Either};
use session_manager_core::clock::after;
use session_manager_core::storage::{Notice, Phase, Subject};
use session_manager_core::{GlobalEpoch, Incident, InvalidationBus, Result, SharedSubject};

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

    /// Makes a change of `about`. The future that is handed in must have done nothing yet.
    pub(crate) async fn change<T: Outcome>(
        &self,
        about: SharedSubject,
        tell: Tell,
        call: BoxFuture<'_, Result<T>>,
    ) -> Result<T> {
        let Source { cache, clock, .. } = &self.source;
        let subject = subject_of(about);
        let began_at = clock.now();
        let change = cache.begin(subject, began_at);
        let (mut is_open, was_buried) = match tell {
            // The tombstone stands before the durable storage is changed, and the change goes on without it where it cannot.
            Tell::Both => future::join(self.tell(subject, Phase::Intent), self.bury(&[about])).await,
            _ => (false, false),
        };
        // With an error nobody knows what has happened, or will have in a moment: the subject stays out of every cache until nobody
        // remembers it any more.
        let outcome = match call.await {
            Ok(outcome) => outcome,
            Err(error) => {
                cache.counters.unconfirmed.count();
                if tell != Tell::Nobody && !self.bury(&[about]).await {
                    self.distrust(about);
                }
                return Err(error);
            }
        };
        let Effect { changed, now_is } = outcome.effect();
        cache.end(&change, now_is, clock.now());
        if tell == Tell::Nobody || tell == Tell::After && !changed {
            return Ok(outcome);
        }
        // An end without its beginning would count as the end of somebody else's change, who may just be ending the session.
        is_open = is_open || self.tell(subject, Phase::Intent).await;
        if is_open {
            self.tell(subject, Phase::Done).await;
        }
        // The first tombstone is enough as long as it stands for whoever was reading at the change.
        let stands = was_buried && clock.now() <= after(began_at, cache.config().max_age);
        let is_known = stands || self.bury(&[about]).await;
        if !is_known {
            self.distrust(about);
        }
        if tell == Tell::Both && !(is_known && (is_open || self.bus.is_none())) {
            return Ok(outcome.late(after(clock.now(), cache.config().max_age)));
        }
        Ok(outcome)
    }

    /// Buries subjects in the shared cache. Returns whether nothing of them can be answered from there; `true` where there is none.
    pub(crate) async fn bury(&self, subjects: &[SharedSubject]) -> bool {
        match &self.source.shared {
            Some(shared) => shared.bury(&self.source, subjects).await,
            None => true,
        }
    }

    /// What stands of a subject in the shared cache is passed by until nobody can be told it any more, or it has been buried.
    pub(crate) fn distrust(&self, about: SharedSubject) {
        if let Some(shared) = &self.source.shared {
            shared.distrust(about, after(self.source.clock.now(), self.source.cache.config().max_age));
        }
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
            self.source.telemetry.incident(Incident::AnnouncementFailed);
        }
        told
    }
}

/// What the bus is told of it.
fn subject_of(about: SharedSubject) -> Subject {
    match about {
        SharedSubject::Session(id) => Subject::Session(id),
        SharedSubject::User { locator, .. } => Subject::User(locator),
        _ => Subject::Global,
    }
}

/// What a notice is about, as far as it says so.
pub(crate) fn about(subject: Subject) -> SharedSubject {
    match subject {
        Subject::Session(id) => SharedSubject::Session(id),
        Subject::User(locator) => SharedSubject::User { locator, shard: None },
        _ => SharedSubject::Global,
    }
}
