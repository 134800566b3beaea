//! The names of all keys: `<prefix>{<shard>}:<kind>:<name>` for what belongs to a user, `<prefix><kind>:<name>` for the rest.

use session_manager_core::storage::{OnceKey, Subject};
use session_manager_core::{Error, ErrorKind, ExternalId, Locator, Result, SessionId, Shard};
use sha2::{Digest, Sha256};

/// How many streams the feed has.
pub(crate) const STREAMS: usize = 16;

/// Makes keys under a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

/// The keys of one shard: all in one slot of a cluster, by the hash tag `{<shard>}`.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    stem: String,
}

impl Keys {
    /// The most bytes a prefix may have.
    const MAX_PREFIX: usize = 64;

    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a prefix that would take the hash tag's place, or that is a pattern to `SCAN`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_-./".contains(&byte);
        if prefix.len() > Self::MAX_PREFIX || !prefix.bytes().all(plain) {
            return Err(Error::new(ErrorKind::Misconfigured, "redis storage")
                .because("a key prefix has at most 64 characters of a-z A-Z 0-9 : _ - . /"));
        }
        Ok(Self { prefix: prefix.into() })
    }

    pub(crate) fn shard(&self, shard: Shard) -> Place {
        Place { stem: format!("{}{{{:03x}}}:", self.prefix, shard.number()) }
    }

    /// The global epoch itself; the shards have copies.
    pub(crate) fn authority(&self) -> String {
        format!("{}g", self.prefix)
    }

    /// An external id is of any length and nobody's business: its hash.
    pub(crate) fn external(&self, external: &ExternalId) -> String {
        let digest = Sha256::new()
            .chain_update(u64::try_from(external.issuer.len()).unwrap_or(u64::MAX).to_be_bytes())
            .chain_update(external.issuer.as_bytes())
            .chain_update(external.sid.as_bytes())
            .finalize();
        format!("{}x:{}", self.prefix, hex(&digest))
    }

    pub(crate) fn once(&self, key: &OnceKey) -> String {
        format!("{}o:{}", self.prefix, key.as_str())
    }

    pub(crate) fn stream(&self, number: usize) -> String {
        format!("{}f:{number:x}", self.prefix)
    }

    /// Which stream a subject is announced in.
    pub(crate) fn stream_of(subject: Subject) -> usize {
        match subject {
            Subject::Session(id) => usize::from(id.shard().number()) % STREAMS,
            Subject::User(locator) | Subject::UserEpoch(locator) => {
                locator.as_bytes().first().map_or(0, |byte| usize::from(*byte) % STREAMS)
            }
            _ => 0,
        }
    }

    /// The pattern of all sessions' keys.
    pub(crate) fn sessions(&self) -> String {
        format!("{}{{*}}:s:*", self.prefix)
    }

    /// The session a key belongs to.
    pub(crate) fn session_of(&self, key: &str) -> Option<SessionId> {
        let (shard, id) = key.strip_prefix(&*self.prefix)?.strip_prefix('{')?.split_once("}:s:")?;
        let id = SessionId::parse(id).ok()?;
        (format!("{:03x}", id.shard().number()) == shard).then_some(id)
    }
}

impl Place {
    /// What the id of a session is appended to.
    pub(crate) fn sessions(&self) -> String {
        format!("{}s:", self.stem)
    }

    pub(crate) fn session(&self, id: SessionId) -> String {
        format!("{}s:{}", self.stem, name(id))
    }

    pub(crate) fn user(&self, locator: Locator) -> String {
        format!("{}u:{locator}", self.stem)
    }

    pub(crate) fn index(&self, locator: Locator) -> String {
        format!("{}i:{locator}", self.stem)
    }

    /// What a shared cache has of a session, or its tombstone.
    pub(crate) fn cached(&self, id: SessionId) -> String {
        format!("{}c:{}", self.stem, name(id))
    }

    /// The tombstone of a user in a shared cache.
    pub(crate) fn buried(&self, locator: Locator) -> String {
        format!("{}t:{locator}", self.stem)
    }

    /// Everybody's tombstone in a shared cache.
    pub(crate) fn all_buried(&self) -> String {
        format!("{}t", self.stem)
    }

    /// Since when a shared cache has lost nothing of this shard.
    pub(crate) fn since(&self) -> String {
        format!("{}w", self.stem)
    }

    /// The shard's copy of the global epoch.
    pub(crate) fn global(&self) -> String {
        format!("{}g", self.stem)
    }
}

/// A session's name in keys and indexes.
pub(crate) fn name(id: SessionId) -> String {
    id.as_uuid().simple().to_string()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use session_manager_core::UserId;
    use uuid::Uuid;

    #[test]
    fn prefixes_cannot_move_the_hash_tag_or_widen_a_scan() {
        for good in ["", "sm:", "app-1/sessions_v2."] {
            assert!(Keys::new(good).is_ok(), "{good}");
        }
        for bad in ["{a}", "a*", "a?", "[a]", "a b", "é", "\\", &"a".repeat(65)] {
            assert_eq!(Keys::new(bad).unwrap_err().kind(), ErrorKind::Misconfigured, "{bad}");
        }
    }

    #[test]
    fn a_key_leads_back_to_its_session() {
        let keys = Keys::new("app:").unwrap();
        let id = SessionId::from(Uuid::from_u128(0x0190_0000_0000_7abc_8000_0000_0000_0001));
        let key = keys.shard(id.shard()).session(id);
        assert_eq!(key, "app:{abc}:s:0190000000007abc8000000000000001");
        assert_eq!(keys.session_of(&key), Some(id));
        for other in ["app:{abd}:s:0190000000007abc8000000000000001", "app:{abc}:u:1", "b:{abc}:s:1", "app:{abc}:s:x"] {
            assert_eq!(keys.session_of(other), None, "{other}");
        }
        let user = UserId::parse("alice").unwrap();
        assert!(keys.shard(user.shard()).user(user.locator()).starts_with("app:{"));
    }

    #[test]
    fn external_ids_do_not_run_into_each_other() {
        let keys = Keys::new("").unwrap();
        let key = |issuer: &str, sid: &str| keys.external(&ExternalId { issuer: issuer.into(), sid: sid.into() });
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "b"), key("a", "b"));
    }
}
