//! The bounded queue of a batched sink.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use session_manager_core::AuditEvent;

/// How a batched sink waits and writes.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    pub(crate) capacity: usize,
    pub(crate) batch: usize,
    pub(crate) interval: Duration,
    pub(crate) overflow: Overflow,
}

impl Default for Batching {
    /// Ten thousand events wait at most, a second at most, and are written 200 at a time; when there is no room, events are dropped and
    /// counted.
    fn default() -> Self {
        Self { capacity: 10_000, batch: 200, interval: Duration::from_secs(1), overflow: Overflow::Drop }
    }
}

impl Batching {
    /// How many events wait at most; at least one.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// How many are written at a time; at least one. So many that wait are written without further delay.
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = events.max(1);
        self
    }

    /// How long an event waits for others at most.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// What happens when there is no room.
    pub const fn on_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

/// What happens to an event that finds no room in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// It is dropped and counted; nobody waits.
    Drop,
    /// Whoever records it writes what waits, and so waits for the database. While that cannot be reached, `record` fails.
    Wait,
}

/// What a batched sink has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AuditStats {
    /// Events that wait to be written.
    pub queued: u64,
    /// Events that were written, or had been before.
    pub written: u64,
    /// Events that found no room and were dropped.
    pub dropped: u64,
    /// Events that found no room and were given back by an error, because the database could not be reached.
    pub returned: u64,
    /// Events that the database refuses whatever happens, such as a user id of another form than its column's.
    pub refused: u64,
    /// Attempts to write that have failed; what they were to write waits on.
    pub failures: u64,
}

impl AuditStats {
    /// How many events are missing from the table, and will not come by themselves.
    pub const fn missing(&self) -> u64 {
        self.dropped.saturating_add(self.returned).saturating_add(self.refused)
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) batching: Batching,
    inner: Mutex<Inner>,
    /// Whoever writes holds it, so that events are written in their order.
    pub(crate) turn: futures_util::lock::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<AuditEvent>,
    stats: AuditStats,
    /// How many have left the queue, ever.
    left: u64,
    full: Option<oneshot::Sender<()>>,
}

impl Queue {
    pub(crate) fn new(batching: Batching) -> Self {
        Self { batching, inner: Mutex::default(), turn: futures_util::lock::Mutex::new(()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes as many as there is room for, and says how many.
    pub(crate) fn push(&self, events: &[AuditEvent]) -> usize {
        let mut inner = self.inner();
        let room = self.batching.capacity.saturating_sub(inner.waiting.len()).min(events.len());
        inner.waiting.extend(events.iter().take(room).cloned());
        if inner.waiting.len() >= self.batching.batch.min(self.batching.capacity)
            && let Some(full) = inner.full.take()
        {
            // Whoever waited may be gone.
            let _ = full.send(());
        }
        room
    }

    /// Is ready when there is a whole batch.
    pub(crate) fn filled(&self) -> oneshot::Receiver<()> {
        let (full, filled) = oneshot::channel();
        let mut inner = self.inner();
        if inner.waiting.len() < self.batching.batch.min(self.batching.capacity) {
            inner.full = Some(full);
        }
        // Else the sender is dropped here, which wakes the receiver at once.
        filled
    }

    /// The oldest events, a batch of them. They stay until they are [written](Self::leave).
    pub(crate) fn oldest(&self) -> Vec<AuditEvent> {
        self.inner().waiting.iter().take(self.batching.batch).cloned().collect()
    }

    /// The oldest events leave: written, or refused.
    pub(crate) fn leave(&self, events: usize, written: bool) {
        let mut inner = self.inner();
        let events = events.min(inner.waiting.len());
        inner.waiting.drain(..events);
        let events = number(events);
        inner.left = inner.left.saturating_add(events);
        let counter = if written { &mut inner.stats.written } else { &mut inner.stats.refused };
        *counter = counter.saturating_add(events);
    }

    pub(crate) fn dropped(&self, events: usize) {
        self.inner().stats.dropped += number(events);
    }

    pub(crate) fn returned(&self, events: usize) {
        self.inner().stats.returned += number(events);
    }

    pub(crate) fn failed(&self) {
        self.inner().stats.failures += 1;
    }

    /// When so many have left, all that wait now are gone.
    pub(crate) fn end(&self) -> u64 {
        let inner = self.inner();
        inner.left.saturating_add(number(inner.waiting.len()))
    }

    /// When so many have left, there is room.
    pub(crate) fn next(&self) -> u64 {
        self.inner().left.saturating_add(1)
    }

    pub(crate) fn has_reached(&self, end: u64) -> bool {
        self.inner().left >= end
    }

    pub(crate) fn stats(&self) -> AuditStats {
        let inner = self.inner();
        AuditStats { queued: number(inner.waiting.len()), ..inner.stats }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
