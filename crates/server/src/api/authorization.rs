//! Endpoints 24 to 28: the authorisation of a connection by its provider.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use session_manager_middleware_axum::{CurrentSession, OptionalSession};

use super::providers::{PathId, text};
use crate::app::App;
use crate::flows::{self, Arrival, Authorization, Traveller};
use crate::json::{Fields, QueryFields, RequestBody};
use crate::pages;
use crate::problem::Rejection;

#[derive(Serialize)]
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

pub(super) async fn status(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Authorization>, Rejection> {
    Ok(Json(flows::authorization(&app, &session, &text(id)).await?))
}

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
        return pages::arrived(&app, arrival, &traveller).await;
    }
    let (_, authorization) = flows::finish_authorization(&app, arrival, &traveller).await?;
    Ok(Json(authorization).into_response())
}

pub(super) async fn refresh(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Authorization>, Rejection> {
    Ok(Json(flows::refresh_authorization(&app, &session, &text(id)).await?))
}

pub(super) async fn end(State(app): State<App>, session: CurrentSession, id: PathId) -> Result<StatusCode, Rejection> {
    flows::end_authorization(&app, &session, &text(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
