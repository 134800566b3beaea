//! The JSON API: one table of all its endpoints, each with who may call it.

mod account;
mod answers;
mod authorization;
mod credentials;
mod providers;
mod sessions;
mod sign_in;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::request::Parts;
use session_manager_http::ProblemType;
use session_manager_middleware_axum::{RequestSession, RequireSession};

use crate::app::App;
use crate::problem::Rejection;

const PREFIX: &str = "/api/v1";
const REFRESH: &str = "/auth/refresh";

/// Who may call an endpoint. Judged before its handler reads anything of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Everybody.
    Public,
    /// Whoever is signed in: 401 otherwise.
    Authenticated,
    /// Whoever proved not long ago who they are: 403 with the step-up challenge (RFC 9470) otherwise.
    Fresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// A row of the table. There is no other way to an endpoint, and no row without its `who`.
struct Endpoint {
    verb: Verb,
    path: &'static str,
    who: Who,
    handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<App>>,
}

/// All endpoints.
fn endpoints() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Patch, Post};
    use Who::{Authenticated, Fresh, Public};
    vec![
        endpoint(Post, "/auth/register", Public, account::register),
        endpoint(Post, "/auth/verify-email", Public, account::verify_email),
        endpoint(Post, "/auth/login", Public, sign_in::login),
        endpoint(Post, REFRESH, Public, sign_in::refresh),
        endpoint(Post, "/auth/logout", Authenticated, sign_in::logout),
        endpoint(Post, "/auth/reauthenticate", Authenticated, credentials::reauthenticate),
        endpoint(Get, "/auth/me", Authenticated, account::me),
        endpoint(Patch, "/auth/me", Authenticated, account::update),
        endpoint(Patch, "/auth/me/password", Fresh, credentials::change_password),
        endpoint(Get, "/auth/sessions", Authenticated, sessions::list),
        endpoint(Delete, "/auth/sessions/{session_id}", Authenticated, sessions::revoke),
        endpoint(Delete, "/auth/sessions/others/revoke", Authenticated, sessions::revoke_others),
        endpoint(Delete, "/auth/sessions/all/revoke", Authenticated, sessions::revoke_all),
        endpoint(Post, "/providers", Authenticated, providers::create),
        endpoint(Get, "/providers", Authenticated, providers::list),
        endpoint(Get, "/providers/{id}", Authenticated, providers::one),
        endpoint(Patch, "/providers/{id}", Authenticated, providers::rename),
        endpoint(Delete, "/providers/{id}", Authenticated, providers::remove),
        endpoint(Post, "/providers/{id}/authorization", Authenticated, authorization::begin),
        endpoint(Get, "/providers/{id}/authorization", Authenticated, authorization::status),
        endpoint(Get, "/providers/{id}/authorization/callback", Public, authorization::callback),
        endpoint(Patch, "/providers/{id}/authorization", Authenticated, authorization::refresh),
        endpoint(Delete, "/providers/{id}/authorization", Authenticated, authorization::end),
        endpoint(Get, "/provider-types", Public, providers::types),
        endpoint(Get, "/provider-types/{key}", Public, providers::one_type),
    ]
}

/// The routes of the API.
pub(crate) fn routes() -> Router<App> {
    mount(endpoints())
}

/// Routes with their guards.
fn mount(endpoints: Vec<Endpoint>) -> Router<App> {
    endpoints.into_iter().fold(Router::new(), |router, Endpoint { verb, path, who, handler }| {
        let handler = handler(verb.filter());
        let handler = match who {
            Who::Public => handler,
            Who::Authenticated => handler.route_layer(RequireSession::new()),
            Who::Fresh => handler.route_layer(from_fn(require_fresh)),
        };
        router.route(&format!("{PREFIX}{path}"), handler)
    })
}

fn endpoint<H, T>(verb: Verb, path: &'static str, who: Who, handler: H) -> Endpoint
where
    H: Handler<T, App>,
    T: 'static,
{
    Endpoint { verb, path, who, handler: Box::new(|filter| on(filter, handler)) }
}

/// Whether a program sends a request by itself: a client refreshes when its access token runs out, whether or not anybody sits before it.
/// Not so a page whose session is renewed on the way: that is a person's.
pub(crate) fn is_background(request: &Parts) -> bool {
    let route = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    route.and_then(|route| route.strip_prefix(PREFIX)) == Some(REFRESH)
}

async fn require_fresh(request: Request, next: Next) -> Result<Response, Rejection> {
    let found = request.extensions().get::<RequestSession>().ok_or(ProblemType::Internal)?;
    found.current()?.require_fresh_by_policy().await?;
    Ok(next.run(request).await)
}

#[cfg(test)]
#[path = "api/tests/mod.rs"]
mod tests;
