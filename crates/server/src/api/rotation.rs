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
use uuid::Uuid;

use super::path::named;
use super::sign_in::signed_out;
use crate::app::App;
use crate::flows::{self, Administrator, FreshAdministrator, RotationOutcome, RotationReason, SecurityConfig};
use crate::json::{Fields, JsonBody, RequestBody};
use crate::problem::Rejection;

const USUAL_GRACE: u64 = 15;

/// A rotation that was done.
#[derive(Debug, Serialize)]
pub(super) struct RotationBody {
    rotation_type: &'static str,
    user_id: Option<Uuid>,
    /// None where nothing was known of the user yet.
    old_version: Option<u64>,
    new_version: u64,
    /// None where it is not known, or could not be counted within a second.
    tokens_revoked: Option<u64>,
    users_affected: Option<u64>,
    reason: String,
    initiated_by: UserId,
    grace_period_minutes: Option<u64>,
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

pub(super) struct UserRotation(RotationReason);

impl RequestBody for UserRotation {
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

pub(super) struct GlobalRotation {
    reason: RotationReason,
    grace: u64,
}

impl RequestBody for GlobalRotation {
    fn read(fields: &mut Fields) -> Option<Self> {
        let reason = fields.parsed("reason", RotationReason::for_everybody);
        let grace = fields.optional_integer("grace_period_minutes", 0..=60).unwrap_or(USUAL_GRACE);
        Some(Self { reason: reason?, grace })
    }
}

pub(super) async fn rotate_everybody(
    State(app): State<App>,
    Extension(admin): Extension<FreshAdministrator>,
    JsonBody(GlobalRotation { reason, grace }): JsonBody<GlobalRotation>,
) -> Result<Response, Rejection> {
    let done = flows::rotate_everybody(&app, &admin, &reason, Duration::from_mins(grace)).await?;
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

/// What tokens must be no older than.
#[derive(Debug, Serialize)]
pub(super) struct ConfigBody {
    global_min_token_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_until: Option<DateTime<Utc>>,
    last_updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated_by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
