//! Names of items: always printable and short enough, because an over-long or broken key would put a connection out of step.

use std::fmt;

use session_manager_core::{Error, ErrorKind, Locator, Result, SessionId};

/// The key of an item: 1 to 250 bytes of printable ASCII without spaces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The most bytes a key may have, by memcached's protocol.
    pub const MAX_BYTES: usize = 250;

    /// Takes a key from text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything but 1 to 250 printable ASCII characters.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(ErrorKind::InvalidInput, "cache key")
                .because("a cache key has 1 to 250 printable ASCII characters"));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CacheKey {
    /// A key may name a session, and keys end up in logs of clients.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(redacted)")
    }
}

/// The keys of one storage: all begin with its prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys(String);

impl Keys {
    /// The most bytes a prefix may have, so that every key of the storage fits.
    pub(crate) const MAX_PREFIX: usize = 200;

    /// The keys with this prefix, which has been checked.
    pub(crate) const fn new(prefix: String) -> Self {
        Self(prefix)
    }

    pub(crate) fn user(&self, locator: Locator) -> CacheKey {
        CacheKey(format!("{}u:{locator}", self.0))
    }

    pub(crate) fn pointer(&self, id: SessionId) -> CacheKey {
        CacheKey(format!("{}p:{}", self.0, id.as_uuid().simple()))
    }

    pub(crate) fn global(&self) -> CacheKey {
        CacheKey(format!("{}g", self.0))
    }

    /// A place to try out what the server takes.
    pub(crate) fn probe(&self) -> CacheKey {
        CacheKey(format!("{}probe", self.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use session_manager_core::UserId;

    #[test]
    fn hostile_keys_are_refused() {
        let long = "k".repeat(251);
        for bad in ["", "a b", "a\r\nflush_all", "a\0", "a\u{7f}", "ä", "a\tb", &long] {
            let error = CacheKey::parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        assert!(CacheKey::parse("k".repeat(250)).is_ok());
    }

    #[test]
    fn every_key_of_the_longest_prefix_is_valid() {
        let keys = Keys::new("p".repeat(Keys::MAX_PREFIX));
        let hostile = UserId::parse("x y\u{a0}ü'\"%\u{1F980}").unwrap();
        let id = SessionId::parse("0190f5fe-7c00-7a00-8000-00000000000a").unwrap();
        for key in [keys.user(hostile.locator()), keys.pointer(id), keys.global(), keys.probe()] {
            assert!(CacheKey::parse(key.as_str()).is_ok());
        }
    }
}
