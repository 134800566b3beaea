//! The hot, small part of a session that every check and refresh touches.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::epoch::Stamp;
use crate::error::{Error, ErrorKind};
use crate::random::Random;
use crate::user::UserId;

/// What decides whether a session and its tokens are accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Control {
    /// The generation of the newest refresh token, from 1.
    pub generation: u64,
    /// Tokens of a lower generation are refused.
    pub floor: u64,
    /// What the tokens' MACs are made with, beside the key.
    pub seed: Seed,
    /// When the current generation began.
    pub rotated_at: DateTime<Utc>,
    /// When the generation before it began.
    pub previous_rotated_at: DateTime<Utc>,
    /// The epochs the session belongs to; the storage sets it on insert. `None` where the storage tracks no epochs.
    pub stamped: Option<Stamp>,
    /// When the user was last seen.
    pub last_activity: DateTime<Utc>,
    /// When the session ends for want of activity; the absolute deadline where there is no idle timeout.
    pub idle_expires_at: DateTime<Utc>,
    /// Raised by every change but a touch; the expected value of a compare-and-set.
    pub version: u64,
    /// How the session was ended, if somebody ended it.
    pub revocation: Option<Arc<Revocation>>,
}

impl Control {
    /// The control part of a session that begins at `now`.
    pub fn new(seed: Seed, now: DateTime<Utc>, idle_expires_at: DateTime<Utc>) -> Self {
        Self {
            generation: 1,
            floor: 1,
            seed,
            rotated_at: now,
            previous_rotated_at: now,
            stamped: None,
            last_activity: now,
            idle_expires_at,
            version: 1,
            revocation: None,
        }
    }

    /// The step of a refresh: a new generation begins at `now`.
    pub fn advance_to(&mut self, generation: u64, now: DateTime<Utc>) {
        self.previous_rotated_at = self.rotated_at;
        self.rotated_at = now;
        self.generation = generation;
        self.version = self.version.saturating_add(1);
    }

    /// The step of a re-authentication or privilege change: two generations on, and no older token is accepted any more.
    pub fn raise_floor(&mut self, now: DateTime<Utc>) {
        self.advance_to(self.generation.saturating_add(2), now);
        self.floor = self.generation;
    }
}

/// Thirty-two random bytes of a session that its tokens' MACs depend on.
///
/// # Security
/// It is worthless without the key, which lives elsewhere. It is redacted in `Debug` and zeroised on drop all the same.
#[derive(Clone, PartialEq, Eq, Zeroize)]
#[zeroize(drop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Draws a seed.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A seed read from a storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the storage.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Seed {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        let bytes =
            bytes.try_into().map_err(|_| Error::new(ErrorKind::Internal, "seed").because("a seed has 32 bytes"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

impl Serialize for Seed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Self::try_from(bytes.as_slice()).map_err(serde::de::Error::custom)
    }
}

/// How, when and by whom a session was ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revocation {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: RevocationReason,
    /// By whom.
    pub by: Actor,
}

impl Revocation {
    /// A revocation.
    pub const fn new(at: DateTime<Utc>, reason: RevocationReason, by: Actor) -> Self {
        Self { at, reason, by }
    }
}

/// Who did something: a user, a part of the application, or the library itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Actor {
    /// A user, by id.
    User(UserId),
    /// A named part of the application: 1 to 128 bytes without control characters.
    Service(String),
    /// The library, by its policy.
    System,
}

impl Actor {
    /// Reads the text form: `user:<id>`, `service:<name>` or `system`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let actor = match text.split_once(':') {
            None if text == "system" => Self::System,
            Some(("user", id)) => Self::User(UserId::parse(id)?),
            Some(("service", name)) => Self::Service(name.to_owned()),
            _ => {
                return Err(Error::new(ErrorKind::InvalidInput, "actor")
                    .because("an actor is user:<id>, service:<name> or system"));
            }
        };
        actor.validate().map(|()| actor)
    }

    /// Whether its text form can be read back: what the manager asks of every actor before it is stored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for the name of a service that is empty, too long or holds control characters.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Service(name)
                if name.is_empty() || name.len() > UserId::MAX_BYTES || name.chars().any(char::is_control) =>
            {
                Err(Error::new(ErrorKind::InvalidInput, "actor")
                    .because("the name of a service has 1 to 128 bytes and no control characters"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

impl TryFrom<String> for Actor {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

/// Why a session was ended: one of the constants, or the application's own text of 1 to 200 bytes without control characters.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RevocationReason(Cow<'static, str>);

impl RevocationReason {
    /// The user signed out.
    pub const LOGOUT: Self = Self(Cow::Borrowed("logout"));
    /// The user ended it from the list of sessions.
    pub const BY_USER: Self = Self(Cow::Borrowed("revoked_by_user"));
    /// The user ended all others.
    pub const OTHERS: Self = Self(Cow::Borrowed("revoked_others"));
    /// The user signed out everywhere.
    pub const ALL: Self = Self(Cow::Borrowed("revoked_all"));
    /// An administrator ended it.
    pub const BY_ADMIN: Self = Self(Cow::Borrowed("revoked_by_admin"));
    /// The password was changed.
    pub const PASSWORD_CHANGED: Self = Self(Cow::Borrowed("password_changed"));
    /// The password was reset.
    pub const PASSWORD_RESET: Self = Self(Cow::Borrowed("password_reset"));
    /// The account was disabled or deleted.
    pub const ACCOUNT_DISABLED: Self = Self(Cow::Borrowed("account_disabled"));
    /// A newer sign-in took its place.
    pub const EVICTED: Self = Self(Cow::Borrowed("evicted"));
    /// A refresh token was used a second time.
    pub const REFRESH_REPLAY: Self = Self(Cow::Borrowed("refresh_replay"));
    /// A suspicion rule said so.
    pub const SUSPICIOUS: Self = Self(Cow::Borrowed("suspicious"));
    /// Its tokens could not be issued.
    pub const ISSUE_FAILED: Self = Self(Cow::Borrowed("issue_failed"));
    /// The user's epoch was raised where no epoch is stored.
    pub const ROTATED: Self = Self(Cow::Borrowed("rotated"));
    /// The identity provider ended its session.
    pub const UPSTREAM_LOGOUT: Self = Self(Cow::Borrowed("upstream_logout"));

    const KNOWN: [Self; 14] = [
        Self::LOGOUT,
        Self::BY_USER,
        Self::OTHERS,
        Self::ALL,
        Self::BY_ADMIN,
        Self::PASSWORD_CHANGED,
        Self::PASSWORD_RESET,
        Self::ACCOUNT_DISABLED,
        Self::EVICTED,
        Self::REFRESH_REPLAY,
        Self::SUSPICIOUS,
        Self::ISSUE_FAILED,
        Self::ROTATED,
        Self::UPSTREAM_LOGOUT,
    ];

    /// The most bytes a reason may have.
    pub const MAX_BYTES: usize = 200;

    /// Takes a reason from text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is empty, longer than 200 bytes or holds a control character.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(known) = Self::KNOWN.into_iter().find(|known| known.as_str() == text) {
            return Ok(known);
        }
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(Error::new(ErrorKind::InvalidInput, "revocation reason")
                .because("a reason has 1 to 200 bytes and no control characters"));
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the constants: a metric's label may then hold it.
    pub fn is_known(&self) -> bool {
        Self::KNOWN.contains(self)
    }
}

impl TryFrom<String> for RevocationReason {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<RevocationReason> for String {
    fn from(reason: RevocationReason) -> Self {
        reason.0.into_owned()
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_redacted_and_round_trips() {
        let seed = Seed::from_bytes([0xAB; 32]);
        assert_eq!(format!("{seed:?}"), "Seed(redacted)");
        let json = serde_json::to_string(&seed).unwrap();
        assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed);
        assert!(serde_json::from_str::<Seed>("\"AAAA\"").is_err());
    }

    #[test]
    fn reasons_and_actors_round_trip() {
        for text in ["logout", "stolen laptop"] {
            assert_eq!(RevocationReason::parse(text).unwrap().as_str(), text);
        }
        assert!(RevocationReason::parse("evicted").unwrap().is_known());
        assert!(!RevocationReason::parse("stolen laptop").unwrap().is_known());
        assert!(RevocationReason::parse("a\r\nb").is_err() && RevocationReason::parse("").is_err());
        for text in ["system", "user:alice", "service:billing"] {
            assert_eq!(Actor::parse(text).unwrap().to_string(), text);
        }
        for text in ["root", "user:", "service:", "service:a\nb"] {
            assert!(Actor::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_raised_floor_leaves_no_grace() {
        let now = DateTime::UNIX_EPOCH;
        let mut control = Control::new(Seed::from_bytes([1; 32]), now, now);
        control.raise_floor(now);
        assert_eq!((control.generation, control.floor, control.version), (3, 3, 2));
    }
}
