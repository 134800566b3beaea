//! [`ShadowStorage`]: answers from the old storage, and finds out whether the new one would have answered the same.

mod compare;
mod storage;
mod work;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::lock::Mutex as AsyncMutex;
use session_manager_core::{Clock, SessionKey, SessionStorage, Shard, SystemClock, UserId};

use compare::Tally;
pub use compare::{Differences, ShadowStats};
use work::Job;

/// How much of the traffic is shadowed, and what it may cost.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShadowConfig {
    /// How many of a thousand users are shadowed; always the same ones, with everything they do. All of them by default.
    pub per_mille: u16,
    /// How many operations may wait for the new storage; more are dropped and counted. 10,000 by default.
    pub queue: usize,
    /// How long an operation of the new storage may take. 5 s by default.
    pub timeout: Duration,
}

impl ShadowConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`per_mille`](Self::per_mille), at most 1000.
    pub const fn per_mille(mut self, users: u16) -> Self {
        self.per_mille = if users > 1000 { 1000 } else { users };
        self
    }

    /// Sets [`queue`](Self::queue).
    pub const fn queue(mut self, operations: usize) -> Self {
        self.queue = operations;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for ShadowConfig {
    fn default() -> Self {
        Self { per_mille: 1000, queue: 10_000, timeout: Duration::from_secs(5) }
    }
}

/// Answers from the old storage, repeats everything on the new one in the background, and counts how the two differ.
///
/// # Behaviour
/// - Callers wait for the old storage only. What the new one does — answer wrongly, slowly, not at all — is a number in [`stats`](Self::stats).
/// - The work is done by [`maintenance`](SessionStorage::maintenance), in the order in which the old storage answered. Where nobody runs it,
///   the queue fills up and the rest is dropped.
/// - A difference counts if it is still there when everything that was waiting has been repeated: two operations at once may well be
///   answered in another order.
/// - What is compared is what a session *is*: its fields, generation, floor, deadlines, revocation and whether it lives. Epochs may have another
///   origin.
///
/// # Security
/// The new storage is a trial and never becomes the real one: what was dropped — a revocation, perhaps — it does not know. Empty it before
/// sessions are moved there.
pub struct ShadowStorage {
    old: Arc<dyn SessionStorage>,
    new: Arc<dyn SessionStorage>,
    config: ShadowConfig,
    clock: Arc<dyn Clock>,
    sender: Mutex<mpsc::Sender<Job>>,
    receiver: AsyncMutex<mpsc::Receiver<Job>>,
    tally: Arc<Tally>,
}

impl ShadowStorage {
    /// Answers from `old`, and compares with `new`.
    pub fn new(old: Arc<dyn SessionStorage>, new: Arc<dyn SessionStorage>, config: ShadowConfig) -> Self {
        let (sender, receiver) = mpsc::channel(config.queue);
        let (sender, receiver) = (Mutex::new(sender), AsyncMutex::new(receiver));
        Self { old, new, config, clock: Arc::new(SystemClock), sender, receiver, tally: Arc::default() }
    }

    /// Takes the time from `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What was compared so far, and how it differed.
    pub fn stats(&self) -> ShadowStats {
        self.tally.read()
    }

    /// Whether this user is shadowed. By the shard, which every session id knows too.
    fn samples_user(&self, user: &UserId) -> bool {
        self.samples(user.shard())
    }

    fn samples_key(&self, key: &SessionKey) -> bool {
        self.samples(key.id.shard())
    }

    fn samples(&self, shard: Shard) -> bool {
        u32::from(shard.number()).saturating_mul(1000)
            < u32::from(self.config.per_mille).saturating_mul(u32::from(Shard::COUNT))
    }

    /// Hands a job to the background, or drops it.
    fn enqueue(&self, job: Job) {
        if self.sender().try_send(job).is_err() {
            self.tally.dropped();
        }
    }

    fn sender(&self) -> MutexGuard<'_, mpsc::Sender<Job>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Repeats what is waiting, one after the other, until the future is dropped.
    async fn work(&self) {
        let mut jobs = self.receiver.lock().await;
        while let Some(job) = jobs.next().await {
            self.perform(job).await;
        }
    }
}

impl fmt::Debug for ShadowStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowStorage")
            .field("old", &self.old)
            .field("new", &self.new)
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
