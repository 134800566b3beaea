//! How big, how old and how deaf the cache may be.

use std::time::Duration;

use session_manager_core::{Error, ErrorKind, Result};

/// The bounds of a cache.
///
/// ```
/// use std::time::Duration;
/// use session_manager_storage_tiered::{TieredConfig, WhenDeaf};
///
/// let config = TieredConfig::new()
///     .max_age(Duration::from_secs(30))
///     .max_entries(500_000)
///     .heartbeat(Some(Duration::from_secs(15)))
///     .when_deaf(WhenDeaf::Bounded(Duration::from_secs(2)));
/// assert_eq!(config.max_age, Duration::from_secs(30));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TieredConfig {
    /// How many sessions are remembered in this process at most. 100,000 by default; 0 remembers none here, for a cache that is shared only.
    pub max_entries: usize,
    /// How old an answer may be at most, counted from the moment its read began: the storage's
    /// [`Freshness::Bounded`](session_manager_core::storage::Freshness::Bounded). 10 s by default, at most an hour.
    pub max_age: Duration,
    /// How long the absence of a session is remembered. 1 s by default, and at most.
    pub negative_age: Duration,
    /// A read of the durable storage that takes longer is answered, but not remembered. 5 s by default.
    pub fill_timeout: Duration,
    /// How long a notice may take to be published before the change goes on without it. 1 s by default.
    pub publish_timeout: Duration,
    /// How long a shared cache may take before the durable storage is asked, or changed, without it. 250 ms by default.
    pub shared_timeout: Duration,
    /// The longest time between two heartbeats of a bus that is up; three times what the bus promises is a good value. Only
    /// [`Heartbeat`](session_manager_core::BusEvent::Heartbeat)s count: a notice may be this node's own, which it hears whether or not the bus
    /// has carried it anywhere, and after [`Lost`](session_manager_core::BusEvent::Lost) the bus counts as down until the next.
    ///
    /// `None`, the default, is for buses that send none, as the one within a process: those are believed until their stream ends, and then
    /// again when the next one has said something.
    pub heartbeat: Option<Duration>,
    /// What happens while the bus is not heard.
    pub when_deaf: WhenDeaf,
}

/// What happens while the bus of other nodes is not heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenDeaf {
    /// Every read goes to the durable storage.
    #[default]
    Bypass,
    /// Answers of at most this age are given, if it is less than [`TieredConfig::max_age`].
    Bounded(Duration),
}

impl TieredConfig {
    /// The longest life of a remembered answer.
    pub const MAX_AGE: Duration = Duration::from_hours(1);
    /// The longest life of a remembered absence.
    pub const MAX_NEGATIVE_AGE: Duration = Duration::from_secs(1);

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`max_entries`](Self::max_entries).
    pub const fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets [`max_age`](Self::max_age).
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets [`negative_age`](Self::negative_age).
    pub const fn negative_age(mut self, age: Duration) -> Self {
        self.negative_age = age;
        self
    }

    /// Sets [`fill_timeout`](Self::fill_timeout).
    pub const fn fill_timeout(mut self, timeout: Duration) -> Self {
        self.fill_timeout = timeout;
        self
    }

    /// Sets [`publish_timeout`](Self::publish_timeout).
    pub const fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// Sets [`shared_timeout`](Self::shared_timeout).
    pub const fn shared_timeout(mut self, timeout: Duration) -> Self {
        self.shared_timeout = timeout;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat); take at least twice the interval of the bus.
    pub const fn heartbeat(mut self, silence: Option<Duration>) -> Self {
        self.heartbeat = silence;
        self
    }

    /// Sets [`when_deaf`](Self::when_deaf).
    pub const fn when_deaf(mut self, when_deaf: WhenDeaf) -> Self {
        self.when_deaf = when_deaf;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = if self.max_age.is_zero() || self.max_age > Self::MAX_AGE {
            "max_age is more than nothing and at most an hour"
        } else if self.negative_age > Self::MAX_NEGATIVE_AGE {
            "negative_age is at most one second"
        } else if self.fill_timeout.is_zero() || self.fill_timeout > Self::MAX_AGE {
            "fill_timeout is more than nothing and at most an hour"
        } else if self.publish_timeout.is_zero() {
            "publish_timeout is more than nothing"
        } else if self.shared_timeout.is_zero() {
            "shared_timeout is more than nothing"
        } else if self.heartbeat.is_some_and(|silence| silence.is_zero()) {
            "heartbeat is more than nothing"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Misconfigured, "tiered storage").because(wrong))
    }
}

impl Default for TieredConfig {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_age: Duration::from_secs(10),
            negative_age: Self::MAX_NEGATIVE_AGE,
            fill_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(1),
            shared_timeout: Duration::from_millis(250),
            heartbeat: None,
            when_deaf: WhenDeaf::Bypass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_bounds_are_refused() {
        let config = TieredConfig::new;
        assert!(config().validate().is_ok());
        let wrong = [
            config().max_age(Duration::ZERO),
            config().max_age(Duration::from_secs(3601)),
            config().negative_age(Duration::from_millis(1001)),
            config().fill_timeout(Duration::ZERO),
            config().publish_timeout(Duration::ZERO),
            config().shared_timeout(Duration::ZERO),
            config().heartbeat(Some(Duration::ZERO)),
        ];
        for config in wrong {
            let kind = config.validate().err().map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::Misconfigured), "{config:?}");
        }
    }
}
