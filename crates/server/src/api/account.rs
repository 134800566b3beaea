//! Endpoints 1, 2, 6 and 7: register, confirm the address, see and change the account.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use session_manager_middleware_axum::CurrentSession;

use super::answers::{Message, UserBody};
use crate::accounts::{EmailAddress, PersonName, Registration};
use crate::app::App;
use crate::flows::{self, ProfileChange};
use crate::json::{Fields, JsonBody, RequestBody};
use crate::problem::Rejection;

impl RequestBody for Registration {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.parsed("email", EmailAddress::parse);
        let name = fields.parsed("name", PersonName::parse);
        let password = fields.password("password");
        Some(Self { email: email?, name: name?, password: password? })
    }
}

pub(super) async fn register(
    State(app): State<App>,
    JsonBody(registration): JsonBody<Registration>,
) -> Result<(StatusCode, Json<Message>), Rejection> {
    flows::register(&app, registration).await?;
    Ok((StatusCode::CREATED, Message::json("Check your mail to confirm the address.")))
}

pub(super) struct MailedToken(String);

impl RequestBody for MailedToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.text("token").map(Self)
    }
}

pub(super) async fn verify_email(
    State(app): State<App>,
    JsonBody(MailedToken(token)): JsonBody<MailedToken>,
) -> Result<Json<Message>, Rejection> {
    flows::verify_email(&app, &token).await?;
    Ok(Message::json("The address is confirmed."))
}

pub(super) async fn me(State(app): State<App>, session: CurrentSession) -> Result<Json<UserBody>, Rejection> {
    Ok(Json(flows::current_user(&app, &session).await?.into()))
}

impl RequestBody for ProfileChange {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.optional_parsed("name", PersonName::parse);
        let email = fields.optional_parsed("email", EmailAddress::parse);
        Some(Self { name, email })
    }
}

pub(super) async fn update(
    State(app): State<App>,
    session: CurrentSession,
    JsonBody(change): JsonBody<ProfileChange>,
) -> Result<Json<UserBody>, Rejection> {
    let updated = flows::update_profile(&app, &session, change).await?;
    let mut body = UserBody::from(updated.user);
    body.pending_email = updated.pending_email;
    Ok(Json(body))
}
