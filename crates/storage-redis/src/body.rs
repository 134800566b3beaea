//! The part of a stored session that scripts never look into: JSON with short names, absent where there is nothing to say.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use session_manager_core::{Actor, Authentication, Binding, Device, ExternalId, Location, Session, SessionId, UserId};

use crate::error::{Failure, Outcome};

/// What [`Session`] has beside its id, its creation and its absolute deadline, which stand in the header.
#[derive(Serialize, Deserialize)]
pub(crate) struct Body<'a> {
    #[serde(rename = "u")]
    user: Cow<'a, str>,
    #[serde(rename = "ip", default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(rename = "ua", default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(rename = "di", default, skip_serializing_if = "Option::is_none")]
    device_info: Option<Cow<'a, str>>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    device: Option<Cow<'a, Device>>,
    #[serde(rename = "dn", default, skip_serializing_if = "Option::is_none")]
    device_name: Option<Cow<'a, str>>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    location: Option<Cow<'a, Location>>,
    #[serde(rename = "ap", default, skip_serializing_if = "Option::is_none")]
    application: Option<Cow<'a, str>>,
    #[serde(rename = "it", default, skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<u64>,
    #[serde(rename = "at", default, skip_serializing_if = "Option::is_none")]
    authenticated_at: Option<i64>,
    #[serde(rename = "am", default, skip_serializing_if = "<[String]>::is_empty")]
    methods: Cow<'a, [String]>,
    #[serde(rename = "al", default, skip_serializing_if = "Option::is_none")]
    level: Option<Cow<'a, str>>,
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    step_up_since: Option<i64>,
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    is_trusted: bool,
    #[serde(rename = "tu", default, skip_serializing_if = "Option::is_none")]
    trusted_until: Option<i64>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    binding: Option<Cow<'a, Binding>>,
    #[serde(rename = "ac", default, skip_serializing_if = "Option::is_none")]
    actor: Option<Cow<'a, Actor>>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    external: Option<Cow<'a, ExternalId>>,
    #[serde(rename = "a", default, skip_serializing_if = "is_empty")]
    attributes: Cow<'a, Map<String, Value>>,
}

impl<'a> From<&'a Session> for Body<'a> {
    fn from(session: &'a Session) -> Self {
        let proof = &session.authentication;
        Self {
            user: session.user_id.as_str().into(),
            ip_address: session.ip_address,
            user_agent: session.user_agent.as_deref().map(Cow::Borrowed),
            device_info: session.device_info.as_deref().map(Cow::Borrowed),
            device: session.device.as_ref().map(Cow::Borrowed),
            device_name: session.device_name.as_deref().map(Cow::Borrowed),
            location: session.location.as_ref().map(Cow::Borrowed),
            application: session.application.as_deref().map(Cow::Borrowed),
            idle_timeout: session.idle_timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            authenticated_at: (proof.at != session.created_at).then(|| proof.at.timestamp_millis()),
            methods: Cow::Borrowed(&proof.methods),
            level: proof.level.as_deref().map(Cow::Borrowed),
            step_up_since: proof.step_up_since.map(|at| at.timestamp_millis()),
            is_trusted: session.is_trusted,
            trusted_until: session.trusted_until.map(|at| at.timestamp_millis()),
            binding: session.binding.as_ref().map(Cow::Borrowed),
            actor: session.actor.as_ref().map(Cow::Borrowed),
            external: session.external.as_ref().map(Cow::Borrowed),
            attributes: Cow::Borrowed(&session.attributes),
        }
    }
}

impl Body<'_> {
    pub(crate) fn encode(&self) -> Outcome<Vec<u8>> {
        // Maps with text keys and finite numbers always have a JSON form.
        serde_json::to_vec(self).map_err(|_| Failure::Answer("a session has no JSON form"))
    }

    pub(crate) fn decode(json: &[u8]) -> Outcome<Self> {
        serde_json::from_slice(json).map_err(|_| DAMAGED)
    }

    /// The session that this is the body of.
    pub(crate) fn session(
        self,
        id: SessionId,
        created_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Outcome<Session> {
        let user = UserId::parse(&self.user).map_err(|_| DAMAGED)?;
        let mut session = Session::new(id, user, created_at, expires_at);
        session.ip_address = self.ip_address;
        session.user_agent = self.user_agent.map(Cow::into_owned);
        session.device_info = self.device_info.map(Cow::into_owned);
        session.device = self.device.map(Cow::into_owned);
        session.device_name = self.device_name.map(Cow::into_owned);
        session.location = self.location.map(Cow::into_owned);
        session.application = self.application.map(Cow::into_owned);
        session.idle_timeout = self.idle_timeout.map(Duration::from_millis);
        let mut proof = Authentication::at(self.authenticated_at.map_or(Ok(created_at), time)?);
        proof.methods = self.methods.into_owned();
        proof.level = self.level.map(Cow::into_owned);
        proof.step_up_since = self.step_up_since.map(time).transpose()?;
        session.authentication = proof;
        session.is_trusted = self.is_trusted;
        session.trusted_until = self.trusted_until.map(time).transpose()?;
        session.binding = self.binding.map(Cow::into_owned);
        session.actor = self.actor.map(Cow::into_owned);
        session.external = self.external.map(Cow::into_owned);
        session.attributes = self.attributes.into_owned();
        Ok(session)
    }
}

const DAMAGED: Failure = Failure::Damaged("a session's body");

/// A time from its milliseconds.
pub(crate) fn time(millis: i64) -> Outcome<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).ok_or(Failure::Damaged("a time"))
}

fn is_empty(attributes: &Map<String, Value>) -> bool {
    attributes.is_empty()
}
