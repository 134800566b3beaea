//! Endpoint 8 and step-up: the password again, and a new one.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use session_manager_middleware_axum::CurrentSession;

use super::answers::{TokensBody, renewed};
use super::description::Description;
use crate::app::App;
use crate::flows::{self, NewPasswords};
use crate::json::{Fields, JsonBody, RequestBody, Shape};
use crate::passwords::Password;
use crate::problem::Rejection;

const LOCKED: (u16, &str) = (403, "locked after too many wrong passwords");

pub(super) const REAUTHENTICATE: Description =
    Description::new("Prove again who one is (step-up)", "audit `reauthenticated`, `accessed`")
        .body::<Proof>()
        .answers::<TokensBody<'static>>(200)
        .problems(&[(400, "wrong password"), LOCKED]);

pub(super) struct Proof(Password);

impl RequestBody for Proof {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.password("password").map(Self)
    }
}

pub(super) async fn reauthenticate(
    State(app): State<App>,
    session: CurrentSession,
    headers: HeaderMap,
    JsonBody(Proof(password)): JsonBody<Proof>,
) -> Result<Response, Rejection> {
    let device = app.sessions().cookies().device(&headers);
    let refreshed = flows::reauthenticate(&app, &session, password, device).await?;
    renewed(&app, session.credential(), &refreshed)
}

pub(super) const CHANGE_PASSWORD: Description =
    Description::new("Change the password and end every other session", "audit `revoked`, `accessed`")
        .number(8)
        .body::<NewPasswords>()
        .answers::<TokensBody<'static>>(200)
        .problems(&[(400, "wrong, unchanged or weak password"), LOCKED]);

impl RequestBody for NewPasswords {
    const SHAPES: &'static [(&'static str, Shape)] = &[("new_password", Shape::Length { least: 8, most: 128 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        let current = fields.password("current_password");
        let new = fields.password("new_password");
        Some(Self { current: current?, new: new? })
    }
}

pub(super) async fn change_password(
    State(app): State<App>,
    session: CurrentSession,
    headers: HeaderMap,
    JsonBody(passwords): JsonBody<NewPasswords>,
) -> Result<Response, Rejection> {
    let device = app.sessions().cookies().device(&headers);
    let refreshed = flows::change_password(&app, &session, passwords, device).await?;
    renewed(&app, session.credential(), &refreshed)
}
