//! The session id: a `UUIDv7` that also tells the shard of its user.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::error::{Error, ErrorKind};
use crate::random::Random;
use crate::session::ExternalId;
use crate::user::{Locator, Shard, UserId};

/// Names a session: a UUID of version 7 (RFC 9562) whose twelve `rand_a` bits are the [`Shard`] of its user.
///
/// # Security
/// An id names a session and is no secret: nothing may be granted on its strength. The secrets are the tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Makes the id of a new session of `user` at `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the random source fails.
    pub fn generate(user: &UserId, now: DateTime<Utc>, random: &dyn Random) -> Result<Self, Error> {
        let mut tail = [0_u8; 10];
        random.fill(&mut tail)?;
        let [high, low] = user.shard().number().to_be_bytes();
        // `Builder` overlays the version on the high four bits of the first byte, so the twelve bits after it are ours.
        [tail[0], tail[1]] = [high, low];
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        Ok(Self(Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()))
    }

    /// Makes the id of a session that is taken over from another system: always the same for the same session there, so that an import
    /// may be repeated, and a cookie of the other system leads to it.
    pub fn imported(user: &UserId, created_at: DateTime<Utc>, external: &ExternalId) -> Self {
        let digest = Sha256::new()
            .chain_update("sm-import/1")
            .chain_update(u64::try_from(external.issuer.len()).unwrap_or(u64::MAX).to_be_bytes())
            .chain_update(&external.issuer)
            .chain_update(&external.sid)
            .finalize();
        let mut tail = [0_u8; 10];
        for (to, from) in tail.iter_mut().zip(digest) {
            *to = from;
        }
        let [high, low] = user.shard().number().to_be_bytes();
        [tail[0], tail[1]] = [high, low];
        let millis = u64::try_from(created_at.timestamp_millis()).unwrap_or_default();
        Self(Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
    }

    /// Reads an id from any UUID text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the text is no UUID.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::new(ErrorKind::InvalidInput, "session id").because("a session id is a UUID"))
    }

    /// The id as a UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// The id's sixteen bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The shard hint in the id: that of its user for every id that [`SessionId::generate`] made.
    pub fn shard(&self) -> Shard {
        let mut bytes = self.0.as_bytes().iter().skip(6).copied();
        let high = bytes.next().unwrap_or_default();
        let low = bytes.next().unwrap_or_default();
        Shard::from_bits(u16::from_be_bytes([high, low]))
    }
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl std::str::FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// How a session is looked up: by its id and, where it is known (every token carries it), the user's [`Locator`].
///
/// A look-up by id alone may cost some storages a second round trip.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct SessionKey {
    /// The session.
    pub id: SessionId,
    /// Where its user's keys are.
    pub locator: Option<Locator>,
}

impl SessionKey {
    /// The key of a session whose user is known.
    pub const fn new(id: SessionId, locator: Locator) -> Self {
        Self { id, locator: Some(locator) }
    }

    /// The key of a session of which only the id is known.
    pub const fn by_id(id: SessionId) -> Self {
        Self { id, locator: None }
    }
}

impl From<SessionId> for SessionKey {
    fn from(id: SessionId) -> Self {
        Self::by_id(id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::random::SystemRandom;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_shard_of_an_id_is_the_shard_of_its_user(name in "[^\\p{Cc}]{1,32}", millis in 0_i64..4_000_000_000_000) {
            let user = UserId::parse(&name).unwrap();
            let now = DateTime::from_timestamp_millis(millis).unwrap();
            let id = SessionId::generate(&user, now, &SystemRandom::new().unwrap()).unwrap();
            prop_assert_eq!(id.shard(), user.shard());
            prop_assert_eq!(id.as_uuid().get_version_num(), 7);
            prop_assert_eq!(SessionId::parse(&id.to_string()).unwrap(), id);
        }
    }

    #[test]
    fn an_imported_session_always_has_the_same_id() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let name = |issuer: &str, sid: &str| ExternalId { issuer: issuer.into(), sid: sid.into() };
        let of = |user: &UserId, millis, external: &ExternalId| {
            SessionId::imported(user, DateTime::from_timestamp_millis(millis).unwrap(), external)
        };
        let id = of(&alice, 7, &name("old", "1"));
        assert_eq!((id, id.shard()), (of(&alice, 7, &name("old", "1")), alice.shard()));
        for other in
            [of(&alice, 7, &name("old", "2")), of(&alice, 7, &name("ol", "d1")), of(&bob, 7, &name("old", "1"))]
        {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn ids_of_one_millisecond_differ() {
        let user = UserId::parse("alice").unwrap();
        let random = SystemRandom::new().unwrap();
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| SessionId::generate(&user, DateTime::UNIX_EPOCH, &random).unwrap()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
