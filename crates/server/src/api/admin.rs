//! Endpoints for administrators: accounts, their sessions, and the end of either.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::UserBody;
use super::description::Description;
use super::path::named;
use super::sessions::{ListBody, Reason, RevokedMany, RevokedOne, page_size};
use super::sign_in::signed_out;
use crate::accounts::{User, UserSearch};
use crate::app::App;
use crate::flows::{self, Administrator, ListQuery, USUAL_PAGE};
use crate::json::{Fields, JsonBody, QueryFields, RequestBody, Shape};
use crate::problem::Rejection;

/// The longest text that an address can contain.
const LONGEST: usize = 254;

const NO_SUCH_USER: (u16, &str) = (404, "no such user");

pub(super) const SEARCH: Description = Description::new("Search accounts by their address", "audit `accessed`")
    .query::<Search>()
    .answers::<AccountsBody>(200);

pub(super) const SHOW: Description = Description::new("Show an account and its sessions", "audit `accessed`")
    .query::<ListQuery>()
    .answers::<AccountWithSessions>(200)
    .problems(&[(400, "the cursor belongs to another list"), NO_SUCH_USER]);

pub(super) const DISABLE: Description =
    Description::new("Close an account to sign-in, and end its sessions", "audit `revoked`, `accessed`")
        .answers::<AccountBody>(200)
        .problems(&[(400, "it is one's own"), NO_SUCH_USER, (409, "it is closed already")]);

pub(super) const ENABLE: Description = Description::new("Open an account again", "audit `accessed`")
    .answers::<AccountBody>(200)
    .problems(&[NO_SUCH_USER, (409, "it is open")]);

pub(super) const END_ALL: Description =
    Description::new("End all sessions of an account", "audit `revoked`, `accessed`")
        .answers::<RevokedMany>(200)
        .problems(&[NO_SUCH_USER]);

pub(super) const END_ONE: Description = Description::new("End a session of an account", "audit `revoked`, `accessed`")
    .body::<Reason>()
    .answers::<RevokedOne>(200)
    .problems(&[
        (400, "it is the current session: use logout"),
        (404, "no such user, or no such session of theirs"),
        (409, "it had ended before"),
    ]);

/// An account as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountBody {
    #[serde(flatten)]
    user: UserBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "date-time", required = false)]
    disabled_at: Option<DateTime<Utc>>,
}

impl From<User> for AccountBody {
    fn from(user: User) -> Self {
        Self { disabled_at: user.disabled_at, user: user.into() }
    }
}

pub(super) struct Search(UserSearch);

impl RequestBody for Search {
    const SHAPES: &'static [(&'static str, Shape)] = &[("limit", Shape::Whole { least: 1, most: 200 })];

    fn read(fields: &mut Fields) -> Option<Self> {
        let text = fields.optional_parsed("email", |text| {
            if text.len() > LONGEST { Err("must be at most 254 bytes long") } else { Ok(text.to_owned()) }
        });
        let after = fields.optional_parsed("cursor", |text| {
            let id = (!text.is_empty()).then(|| text.parse::<Uuid>()).transpose();
            id.map_err(|_| "must be the next_cursor of the page before")
        });
        let limit = fields.optional_parsed("limit", page_size).unwrap_or(USUAL_PAGE);
        Some(Self(UserSearch { text: text.unwrap_or_default(), after: after.flatten(), limit }))
    }
}

/// A page of accounts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountList)]
pub(super) struct AccountsBody {
    users: Vec<AccountBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid", required = false)]
    next_cursor: Option<Uuid>,
}

pub(super) async fn search(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    QueryFields(Search(search)): QueryFields<Search>,
) -> Result<Json<AccountsBody>, Rejection> {
    let page = flows::search_users(&app, &admin, &search).await?;
    Ok(Json(AccountsBody { users: page.users.into_iter().map(Into::into).collect(), next_cursor: page.next }))
}

/// An account with a page of its sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountWithSessions {
    user: AccountBody,
    #[serde(flatten)]
    sessions: ListBody,
}

pub(super) async fn show(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    user: Result<Path<String>, PathRejection>,
    QueryFields(query): QueryFields<ListQuery>,
) -> Result<Json<AccountWithSessions>, Rejection> {
    let user = flows::account(&app, &admin, &named(user)).await?;
    let sessions = flows::sessions_of(&app, &admin, &user, query).await?.into();
    Ok(Json(AccountWithSessions { user: user.into(), sessions }))
}

pub(super) async fn disable(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    user: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountBody>, Rejection> {
    let user = flows::account(&app, &admin, &named(user)).await?;
    Ok(Json(flows::close_account(&app, &admin, &user).await?.into()))
}

pub(super) async fn enable(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    user: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountBody>, Rejection> {
    let user = flows::account(&app, &admin, &named(user)).await?;
    Ok(Json(flows::reopen_account(&app, &admin, &user).await?.into()))
}

pub(super) async fn end_all(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    user: Result<Path<String>, PathRejection>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &named(user)).await?;
    let revoked_count = flows::end_sessions_of(&app, &admin, &user).await?;
    let body = Json(RevokedMany { message: "All sessions of the account are ended.", revoked_count });
    let is_own = user.id == admin.user().id;
    Ok(if is_own { signed_out(&app, admin.session(), body.into_response()) } else { body.into_response() })
}

pub(super) async fn end_one(
    State(app): State<App>,
    Extension(admin): Extension<Administrator>,
    path: Result<Path<(String, String)>, PathRejection>,
    JsonBody(Reason(reason)): JsonBody<Reason>,
) -> Result<Json<RevokedOne>, Rejection> {
    let (user, session) = named(path);
    let user = flows::account(&app, &admin, &user).await?;
    let revoked_session_id = flows::end_session_of(&app, &admin, &user, &session, reason).await?;
    Ok(Json(RevokedOne { message: "The session is ended.", revoked_session_id }))
}
