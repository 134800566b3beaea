//! What every answer has: a request id, the security headers, a log line; and every error the form of a problem.

use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use session_manager_http::{PROBLEM_JSON, Problem, ProblemType, RETRY_AFTER_OUTAGE, request_id};
use uuid::Uuid;

use crate::config::PublicUrl;
use crate::problem::Rejection;
use crate::random;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Our problems have some hundred bytes.
const PROBLEM_LIMIT: usize = 64 * 1024;

/// The headers that every answer has unless the handler set them.
#[derive(Clone, Debug)]
pub(super) struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// For a service under this URL; `Strict-Transport-Security` only with https.
    pub(super) fn new(public_url: &PublicUrl) -> Self {
        let mut headers = vec![
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
            ),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
        ];
        if public_url.is_https() {
            headers.push((header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000")));
        }
        Self(headers)
    }

    fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// The outermost layer.
pub(super) async fn envelope(State(headers): State<Headers>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers()).map_or_else(fresh_id, str::to_owned);
    let method = request.method().clone();
    // The route, not the path: a path may hold a mail token.
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    if let Ok(value) = HeaderValue::from_str(&id) {
        // The client's own if it sent a decent one. Whoever needs it within finds it here, so that the audit trail names the request as the
        // answer does.
        request.headers_mut().insert(X_REQUEST_ID, value);
    }
    let response = next.run(request).await;
    let mut response = as_problem(response, &id).await;
    headers.add_to(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    tracing::info!(
        request_id = id, %method, route, status = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// The client's answer does not depend on it, so a source of randomness that fails costs the uniqueness only.
fn fresh_id() -> String {
    Uuid::from_bytes(random::bytes().unwrap_or_default()).simple().to_string()
}

/// Gives an error the form of a problem and every problem the request id. Pages stay as they are.
async fn as_problem(response: Response, id: &str) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    match response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(content_type) if content_type == PROBLEM_JSON.as_bytes() => with_id(response, id).await,
        None | Some(b"text/plain; charset=utf-8") => {
            let (mut parts, _) = response.into_parts();
            let (inner, body) = with_id(plain(status), id).await.into_parts();
            // Headers of the first answer stay (`Allow` of a 405), but for those that describe its body.
            for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
                parts.headers.remove(name);
            }
            for (name, value) in &inner.headers {
                parts.headers.insert(name, value.clone());
            }
            Response::from_parts(parts, body)
        }
        Some(_) => response,
    }
}

/// A problem for an answer that has nothing but its status.
fn plain(status: StatusCode) -> Response {
    let rejection: Rejection = if status == StatusCode::SERVICE_UNAVAILABLE {
        Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into()
    } else {
        Problem::status_only(status).into()
    };
    rejection.into_response()
}

async fn with_id(response: Response, id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, PROBLEM_LIMIT).await.unwrap_or_default();
    let mut members: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    members.insert("request_id".to_owned(), Value::from(id));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Value::Object(members).to_string()))
}
