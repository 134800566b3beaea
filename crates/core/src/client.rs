//! What a request tells of the client, and what enrichers make of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a request tells of the client that sent it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The address of the client itself, proxies already resolved.
    pub ip_address: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// What the user calls the device.
    pub device_name: Option<String>,
    /// The application the user signs in with, where there are several ("web", "ios").
    pub application: Option<String>,
    /// Client hints (`Sec-CH-UA-…`), by lower-case name.
    pub hints: BTreeMap<String, String>,
}

impl ClientInfo {
    /// A client of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address.
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ip_address = Some(address);
        self
    }

    /// Sets the user agent.
    pub fn agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Sets the device's name.
    pub fn named(mut self, device_name: impl Into<String>) -> Self {
        self.device_name = Some(device_name.into());
        self
    }

    /// Sets the application.
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.application = Some(application.into());
        self
    }
}

/// A device, as parsed from the user agent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Device {
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// The browser or application, "Firefox".
    pub browser: Option<String>,
    /// Its major version.
    pub browser_version: Option<String>,
    /// The operating system, "Windows".
    pub os: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// The model, where known.
    pub model: Option<String>,
    /// Whether it calls itself a robot.
    pub is_bot: bool,
    /// A stable hash of what does not change between two visits.
    pub fingerprint: Option<String>,
}

/// The kind of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeviceKind {
    /// A desktop or laptop computer.
    Desktop,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A television or console.
    Tv,
    /// A watch or other thing.
    Embedded,
    /// A program without a person.
    Bot,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DeviceKind {
    /// The name that filters and storages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Tv => "tv",
            Self::Embedded => "embedded",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name; anything else is [`DeviceKind::Unknown`].
    pub fn parse(text: &str) -> Self {
        match text {
            "desktop" => Self::Desktop,
            "phone" => Self::Phone,
            "tablet" => Self::Tablet,
            "tv" => Self::Tv,
            "embedded" => Self::Embedded,
            "bot" => Self::Bot,
            _ => Self::Unknown,
        }
    }
}

/// A place, as far as an address tells.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Location {
    /// ISO 3166-1 alpha-2 code, upper-case.
    pub country: Option<String>,
    /// The region's name.
    pub region: Option<String>,
    /// The city's name.
    pub city: Option<String>,
    /// Degrees, north positive.
    pub latitude: Option<f64>,
    /// Degrees, east positive.
    pub longitude: Option<f64>,
    /// How far the place may be off, in kilometres.
    pub accuracy_km: Option<u32>,
    /// The autonomous system's number.
    pub asn: Option<u32>,
    /// The autonomous system's owner.
    pub organisation: Option<String>,
}

impl std::fmt::Display for Location {
    /// "Berlin, DE", as far as known; empty where nothing is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.city.as_deref().or(self.region.as_deref()), self.country.as_deref()) {
            (Some(place), Some(country)) => write!(f, "{place}, {country}"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_kinds_round_trip() {
        for kind in [
            DeviceKind::Desktop,
            DeviceKind::Phone,
            DeviceKind::Tablet,
            DeviceKind::Tv,
            DeviceKind::Embedded,
            DeviceKind::Bot,
        ] {
            assert_eq!(DeviceKind::parse(kind.as_str()), kind);
        }
        assert_eq!(DeviceKind::parse("toaster"), DeviceKind::Unknown);
        assert!(matches!(serde_json::from_str("\"toaster\""), Ok(DeviceKind::Unknown)));
    }
}
