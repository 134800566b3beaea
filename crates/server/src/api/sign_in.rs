//! Endpoints 3 to 5: sign in, refresh, sign out.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode};
use session_manager_http::{Problem, ProblemType};
use session_manager_middleware_axum::{ClientContext, Credential, CurrentSession, RequestSession};

use super::answers::{Message, TokensBody, renewed};
use crate::accounts::EmailAddress;
use crate::app::App;
use crate::flows::{self, DeviceName, Login};
use crate::json::{Fields, JsonBody, RequestBody};
use crate::problem::{FieldError, Rejection};
use crate::sessions::CLEAR_SITE_DATA;

impl RequestBody for Login {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.parsed("email", EmailAddress::parse);
        let password = fields.password("password");
        let device_name = fields.optional_parsed("device_name", DeviceName::parse);
        let remember = fields.optional_bool("remember");
        Some(Self { email: email?, password: password?, device_name, remember, device: None })
    }
}

/// The tokens go into the body only: a browser signs in by its page, which sets cookies.
pub(super) async fn login(
    State(app): State<App>,
    client: ClientContext,
    headers: HeaderMap,
    JsonBody(mut login): JsonBody<Login>,
) -> Result<Response, Rejection> {
    login.device = app.sessions().cookies().device(&headers);
    let logged_in = flows::login(&app, login, &client).await?;
    let mut body = TokensBody::new(&logged_in.created.tokens, logged_in.created.snapshot.session.id);
    body.user = Some(logged_in.user.into());
    Ok(Json(body).into_response())
}

/// The token stands in the body, or for a browser in its cookie.
pub(super) struct RefreshToken(Option<String>);

impl RequestBody for RefreshToken {
    const MAY_BE_EMPTY: bool = true;

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(fields.optional_text("refresh_token")))
    }
}

pub(super) async fn refresh(
    State(app): State<App>,
    request: RequestSession,
    method: Method,
    headers: HeaderMap,
    JsonBody(RefreshToken(token)): JsonBody<RefreshToken>,
) -> Result<Response, Response> {
    if let Some(token) = token {
        let refreshed = flows::refresh(&app, &token, request.context()).await.map_err(Rejection::into_response)?;
        return renewed(&app, Credential::Bearer, &refreshed).map_err(Rejection::into_response);
    }
    let cookies = app.sessions().cookies().session(false);
    let refuse = |rejection: Rejection| {
        let mut response = rejection.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            cookies.clear().append_to(response.headers_mut());
        }
        response
    };
    let Some(token) = cookies.refresh_token(&headers).map_err(|_| refuse(spoilt_cookie()))? else {
        let message = "is required".to_owned();
        return Err(refuse(Rejection::fields(&[FieldError { field: "refresh_token".to_owned(), message }])));
    };
    request.require_first_party(&method, &headers).map_err(|rejection| refuse(rejection.into()))?;
    let refreshed = flows::refresh(&app, token, request.context()).await.map_err(refuse)?;
    renewed(&app, Credential::Cookie, &refreshed).map_err(Rejection::into_response)
}

fn spoilt_cookie() -> Rejection {
    Problem::of(ProblemType::InvalidToken).with_detail("the refresh cookie cannot be read").into()
}

/// A refresh token in the body is taken for the older clients' sake: the session of the access token is what ends, with both its tokens.
pub(super) struct LogoutBody;

impl RequestBody for LogoutBody {
    const MAY_BE_EMPTY: bool = true;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.optional_text("refresh_token");
        Some(Self)
    }
}

pub(super) async fn logout(
    State(app): State<App>,
    session: CurrentSession,
    JsonBody(LogoutBody): JsonBody<LogoutBody>,
) -> Result<Response, Rejection> {
    flows::logout(&app, &session).await?;
    Ok(signed_out(&app, &session, Message::json("Signed out.").into_response()))
}

/// An answer after which the browser keeps nothing of the session.
pub(super) fn signed_out(app: &App, session: &CurrentSession, mut response: Response) -> Response {
    let (name, value) = CLEAR_SITE_DATA;
    response.headers_mut().insert(name, value);
    if session.credential() == Credential::Cookie {
        app.sessions().cookies().session(false).clear().append_to(response.headers_mut());
    }
    response
}
