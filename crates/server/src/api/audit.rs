//! The endpoint by which administrators search the audit trail.

use std::net::IpAddr;

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use session_manager::audit_db::{AuditCursor, AuditPage, AuditQuery};
use session_manager_core::{AuditEvent, AuditKind, SessionId, UserId};
use utoipa::ToSchema;
use uuid::Uuid;

use super::description::Description;
use super::sessions::page_size;
use crate::app::App;
use crate::flows::{self, Administrator, USUAL_PAGE};
use crate::json::{Fields, QueryFields, RequestBody, Shape};
use crate::problem::Rejection;

/// The names of [`AuditKind::ALL`].
const KINDS: [&str; AuditKind::ALL.len()] = {
    let mut names = [""; AuditKind::ALL.len()];
    let mut rest: (&[AuditKind], &mut [&str]) = (&AuditKind::ALL, &mut names);
    while let (Some((kind, kinds)), Some((name, free))) = (rest.0.split_first(), rest.1.split_first_mut()) {
        *name = kind.as_str();
        rest = (kinds, free);
    }
    names
};

pub(super) const SEARCH: Description = Description::new("Search the audit trail, newest first", "audit `accessed`")
    .query::<Search>()
    .answers::<TrailBody>(200)
    .problems(&[(404, "no trail is kept in the database")]);

pub(super) struct Search(AuditQuery);

impl RequestBody for Search {
    const SHAPES: &'static [(&'static str, Shape)] =
        &[("kind", Shape::OneOf(&KINDS)), ("limit", Shape::Whole { least: 1, most: 200 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        let user =
            fields.optional_parsed("user", |text| text.parse::<Uuid>().map_err(|_| "must be the id of an account"));
        let session =
            fields.optional_parsed("session", |text| SessionId::parse(text).map_err(|_| "must be the id of a session"));
        let kind = fields.optional_parsed("kind", |text| {
            let kind = AuditKind::ALL.into_iter().find(|kind| kind.as_str() == text);
            kind.ok_or("must be a kind of event, like created or revoked")
        });
        let since = fields.optional_parsed("since", time);
        let until = fields.optional_parsed("until", time);
        let cursor = fields.optional_parsed("cursor", |text| {
            let cursor = (!text.is_empty()).then(|| text.parse::<AuditCursor>()).transpose();
            cursor.map_err(|_| "must be the next_cursor of the page before")
        });
        let limit = fields.optional_parsed("limit", page_size).unwrap_or(USUAL_PAGE);
        let mut query = AuditQuery::new().limit(limit);
        if let Some(user) = user {
            query = query.user(UserId::from(user));
        }
        if let Some(session) = session {
            query = query.session(session);
        }
        if let Some(kind) = kind {
            query = query.kind(kind);
        }
        if let Some(since) = since {
            query = query.from(since);
        }
        if let Some(until) = until {
            query = query.until(until);
        }
        if let Some(cursor) = cursor.flatten() {
            query = query.after(cursor);
        }
        Some(Self(query))
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| "must be a time like 2026-11-24T03:04:01Z")?;
    Ok(time.to_utc())
}

/// A page of the trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditTrail)]
pub(super) struct TrailBody {
    events: Vec<EventBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    next_cursor: Option<String>,
}

/// Something that happened to a session or an account. What is not known is null.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
struct EventBody {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[schema(value_type = String, format = "date-time")]
    at: DateTime<Utc>,
    kind: &'static str,
    /// To whom.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>, format = "uuid")]
    session_id: Option<SessionId>,
    /// Who did it: `user:ID`, `service:NAME` and so on.
    actor: String,
    #[schema(value_type = Option<String>)]
    ip_address: Option<IpAddr>,
    user_agent: Option<String>,
    /// What the user calls the device.
    device_name: Option<String>,
    reason: Option<String>,
    /// The request under which it happened.
    request_id: Option<String>,
    /// More, by kind.
    #[schema(value_type = Object, additional_properties)]
    details: Map<String, Value>,
}

impl From<AuditEvent> for EventBody {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            at: event.at,
            kind: event.kind.as_str(),
            user_id: event.user_id,
            session_id: event.session_id,
            actor: event.actor.to_string(),
            ip_address: event.client.ip_address,
            user_agent: event.client.user_agent,
            device_name: event.client.device_name,
            reason: event.reason,
            request_id: event.request_id,
            details: event.details,
        }
    }
}

impl From<AuditPage> for TrailBody {
    fn from(page: AuditPage) -> Self {
        Self {
            events: page.events.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}

pub(super) async fn search(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    QueryFields(Search(query)): QueryFields<Search>,
) -> Result<Json<TrailBody>, Rejection> {
    Ok(Json(flows::audit_trail(&app, &admin, &query).await?.into()))
}
