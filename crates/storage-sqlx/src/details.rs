//! What of a session has no column of its own: one JSON object.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use session_manager_core::{Actor, Authentication, Binding, Device, ExternalId, Location, Session};

use crate::field::Field;

/// The JSON object; a missing key is a missing datum.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_info: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Cow<'a, Device>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Cow<'a, Location>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Cow<'a, Authentication>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_trusted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<Cow<'a, Binding>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Cow<'a, Actor>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<Cow<'a, ExternalId>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: Map<String, Value>,
}

impl<'a> Details<'a> {
    /// What of `session` has no column; `attributes` are those that no extra column holds.
    pub(crate) fn of(session: &'a Session, attributes: Map<String, Value>, mapped: impl Fn(Field) -> bool) -> Self {
        let free = |field| !mapped(field);
        Self {
            ip_address: session.ip_address.filter(|_| free(Field::IpAddress)),
            user_agent: text(session.user_agent.as_ref(), free(Field::UserAgent)),
            device_info: text(session.device_info.as_ref(), free(Field::DeviceInfo)),
            device: borrowed(session.device.as_ref(), free(Field::Device)),
            device_name: text(session.device_name.as_ref(), free(Field::DeviceName)),
            location: borrowed(session.location.as_ref(), free(Field::Location)),
            application: text(session.application.as_ref(), free(Field::Application)),
            idle_timeout: session.idle_timeout.map(millis).filter(|_| free(Field::IdleTimeout)),
            authentication: borrowed(Some(&session.authentication), free(Field::Authentication)),
            is_trusted: Some(session.is_trusted).filter(|trusted| *trusted && free(Field::IsTrusted)),
            trusted_until: session.trusted_until.filter(|_| free(Field::TrustedUntil)),
            binding: borrowed(session.binding.as_ref(), free(Field::Binding)),
            actor: borrowed(session.actor.as_ref(), free(Field::Actor)),
            external: borrowed(session.external.as_ref(), free(Field::ExternalSid)),
            attributes: if free(Field::Attributes) { attributes } else { Map::new() },
        }
    }

    /// Puts everything back.
    pub(crate) fn restore(self, session: &mut Session) {
        session.ip_address = self.ip_address;
        session.user_agent = self.user_agent.map(Cow::into_owned);
        session.device_info = self.device_info.map(Cow::into_owned);
        session.device = self.device.map(Cow::into_owned);
        session.device_name = self.device_name.map(Cow::into_owned);
        session.location = self.location.map(Cow::into_owned);
        session.application = self.application.map(Cow::into_owned);
        session.idle_timeout = self.idle_timeout.map(Duration::from_millis);
        if let Some(authentication) = self.authentication {
            session.authentication = authentication.into_owned();
        }
        session.is_trusted = self.is_trusted.unwrap_or_default();
        session.trusted_until = self.trusted_until;
        session.binding = self.binding.map(Cow::into_owned);
        session.actor = self.actor.map(Cow::into_owned);
        session.external = self.external.map(Cow::into_owned);
        session.attributes = self.attributes;
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(value: Option<&String>, free: bool) -> Option<Cow<'_, str>> {
    value.filter(|_| free).map(|text| Cow::Borrowed(text.as_str()))
}

fn borrowed<T: Clone>(value: Option<&T>, free: bool) -> Option<Cow<'_, T>> {
    value.filter(|_| free).map(Cow::Borrowed)
}
