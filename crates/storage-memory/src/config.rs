//! The bounds of the storage.

use std::time::Duration;

use session_manager_core::{Error, ErrorKind, Result};

/// How much a [`MemoryStorage`](crate::MemoryStorage) may hold, and for how long.
///
/// ```
/// use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};
///
/// let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(50_000))?;
/// # Ok::<(), session_manager_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryStorageConfig {
    /// How many lock shards there are: a power of two from 1 to 4096. Default 128.
    pub shards: u16,
    /// The most sessions, ended ones included. Default 1,000,000.
    ///
    /// At the bound an insert first removes what ended longer than [`retention`](Self::retention) ago, then what has ended at all, and then is
    /// refused with [`ErrorKind::Unavailable`]. A live session is never removed to make room for somebody else's.
    ///
    /// What was revoked or is past its deadline is found at once. What a rotation ended is searched for, some thousands of sessions an insert:
    /// after the rotation of one user among many, some inserts may be refused before the search has come to that user.
    pub max_sessions: usize,
    /// How long ended sessions are kept even at the bound, while there are older ones. Default 24 hours.
    pub retention: Duration,
    /// How long the epoch of a user without any session is kept after the last deadline of theirs. Default 30 days.
    ///
    /// Losing an epoch can only sign out. It is kept so that a session which is imported late, from before a rotation, is refused.
    pub epoch_retention: Duration,
    /// The most users of whom an epoch is kept, with sessions or without: at least `max_sessions`. Default `None`: four times `max_sessions`.
    ///
    /// At the bound users without sessions are forgotten before their [`epoch_retention`](Self::epoch_retention) is over, those first whose
    /// last deadline was the earliest. Nobody is refused for it; but a session of theirs from before a rotation that is imported only now
    /// is not refused either.
    pub max_users: Option<usize>,
    /// The most values remembered at once for `remember_once`. Default 1,000,000. At the bound, after the expired ones have been removed,
    /// it answers [`ErrorKind::Unavailable`].
    pub max_remembered: usize,
    /// How long notices stay in the feed: longer than any access token lives. Default 1 hour.
    pub feed_retention: Duration,
    /// The most notices in the feed. Default 1,000,000. A reader who missed one that was dropped too early is told so by an error.
    pub feed_capacity: usize,
}

impl Default for MemoryStorageConfig {
    fn default() -> Self {
        Self {
            shards: 128,
            max_sessions: 1_000_000,
            retention: Duration::from_hours(24),
            epoch_retention: Duration::from_hours(30 * 24),
            max_users: None,
            max_remembered: 1_000_000,
            feed_retention: Duration::from_hours(1),
            feed_capacity: 1_000_000,
        }
    }
}

impl MemoryStorageConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of lock shards: a power of two from 1 to 4096.
    pub const fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the most sessions.
    pub const fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// Sets how long ended sessions are kept.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how long the epochs of users without sessions are kept.
    pub const fn epoch_retention(mut self, epoch_retention: Duration) -> Self {
        self.epoch_retention = epoch_retention;
        self
    }

    /// Sets the most users of whom an epoch is kept.
    pub const fn max_users(mut self, max_users: usize) -> Self {
        self.max_users = Some(max_users);
        self
    }

    /// The bound of users that follows.
    pub(crate) fn user_bound(&self) -> usize {
        self.max_users.unwrap_or(self.max_sessions.saturating_mul(4))
    }

    /// Sets the most remembered values.
    pub const fn max_remembered(mut self, max_remembered: usize) -> Self {
        self.max_remembered = max_remembered;
        self
    }

    /// Sets how long, and how many at most, notices stay in the feed.
    pub const fn feed(mut self, retention: Duration, capacity: usize) -> Self {
        self.feed_retention = retention;
        self.feed_capacity = capacity;
        self
    }

    /// # Errors
    /// [`ErrorKind::Misconfigured`] naming the field.
    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Misconfigured, "memory storage").because(message));
        if !self.shards.is_power_of_two() || self.shards > 4096 {
            return wrong("shards must be a power of two from 1 to 4096");
        }
        if self.max_sessions == 0 || self.max_remembered == 0 || self.feed_capacity == 0 {
            return wrong("max_sessions, max_remembered and feed_capacity must be at least 1");
        }
        if self.feed_retention.is_zero() {
            return wrong("feed_retention must be longer than nothing");
        }
        if self.user_bound() < self.max_sessions {
            return wrong("max_users must be at least max_sessions: each session may be of another user");
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_bounds_are_taken() {
        let fine = MemoryStorageConfig::new;
        for (config, ok) in [
            (fine(), true),
            (fine().shards(1), true),
            (fine().shards(4096), true),
            (fine().shards(0), false),
            (fine().shards(3), false),
            (fine().shards(8192), false),
            (fine().max_sessions(0), false),
            (fine().max_remembered(0), false),
            (fine().feed(Duration::from_hours(1), 0), false),
            (fine().feed(Duration::ZERO, 1), false),
            (fine().max_sessions(7).max_users(7), true),
            (fine().max_sessions(7).max_users(6), false),
            (fine().max_sessions(usize::MAX), true),
        ] {
            assert_eq!(config.validate().is_ok(), ok, "{config:?}");
        }
    }
}
