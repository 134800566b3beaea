//! How sessions are kept in Redis.

use std::time::Duration;

use session_manager_core::storage::Durability;

/// The settings of a [`RedisStorage`](crate::RedisStorage).
///
/// ```
/// use std::time::Duration;
///
/// use session_manager_core::storage::Durability;
/// use session_manager_storage_redis::RedisStorageConfig;
///
/// let config = RedisStorageConfig::new().prefix("shop:").durability(Durability::Acknowledged);
/// assert_eq!(config.feed_retention, Duration::from_hours(1));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RedisStorageConfig {
    /// What all keys begin with: at most 64 characters of `a-z A-Z 0-9 : _ - . /`. Default `sm:`.
    pub prefix: String,
    /// What an acknowledged write is worth on these servers: the application knows how they are run, and
    /// [`check`](session_manager_core::SessionStorage::check) compares. Default [`Durability::Replicated`] with 10 seconds, which is
    /// what `min-replicas-max-lag` allows where nobody changed it.
    ///
    /// [`Durability::Acknowledged`] is one server with `appendonly yes` and `appendfsync always`, and no failover.
    pub durability: Durability,
    /// How long ended sessions stay readable, by the servers' clocks: no shorter than the policy's own retention. Default 24 hours.
    pub retention: Duration,
    /// How long notices stay in the feed, by the servers' clocks: longer than any access token lives. Default 1 hour.
    pub feed_retention: Duration,
    /// How long a user's epoch that was raised before the user had a session is kept. Default 30 days. Losing an epoch can only sign out.
    pub epoch_retention: Duration,
    /// How often [`maintenance`](session_manager_core::SessionStorage::maintenance) compares the copies of the global epoch. Default 1 minute.
    pub repair_interval: Duration,
    /// How often [`maintenance`](session_manager_core::SessionStorage::maintenance) asks the primaries whether there was a failover, to end
    /// again what it undid. Default 1 second.
    pub watch_interval: Duration,
    /// Waits for replicas after each revocation and raised epoch. Default: does not.
    pub acknowledge: Option<Acknowledge>,
}

/// How many replicas must have a revocation or a raised epoch before it counts as done.
///
/// # Behaviour
/// The call is followed by `WAIT` on the same connection. With too few in time the outcome is
/// [`unconfirmed`](session_manager_core::storage::Revoked::unconfirmed): it was done, a failover might undo it, and repeating is harmless.
/// While a server waits, it answers nothing else on that connection: give
/// [`acknowledging_over`](crate::RedisStorage::acknowledging_over) a connection of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Acknowledge {
    /// How many replicas.
    pub replicas: u32,
    /// How long to wait for them, in whole milliseconds; shorter than the connection's own response timeout.
    pub timeout: Duration,
}

impl Acknowledge {
    /// Waits until so many replicas have it, for this long at most.
    pub const fn new(replicas: u32, timeout: Duration) -> Self {
        Self { replicas, timeout }
    }
}

impl Default for RedisStorageConfig {
    fn default() -> Self {
        Self {
            prefix: "sm:".to_owned(),
            durability: Durability::Replicated { window: Duration::from_secs(10) },
            retention: Duration::from_hours(24),
            feed_retention: Duration::from_hours(1),
            epoch_retention: Duration::from_hours(30 * 24),
            repair_interval: Duration::from_mins(1),
            watch_interval: Duration::from_secs(1),
            acknowledge: None,
        }
    }
}

impl RedisStorageConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what all keys begin with.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// States what an acknowledged write is worth.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how long ended sessions stay.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long a session's key outlives its absolute deadline, in milliseconds: the retention, and an hour for clocks that differ.
    pub(crate) fn afterlife(&self) -> i64 {
        millis(self.retention).saturating_add(3_600_000)
    }

    /// Sets how long notices stay.
    pub const fn feed_retention(mut self, retention: Duration) -> Self {
        self.feed_retention = retention;
        self
    }

    /// Sets how long an epoch without a session stays.
    pub const fn epoch_retention(mut self, retention: Duration) -> Self {
        self.epoch_retention = retention;
        self
    }

    /// Sets how often copies are compared.
    pub const fn repair_interval(mut self, interval: Duration) -> Self {
        self.repair_interval = interval;
        self
    }

    /// Sets how often the primaries are asked whether there was a failover.
    pub const fn watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval;
        self
    }

    /// Waits for replicas after revocations and raised epochs.
    pub const fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = Some(acknowledge);
        self
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
