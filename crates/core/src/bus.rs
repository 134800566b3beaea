//! The seam of invalidation buses: telling other nodes, and other parts of this one, what changed.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::error::Result;
use crate::storage::Notice;

/// Carries notices. It only shortens delays: what it loses is found by the feed or by reading the storage.
#[async_trait]
pub trait InvalidationBus: Send + Sync + fmt::Debug {
    /// Tells every subscriber on every node.
    async fn publish(&self, notice: &Notice) -> Result<()>;

    /// What is published from now on.
    fn subscribe(&self) -> BoxStream<'static, BusEvent>;
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
    behind: bool,
}

/// How many notices wait for a subscriber.
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
        subscribers.retain_mut(|subscriber| {
            let event = if subscriber.behind { BusEvent::Lost } else { BusEvent::Notice(*notice) };
            match subscriber.sender.try_send(event) {
                Ok(()) => subscriber.behind = false,
                Err(error) if error.is_full() => subscriber.behind = true,
                Err(_) => return false,
            }
            true
        });
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(Subscriber { sender, behind: false });
        receiver.boxed()
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
        assert!(heard.len() >= BACKLOG && !heard.contains(&BusEvent::Lost));
        bus.publish(&notice).now_or_never().unwrap().unwrap();
        assert_eq!(events.next().now_or_never(), Some(Some(BusEvent::Lost)));
        drop(events);
        bus.publish(&notice).now_or_never().unwrap().unwrap();
        assert!(bus.subscribers.lock().unwrap().is_empty());
    }
}
