//! A manager over the reference storage, a clock that stands still, and a router with every extractor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use session_manager_core::clock::after;
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    BackendCapabilities, Control, Created, IssueContext, ManualClock, NewSession, Presented, Rejection, RequestContext,
    SessionBackend, SessionManager, SessionPolicy, Snapshot, TokenKind, TokenPair, UserId, Verified,
};
use session_manager_http::{
    ClientAddressConfig, ClientAddressResolver, CookieScheme, CrossSitePolicy, SessionCookie, TrustedProxies,
};
use session_manager_middleware_axum::{
    ClientContext, CurrentSession, FirstParty, FreshSession, OptionalSession, SessionCookies, SessionLayer,
    SessionManagerHandle,
};
use session_manager_testkit::fault::{CountingStorage, FailingStorage};
use session_manager_testkit::{ReferenceStorage, SequenceRandom, user};
use tower::ServiceExt;

pub(crate) const ACCESS: Duration = Duration::from_mins(5);
pub(crate) const SITE: &str = "https://bank.example";
pub(crate) const ACCESS_COOKIE: &str = "__Host-session";
pub(crate) const REFRESH_COOKIE: &str = "__Secure-renewal";

type Storage = CountingStorage<FailingStorage<ReferenceStorage>>;

/// Opaque tokens for both purposes: the least backend there can be.
#[derive(Debug)]
struct OpaqueTokens(ReferenceTokens);

#[async_trait]
impl SessionBackend for OpaqueTokens {
    fn capabilities(&self) -> BackendCapabilities {
        BackendCapabilities::new(false)
    }

    fn parse<'t>(&self, kind: TokenKind, token: &'t str) -> Result<Presented<'t>, Rejection> {
        Ok(Presented::reference(kind, token, self.0.parse(kind, token)?))
    }

    fn verify(
        &self,
        presented: &Presented<'_>,
        control: Option<&Control>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Rejection> {
        let (token, control) = (presented.reference.as_ref().unwrap(), control.unwrap());
        self.0.check(token, control)?;
        let issued_at = match control.generation.checked_sub(token.generation()) {
            Some(0) | None => control.rotated_at,
            Some(1) => control.previous_rotated_at,
            Some(_) => DateTime::UNIX_EPOCH,
        };
        // What lies below the floor is the manager's to refuse.
        let judged = presented.kind == TokenKind::Access && token.generation() >= control.floor;
        if judged && now >= after(issued_at, ACCESS) {
            return Err(Rejection::Expired);
        }
        Ok(Verified::new(token.key(), token.generation()))
    }

    async fn issue(&self, snapshot: &Snapshot, context: &IssueContext) -> session_manager_core::Result<TokenPair> {
        let mint = |kind| self.0.mint(kind, &snapshot.session, &snapshot.control);
        Ok(TokenPair::new(mint(TokenKind::Access), mint(TokenKind::Refresh), snapshot, context))
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// Everything a test needs.
pub(crate) struct Harness {
    pub(crate) manager: SessionManager,
    pub(crate) storage: Arc<Storage>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) app: Router,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(SessionPolicy::default(), |layer| layer)
    }

    pub(crate) fn with(policy: SessionPolicy, configure: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let storage = Arc::new(CountingStorage::new(FailingStorage::new(ReferenceStorage::new())));
        let clock = Arc::new(ManualClock::default());
        let key = TokenKey::from_secret(b"0123456789abcdef0123456789abcdef").unwrap();
        let manager = SessionManager::builder()
            .storage(storage.clone())
            .backend(Arc::new(OpaqueTokens(ReferenceTokens::new(Arc::new(KeyRing::new(key))))))
            .policy(policy)
            .clock(clock.clone())
            .random(Arc::new(SequenceRandom::default()))
            .allow_volatile(true)
            .build()
            .unwrap();
        let layer = SessionLayer::new(manager.clone())
            .cookies(cookies(), CrossSitePolicy::new([SITE]).unwrap())
            .addresses(ClientAddressResolver::new(ClientAddressConfig {
                trusted_proxies: TrustedProxies::parse(["10.0.0.0/8"]).unwrap(),
                ..ClientAddressConfig::default()
            }));
        let app = router(Arc::clone(&clock)).layer(configure(layer));
        Self { manager, storage, clock, app }
    }

    /// Signs somebody in.
    pub(crate) async fn login(&self) -> Created {
        self.manager.create(NewSession::of(alice()).by(["pwd"]), &RequestContext::default()).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.app.clone(), request).await
    }

    /// Sends a GET with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request("GET", path, headers)).await
    }

    /// Lets the access tokens issued so far expire.
    pub(crate) fn let_access_expire(&self) {
        self.clock.advance(ACCESS);
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.json()["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The value that a `Set-Cookie` gives the cookie of this name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let mut lines = self.set_cookies().into_iter();
        lines.find_map(|line| line.split(';').next()?.strip_prefix(name)?.strip_prefix('='))
    }
}

pub(crate) async fn answer(app: Router, request: Request<Body>) -> Answer {
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// A request from 198.51.100.1.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    from("198.51.100.1:4711", method, path, headers)
}

pub(crate) fn from(peer: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    request
}

pub(crate) fn alice() -> UserId {
    user("alice")
}

pub(crate) fn cookies() -> SessionCookies {
    SessionCookies::new(SessionCookie::access("session", CookieScheme::Https).unwrap())
        .with_refresh(SessionCookie::refresh("renewal", "/", CookieScheme::Https).unwrap())
}

pub(crate) fn bearer(tokens: &TokenPair) -> String {
    format!("Bearer {}", tokens.access.expose())
}

pub(crate) fn access_cookie(tokens: &TokenPair) -> String {
    format!("{ACCESS_COOKIE}={}", tokens.access.expose())
}

pub(crate) fn refresh_cookie(tokens: &TokenPair) -> String {
    format!("{REFRESH_COOKIE}={}", tokens.refresh.expose())
}

pub(crate) fn both_cookies(tokens: &TokenPair) -> String {
    format!("{}; {}", access_cookie(tokens), refresh_cookie(tokens))
}

fn router(clock: Arc<ManualClock>) -> Router {
    Router::new()
        .route("/current", any(current))
        .route("/optional", any(optional))
        .route("/maybe", any(maybe))
        .route("/fresh", get(|_: FreshSession| async { "fresh" }))
        .route("/fresh60", get(|_: FreshSession<60>| async { "fresh" }))
        .route("/client", get(client))
        .route("/first-party", any(|_: FirstParty| async { "first party" }))
        .route("/handle", get(handle))
        .route("/open", any(|| async { "open" }))
        .route("/sign-out", get(|_: OptionalSession| async { cookies().sign_out() }))
        .route("/slow/{seconds}", get(move |path, session| slow(path, session, clock)))
}

async fn current(session: CurrentSession) -> String {
    format!("{} by {:?}", session.user_id(), session.credential())
}

async fn optional(OptionalSession(session): OptionalSession) -> String {
    session.map_or("nobody".to_owned(), |session| session.user_id().to_string())
}

async fn maybe(session: Option<CurrentSession>) -> String {
    optional(OptionalSession(session)).await
}

async fn client(context: ClientContext) -> String {
    let ip = context.client.ip_address.map(|ip| ip.to_string());
    let agent = context.client.user_agent.as_deref();
    format!("{} {} {:?}", ip.as_deref().unwrap_or("-"), agent.unwrap_or("-"), context.request_id)
}

async fn handle(manager: SessionManagerHandle) -> String {
    manager.policy().max_sessions.to_string()
}

/// Takes its time, by the manual clock.
async fn slow(
    axum::extract::Path(seconds): axum::extract::Path<u64>,
    session: OptionalSession,
    clock: Arc<ManualClock>,
) -> String {
    clock.advance(Duration::from_secs(seconds));
    optional(session).await
}
