//! Endpoints 3 to 5: sign in, refresh, sign out.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode};
use session_manager_http::{Problem, ProblemType};
use session_manager_middleware_axum::{ClientContext, Credential, CurrentSession, RequestSession};

use super::answers::{Message, TokensBody, renewed};
use super::description::Description;
use crate::accounts::EmailAddress;
use crate::app::App;
use crate::flows::{self, DeviceName, Login};
use crate::json::{Fields, JsonBody, RequestBody, Shape};
use crate::limits::SessionMeter;
use crate::problem::{FieldError, Rejection};
use crate::sessions::CLEAR_SITE_DATA;

pub(super) const LOGIN: Description = Description::new(
    "Sign in",
    "the session keeps address and user agent; audit `created`; a failure is kept by address block or device",
)
.number(3)
.body::<Login>()
.answers::<TokensBody<'static>>(200)
.problems(&[
    (401, "unknown address or wrong password"),
    (403, "locked, or after the right password: address not confirmed, account disabled"),
    (409, "as many sessions as allowed are signed in"),
]);

impl RequestBody for Login {
    const SHAPES: &'static [(&'static str, Shape)] =
        &[("email", Shape::Email), ("device_name", Shape::Length { least: 1, most: 100 })];

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

pub(super) const REFRESH: Description =
    Description::new("Exchange the refresh token for new tokens", "audit `refreshed`, or `rejected`, `suspicious`")
        .number(4)
        .body::<RefreshToken>()
        .answers::<TokensBody<'static>>(200)
        .problems(&[
            (401, "not valid, expired, revoked, reused or rotated out, each with a type of its own"),
            (403, "by cookie from another site"),
        ]);

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
    meter: SessionMeter,
    method: Method,
    headers: HeaderMap,
    JsonBody(RefreshToken(token)): JsonBody<RefreshToken>,
) -> Result<Response, Response> {
    if let Some(token) = token {
        let refreshed = flows::refresh(&app, &token, request.context(), &meter).await;
        let refreshed = refreshed.map_err(Rejection::into_response)?;
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
    let refreshed = flows::refresh(&app, token, request.context(), &meter).await.map_err(refuse)?;
    renewed(&app, Credential::Cookie, &refreshed).map_err(Rejection::into_response)
}

fn spoilt_cookie() -> Rejection {
    Problem::of(ProblemType::InvalidToken).with_detail("the refresh cookie cannot be read").into()
}

pub(super) const LOGOUT: Description = Description::new("Sign out: end this session", "audit `revoked`, `accessed`")
    .number(5)
    .body::<LogoutBody>()
    .answers::<Message>(200);

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
