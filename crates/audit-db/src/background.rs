//! The background work of a sink: what waits is written, what is old is removed.

use std::time::Duration;

use futures_util::future::select;
use session_manager_core::AuditEvent;
use session_manager_core::clock::{after, before};

use crate::append::Append;
use crate::audit::DbAudit;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::link::Link;
use crate::queue::{Overflow, Queue};

/// How often the background work looks for events whose retention is over.
const BETWEEN_CLEAN_UPS: Duration = Duration::from_hours(1);
/// How many rows it removes in one step.
const CLEAN_UP: u32 = 1000;
/// How long the background work waits at most before it tries again to write.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long it waits after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl<DB: Dialect, L: Link<DB>> DbAudit<DB, L> {
    /// Writes what waits, until `end` has left the queue.
    pub(crate) async fn drain(&self, queue: &Queue, end: u64) -> Result<(), Failure> {
        let _turn = queue.turn.lock().await;
        while !queue.has_reached(end) {
            self.write(queue, &queue.oldest()).await.inspect_err(|_| queue.failed())?;
        }
        Ok(())
    }

    /// Writes the queue's oldest events. They leave it only then; what is abandoned is written again, which is harmless.
    async fn write(&self, queue: &Queue, events: &[AuditEvent]) -> Result<(), Failure> {
        match self.attempt(&Append(events)).await {
            Ok(()) => queue.leave(events.len(), true),
            Err(failure) if !failure.is_about_values() => return Err(failure),
            // One of them will never be taken; the others must not wait behind it.
            Err(_) => {
                for event in events {
                    let outcome = self.attempt(&Append(std::slice::from_ref(event))).await;
                    match outcome {
                        Ok(()) => queue.leave(1, true),
                        Err(failure) if failure.is_about_values() => {
                            tracing::error!(error = %failure, kind = event.kind.as_str(), "the audit table refuses an event");
                            queue.leave(1, false);
                        }
                        Err(failure) => return Err(failure),
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts events into the queue.
    pub(crate) async fn enqueue(&self, queue: &Queue, events: &[AuditEvent]) -> Result<(), Failure> {
        let mut rest = events;
        loop {
            rest = rest.get(queue.push(rest)..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            match queue.batching.overflow {
                Overflow::Drop => {
                    queue.dropped(rest.len());
                    return Ok(());
                }
                Overflow::Wait => {
                    self.drain(queue, queue.next()).await.inspect_err(|_| queue.returned(rest.len()))?;
                }
            }
        }
    }

    /// The background work.
    pub(crate) async fn work(&self) {
        let mut clean_up = self.clock.now();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut wait = BETWEEN_CLEAN_UPS;
            let mut filled = None;
            if let Some(queue) = &self.queue {
                match self.drain(queue, queue.end()).await {
                    Ok(()) => {
                        (wait, pause) = (queue.batching.interval, FIRST_PAUSE);
                        filled = Some(queue.filled());
                    }
                    Err(failure) => {
                        let waiting = queue.stats().queued;
                        tracing::warn!(error = %failure, waiting, "audit events could not be written");
                        (wait, pause) = (pause, (pause * 2).min(LONGEST_PAUSE));
                    }
                }
            }
            let now = self.clock.now();
            if let Some(keep) = self.keep {
                if now >= clean_up {
                    clean_up = after(now, BETWEEN_CLEAN_UPS);
                    match self.purge(before(now, keep), CLEAN_UP).await {
                        Ok(purged) if !purged.complete => clean_up = now,
                        Ok(_) => {}
                        Err(error) => tracing::warn!(%error, "old audit events could not be removed"),
                    }
                }
                wait = wait.min((clean_up - now).to_std().unwrap_or_default());
            }
            let slept = self.clock.sleep(wait);
            match filled {
                // Dropping the other is all that has to be done about it.
                Some(filled) => drop(select(filled, slept).await),
                None => slept.await,
            }
        }
    }
}
