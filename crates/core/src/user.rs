//! Who a session belongs to: the application's user id as opaque text, and what is derived from it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, ErrorKind};

/// The application's user id: opaque text of 1 to 128 bytes without control characters.
///
/// Two ids are the same user exactly when their bytes are equal. An id made from a [`Uuid`] is lower-case and hyphenated, one made
/// from an integer is decimal. Cloning is cheap.
///
/// ```
/// use session_manager_core::UserId;
///
/// let user = UserId::parse("alice")?;
/// assert_eq!(user.as_str(), "alice");
/// assert_eq!(UserId::from(42_i64).as_str(), "42");
/// assert!(UserId::parse("").is_err());
/// # Ok::<(), session_manager_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

impl UserId {
    /// The most bytes an id may have.
    pub const MAX_BYTES: usize = 128;

    /// Takes an id from text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is empty, longer than 128 bytes or holds a control character.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(Error::new(ErrorKind::InvalidInput, "user id")
                .because("a user id has 1 to 128 bytes and no control characters"));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the tokens carry to find this user's keys, see [`Locator`].
    pub fn locator(&self) -> Locator {
        Locator::of(self)
    }

    /// The place hint every session id of this user carries, see [`Shard`].
    pub fn shard(&self) -> Shard {
        Shard::of(self)
    }
}

impl From<Uuid> for UserId {
    fn from(id: Uuid) -> Self {
        Self(Arc::from(id.hyphenated().to_string()))
    }
}

impl From<i64> for UserId {
    fn from(id: i64) -> Self {
        Self(Arc::from(id.to_string()))
    }
}

impl From<u64> for UserId {
    fn from(id: u64) -> Self {
        Self(Arc::from(id.to_string()))
    }
}

impl TryFrom<String> for UserId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &*self.0)
    }
}

/// The first 8 bytes of SHA-256(`"sm-user/1"` ‖ user id): finds a user's keys from a token alone and reveals no user id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Locator([u8; 8]);

impl Locator {
    /// The locator of a user.
    pub fn of(user: &UserId) -> Self {
        let digest = Sha256::new().chain_update(b"sm-user/1").chain_update(user.as_str().as_bytes()).finalize();
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// A locator read from a token or a storage key.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its eight bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locator({self})")
    }
}

/// A place hint of 12 bits: the first bits of SHA-256(`"sm-shard/1"` ‖ user id).
///
/// It is part of the format for ever and never an authority: storages use it to keep one user's sessions together (a Redis hash tag, a
/// memory shard, a SQL partition).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Shard(u16);

impl Shard {
    /// How many shards there are.
    pub const COUNT: u16 = 4096;

    /// The shard of a user.
    pub fn of(user: &UserId) -> Self {
        let digest = Sha256::new().chain_update(b"sm-shard/1").chain_update(user.as_str().as_bytes()).finalize();
        let mut first = digest.iter().copied();
        let high = u16::from(first.next().unwrap_or_default());
        let low = u16::from(first.next().unwrap_or_default());
        Self((high << 4) | (low >> 4))
    }

    /// The shard with the low 12 bits of `bits`.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x0FFF)
    }

    /// Its number, below 4096.
    pub const fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn ids_are_canonical_text() {
        let id = Uuid::parse_str("0190F5FE-7C00-7A00-8000-00000000000A").unwrap();
        assert_eq!(UserId::from(id).as_str(), "0190f5fe-7c00-7a00-8000-00000000000a");
        assert_ne!(UserId::parse("Bob").unwrap(), UserId::parse("bob").unwrap());
        assert_ne!(UserId::parse("bob ").unwrap(), UserId::parse("bob").unwrap());
        for bad in ["", "a\nb", "a\0", "\u{7f}", &"x".repeat(129)] {
            assert_eq!(UserId::parse(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        assert!(UserId::parse(&"x".repeat(128)).is_ok());
        assert!(serde_json::from_str::<UserId>("\"\"").is_err());
    }

    /// The values are part of the storage and token formats: they may never change.
    #[test]
    fn locator_and_shard_are_fixed_for_ever() {
        let user = UserId::parse("alice").unwrap();
        let digest = Sha256::digest(b"sm-user/1alice");
        assert_eq!(&user.locator().as_bytes()[..], &digest[..8]);
        let digest = Sha256::digest(b"sm-shard/1alice");
        assert_eq!(user.shard().number(), u16::from_be_bytes([digest[0], digest[1]]) >> 4);
        assert!(user.shard().number() < Shard::COUNT);
    }
}
