//! How long sessions live, how many a user may have, and what is recorded of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::{OnLimit, SessionLimit};

const DAY: Duration = Duration::from_hours(24);

/// The rules for all sessions of a manager. Every field has a default; the manager checks the whole when it is built.
///
/// In configuration files durations are written `30d`, `7d`, `5m`, `10s`, and unknown fields are refused.
///
/// ```
/// use std::time::Duration;
/// use session_manager_core::SessionPolicy;
///
/// let mut policy = SessionPolicy::default();
/// policy.max_sessions = 3;
/// policy.idle_timeout = Some(Duration::from_secs(3600));
/// policy.validate()?;
/// # Ok::<(), session_manager_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionPolicy {
    /// The longest a session lives, whatever happens. 30 d; 2 s to 3650 d.
    #[serde(with = "crate::duration::text")]
    pub absolute_lifetime: Duration,
    /// How long it lives without activity. 7 d; `none` switches it off.
    #[serde(with = "crate::duration::text_option")]
    pub idle_timeout: Option<Duration>,
    /// How many sessions of one user may live at once. 5; 1 to 1000.
    pub max_sessions: u32,
    /// What happens to one more.
    pub on_limit: OnLimit,
    /// How long an access token lives. 5 min; 2 s (so that jitter leaves a whole second of it) to the absolute lifetime.
    #[serde(with = "crate::duration::text")]
    pub access_token_lifetime: Duration,
    /// By how many percent that is shortened at random, so that clients do not refresh in step. 5; 0 to 50.
    pub access_token_jitter: u8,
    /// How long the previous refresh token still leads to its successor: for tabs and retries. 10 s; 0 to 5 min.
    #[serde(with = "crate::duration::text")]
    pub refresh_grace: Duration,
    /// How often activity is written down at most. 60 s; see [`SessionPolicy::touch_interval_for`].
    #[serde(with = "crate::duration::text")]
    pub touch_interval: Duration,
    /// How old an authentication may be for sensitive operations. 15 min.
    #[serde(with = "crate::duration::text")]
    pub step_up_max_age: Duration,
    /// Whether a sign-in without a user agent is refused. No.
    pub require_user_agent: bool,
    /// What is recorded of the client's address. All of it.
    pub ip_recording: IpRecording,
    /// How long enrichers may take, all at once. 500 ms.
    #[serde(with = "crate::duration::text")]
    pub enricher_timeout: Duration,
    /// The longest a session lives in which somebody acts in the user's name. 1 h; 2 s to 1 d. Such a session evicts no other, is counted
    /// like every other, and is never fresh enough for what asks for a step-up.
    #[serde(with = "crate::duration::text")]
    pub impersonation_lifetime: Duration,
    /// How long ended sessions are kept for replay detection and honest answers. 24 h, and no less.
    #[serde(with = "crate::duration::text")]
    pub retention: Duration,
    /// The longest that texts may be.
    pub limits: FieldLimits,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            absolute_lifetime: 30 * DAY,
            idle_timeout: Some(7 * DAY),
            max_sessions: 5,
            on_limit: OnLimit::EvictOldest,
            access_token_lifetime: Duration::from_mins(5),
            access_token_jitter: 5,
            refresh_grace: Duration::from_secs(10),
            touch_interval: Duration::from_mins(1),
            step_up_max_age: Duration::from_mins(15),
            require_user_agent: false,
            ip_recording: IpRecording::Full,
            enricher_timeout: Duration::from_millis(500),
            impersonation_lifetime: Duration::from_hours(1),
            retention: DAY,
            limits: FieldLimits::default(),
        }
    }
}

impl SessionPolicy {
    /// Checks that the rules make sense together.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`], naming the field and what it must be.
    pub fn validate(&self) -> Result<()> {
        let second = Duration::from_secs(1);
        let rules = [
            (
                self.absolute_lifetime >= 2 * second && self.absolute_lifetime <= 3650 * DAY,
                "absolute_lifetime must be 2s to 3650d",
            ),
            (
                self.idle_timeout.is_none_or(|idle| idle >= second && idle <= 3650 * DAY),
                "idle_timeout must be 1s to 3650d, or none",
            ),
            ((1..=SessionLimit::CEILING).contains(&self.max_sessions), "max_sessions must be 1 to 1000"),
            (
                self.access_token_lifetime >= 2 * second && self.access_token_lifetime <= self.absolute_lifetime,
                "access_token_lifetime must be 2s to the absolute lifetime",
            ),
            (self.access_token_jitter <= 50, "access_token_jitter must be 0 to 50 percent"),
            (self.refresh_grace <= Duration::from_mins(5), "refresh_grace must be 0s to 5m"),
            (self.touch_interval <= DAY, "touch_interval must be at most 1d"),
            (
                self.step_up_max_age >= second && self.step_up_max_age <= self.absolute_lifetime,
                "step_up_max_age must be 1s to the absolute lifetime",
            ),
            (self.enricher_timeout <= Duration::from_secs(30), "enricher_timeout must be at most 30s"),
            (
                self.impersonation_lifetime >= 2 * second && self.impersonation_lifetime <= DAY,
                "impersonation_lifetime must be 2s to 1d",
            ),
            (self.retention >= DAY && self.retention <= 3650 * DAY, "retention must be 24h to 3650d"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(Error::new(ErrorKind::Misconfigured, "policy").because(message)),
            None => Ok(()),
        }
    }

    /// The policy of one session.
    pub fn overridden(&self, overrides: &PolicyOverrides) -> Self {
        let mut policy = self.clone();
        policy.absolute_lifetime = overrides.absolute_lifetime.unwrap_or(policy.absolute_lifetime);
        policy.idle_timeout = overrides.idle_timeout.unwrap_or(policy.idle_timeout);
        // What binds tokens and step-up is the shorter life.
        policy.access_token_lifetime = policy.access_token_lifetime.min(policy.absolute_lifetime);
        policy.step_up_max_age = policy.step_up_max_age.min(policy.absolute_lifetime);
        policy
    }

    /// The limit of live sessions.
    pub const fn limit(&self) -> SessionLimit {
        SessionLimit::new(self.max_sessions, self.on_limit)
    }

    /// How often activity is written down for a session with this idle timeout: at most every tenth of it, so that coalescing can
    /// end a session early by no more than that, and late never.
    pub fn touch_interval_for(&self, idle_timeout: Option<Duration>) -> Duration {
        idle_timeout.map_or(self.touch_interval, |idle| self.touch_interval.min(idle / 10))
    }
}

/// What is recorded of a client's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IpRecording {
    /// All of it.
    #[default]
    Full,
    /// The network: /24 of IPv4, /48 of IPv6.
    Truncated,
    /// Nothing.
    None,
}

impl IpRecording {
    /// The address as it may be recorded. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn apply(self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        match self {
            Self::Full => Some(address),
            Self::None => None,
            Self::Truncated => Some(match address {
                IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8))),
                IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80))),
            }),
        }
    }
}

/// The longest that a session's texts may be, in bytes of UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldLimits {
    /// The user agent; a longer one is cut, for its sender cannot be told. 512.
    pub user_agent: usize,
    /// The device's name; a longer one is refused. 100.
    pub device_name: usize,
    /// The application's name; a longer one is refused. 64.
    pub application: usize,
    /// All attributes as JSON; more is refused. 4096.
    pub attributes: usize,
}

impl Default for FieldLimits {
    fn default() -> Self {
        Self { user_agent: 512, device_name: 100, application: 64, attributes: 4096 }
    }
}

/// Deviations from the policy for one session, chosen by the application at sign-in: by role, by "remember me".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PolicyOverrides {
    /// Another absolute lifetime.
    pub absolute_lifetime: Option<Duration>,
    /// Another idle timeout, or none.
    #[allow(clippy::option_option, reason = "outside: deviates or not; inside: the other timeout, or none")]
    pub idle_timeout: Option<Option<Duration>>,
    /// Another limit of the user's live sessions.
    pub limit: Option<SessionLimit>,
}

impl PolicyOverrides {
    /// No deviation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another absolute lifetime.
    pub const fn absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.absolute_lifetime = Some(lifetime);
        self
    }

    /// Another idle timeout, or none.
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Another limit of live sessions.
    pub const fn limit(mut self, limit: SessionLimit) -> Self {
        self.limit = Some(limit);
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn every_rule_names_its_field() {
        type Change = fn(&mut SessionPolicy);
        let cases: [(&str, Change); 11] = [
            ("absolute_lifetime", |p| p.absolute_lifetime = Duration::ZERO),
            ("idle_timeout", |p| p.idle_timeout = Some(Duration::from_millis(999))),
            ("max_sessions", |p| p.max_sessions = 0),
            ("max_sessions", |p| p.max_sessions = 1001),
            ("access_token_lifetime", |p| p.access_token_lifetime = 31 * DAY),
            ("access_token_jitter", |p| p.access_token_jitter = 51),
            ("refresh_grace", |p| p.refresh_grace = Duration::from_secs(301)),
            ("step_up_max_age", |p| p.step_up_max_age = Duration::ZERO),
            ("retention", |p| p.retention = Duration::from_hours(23)),
            ("touch_interval", |p| p.touch_interval = 2 * DAY),
            ("impersonation_lifetime", |p| p.impersonation_lifetime = 2 * DAY),
        ];
        SessionPolicy::default().validate().unwrap();
        for (field, change) in cases {
            let mut policy = SessionPolicy::default();
            change(&mut policy);
            let error = policy.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured);
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_policy_is_written_as_people_write_it() {
        let policy: SessionPolicy = serde_json::from_str(
            r#"{"absolute_lifetime":"1d","idle_timeout":"none","refresh_grace":"2s","on_limit":"reject"}"#,
        )
        .unwrap();
        assert_eq!((policy.absolute_lifetime, policy.idle_timeout), (DAY, None));
        assert_eq!((policy.refresh_grace, policy.on_limit), (Duration::from_secs(2), OnLimit::Reject));
        assert_eq!(serde_json::from_str::<SessionPolicy>(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
        assert!(serde_json::from_str::<SessionPolicy>(r#"{"idle":"1d"}"#).is_err());
        assert!(serde_json::from_str::<SessionPolicy>(r#"{"idle_timeout":"soon"}"#).is_err());
    }

    #[test]
    fn addresses_are_recorded_as_the_policy_says() {
        let cases = [
            (IpRecording::Full, "203.0.113.77", Some("203.0.113.77")),
            (IpRecording::Full, "::ffff:203.0.113.77", Some("203.0.113.77")),
            (IpRecording::Truncated, "203.0.113.77", Some("203.0.113.0")),
            (IpRecording::Truncated, "2001:db8:1:2:3::4", Some("2001:db8:1::")),
            (IpRecording::Truncated, "::ffff:203.0.113.77", Some("203.0.113.0")),
            (IpRecording::None, "203.0.113.77", None),
        ];
        for (rule, address, recorded) in cases {
            let recorded: Option<IpAddr> = recorded.map(|text| text.parse().unwrap());
            assert_eq!(rule.apply(address.parse().unwrap()), recorded, "{rule:?} {address}");
        }
    }

    #[test]
    fn touching_never_costs_more_than_a_tenth_of_the_idle_timeout() {
        let policy = SessionPolicy::default();
        assert_eq!(policy.touch_interval_for(None), Duration::from_mins(1));
        assert_eq!(policy.touch_interval_for(Some(Duration::from_secs(100))), Duration::from_secs(10));
    }
}
