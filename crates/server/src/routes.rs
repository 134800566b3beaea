//! All routes of the service.

use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use serde_json::{Value, json};
use session_manager_http::{Problem, ProblemType, RETRY_AFTER_OUTAGE};

use crate::api;
use crate::app::App;
use crate::config::Backend;
use crate::oauth;
use crate::pages;
use crate::problem::Rejection;
use crate::sessions::remember;

/// The routes with the service as their state.
pub(crate) fn router(app: App) -> Router {
    let with_sessions = Router::new()
        .merge(api::routes(&app))
        .merge(pages::router(&app))
        .merge(oauth::routes(&app))
        .layer(from_fn_with_state(app.clone(), remember::note))
        .layer(app.sessions().layer().page_requests(pages::is_renewed).background_requests(is_background))
        .layer(from_fn_with_state(app.clone(), remember::extend))
        .layer(from_fn_with_state(app.clone(), pages::hear_of_revocations));
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/openapi.json", get(openapi))
        .merge(with_sessions)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(pages::as_page))
        .with_state(app)
}

fn is_background(request: &Parts) -> bool {
    api::is_background(request) || pages::is_background(request)
}

/// Liveness: the process answers.
async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Readiness: accounts and sessions can be read, and the session storage keeps its promises. Anybody may ask, and the storages are asked once
/// a second at most.
async fn ready(State(app): State<App>) -> Result<Json<Value>, Rejection> {
    app.readiness().ask(|| look(app.clone())).await?;
    Ok(Json(json!({ "status": "ready" })))
}

async fn look(app: App) -> Result<(), Rejection> {
    app.accounts().ping().await?;
    let health = app.sessions().manager().check().await?;
    if !health.is_sound() {
        tracing::error!(findings = ?health.findings, "the session storage is not sound");
        return Err(Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into());
    }
    Ok(())
}

/// What is counted and measured, in the text format of Prometheus.
async fn metrics(State(app): State<App>) -> Result<([(HeaderName, &'static str); 1], String), Rejection> {
    let Some(metrics) = app.sessions().metrics() else { return Err(not_found().await) };
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()))
}

/// The public keys of the access tokens, those that are announced too (RFC 7517, RFC 8037), for other services that check them. Reference tokens have none.
async fn jwks(State(app): State<App>) -> Json<Value> {
    if app.settings().backend == Backend::Opaque {
        return Json(json!({"keys": []}));
    }
    Json(app.keys().jwks())
}

/// The description of the API (OpenAPI 3.1), made from the table of endpoints.
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], api::document()).into_response()
}

async fn not_found() -> Rejection {
    Problem::of(ProblemType::NotFound).with_detail("there is nothing at this path").into()
}

async fn method_not_allowed() -> Rejection {
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
        .detail("this path does not know the method; see the Allow header")
}
