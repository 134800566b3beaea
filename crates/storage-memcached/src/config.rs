//! What an application may set.

use std::time::Duration;

use session_manager_core::{Error, ErrorKind, Result};

use crate::key::{CacheKey, Keys};

/// How the storage uses the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MemcachedStorageConfig {
    /// What every key begins with. Two storages on one server need different ones. Default `sm`.
    pub prefix: String,
    /// The most bytes that a user's item may have: all of their sessions together. Default 200 KB.
    pub max_item_bytes: usize,
    /// How long an ended session stays readable at least, unless its place is needed. Default 25 hours.
    pub retention: Duration,
    /// How often a step is repeated when another one was faster. Default 200.
    pub max_attempts: u32,
}

impl MemcachedStorageConfig {
    /// What growth is granted to steps that must not fail for want of room: ending sessions, refreshing them.
    pub(crate) const SLACK: usize = 16 * 1024;
    /// memcached's own limit for an item, unless it was started with another one.
    const ITEM_LIMIT: usize = 1024 * 1024;

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the prefix of every key: 1 to 200 printable ASCII characters.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the most bytes of a user's item: at least 4 KiB, and enough below 1 MiB for the server's own overhead.
    pub const fn max_item_bytes(mut self, bytes: usize) -> Self {
        self.max_item_bytes = bytes;
        self
    }

    /// Sets how long ended sessions stay readable.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how often a step is repeated, at least once.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let largest = Self::ITEM_LIMIT - 2 * Self::SLACK;
        let complaint = if CacheKey::parse(&self.prefix).is_err() || self.prefix.len() > Keys::MAX_PREFIX {
            "prefix must have 1 to 200 printable ASCII characters"
        } else if !(4096..=largest).contains(&self.max_item_bytes) {
            "max_item_bytes must be 4096 to 1015808: memcached takes items up to 1 MiB"
        } else if self.max_attempts == 0 {
            "max_attempts must be at least 1"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Misconfigured, "memcached storage").because(complaint))
    }
}

impl Default for MemcachedStorageConfig {
    fn default() -> Self {
        Self {
            prefix: "sm".to_owned(),
            max_item_bytes: 200 * 1024,
            retention: Duration::from_hours(25),
            max_attempts: 200,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_make_no_sense_are_refused_by_name() {
        let good = MemcachedStorageConfig::new;
        assert!(good().validate().is_ok());
        assert!(good().prefix("p".repeat(200)).max_item_bytes(1_015_808).max_attempts(1).validate().is_ok());
        let cases = [
            (good().prefix(""), "prefix"),
            (good().prefix("a b"), "prefix"),
            (good().prefix("a\r\nflush_all"), "prefix"),
            (good().prefix("p".repeat(201)), "prefix"),
            (good().max_item_bytes(4095), "max_item_bytes"),
            (good().max_item_bytes(1_015_809), "max_item_bytes"),
            (good().max_attempts(0), "max_attempts"),
        ];
        for (config, field) in cases {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured);
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
