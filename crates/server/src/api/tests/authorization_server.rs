//! An authorization server on loopback that checks what ours sends: client, redirect URI, PKCE, and that a refresh token is used once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Form, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use url::Url;

use super::bench::Bench;
use crate::config::Settings;

/// Needs to be encoded in the header, so that forgetting it is noticed.
const SECRET: &str = "s3cret:/+ %";

type Parameters = HashMap<String, String>;

/// The server. It ends with the test's runtime.
pub(super) struct AuthorizationServer {
    pub(super) address: String,
    seen: Arc<Mutex<Seen>>,
    gate: Arc<Gate>,
}

/// What the server holds back, and how much of it has arrived.
struct Gate {
    arrived: Semaphore,
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct Seen {
    codes: HashMap<String, Parameters>,
    /// The refresh tokens that are good.
    refresh: HashSet<String>,
    issued: u32,
    token_requests: u32,
    revoked: Vec<(String, String)>,
    answer: Answer,
}

/// How the token endpoint answers.
#[derive(Clone, Default)]
pub(super) enum Answer {
    #[default]
    Well,
    /// With these members more, or others.
    With(Value),
    /// With this status and text.
    Plainly(u16, &'static str, String),
    /// With a redirect to itself.
    Redirect,
}

impl AuthorizationServer {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: watch::Sender::new(true) });
        let routes = Router::new()
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state((seen.clone(), gate.clone()));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, seen, gate }
    }

    /// Settings with this server as provider `acme`, its answers named by `iss` as `strict`, one without a secret and one that is planned.
    pub(super) fn configure(&self, settings: &mut Settings) {
        let address = &self.address;
        let provider = |more: Value| {
            let mut provider = json!({
                "name": "Acme Bank", "client_id": "our id", "client_secret": SECRET, "scopes": ["read", "write"],
                "auth_url": format!("http://{address}/authorize?tenant=1"), "token_url": format!("http://{address}/token"),
                "revocation_url": format!("http://{address}/revoke"),
            });
            for (name, value) in more.as_object().unwrap() {
                provider[name] = value.clone();
            }
            provider
        };
        let providers = json!({
            "acme": provider(json!({})),
            "body": provider(json!({"client_auth": "body"})),
            "later": {"name": "Later"},
            "public": provider(json!({"client_secret": null})),
            "strict": provider(json!({"issuer": format!("http://{address}")})),
        });
        settings.providers = serde_json::from_value(providers).unwrap();
    }

    /// A service with this server as a provider.
    pub(super) async fn bench(&self) -> Bench {
        Bench::with(|settings| self.configure(settings)).await
    }

    /// What the browser comes back with after its user said yes: the path and the query of the callback.
    pub(super) fn approve(&self, auth_url: &str) -> Arrival {
        let url = Url::parse(auth_url).unwrap();
        assert!(auth_url.starts_with(&format!("http://{}/authorize?tenant=1&", self.address)), "{auth_url}");
        let asked: Parameters = url.query_pairs().into_owned().collect();
        for (name, expected) in [
            ("response_type", "code"),
            ("client_id", "our id"),
            ("scope", "read write"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked[name], expected, "{auth_url}");
        }
        assert_eq!(URL_SAFE_NO_PAD.decode(&asked["code_challenge"]).unwrap().len(), 32);
        assert_eq!(URL_SAFE_NO_PAD.decode(&asked["state"]).unwrap().len(), 32);
        let path = asked["redirect_uri"].strip_prefix("http://127.0.0.1:8080/api/v1").unwrap().to_owned();
        let (state, mut seen) = (asked["state"].clone(), self.seen());
        let code = format!("code/{}", seen.codes.len());
        seen.codes.insert(code.clone(), asked);
        Arrival { path, code, state }
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.seen().answer = answer;
    }

    /// How often the token endpoint was asked.
    pub(super) fn token_requests(&self) -> u32 {
        self.seen().token_requests
    }

    /// The tokens that were given back, with their hints.
    pub(super) fn revoked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.seen().revoked)
    }

    /// Holds its answers back from now on.
    pub(super) fn hold(&self) {
        self.gate.open.send_replace(false);
        self.gate.arrived.forget_permits(self.gate.arrived.available_permits());
    }

    /// Waits until a request has arrived.
    pub(super) async fn arrived(&self) {
        self.gate.arrived.acquire().await.unwrap().forget();
    }

    /// Answers what waits, and what comes.
    pub(super) fn release(&self) {
        self.gate.open.send_replace(true);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

/// A browser that comes back.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) path: String,
    pub(super) code: String,
    pub(super) state: String,
}

impl Arrival {
    pub(super) fn address(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &self.code)
            .append_pair("state", &self.state)
            .finish();
        format!("{}?{query}", self.path)
    }
}

type Shared = State<(Arc<Mutex<Seen>>, Arc<Gate>)>;

fn refused(error: &str) -> Response {
    let body = json!({"error": error, "error_description": "hunter2 is wrong"});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Whether the client is who it should be, by header, body, or as a public one.
fn is_client(headers: &HeaderMap, form: &Parameters, expected_id: &str) -> bool {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let header = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let expected = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(expected_id), encode(SECRET))));
    match (header, form.get("client_id"), form.get("client_secret")) {
        (Some(header), None, None) => header == expected,
        (None, Some(id), Some(secret)) => id == expected_id && secret == SECRET,
        (None, Some(id), None) => id == expected_id,
        _ => false,
    }
}

async fn token(State((seen, gate)): Shared, headers: HeaderMap, Form(form): Form<Parameters>) -> Response {
    seen.lock().unwrap().token_requests += 1;
    gate.arrived.add_permits(1);
    gate.open.subscribe().wait_for(|open| *open).await.unwrap();
    let mut seen = seen.lock().unwrap();
    let answer = seen.answer.clone();
    match answer {
        Answer::Plainly(status, content_type, text) => {
            return (StatusCode::from_u16(status).unwrap(), [("content-type", content_type)], text).into_response();
        }
        Answer::Redirect => return (StatusCode::TEMPORARY_REDIRECT, [("location", "/token")]).into_response(),
        Answer::Well | Answer::With(_) => {}
    }
    if !is_client(&headers, &form, "our id") {
        return refused("invalid_client");
    }
    let good = match form["grant_type"].as_str() {
        "authorization_code" => seen.codes.remove(&form["code"]).is_some_and(|asked| {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            asked["code_challenge"] == challenge && asked["redirect_uri"] == form["redirect_uri"]
        }),
        // One that was used before looks like theft, and ends all.
        "refresh_token" => {
            seen.refresh.remove(&form["refresh_token"]) || {
                seen.refresh.clear();
                false
            }
        }
        _ => false,
    };
    if !good {
        return refused("invalid_grant");
    }
    seen.issued += 1;
    let (access, refresh) = (format!("access-{}", seen.issued), format!("refresh-{}", seen.issued));
    seen.refresh.insert(refresh.clone());
    let mut body =
        json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 3600});
    if let Answer::With(more) = answer {
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
    }
    Json(body).into_response()
}

async fn revoke(State((seen, _)): Shared, headers: HeaderMap, Form(form): Form<Parameters>) -> Response {
    if !is_client(&headers, &form, "our id") {
        return refused("invalid_client");
    }
    seen.lock().unwrap().revoked.push((form["token_type_hint"].clone(), form["token"].clone()));
    StatusCode::OK.into_response()
}
