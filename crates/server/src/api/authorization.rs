//! Endpoints 24 to 28: the authorisation of a connection by its provider.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use session_manager_middleware_axum::{CurrentSession, OptionalSession};
use utoipa::ToSchema;

use super::description::Description;
use super::providers::{PathId, text};
use crate::app::App;
use crate::flows::{self, Arrival, Authorization, Traveller};
use crate::json::{Fields, QueryFields, RequestBody};
use crate::pages;
use crate::problem::Rejection;

const UNKNOWN: (u16, &str) = (404, "unknown, or another user's");

pub(super) const BEGIN: Description =
    Description::new("Begin the authorisation of a connection by its provider", "audit `accessed`")
        .number(24)
        .answers::<Departure>(200)
        .problems(&[UNKNOWN]);

/// Where the way to the provider begins.
#[derive(Serialize, ToSchema)]
pub(super) struct Departure {
    /// Where to send the browser.
    auth_url: String,
    /// What comes back with it.
    state: String,
}

pub(super) async fn begin(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Departure>, Rejection> {
    let departure = flows::begin_authorization(&app, &session, &text(id)).await?;
    Ok(Json(Departure { auth_url: departure.request.url.into(), state: departure.state }))
}

pub(super) const STATUS: Description = Description::new("Show how a connection is authorised", "audit `accessed`")
    .number(25)
    .answers::<Authorization>(200)
    .problems(&[UNKNOWN]);

pub(super) async fn status(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Authorization>, Rejection> {
    Ok(Json(flows::authorization(&app, &session, &text(id)).await?))
}

pub(super) const CALLBACK: Description =
    Description::new("Finish an authorisation, with what the provider answered", "request log")
        .number(26)
        .query::<Arrival>()
        .answers::<Authorization>(200)
        .problems(&[(400, "no such state, or the provider did not agree"), (502, "the provider could not be asked")]);

impl RequestBody for Arrival {
    fn read(fields: &mut Fields) -> Option<Self> {
        let [state, code, error, issuer] = ["state", "code", "error", "iss"].map(|name| fields.optional_text(name));
        Some(Self { place: String::new(), state: state.unwrap_or_default(), code, error, issuer })
    }
}

/// A browser that comes back from the provider, or a program that caught the answer on its way. A browser gets a page.
pub(super) async fn callback(
    State(app): State<App>,
    OptionalSession(session): OptionalSession,
    headers: HeaderMap,
    id: PathId,
    QueryFields(mut arrival): QueryFields<Arrival>,
) -> Result<Response, Rejection> {
    arrival.place = text(id);
    let traveller = session.map_or(Traveller::Unknown, Traveller::Session);
    // Whatever a browser loads without a session is asked about: a picture on another site, whose address leads to a provider that asks
    // nobody any more, must not end here what somebody else began.
    let stranger = matches!(traveller, Traveller::Unknown) && headers.contains_key("sec-fetch-site");
    if pages::accepts_html(&headers) || stranger {
        return Box::pin(pages::arrived(&app, arrival, &traveller)).await;
    }
    let (_, authorization) = flows::finish_authorization(&app, arrival, &traveller).await?;
    Ok(Json(authorization).into_response())
}

pub(super) const REFRESH: Description = Description::new("Renew the provider's token", "audit `accessed`")
    .number(27)
    .answers::<Authorization>(200)
    .problems(&[
        UNKNOWN,
        (409, "the provider gave nothing to renew it by"),
        (502, "the provider refused, or could not be asked"),
    ]);

pub(super) async fn refresh(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Authorization>, Rejection> {
    Ok(Json(flows::refresh_authorization(&app, &session, &text(id)).await?))
}

pub(super) const END: Description =
    Description::new("Give an authorisation back: the provider is told, and its tokens are erased", "audit `accessed`")
        .number(28)
        .succeeds_with(204)
        .problems(&[UNKNOWN]);

pub(super) async fn end(State(app): State<App>, session: CurrentSession, id: PathId) -> Result<StatusCode, Rejection> {
    flows::end_authorization(&app, &session, &text(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
