//! Which sessions a list, count or revocation means.

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::client::DeviceKind;
use crate::snapshot::{LivePolicy, Snapshot};

/// Which sessions are meant; every condition that is set must hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SessionFilter {
    /// Only live ones. The default.
    pub active_only: bool,
    /// Only on this kind of device; [`DeviceKind::Unknown`] matches sessions without a parsed device too.
    pub device: Option<DeviceKind>,
    /// Only from this address or network.
    pub ip: Option<IpNet>,
    /// Only from this country: ISO 3166-1 alpha-2, upper-case.
    pub country: Option<String>,
    /// Only from this city, by its exact name.
    pub city: Option<String>,
    /// Only on trusted, or only on untrusted devices.
    pub is_trusted: Option<bool>,
    /// Only created at this time or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only created before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Only last active before this time.
    pub last_activity_before: Option<DateTime<Utc>>,
}

impl Default for SessionFilter {
    fn default() -> Self {
        Self {
            active_only: true,
            device: None,
            ip: None,
            country: None,
            city: None,
            is_trusted: None,
            created_after: None,
            created_before: None,
            last_activity_before: None,
        }
    }
}

impl SessionFilter {
    /// All live sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// All sessions, ended ones included.
    pub fn including_ended() -> Self {
        Self { active_only: false, ..Self::default() }
    }

    /// Whether a session is meant at `now`: the definition; a storage that filters in its own language must agree with it.
    pub fn matches(&self, snapshot: &Snapshot, now: DateTime<Utc>, live: LivePolicy) -> bool {
        let session = &snapshot.session;
        let location = session.location.as_ref();
        let kind = session.device.as_ref().map(|device| device.kind).unwrap_or_default();
        (!self.active_only || snapshot.state(now, live).is_live())
            && self.device.is_none_or(|wanted| wanted == kind)
            && self.ip.is_none_or(|net| session.ip_address.is_some_and(|ip| net.contains(&ip)))
            && self
                .country
                .as_ref()
                .is_none_or(|wanted| location.and_then(|place| place.country.as_ref()) == Some(wanted))
            && self.city.as_ref().is_none_or(|wanted| location.and_then(|place| place.city.as_ref()) == Some(wanted))
            && self.is_trusted.is_none_or(|wanted| session.is_trusted_at(now) == wanted)
            && self.created_after.is_none_or(|time| session.created_at >= time)
            && self.created_before.is_none_or(|time| session.created_at < time)
            && self.last_activity_before.is_none_or(|time| snapshot.control.last_activity < time)
    }
}
