//! What the storage asks of a cache client: five commands, each with a typed reply.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::key::CacheKey;

/// Where connections to the cache come from: the application's pool.
///
/// # Behaviour
/// - A key always leads to the same server. A client of several servers has a fixed list of them and answers
///   [`CacheError::Unreachable`] for one that is down; it never turns to another one, because a server that comes back would bring its old
///   items with it.
/// - A server that was cut off while others took its place is flushed or restarted before it is used again.
#[async_trait]
pub trait CacheClient: Send + Sync + fmt::Debug {
    /// A connection, exclusively the caller's until it is dropped.
    type Connection: CacheConnection;

    /// Takes a connection that is ready for a command.
    ///
    /// # Errors
    /// [`CacheError::Unreachable`] when there is none within the client's own time.
    async fn connection(&self) -> Result<Self::Connection, CacheError>;
}

/// The commands of one connection.
///
/// # Behaviour
/// - Every command waits for the server's reply: a command "without reply" cannot say that it failed.
/// - A connection whose command failed, or was dropped before its reply, is never used again: its next reply might belong to that command.
/// - A [`CasToken`] is good only on the connection that gave it. A server that restarts counts its tokens from the beginning, so that a
///   token from before could fit another item; but it also cuts the connection. So a connection that reconnects by itself must answer
///   [`CacheError::Unreachable`] instead.
#[async_trait]
pub trait CacheConnection: Send {
    /// Reads some values in one round trip, in the order of the keys.
    async fn read(&mut self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, CacheError>;

    /// Reads an item in order to change it.
    async fn get(&mut self, key: &CacheKey) -> Result<Option<CacheItem>, CacheError>;

    /// Stores an item where there is none.
    async fn add(&mut self, key: &CacheKey, value: &[u8], ttl: TimeToLive) -> Result<Added, CacheError>;

    /// Stores an item if it is still the one that [`get`](Self::get) gave.
    async fn compare_and_swap(
        &mut self,
        key: &CacheKey,
        value: &[u8],
        token: CasToken,
        ttl: TimeToLive,
    ) -> Result<Swapped, CacheError>;

    /// Removes an item and says whether there was one.
    async fn delete(&mut self, key: &CacheKey) -> Result<bool, CacheError>;
}

/// An item that was read in order to change it.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheItem {
    /// Its value.
    pub value: Vec<u8>,
    /// Which state of the item this is.
    pub token: CasToken,
}

impl fmt::Debug for CacheItem {
    /// A value holds seeds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheItem").field("bytes", &self.value.len()).finish_non_exhaustive()
    }
}

/// Names one state of an item, on one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CasToken(pub u64);

/// The reply to an `add`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It is stored.
    Stored,
    /// There is an item already; nothing was changed.
    Exists,
}

/// The reply to a compare-and-swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swapped {
    /// It is stored.
    Stored,
    /// The item was changed meanwhile, and is as somebody else left it.
    Changed,
    /// The item is gone, and nothing was stored.
    Missing,
}

/// How long an item is wanted; the server may forget it earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeToLive {
    /// As long as there is room.
    Unlimited,
    /// At least this long, from the moment the server stores it.
    For(Duration),
}

impl TimeToLive {
    /// The longest relative time that memcached takes as such: anything above is a Unix time to it.
    const RELATIVE: u64 = 30 * 24 * 60 * 60;

    /// The number that memcached's commands take, rounded up to whole seconds; 0 is "no limit".
    ///
    /// `unix_now` are the seconds since 1970 by this machine's clock, not by the manager's: a storage must live under a manual clock too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use session_manager_storage_memcached::TimeToLive;
    ///
    /// let month = Duration::from_hours(30 * 24);
    /// assert_eq!(TimeToLive::For(month).exptime(1_800_000_000), 2_592_000);
    /// assert_eq!(TimeToLive::For(month + Duration::from_millis(1)).exptime(1_800_000_000), 1_802_592_001);
    /// ```
    pub fn exptime(self, unix_now: u64) -> u32 {
        let Self::For(duration) = self else { return 0 };
        let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1);
        if seconds <= Self::RELATIVE {
            return u32::try_from(seconds).unwrap_or(0);
        }
        // memcached reads a signed number of 32 bits and refuses what lies beyond: better no limit than no session.
        i32::try_from(unix_now.saturating_add(seconds)).ok().and_then(|time| u32::try_from(time).ok()).unwrap_or(0)
    }
}

/// A command that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// No connection, or it broke before the reply: the command may have been carried out or not.
    #[error("the cache cannot be reached")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// No reply in time: the command may have been carried out, or may be later.
    #[error("the cache did not answer in time")]
    TimedOut,
    /// The server refused the value for its size; nothing was stored.
    #[error("the value is larger than the server's item size limit")]
    TooLarge,
    /// The server refused the command; nothing was done.
    #[error("the cache refused the command: {0}")]
    Refused(String),
}

impl CacheError {
    /// A connection that failed.
    pub fn unreachable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unreachable(source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_relative_absolute_or_none() {
        let now = 1_795_000_000;
        let cases = [
            (TimeToLive::Unlimited, 0),
            // Zero would be "for ever".
            (TimeToLive::For(Duration::ZERO), 1),
            (TimeToLive::For(Duration::from_millis(1)), 1),
            (TimeToLive::For(Duration::from_millis(1001)), 2),
            (TimeToLive::For(Duration::from_hours(720)), 2_592_000),
            (TimeToLive::For(Duration::from_secs(2_592_001)), 1_797_592_001),
            (TimeToLive::For(Duration::from_secs(2_147_483_647 - now)), 2_147_483_647),
            (TimeToLive::For(Duration::from_secs(2_147_483_648 - now)), 0),
            (TimeToLive::For(Duration::MAX), 0),
        ];
        for (ttl, expected) in cases {
            assert_eq!(ttl.exptime(now), expected, "{ttl:?}");
        }
    }

    #[test]
    fn debug_text_of_an_item_holds_no_value() {
        let text = format!("{:?}", CacheItem { value: b"seed".to_vec(), token: CasToken(1) });
        assert_eq!(text, "CacheItem { bytes: 4, .. }");
    }
}
