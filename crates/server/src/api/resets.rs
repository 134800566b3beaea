//! Endpoints 9 to 11: a forgotten password.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use session_manager_middleware_axum::ClientContext;
use utoipa::ToSchema;

use super::answers::Message;
use super::description::Description;
use super::path::named;
use crate::accounts::EmailAddress;
use crate::app::App;
use crate::flows;
use crate::json::{Fields, JsonBody, RequestBody, Shape};
use crate::passwords::Password;
use crate::problem::Rejection;

pub(super) const REQUEST: Description =
    Description::new("Mail a link for a new password, where the address has an account", "request log")
        .number(9)
        .body::<Forgetful>()
        .answers::<Message>(202);

pub(super) struct Forgetful(EmailAddress);

impl RequestBody for Forgetful {
    const SHAPES: &'static [(&'static str, Shape)] = &[("email", Shape::Email)];

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.parsed("email", EmailAddress::parse).map(Self)
    }
}

pub(super) async fn request(
    State(app): State<App>,
    JsonBody(Forgetful(email)): JsonBody<Forgetful>,
) -> (StatusCode, Json<Message>) {
    flows::request_password_reset(&app, email).await;
    (StatusCode::ACCEPTED, Message::json("If this address has an account, a link for a new password is on its way."))
}

pub(super) const INSPECT: Description =
    Description::new("Ask whether a link for a new password is good", "request log")
        .number(10)
        .answers::<LinkBody>(200);

/// What a link is worth.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResetLink)]
pub(super) struct LinkBody {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "date-time", required = false)]
    expires_at: Option<DateTime<Utc>>,
}

pub(super) async fn inspect(
    State(app): State<App>,
    token: Result<Path<String>, PathRejection>,
) -> Result<Json<LinkBody>, Rejection> {
    let expires_at = flows::reset_link_expiry(&app, &named(token)).await?;
    Ok(Json(LinkBody { valid: expires_at.is_some(), expires_at }))
}

pub(super) const COMPLETE: Description =
    Description::new("Set a new password by a link, and end every session", "audit `rotated`")
        .number(11)
        .body::<Replacement>()
        .answers::<Message>(200)
        .problems(&[(400, "the link is used up or expired, or the password is weak")]);

pub(super) struct Replacement(Password);

impl RequestBody for Replacement {
    const SHAPES: &'static [(&'static str, Shape)] = &[("new_password", Shape::Length { least: 8, most: 128 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.password("new_password").map(Self)
    }
}

pub(super) async fn complete(
    State(app): State<App>,
    client: ClientContext,
    token: Result<Path<String>, PathRejection>,
    JsonBody(Replacement(password)): JsonBody<Replacement>,
) -> Result<Json<Message>, Rejection> {
    flows::reset_password(&app, &named(token), password, &client).await?;
    Ok(Message::json("The password is changed, and all sessions are ended."))
}
