//! Endpoints 16 to 18: token rotation, and what tokens must be no older than.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use session_manager_core::UserId;
use session_manager_middleware_axum::CurrentSession;
use utoipa::ToSchema;
use uuid::Uuid;

use super::description::Description;
use super::path::named;
use super::sign_in::signed_out;
use crate::app::App;
use crate::flows::{self, Administrator, FreshAdministrator, RotationOutcome, RotationReason, SecurityConfig};
use crate::json::{Fields, JsonBody, RequestBody, Shape};
use crate::limits::SessionMeter;
use crate::problem::Rejection;

const USUAL_GRACE: u64 = 15;

/// A rotation that was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub(super) struct RotationBody {
    rotation_type: &'static str,
    #[schema(value_type = Option<String>, format = "uuid")]
    user_id: Option<Uuid>,
    /// None where nothing was known of the user yet.
    old_version: Option<u64>,
    new_version: u64,
    /// None where it is not known, or could not be counted within a second.
    tokens_revoked: Option<u64>,
    users_affected: Option<u64>,
    reason: String,
    #[schema(value_type = String)]
    initiated_by: UserId,
    grace_period_minutes: Option<u64>,
    #[schema(value_type = String, format = "date-time")]
    rotated_at: DateTime<Utc>,
}

impl RotationBody {
    fn new(done: &RotationOutcome, reason: &RotationReason) -> Self {
        Self {
            rotation_type: "USER",
            user_id: None,
            old_version: done.old_version,
            new_version: done.new_version,
            tokens_revoked: done.ended.map(|ended| ended.sessions),
            users_affected: None,
            reason: reason.as_str().to_owned(),
            initiated_by: done.by.clone(),
            grace_period_minutes: None,
            rotated_at: done.at,
        }
    }
}

pub(super) const ROTATE_USER: Description =
    Description::new("End all of a user's tokens at once, by raising their epoch", "audit `rotated`, `accessed`")
        .number(16)
        .body::<UserRotation>()
        .answers::<RotationBody>(200)
        .problems(&[(403, "another user's, and no administrator"), (404, "no such user")]);

pub(super) struct UserRotation(RotationReason);

impl RequestBody for UserRotation {
    const SHAPES: &'static [(&'static str, Shape)] = &[("reason", Shape::Length { least: 10, most: 500 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.parsed("reason", RotationReason::for_user).map(Self)
    }
}

pub(super) async fn rotate_user(
    State(app): State<App>,
    session: CurrentSession,
    user: Result<Path<String>, PathRejection>,
    JsonBody(UserRotation(reason)): JsonBody<UserRotation>,
) -> Result<Response, Rejection> {
    let (user, done) = flows::rotate_user(&app, &session, &named(user), &reason).await?;
    let body = RotationBody { user_id: Some(user), ..RotationBody::new(&done, &reason) };
    let is_own = UserId::from(user) == *session.user_id();
    let response = Json(body).into_response();
    Ok(if is_own { signed_out(&app, &session, response) } else { response })
}

pub(super) const ROTATE_EVERYBODY: Description =
    Description::new("End everybody's tokens, at once or after a grace", "audit `rotated`, `accessed`")
        .number(17)
        .body::<GlobalRotation>()
        .answers::<RotationBody>(200);

pub(super) struct GlobalRotation {
    reason: RotationReason,
    grace: u64,
}

impl RequestBody for GlobalRotation {
    const SHAPES: &'static [(&'static str, Shape)] = &[("reason", Shape::Length { least: 20, most: 1000 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        let reason = fields.parsed("reason", RotationReason::for_everybody);
        let grace = fields.optional_integer("grace_period_minutes", 0..=60).unwrap_or(USUAL_GRACE);
        Some(Self { reason: reason?, grace })
    }
}

pub(super) async fn rotate_everybody(
    State(app): State<App>,
    Extension(admin): Extension<FreshAdministrator>,
    meter: SessionMeter,
    JsonBody(GlobalRotation { reason, grace }): JsonBody<GlobalRotation>,
) -> Result<Response, Rejection> {
    let done = flows::rotate_everybody(&app, &admin, &reason, Duration::from_mins(grace), &meter).await?;
    let body = RotationBody {
        rotation_type: "GLOBAL",
        users_affected: done.ended.map(|ended| ended.users),
        grace_period_minutes: Some(grace),
        ..RotationBody::new(&done, &reason)
    };
    let response = Json(body).into_response();
    // Without a grace the session of the request has ended with all others.
    Ok(if grace == 0 { signed_out(&app, admin.administrator().session(), response) } else { response })
}

pub(super) const CONFIG: Description = Description::new("Show what tokens must be no older than", "audit `accessed`")
    .number(18)
    .answers::<ConfigBody>(200);

/// What tokens must be no older than.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecurityConfig)]
pub(super) struct ConfigBody {
    global_min_token_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "date-time", required = false)]
    grace_until: Option<DateTime<Utc>>,
    #[schema(value_type = String, format = "date-time")]
    last_updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid", required = false)]
    last_updated_by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    last_rotation_reason: Option<String>,
}

impl From<SecurityConfig> for ConfigBody {
    fn from(config: SecurityConfig) -> Self {
        Self {
            global_min_token_version: config.global.epoch.version,
            grace_until: config.global.grace_until,
            last_updated_at: config.updated_at,
            last_updated_by: config.rotation.as_ref().map(|rotation| rotation.by),
            last_rotation_reason: config.rotation.map(|rotation| rotation.reason),
        }
    }
}

pub(super) async fn config(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
) -> Result<Json<ConfigBody>, Rejection> {
    Ok(Json(flows::security_config(&app, &admin).await?.into()))
}
