//! The OAuth endpoints beside the API: token revocation (RFC 7009) and introspection (RFC 7662).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::State;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, post};
use axum::{Extension, Router};
use http::{HeaderMap, Response};
use session_manager_http::oauth::{ClientAuthenticator, ClientCredentials, OAuthEndpoints};
use session_manager_middleware_axum::RequestSession;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::config::OAuthClients;
use crate::limits::{Budget, Limit, Meter, Rate, limited};

/// Where these endpoints are.
pub(crate) const PREFIX: &str = "/oauth/";

const REVOKE: &str = "/oauth/revoke";
const INTROSPECT: &str = "/oauth/introspect";

/// A whole office may sign out from one address; as many as an endpoint of the API takes from a user.
const REVOCATIONS: Limit = Limit::ip(Rate::per_minute(100));
/// A service may ask at each of its requests. Kept in an outage too: it is also the limit of guesses at a client's secret.
const INTROSPECTIONS: Limit = Limit::ip(Rate::per_minute(1000)).kept();

/// The two routes. They stand behind the session layer, which resolves the address that is charged.
pub(crate) fn routes(app: &App) -> Router<App> {
    let clients = Clients::new(&app.settings().oauth.clients);
    let endpoints = OAuthEndpoints::new(app.sessions().manager().clone()).clients(Arc::new(clients));
    Router::new()
        .route(REVOKE, charged(app, REVOKE, REVOCATIONS, revoke))
        .route(INTROSPECT, charged(app, INTROSPECT, INTROSPECTIONS, introspect))
        .with_state(endpoints)
}

fn charged<H, T>(app: &App, path: &str, limit: Limit, handler: H) -> MethodRouter<OAuthEndpoints>
where
    H: Handler<T, OAuthEndpoints>,
    T: 'static,
{
    match app.limiter() {
        Some(limiter) => {
            let meter = Meter::new(limiter, path.to_owned(), Budget::of("POST", path.to_owned(), limit));
            post(handler).route_layer(from_fn_with_state(meter, limited))
        }
        None => post(handler),
    }
}

async fn revoke(
    State(endpoints): State<OAuthEndpoints>,
    Extension(found): Extension<RequestSession>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<String> {
    endpoints.revoke(&headers, &body, found.context()).await
}

async fn introspect(State(endpoints): State<OAuthEndpoints>, headers: HeaderMap, body: Bytes) -> Response<String> {
    endpoints.introspect(&headers, &body).await
}

/// The configured clients: of each, what its secret hashes to.
struct Clients(HashMap<String, [u8; 32]>);

impl Clients {
    fn new(configured: &OAuthClients) -> Self {
        Self(configured.iter().map(|(id, client)| (id.clone(), hash(client.secret.expose()))).collect())
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[async_trait]
impl ClientAuthenticator for Clients {
    /// Takes as long for an id that nobody has as for a wrong secret.
    async fn authenticate(&self, credentials: &ClientCredentials<'_>) -> session_manager_core::Result<bool> {
        let known = self.0.get(credentials.id());
        let expected = known.copied().unwrap_or_default();
        let is_equal = verify_slices_are_equal(&expected, &hash(credentials.secret())).is_ok();
        Ok(is_equal && known.is_some())
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("known", &self.0.len()).finish()
    }
}
