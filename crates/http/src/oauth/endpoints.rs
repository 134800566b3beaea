//! The two endpoints.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use session_manager_core::{Binding, Error, ErrorKind, Introspection, RequestContext, SessionManager, TokenKind};

use super::client::{Claimed, ClientAuthenticator, ClientCredentials};
use super::form::Form;
use crate::mapping::RETRY_AFTER_OUTAGE;

/// The longest body that is read, in bytes.
pub const MAX_FORM_BYTES: usize = 16 * 1024;

/// Answers revocation and introspection requests. The application routes `POST` requests to it, body and headers as they came.
///
/// # Security
/// - Introspection is answered to authenticated clients only (RFC 7662 §2.1, against scanning for tokens). Of a token that is not active it
///   says exactly `{"active":false}`, whatever the reason.
/// - Revocation needs no client secret: whoever holds a token may end its session. Credentials that are sent must be right all the same.
///   Unknown, expired and foreign tokens are answered with 200 (RFC 7009 §2.2).
/// - No answer is cached, and none holds a token.
///
/// ```
/// # use std::sync::Arc;
/// # use http::{HeaderMap, Response};
/// # use session_manager_core::{RequestContext, SessionManager};
/// use session_manager_http::oauth::{ClientAuthenticator, OAuthEndpoints};
///
/// async fn revoke(manager: SessionManager, headers: &HeaderMap, body: &[u8], context: &RequestContext) -> Response<String> {
///     OAuthEndpoints::new(manager).revoke(headers, body, context).await
/// }
/// ```
#[derive(Clone)]
pub struct OAuthEndpoints {
    manager: SessionManager,
    clients: Option<Arc<dyn ClientAuthenticator>>,
}

impl OAuthEndpoints {
    /// Endpoints without any client: tokens can be revoked, and nobody may introspect.
    pub const fn new(manager: SessionManager) -> Self {
        Self { manager, clients: None }
    }

    /// Knows clients.
    pub fn clients(mut self, clients: Arc<dyn ClientAuthenticator>) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Ends the session of the token in the request (RFC 7009). An access token ends its whole session, refresh token included.
    pub async fn revoke(&self, headers: &HeaderMap, body: &[u8], context: &RequestContext) -> Response<String> {
        let form = match self.admit(headers, body, Needs::Nothing).await {
            Ok(form) => form,
            Err(refusal) => return refusal.into(),
        };
        let Some(token) = form.get("token") else { return Refusal::InvalidRequest.into() };
        match self.manager.revoke_token(token, context).await {
            Ok(_) => answer(StatusCode::OK, None),
            Err(error) => Refusal::of(&error).into(),
        }
    }

    /// Tells whether a token is active, and what it stands for (RFC 7662).
    pub async fn introspect(&self, headers: &HeaderMap, body: &[u8]) -> Response<String> {
        let form = match self.admit(headers, body, Needs::Client).await {
            Ok(form) => form,
            Err(refusal) => return refusal.into(),
        };
        let Some(token) = form.get("token") else { return Refusal::InvalidRequest.into() };
        match self.manager.introspect(token).await {
            Ok(Some(found)) => answer(StatusCode::OK, Some(&Value::Object(describe(&found)))),
            Ok(None) => answer(StatusCode::OK, Some(&json!({ "active": false }))),
            Err(error) => Refusal::of(&error).into(),
        }
    }

    async fn admit(&self, headers: &HeaderMap, body: &[u8], needs: Needs) -> Result<Form, Refusal> {
        if body.len() > MAX_FORM_BYTES {
            return Err(Refusal::InvalidRequest);
        }
        let form = Form::read(headers, body).ok_or(Refusal::InvalidRequest)?;
        match (Claimed::read(headers, &form), &self.clients) {
            (Claimed::Nobody, _) if needs == Needs::Nothing => Ok(form),
            (Claimed::Client { id, secret }, Some(clients)) => {
                let credentials = ClientCredentials { id: &id, secret: &secret };
                match clients.authenticate(&credentials).await {
                    Ok(true) => Ok(form),
                    Ok(false) => Err(Refusal::InvalidClient),
                    Err(error) => Err(Refusal::of(&error)),
                }
            }
            (Claimed::Malformed, _) => Err(Refusal::InvalidRequest),
            _ => Err(Refusal::InvalidClient),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Client,
}

/// The members of RFC 7662 §2.2, and what tells of the authentication and the session.
fn describe(found: &Introspection) -> Map<String, Value> {
    let (session, verified) = (&found.snapshot.session, &found.verified);
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("active", true.into());
    set("sub", session.user_id.as_str().into());
    set("sid", session.id.to_string().into());
    set("auth_time", seconds(session.authentication.at));
    let expires_at = match found.kind {
        TokenKind::Access => verified.expires_at.unwrap_or_else(|| found.snapshot.deadline()),
        _ => found.snapshot.deadline(),
    };
    set("exp", seconds(expires_at));
    if found.kind == TokenKind::Access {
        set("token_type", "Bearer".into());
    }
    if let Some(level) = &session.authentication.level {
        set("acr", level.as_str().into());
    }
    if !session.authentication.methods.is_empty() {
        set("amr", session.authentication.methods.as_slice().into());
    }
    if let Some(actor) = &session.actor {
        set("act", json!({ "sub": actor.to_string() }));
    }
    match &session.binding {
        Some(Binding::Dpop(thumbprint)) => {
            set("cnf", json!({ "jkt": thumbprint }));
            set("token_type", "DPoP".into());
        }
        Some(Binding::Certificate(thumbprint)) => {
            set("cnf", json!({ "x5t#S256": thumbprint }));
        }
        _ => {}
    }
    // The token's own claims add what the application has put in, and change nothing of the above.
    for (name, value) in verified.claims.iter().flat_map(|claims| claims.iter()) {
        if !members.contains_key(name) && !matches!(name.as_str(), "gen" | "uep" | "gep") {
            members.insert(name.clone(), value.clone());
        }
    }
    members
}

fn seconds(time: DateTime<Utc>) -> Value {
    time.timestamp().into()
}

/// The errors of RFC 6749 §5.2 and RFC 7009 §2.2.1.
#[derive(Clone, Copy)]
enum Refusal {
    InvalidRequest,
    InvalidClient,
    Unavailable,
    Defect,
}

impl Refusal {
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Unconfirmed => Self::Unavailable,
            _ => Self::Defect,
        }
    }
}

impl From<Refusal> for Response<String> {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Refusal::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            Refusal::Defect => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        let mut response = answer(status, Some(&json!({ "error": code })));
        let headers = response.headers_mut();
        match refusal {
            Refusal::InvalidClient => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\""));
            }
            Refusal::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_OUTAGE.as_secs()));
            }
            _ => {}
        }
        response
    }
}

fn answer(status: StatusCode, body: Option<&Value>) -> Response<String> {
    let mut response = Response::new(body.map(Value::to_string).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

impl fmt::Debug for OAuthEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthEndpoints").field("clients", &self.clients.is_some()).finish_non_exhaustive()
    }
}
