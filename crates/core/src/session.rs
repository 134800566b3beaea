//! The session itself: who, from which device and place, since when, until when.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::{Device, Location};
use crate::clock::after;
use crate::control::Actor;
use crate::id::{SessionId, SessionKey};
use crate::user::UserId;

/// A signed-in session, apart from its hot [`Control`](crate::Control) part.
///
/// Times have whole milliseconds. Whether the session lives follows from this, its control part and the epochs: see
/// [`Snapshot::state`](crate::Snapshot::state).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The address at sign-in, recorded as the policy says.
    pub ip_address: Option<IpAddr>,
    /// The user agent at sign-in.
    pub user_agent: Option<String>,
    /// A text for people: "Firefox on Windows".
    pub device_info: Option<String>,
    /// The parsed device.
    pub device: Option<Device>,
    /// What the user calls the device; the user may change it.
    pub device_name: Option<String>,
    /// The place at sign-in.
    pub location: Option<Location>,
    /// The application that was signed in to, where there are several.
    pub application: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Its absolute deadline.
    pub expires_at: DateTime<Utc>,
    /// How long it lives without activity; `None` is as long as the absolute deadline allows.
    #[serde(with = "crate::duration::millis_option")]
    pub idle_timeout: Option<Duration>,
    /// How and when the user proved who they are.
    pub authentication: Authentication,
    /// Whether the user trusts the device.
    pub is_trusted: bool,
    /// Until when, if not for ever.
    pub trusted_until: Option<DateTime<Utc>>,
    /// What the tokens are bound to, if anything.
    pub binding: Option<Binding>,
    /// Who acts in the user's name (impersonation).
    pub actor: Option<Actor>,
    /// The session of an identity provider, or of an earlier system, that this one stands for.
    pub external: Option<ExternalId>,
    /// The application's own data.
    pub attributes: Map<String, Value>,
}

impl Session {
    /// A session without details that begins at `created_at` and ends at `expires_at` at the latest.
    pub fn new(id: SessionId, user_id: UserId, created_at: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        Self {
            id,
            user_id,
            ip_address: None,
            user_agent: None,
            device_info: None,
            device: None,
            device_name: None,
            location: None,
            application: None,
            created_at,
            expires_at,
            idle_timeout: None,
            authentication: Authentication::at(created_at),
            is_trusted: false,
            trusted_until: None,
            binding: None,
            actor: None,
            external: None,
            attributes: Map::new(),
        }
    }

    /// How storages look it up.
    pub fn key(&self) -> SessionKey {
        SessionKey::new(self.id, self.user_id.locator())
    }

    /// When it ends for want of activity if the user was last seen at `last_activity`.
    pub fn idle_deadline(&self, last_activity: DateTime<Utc>) -> DateTime<Utc> {
        self.idle_timeout.map_or(self.expires_at, |timeout| after(last_activity, timeout).min(self.expires_at))
    }

    /// Whether the device is trusted at `now`.
    pub fn is_trusted_at(&self, now: DateTime<Utc>) -> bool {
        self.is_trusted && self.trusted_until.is_none_or(|until| now < until)
    }
}

/// How and when the user proved who they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Authentication {
    /// When: at creation, or at the last re-authentication.
    pub at: DateTime<Utc>,
    /// The methods, as in `amr` (RFC 8176): "pwd", "otp", "hwk".
    pub methods: Vec<String>,
    /// The level, as in `acr`.
    pub level: Option<String>,
    /// Since when a re-authentication is asked for, whatever the age of this one.
    pub step_up_since: Option<DateTime<Utc>>,
}

impl Authentication {
    /// An authentication at this time by unnamed methods.
    pub const fn at(at: DateTime<Utc>) -> Self {
        Self { at, methods: Vec::new(), level: None, step_up_since: None }
    }

    /// Names the methods (`amr`).
    pub fn by<I: IntoIterator<Item = S>, S: Into<String>>(mut self, methods: I) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Names the level (`acr`).
    pub fn level(mut self, level: impl Into<String>) -> Self {
        self.level = Some(level.into());
        self
    }

    /// Whether it is at most `max_age` old at `now` and no step-up has been asked for since.
    pub fn is_fresh(&self, max_age: Duration, now: DateTime<Utc>) -> bool {
        now <= after(self.at, max_age) && self.step_up_since.is_none_or(|since| since < self.at)
    }
}

/// What a session's tokens are bound to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Binding {
    /// The SHA-256 JWK thumbprint of a `DPoP` key (RFC 9449), base64url.
    Dpop(String),
    /// The SHA-256 thumbprint of a client certificate (RFC 8705), base64url.
    Certificate(String),
}

/// A session's name elsewhere: an identity provider's `sid`, or the id in a system it was imported from.
///
/// # Behaviour
/// Several sessions may have the same one: a browser that signed out here and in again, or two applications, under one session of the
/// provider. Whoever ends the provider's session ends them all. An import is repeatable by its ids: [`SessionId::imported`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ExternalId {
    /// Who gave the name.
    pub issuer: String,
    /// The name.
    pub sid: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    #[test]
    fn freshness_is_judged_from_authentication_time_and_step_up() {
        let fifteen = Duration::from_millis(15);
        let mut proof = Authentication::at(at(100)).by(["pwd"]);
        assert!(proof.is_fresh(fifteen, at(115)));
        assert!(!proof.is_fresh(fifteen, at(116)));
        proof.step_up_since = Some(at(105));
        assert!(!proof.is_fresh(fifteen, at(110)));
        proof.at = at(106);
        assert!(proof.is_fresh(fifteen, at(110)));
    }

    #[test]
    fn sessions_round_trip_through_json() {
        let user = UserId::parse("alice").unwrap();
        let mut session = Session::new(SessionId::from(uuid::Uuid::from_u128(7)), user, at(1), at(1000));
        session.idle_timeout = Some(Duration::from_millis(50));
        session.external = Some(ExternalId { issuer: "idp".into(), sid: "s".into() });
        session.actor = Some(Actor::System);
        session.binding = Some(Binding::Dpop("x".into()));
        session.location = Some(Location { city: Some("Berlin".into()), latitude: Some(52.5), ..Location::default() });
        let json = serde_json::to_string(&session).unwrap();
        assert_eq!(serde_json::from_str::<Session>(&json).unwrap(), session);
        assert_eq!(session.idle_deadline(at(900)), at(950));
        assert_eq!(session.idle_deadline(at(980)), at(1000));
    }
}
