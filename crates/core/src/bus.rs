//! The seam of invalidation buses: telling other nodes, and other parts of this one, what changed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, poll_fn};

use crate::error::Result;
use crate::storage::Notice;

/// Carries notices. It only shortens delays: what it loses is found by the feed or by reading the storage.
#[async_trait]
pub trait InvalidationBus: Send + Sync + fmt::Debug {
    /// Tells every subscriber on every node.
    async fn publish(&self, notice: &Notice) -> Result<()>;

    /// What is published from now on. A stream that ends has broken: subscribe again.
    fn subscribe(&self) -> BoxStream<'static, BusEvent>;

    /// The background work, where there is any: a future that runs until it is dropped.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>>;
}

/// What a subscriber hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BusEvent {
    /// Something changed.
    Notice(Notice),
    /// Nothing did, and the bus is up.
    Heartbeat,
    /// Notices may have been lost: look everything up again.
    Lost,
}

/// A bus within one process. It never blocks: a subscriber that falls behind hears [`BusEvent::Lost`].
#[derive(Default)]
pub struct LocalBus {
    subscribers: Mutex<Vec<Subscriber>>,
}

struct Subscriber {
    sender: mpsc::Sender<BusEvent>,
    /// Its backlog was full: it is told so as soon as it has read that.
    behind: Arc<AtomicBool>,
}

/// How many notices wait for a subscriber at most.
const BACKLOG: usize = 256;

impl LocalBus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl InvalidationBus for LocalBus {
    async fn publish(&self, notice: &Notice) -> Result<()> {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain_mut(|subscriber| match subscriber.sender.try_send(BusEvent::Notice(*notice)) {
            Ok(()) => true,
            Err(error) if error.is_full() => {
                subscriber.behind.store(true, Ordering::Release);
                // The reader may have drained everything in between, and sleeps.
                let _ = subscriber.sender.try_send(BusEvent::Lost);
                true
            }
            Err(_) => false,
        });
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        let (sender, mut receiver) = mpsc::channel(BACKLOG);
        let behind = Arc::new(AtomicBool::new(false));
        let subscriber = Subscriber { sender, behind: Arc::clone(&behind) };
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
        let events = poll_fn(move |context| match receiver.poll_next_unpin(context) {
            // What did not fit was published while the backlog was full, so the reader comes here after it: nobody waits for a next notice.
            Poll::Pending if behind.swap(false, Ordering::AcqRel) => Poll::Ready(Some(BusEvent::Lost)),
            polled => polled,
        });
        events.boxed()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalBus")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::storage::{Phase, Subject};
    use chrono::DateTime;
    use futures_util::FutureExt;

    #[test]
    fn a_slow_subscriber_hears_that_it_missed_something() {
        let bus = LocalBus::new();
        let notice = Notice::new(Subject::Global, Phase::Done, DateTime::UNIX_EPOCH);
        let mut events = bus.subscribe();
        for _ in 0..2 * BACKLOG {
            bus.publish(&notice).now_or_never().unwrap().unwrap();
        }
        let mut heard = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            heard.push(event);
        }
        assert!(heard.len() > BACKLOG, "the backlog, and that there was more");
        assert_eq!(heard.last(), Some(&BusEvent::Lost), "told without a further notice");
        bus.publish(&notice).now_or_never().unwrap().unwrap();
        assert_eq!(events.next().now_or_never(), Some(Some(BusEvent::Notice(notice))));
        drop(events);
        bus.publish(&notice).now_or_never().unwrap().unwrap();
        assert!(bus.subscribers.lock().unwrap().is_empty());
    }
}
