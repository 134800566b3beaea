//! Numbers for the application's own metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a cache has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TieredStats {
    /// Reads answered from memory, absences included.
    pub hits: u64,
    /// Reads that asked the durable storage and were remembered if possible.
    pub misses: u64,
    /// Reads that joined another read of the same session.
    pub joined: u64,
    /// Reads that went past the cache: the bus was not heard, or the subject was just being changed.
    pub bypassed: u64,
    /// Answers that were thrown away because their subject changed while they were read, or because they took too long.
    pub refused_fills: u64,
    /// Notices heard.
    pub notices: u64,
    /// How often everything was forgotten because notices may have been lost.
    pub flushes: u64,
    /// Notices that could not be published: other nodes learn of the change by the age of their answers only.
    pub unannounced: u64,
    /// Changes that the durable storage did not confirm: their subjects stay out of the cache for an entry's life.
    pub unconfirmed: u64,
    /// Reads answered from the shared cache.
    pub shared_hits: u64,
    /// Reads that the shared cache did not know.
    pub shared_misses: u64,
    /// Answers that the shared cache did not take: a tombstone or something newer stood there, or they took too long.
    pub shared_refused: u64,
    /// How often the shared cache failed or took too long.
    pub shared_failed: u64,
    /// Subjects whose change could not be told to the shared cache: until it can be, this node does not ask it for them.
    pub unburied: u64,
    /// Sessions in memory.
    pub entries: u64,
    /// Whether the bus is heard; `true` where there is none.
    pub hearing: bool,
}

/// The counters behind it.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) joined: Counter,
    pub(crate) bypassed: Counter,
    pub(crate) refused_fills: Counter,
    pub(crate) notices: Counter,
    pub(crate) flushes: Counter,
    pub(crate) unannounced: Counter,
    pub(crate) unconfirmed: Counter,
    pub(crate) shared_hits: Counter,
    pub(crate) shared_misses: Counter,
    pub(crate) shared_refused: Counter,
    pub(crate) shared_failed: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, entries: usize, unburied: usize, hearing: bool) -> TieredStats {
        TieredStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            joined: self.joined.get(),
            bypassed: self.bypassed.get(),
            refused_fills: self.refused_fills.get(),
            notices: self.notices.get(),
            flushes: self.flushes.get(),
            unannounced: self.unannounced.get(),
            unconfirmed: self.unconfirmed.get(),
            shared_hits: self.shared_hits.get(),
            shared_misses: self.shared_misses.get(),
            shared_refused: self.shared_refused.get(),
            shared_failed: self.shared_failed.get(),
            unburied: u64::try_from(unburied).unwrap_or(u64::MAX),
            entries: u64::try_from(entries).unwrap_or(u64::MAX),
            hearing,
        }
    }
}
