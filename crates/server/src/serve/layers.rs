//! The layers around all routes, from the outside in: envelope, time limit, panics, body size.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use session_manager_http::ProblemType;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::envelope;
use crate::app::App;
use crate::problem::Rejection;

const BODY_LIMIT: usize = 64 * 1024;
/// Longer than the longest delay of a sign-in and a queue of password hashes.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Wraps the routes.
pub(super) fn wrap(routes: Router, app: &App) -> Router {
    routes
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIME_LIMIT))
        .layer(middleware::from_fn_with_state(envelope::Headers::new(app.public_url()), envelope::envelope))
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the layer calls")]
fn panicked(_: Box<dyn Any + Send>) -> Response {
    // What was said is on standard error already, through the panic hook; it may hold anything and is not repeated.
    tracing::error!("a request handler panicked");
    Rejection::from(ProblemType::Internal).into_response()
}
