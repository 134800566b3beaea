//! What is asked of a storage.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cursor::{Cursor, Position};
use super::filter::SessionFilter;
use crate::clock::{after, to_millis};
use crate::control::{Actor, Revocation, RevocationReason};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, SessionKey};
use crate::session::{Authentication, ExternalId, Session};
use crate::snapshot::SessionRecord;
use crate::user::UserId;

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// Caches and replicas are passed by.
    #[default]
    Latest,
    /// As old as the storage's [`Freshness`](super::Freshness) says.
    Eventual,
}

/// Adds a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Insert {
    /// The session; its stamp is set by the storage.
    pub record: SessionRecord,
    /// How many live sessions the user may have.
    pub limit: SessionLimit,
    /// What a missing epoch record begins with.
    pub incarnations: Incarnations,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Insert {
    /// Adds this session.
    pub const fn new(
        record: SessionRecord,
        limit: SessionLimit,
        incarnations: Incarnations,
        now: DateTime<Utc>,
    ) -> Self {
        Self { record, limit, incarnations, now }
    }
}

/// Random numbers for epoch records that do not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incarnations {
    /// For the user's.
    pub user: u64,
    /// For everybody's.
    pub global: u64,
}

/// How many sessions of one user may live at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SessionLimit {
    /// The limit, 1 to [`SessionLimit::CEILING`].
    pub max: u32,
    /// What happens to one more.
    pub on_limit: OnLimit,
}

impl SessionLimit {
    /// No user has more live sessions than this, whatever the policy says.
    pub const CEILING: u32 = 1000;

    /// A limit; the ceiling applies.
    pub const fn new(max: u32, on_limit: OnLimit) -> Self {
        let max = match on_limit {
            OnLimit::Unlimited => Self::CEILING,
            _ if max > Self::CEILING => Self::CEILING,
            _ if max == 0 => 1,
            _ => max,
        };
        Self { max, on_limit }
    }

    /// Whether one more is refused rather than making room.
    pub const fn rejects(self) -> bool {
        matches!(self.on_limit, OnLimit::Reject)
    }

    /// Whether the least recently active makes room, not the oldest.
    pub const fn evicts_idlest(self) -> bool {
        matches!(self.on_limit, OnLimit::EvictIdlest)
    }
}

/// What happens when a user at the limit signs in once more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnLimit {
    /// The oldest sessions (by creation, then id) end.
    #[default]
    EvictOldest,
    /// The least recently active sessions (then oldest, then lowest id) end.
    EvictIdlest,
    /// The new sign-in is refused.
    Reject,
    /// There is no limit but [`SessionLimit::CEILING`], where the oldest end.
    Unlimited,
}

/// The step of a refresh.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Advance {
    /// The session.
    pub key: SessionKey,
    /// The generation of the presented token, whose MAC has been checked.
    pub presented: u64,
    /// The grace of the previous generation.
    pub grace: Duration,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Advance {
    /// A refresh with a token of this generation.
    pub const fn new(key: SessionKey, presented: u64, grace: Duration, now: DateTime<Utc>) -> Self {
        Self { key, presented, grace, now }
    }
}

/// A compare-and-set of a live session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Update {
    /// The session.
    pub key: SessionKey,
    /// The [`Control::version`](crate::Control::version) it must still have.
    pub expected_version: u64,
    /// What changes.
    pub patch: SessionPatch,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Update {
    /// Applies `patch` if the session still has `expected_version`.
    pub const fn new(key: SessionKey, expected_version: u64, patch: SessionPatch, now: DateTime<Utc>) -> Self {
        Self { key, expected_version, patch, now }
    }
}

/// Changes of a session; `None` leaves a field as it is.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct SessionPatch {
    /// The device's name, or none.
    #[allow(clippy::option_option, reason = "outside: changed or not; inside: the new value")]
    pub device_name: Option<Option<String>>,
    /// Whether the device is trusted, and until when.
    pub trust: Option<(bool, Option<DateTime<Utc>>)>,
    /// The last authentication.
    pub authentication: Option<Authentication>,
    /// All the application's data.
    pub attributes: Option<Map<String, Value>>,
    /// Ends every token issued so far ([`Control::raise_floor`](crate::Control::raise_floor)).
    pub raise_floor: bool,
}

impl SessionPatch {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// The record after the change: what a storage writes. The version is raised by one.
    pub fn apply(&self, record: &SessionRecord, now: DateTime<Utc>) -> SessionRecord {
        let mut session = Session::clone(&record.session);
        let patch = self.clone();
        if let Some(name) = patch.device_name {
            session.device_name = name;
        }
        if let Some((trusted, until)) = patch.trust {
            (session.is_trusted, session.trusted_until) = (trusted, until);
        }
        if let Some(authentication) = patch.authentication {
            session.authentication = authentication;
        }
        if let Some(attributes) = patch.attributes {
            session.attributes = attributes;
        }
        let mut control = record.control.clone();
        if patch.raise_floor {
            control.raise_floor(now);
        } else {
            control.version = control.version.saturating_add(1);
        }
        SessionRecord::new(session, control)
    }
}

/// The user was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Touch {
    /// The session.
    pub key: SessionKey,
    /// When.
    pub last_activity: DateTime<Utc>,
    /// The idle deadline that follows.
    pub idle_expires_at: DateTime<Utc>,
    /// Skipped where the user was seen later than this already: of many requests at the moment when a note is due, one writes.
    pub unless_seen_after: Option<DateTime<Utc>>,
}

impl Touch {
    /// The user was seen at `last_activity`.
    pub const fn new(key: SessionKey, last_activity: DateTime<Utc>, idle_expires_at: DateTime<Utc>) -> Self {
        Self { key, last_activity, idle_expires_at, unless_seen_after: None }
    }

    /// Skips a session whose user was seen later than `time` already.
    pub const fn unless_seen_after(mut self, time: DateTime<Utc>) -> Self {
        self.unless_seen_after = Some(time);
        self
    }

    /// The stored last activity must lie before this time (whole milliseconds) for the touch to be written: the one comparison that a
    /// storage makes.
    pub fn stale_before(&self) -> DateTime<Utc> {
        let seen = self.unless_seen_after.map(|time| to_millis(after(time, Duration::from_millis(1))));
        seen.map_or(self.last_activity, |seen| seen.min(self.last_activity))
    }
}

/// Ends sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revoke {
    /// Which.
    pub target: RevokeTarget,
    /// What is recorded.
    pub revocation: Revocation,
}

impl Revoke {
    /// Ends these sessions at `now`.
    pub const fn new(target: RevokeTarget, reason: RevocationReason, by: Actor, now: DateTime<Utc>) -> Self {
        Self { target, revocation: Revocation::new(now, reason, by) }
    }

    /// The present.
    pub fn now(&self) -> DateTime<Utc> {
        self.revocation.at
    }
}

/// Which sessions end.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum RevokeTarget {
    /// One session, only if it belongs to `owner` where one is named.
    One {
        /// The session.
        key: SessionKey,
        /// Whose it must be; another user's session counts as absent.
        owner: Option<UserId>,
    },
    /// All of a user's, or all but one. Without an exception the user's epoch is raised too.
    User {
        /// Whose.
        user: UserId,
        /// Which one stays.
        except: Option<SessionId>,
    },
    /// All with this name elsewhere.
    External(ExternalId),
    /// All of a user's, or of everybody's, that the filter matches.
    Matching {
        /// Whose; `None` is everybody's.
        user: Option<UserId>,
        /// Which of them.
        filter: SessionFilter,
    },
}

/// Raises an epoch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bump {
    /// Whose.
    pub target: BumpTarget,
    /// The version it must still have. At one more it has been applied already: the caller is repeating itself. With
    /// [`Bump::new_incarnation`] it has been applied already only where the record is exactly the one asked for.
    pub expected: Option<u64>,
    /// What missing records begin with; with [`Bump::new_incarnation`], what the record continues with.
    pub incarnations: Incarnations,
    /// Begins a new incarnation, as after restoring a backup: every session ends, without grace.
    pub new_incarnation: bool,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Bump {
    /// Raises an epoch, whatever its version.
    pub const fn new(target: BumpTarget, incarnations: Incarnations, now: DateTime<Utc>) -> Self {
        Self { target, expected: None, incarnations, new_incarnation: false, now }
    }

    /// Only if it still has this version.
    pub const fn expecting(mut self, version: u64) -> Self {
        self.expected = Some(version);
        self
    }

    /// Begins a new incarnation.
    pub const fn anew(mut self) -> Self {
        self.new_incarnation = true;
        self
    }
}

/// Whose epoch is raised.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BumpTarget {
    /// A user's, keeping one session.
    User {
        /// Whose.
        user: UserId,
        /// The session that stays, re-stamped and with its floor raised.
        keep: Option<SessionId>,
    },
    /// Everybody's; sessions one version behind live on for `grace`.
    Global {
        /// How long.
        grace: Duration,
    },
}

/// A list of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Query {
    /// Whose; `None` is everybody's.
    pub user: Option<UserId>,
    /// Which of them.
    pub filter: SessionFilter,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// How many at most, 1 to [`Query::MAX_LIMIT`].
    pub limit: u32,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Query {
    /// The most sessions a page may have.
    pub const MAX_LIMIT: u32 = 200;

    /// The live sessions of a user.
    pub fn of(user: UserId, now: DateTime<Utc>) -> Self {
        Self { user: Some(user), ..Self::everybody(now) }
    }

    /// The live sessions of everybody.
    pub fn everybody(now: DateTime<Utc>) -> Self {
        Self { user: None, filter: SessionFilter::default(), cursor: None, limit: 50, now }
    }

    /// Only those that match.
    pub fn filtered(mut self, filter: SessionFilter) -> Self {
        self.filter = filter;
        self
    }

    /// The page after this cursor.
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.cursor = cursor;
        self
    }

    /// At most this many; brought into 1 to [`Query::MAX_LIMIT`].
    pub fn limited(mut self, limit: u32) -> Self {
        self.limit = limit.clamp(1, Self::MAX_LIMIT);
        self
    }

    /// Where the page begins, from the cursor.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCursor`] for a cursor of another query.
    pub fn position(&self) -> Result<Option<Position>> {
        self.cursor.as_ref().map(|cursor| cursor.position(self)).transpose()
    }
}

/// Removes sessions for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Purge {
    /// Which.
    pub scope: PurgeScope,
    /// How many at most in this step.
    pub limit: u32,
    /// The present.
    pub now: DateTime<Utc>,
}

impl Purge {
    /// Removes at most `limit` sessions.
    pub const fn new(scope: PurgeScope, limit: u32, now: DateTime<Utc>) -> Self {
        Self { scope, limit, now }
    }
}

/// Which sessions are removed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PurgeScope {
    /// Those whose revocation or deadline lies before this time.
    EndedBefore(DateTime<Utc>),
    /// One, live or not.
    One(SessionKey),
    /// All of a user's, live or not, and nothing else of theirs stays but the epoch.
    User(UserId),
}

/// A value to be remembered once: 1 to 64 bytes, printable ASCII, with the purpose as prefix (`"dpop:…"`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OnceKey(String);

impl OnceKey {
    /// The most bytes a key may have.
    pub const MAX_BYTES: usize = 64;

    /// Takes a key from text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything but 1 to 64 printable ASCII characters.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(ErrorKind::InvalidInput, "remember once")
                .because("a key has 1 to 64 printable ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OnceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceKey(redacted)")
    }
}
