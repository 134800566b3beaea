//! Endpoints 1, 2, 6 and 7: register, confirm the address, see and change the account.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use session_manager_middleware_axum::CurrentSession;

use super::answers::{Message, UserBody};
use super::description::Description;
use crate::accounts::{EmailAddress, PersonName, Registration};
use crate::app::App;
use crate::flows::{self, ProfileChange};
use crate::json::{Fields, JsonBody, RequestBody, Shape};
use crate::problem::Rejection;

pub(super) const REGISTER: Description = Description::new("Make an account", "nothing: there is no session yet")
    .number(1)
    .body::<Registration>()
    .answers::<Message>(201)
    .problems(&[(400, "the password is too weak")]);

impl RequestBody for Registration {
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("email", Shape::Email),
        ("name", Shape::Length { least: 1, most: 100 }),
        ("password", Shape::Length { least: 8, most: 128 }),
    ];

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

pub(super) const VERIFY_EMAIL: Description =
    Description::new("Confirm the e-mail address", "nothing: there is no session yet")
        .number(2)
        .body::<MailedToken>()
        .answers::<Message>(200)
        .problems(&[(400, "the token is unknown, used or expired")]);

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

pub(super) const ME: Description =
    Description::new("Show the account", "audit `accessed`").number(6).answers::<UserBody>(200);

pub(super) async fn me(State(app): State<App>, session: CurrentSession) -> Result<Json<UserBody>, Rejection> {
    Ok(Json(flows::current_user(&app, &session).await?.into()))
}

pub(super) const UPDATE: Description = Description::new("Change name or e-mail address", "audit `accessed`")
    .number(7)
    .body::<ProfileChange>()
    .answers::<UserBody>(200)
    .problems(&[(403, "another address needs a fresh sign-in: step-up")]);

impl RequestBody for ProfileChange {
    const SHAPES: &'static [(&'static str, Shape)] =
        &[("name", Shape::Length { least: 1, most: 100 }), ("email", Shape::Email)];

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
