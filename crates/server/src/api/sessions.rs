//! Endpoints 12 to 15: list the sessions and end them.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use session_manager_core::storage::{Cursor, SessionFilter};
use session_manager_core::{DeviceKind, RevocationReason, SessionId};
use session_manager_middleware_axum::CurrentSession;
use utoipa::ToSchema;

use super::description::Description;
use super::path::named;
use super::sign_in::signed_out;
use crate::app::App;
use crate::flows::{self, ListQuery, Listing, MAX_PAGE, SessionEntry};
use crate::json::{Fields, JsonBody, QueryFields, RequestBody, Shape};
use crate::problem::Rejection;

pub(super) const LIST: Description = Description::new("List the sessions", "audit `accessed`")
    .number(12)
    .query::<ListQuery>()
    .answers::<ListBody>(200)
    .problems(&[(400, "the cursor belongs to another list")]);

impl RequestBody for ListQuery {
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("limit", Shape::Whole { least: 1, most: 200 }),
        ("include_ended", Shape::OneOf(&["true", "false"])),
        ("device", Shape::OneOf(&["desktop", "phone", "tablet", "tv", "embedded", "bot", "unknown"])),
        ("country", Shape::Pattern("^[A-Za-z]{2}$")),
    ];

    fn read(fields: &mut Fields) -> Option<Self> {
        let cursor = fields.optional_text("cursor").filter(|text| !text.is_empty()).map(Cursor::from_text);
        let limit = fields.optional_parsed("limit", page_size);
        let include_ended = fields.optional_parsed("include_ended", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        });
        let mut filter =
            if include_ended == Some(true) { SessionFilter::including_ended() } else { SessionFilter::new() };
        filter.device = fields.optional_parsed("device", |text| match (DeviceKind::parse(text), text) {
            (DeviceKind::Unknown, "unknown") => Ok(DeviceKind::Unknown),
            (DeviceKind::Unknown, _) => Err("must be desktop, phone, tablet, tv, embedded, bot or unknown"),
            (kind, _) => Ok(kind),
        });
        filter.country = fields.optional_parsed("country", |text| {
            let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
            if is_code { Ok(text.to_ascii_uppercase()) } else { Err("must be a country code of two letters, like DE") }
        });
        Some(Self { filter, cursor, limit })
    }
}

/// How much a page holds.
pub(super) fn page_size(text: &str) -> Result<u32, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or("must be a whole number from 1 to 200")
}

/// A page of the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionList)]
pub(super) struct ListBody {
    sessions: Vec<SessionEntry>,
    total_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    next_cursor: Option<Cursor>,
}

impl From<Listing> for ListBody {
    fn from(listing: Listing) -> Self {
        Self { sessions: listing.sessions, total_count: listing.total, next_cursor: listing.next }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    session: CurrentSession,
    QueryFields(query): QueryFields<ListQuery>,
) -> Result<Json<ListBody>, Rejection> {
    let listing = flows::list_sessions(&app, &session, query).await?;
    Ok(Json(listing.into()))
}

pub(super) const REVOKE: Description = Description::new("End another session", "audit `revoked`, `accessed`")
    .number(13)
    .body::<Reason>()
    .answers::<RevokedOne>(200)
    .problems(&[
        (400, "it is the current session: use logout"),
        (404, "unknown, or another user's"),
        (409, "it had ended before"),
    ]);

pub(super) struct Reason(pub(super) Option<RevocationReason>);

impl RequestBody for Reason {
    const MAY_BE_EMPTY: bool = true;
    const SHAPES: &'static [(&'static str, Shape)] = &[("reason", Shape::Length { least: 1, most: 200 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        let reason = fields.optional_parsed("reason", |text| {
            RevocationReason::parse(text).map_err(|_| "must have 1 to 200 bytes and no control characters")
        });
        Some(Self(reason))
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevokedOne {
    pub(super) message: &'static str,
    #[schema(value_type = String, format = "uuid")]
    pub(super) revoked_session_id: SessionId,
}

pub(super) async fn revoke(
    State(app): State<App>,
    session: CurrentSession,
    id: Result<Path<String>, PathRejection>,
    JsonBody(Reason(reason)): JsonBody<Reason>,
) -> Result<Json<RevokedOne>, Rejection> {
    let revoked_session_id = flows::revoke_session(&app, &session, &named(id), reason).await?;
    Ok(Json(RevokedOne { message: "The session is ended.", revoked_session_id }))
}

pub(super) const REVOKE_OTHERS: Description =
    Description::new("End all sessions but this one", "audit `revoked`, `accessed`")
        .number(14)
        .answers::<RevokedMany>(200);

pub(super) const REVOKE_ALL: Description =
    Description::new("End all sessions, this one too", "audit `revoked`, `accessed`")
        .number(15)
        .answers::<RevokedMany>(200);

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevokedMany {
    pub(super) message: &'static str,
    pub(super) revoked_count: usize,
}

pub(super) async fn revoke_others(
    State(app): State<App>,
    session: CurrentSession,
) -> Result<Json<RevokedMany>, Rejection> {
    let revoked_count = flows::revoke_others(&app, &session).await?;
    Ok(Json(RevokedMany { message: "All other sessions are ended.", revoked_count }))
}

pub(super) async fn revoke_all(State(app): State<App>, session: CurrentSession) -> Result<Response, Rejection> {
    let revoked_count = flows::revoke_all(&app, &session).await?;
    let body = Json(RevokedMany { message: "All sessions are ended, this one too.", revoked_count });
    Ok(signed_out(&app, &session, body.into_response()))
}
