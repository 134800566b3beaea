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
use crate::random::Random;
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

impl LocalBus {
    /// Tells every subscriber of this process.
    pub fn tell(&self, event: BusEvent) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain_mut(|subscriber| match subscriber.sender.try_send(event) {
            Ok(()) => true,
            Err(error) if error.is_full() => {
                subscriber.behind.store(true, Ordering::Release);
                // The reader may have drained everything in between, and sleeps.
                let _ = subscriber.sender.try_send(BusEvent::Lost);
                true
            }
            Err(_) => false,
        });
    }
}

#[async_trait]
impl InvalidationBus for LocalBus {
    async fn publish(&self, notice: &Notice) -> Result<()> {
        self.tell(BusEvent::Notice(*notice));
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        let (sender, mut receiver) = mpsc::channel(BACKLOG);
        let behind = Arc::new(AtomicBool::new(false));
        let subscriber = Subscriber { sender, behind: Arc::clone(&behind) };
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        // While nothing is told, those that come and go would pile up.
        subscribers.retain(|subscriber| !subscriber.sender.is_closed());
        subscribers.push(subscriber);
        drop(subscribers);
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

/// What a bus between nodes is made of, whatever carries it: the form of its messages, and the subscribers of this process.
///
/// # Behaviour
/// - A message is a line of text. One that this version does not understand is heard as [`BusEvent::Lost`]: look everything up again.
/// - What this node sent comes back to it as a heartbeat only: its own subscribers were told when it was published.
pub struct BusRelay {
    local: LocalBus,
    node: String,
}

/// The first word of every message.
const MESSAGE: &str = "sm1";

impl BusRelay {
    /// A relay of a node with a random name.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the random source fails.
    pub fn new(random: &dyn Random) -> Result<Self> {
        let mut name = [0; 8];
        random.fill(&mut name)?;
        Ok(Self { local: LocalBus::new(), node: format!("{:016x}", u64::from_be_bytes(name)) })
    }

    /// Tells this process, and returns the message for all others.
    pub fn publish(&self, notice: &Notice) -> String {
        self.local.tell(BusEvent::Notice(*notice));
        // A notice holds an id, a word and a time: it always has a JSON form.
        let notice = serde_json::to_string(notice).unwrap_or_default();
        format!("{MESSAGE} {} {notice}", self.node)
    }

    /// The message that says that nothing happened.
    pub fn heartbeat(&self) -> String {
        format!("{MESSAGE} {}", self.node)
    }

    /// Tells this process what came from the bus.
    pub fn hear(&self, message: &str) {
        let mut words = message.splitn(3, ' ');
        let (first, node, notice) = (words.next(), words.next(), words.next());
        let event = match (first == Some(MESSAGE), node, notice) {
            (true, Some(node), _) if node == self.node => BusEvent::Heartbeat,
            (true, Some(_), None) => BusEvent::Heartbeat,
            (true, Some(_), Some(notice)) => serde_json::from_str(notice).map_or(BusEvent::Lost, BusEvent::Notice),
            _ => BusEvent::Lost,
        };
        self.local.tell(event);
    }

    /// Tells this process that messages may have been lost.
    pub fn lost(&self) {
        self.local.tell(BusEvent::Lost);
    }

    /// What this process is told from now on.
    pub fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        self.local.subscribe()
    }
}

impl fmt::Debug for BusRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusRelay").field("node", &self.node).finish_non_exhaustive()
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
    fn a_relay_hears_others_and_not_itself() {
        let random = crate::random::SystemRandom::new().unwrap();
        let (here, there) = (BusRelay::new(&random).unwrap(), BusRelay::new(&random).unwrap());
        let (mut ours, mut theirs) = (here.subscribe(), there.subscribe());
        let next = |stream: &mut BoxStream<'static, BusEvent>| stream.next().now_or_never().flatten();
        let notice = Notice::new(Subject::Global, Phase::Done, DateTime::UNIX_EPOCH);
        let message = here.publish(&notice);
        assert_eq!(next(&mut ours), Some(BusEvent::Notice(notice)), "at once");
        here.hear(&message);
        assert_eq!(next(&mut ours), Some(BusEvent::Heartbeat), "an echo");
        there.hear(&message);
        there.hear(&here.heartbeat());
        for unknown in ["", "sm2 a", "sm1", &format!("{} ?", here.heartbeat())] {
            there.hear(unknown);
        }
        let heard: Vec<_> = std::iter::from_fn(|| next(&mut theirs)).collect();
        let lost = BusEvent::Lost;
        assert_eq!(heard, [BusEvent::Notice(notice), BusEvent::Heartbeat, lost, lost, lost, lost]);
    }

    #[test]
    fn subscribers_that_come_and_go_do_not_pile_up() {
        let bus = LocalBus::new();
        let stays = bus.subscribe();
        for _ in 0..100 {
            drop(bus.subscribe());
        }
        assert!(bus.subscribers.lock().unwrap().len() <= 2, "nothing was published meanwhile");
        drop(stays);
    }

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
