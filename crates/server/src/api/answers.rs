//! The bodies of the answers, and where new tokens go.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use http::HeaderMap;
use serde::Serialize;
use session_manager_core::{Refreshed, Session, SessionId, TokenPair};
use session_manager_http::ProblemType;
use session_manager_middleware_axum::Credential;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::{EmailAddress, Role, User};
use crate::app::App;
use crate::flows::is_remembered;
use crate::problem::Rejection;

/// A sentence for people.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

impl Message {
    pub(super) const fn json(message: &'static str) -> Json<Self> {
        Json(Self { message })
    }
}

/// An account as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserBody {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[schema(value_type = String, format = "email")]
    email: EmailAddress,
    name: String,
    role: Role,
    #[schema(value_type = String, format = "date-time")]
    created_at: DateTime<Utc>,
    email_verified: bool,
    /// The address that becomes the account's once it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "email", required = false)]
    pub(super) pending_email: Option<EmailAddress>,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            role: user.role,
            created_at: user.created_at,
            email_verified: user.email_verified_at.is_some(),
            pending_email: None,
        }
    }
}

/// New tokens of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct TokensBody<'a> {
    /// Not where the tokens go into cookies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    access_token: Option<&'a str>,
    /// Not where the tokens go into cookies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    refresh_token: Option<&'a str>,
    token_type: &'static str,
    /// Seconds from `server_time`: reckoned by the server's clock alone, so that a client's wrong clock does no harm.
    #[schema(minimum = 0)]
    expires_in: i64,
    #[schema(format = "date-time")]
    server_time: String,
    #[schema(value_type = String, format = "uuid")]
    session_id: SessionId,
    /// After a sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = UserBody, required = false)]
    pub(super) user: Option<UserBody>,
}

impl<'a> TokensBody<'a> {
    pub(super) fn new(tokens: &'a TokenPair, session: SessionId) -> Self {
        Self {
            access_token: Some(tokens.access.expose()),
            refresh_token: Some(tokens.refresh.expose()),
            token_type: "bearer",
            expires_in: (tokens.access_expires_at - tokens.issued_at).num_seconds().max(0),
            server_time: tokens.issued_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            session_id: session,
            user: None,
        }
    }
}

/// Hands renewed tokens to where the old ones came from: into the body, or into the cookies.
///
/// # Security
/// Tokens that came by cookie appear in no body: a script that runs in the page must not be able to carry them off.
pub(super) fn renewed(app: &App, credential: Credential, refreshed: &Refreshed) -> Result<Response, Rejection> {
    let session = &refreshed.snapshot.session;
    let mut body = TokensBody::new(&refreshed.tokens, session.id);
    if credential == Credential::Bearer {
        return Ok(Json(body).into_response());
    }
    (body.access_token, body.refresh_token) = (None, None);
    let mut response = Json(body).into_response();
    set_cookies(app, session, &refreshed.tokens, response.headers_mut())?;
    Ok(response)
}

fn set_cookies(app: &App, session: &Session, tokens: &TokenPair, headers: &mut HeaderMap) -> Result<(), Rejection> {
    let cookies = app.sessions().cookies().session(is_remembered(session)).set(tokens).map_err(|error| {
        tracing::error!(%error, "the tokens of a session fit in no cookie");
        Rejection::from(ProblemType::Internal)
    })?;
    cookies.append_to(headers);
    Ok(())
}
