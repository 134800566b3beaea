//! The JSON API: one table of all its endpoints, each with who may call it, how often, and what it does.

mod account;
mod admin;
mod answers;
mod audit;
mod authorization;
mod credentials;
mod description;
mod guards;
mod openapi;
mod path;
mod providers;
mod resets;
mod rotation;
mod schemas;
mod sessions;
mod sign_in;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::request::Parts;
use session_manager_http::ProblemType;
use session_manager_middleware_axum::{RequestSession, RequireSession};

use crate::app::App;
use crate::limits::{Budget, Limit, Meter, Rate, limited};
use crate::problem::Rejection;

use description::Description;

pub(crate) use description::Reads;
pub(crate) use openapi::{Documented, document, documented};

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
    /// The user whom the path names, and administrators: 403 otherwise, whether or not there is such a user.
    SelfOrAdmin,
    /// Administrators: 403 otherwise.
    Admin,
    /// Administrators who proved not long ago who they are.
    FreshAdmin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// A row of the table. There is no other way to an endpoint, and no row without its `who`, its limit and its description.
struct Endpoint {
    verb: Verb,
    path: &'static str,
    who: Who,
    limit: Limit,
    description: Description,
    handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<App>>,
}

/// All endpoints.
fn endpoints() -> Vec<Endpoint> {
    let mut rows = of_users();
    rows.extend(of_administrators());
    rows.extend(of_providers());
    rows
}

/// What users do with their account and their sessions.
fn of_users() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Patch, Post};
    use Who::{Authenticated, Fresh, Public};
    vec![
        endpoint(Post, "/auth/register", Public, account::register)
            .limit(Limit::ip(Rate::bucket(10, 2.0)))
            .described(account::REGISTER),
        endpoint(Post, "/auth/verify-email", Public, account::verify_email)
            .limit(Limit::ip(Rate::bucket(10, 2.0)))
            .described(account::VERIFY_EMAIL),
        endpoint(Post, "/auth/login", Public, sign_in::login)
            .limit(Limit::ip(Rate::bucket(20, 5.0)).kept())
            .described(sign_in::LOGIN),
        endpoint(Post, REFRESH, Public, sign_in::refresh)
            .limit(Limit::session(Rate::bucket(10, 10.0)))
            .described(sign_in::REFRESH),
        endpoint(Post, "/auth/logout", Authenticated, sign_in::logout).limit(Limit::none()).described(sign_in::LOGOUT),
        endpoint(Post, "/auth/reauthenticate", Authenticated, credentials::reauthenticate)
            .limit(Limit::user(Rate::per_minute(5)).kept())
            .described(credentials::REAUTHENTICATE),
        endpoint(Get, "/auth/me", Authenticated, account::me)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(account::ME),
        endpoint(Patch, "/auth/me", Authenticated, account::update)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(account::UPDATE),
        endpoint(Patch, "/auth/me/password", Fresh, credentials::change_password)
            .limit(Limit::user(Rate::per_minute(5)))
            .described(credentials::CHANGE_PASSWORD),
        endpoint(Get, "/auth/sessions", Authenticated, sessions::list)
            .limit(Limit::user(Rate::per_minute(10)))
            .described(sessions::LIST),
        endpoint(Delete, "/auth/sessions/{session_id}", Authenticated, sessions::revoke)
            .limit(Limit::user(Rate::per_minute(20)))
            .described(sessions::REVOKE),
        endpoint(Delete, "/auth/sessions/others/revoke", Authenticated, sessions::revoke_others)
            .limit(Limit::user(Rate::per_hour(5)))
            .described(sessions::REVOKE_OTHERS),
        endpoint(Delete, "/auth/sessions/all/revoke", Authenticated, sessions::revoke_all)
            .limit(Limit::user(Rate::per_hour(3)))
            .described(sessions::REVOKE_ALL),
        endpoint(Post, "/password-resets", Public, resets::request)
            .limit(Limit::ip(Rate::bucket(5, 0.2)).kept())
            .described(resets::REQUEST),
        endpoint(Get, "/password-resets/{token}", Public, resets::inspect)
            .limit(Limit::ip(Rate::per_minute(10)).kept())
            .described(resets::INSPECT),
        endpoint(Patch, "/password-resets/{token}", Public, resets::complete)
            .limit(Limit::ip(Rate::per_minute(10)).kept())
            .described(resets::COMPLETE),
    ]
}

/// Rotation, and what administrators do with the accounts of others.
fn of_administrators() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Post};
    use Who::{Admin, FreshAdmin, SelfOrAdmin};
    vec![
        endpoint(Delete, "/users/{user_id}/tokens", SelfOrAdmin, rotation::rotate_user)
            .limit(Limit::user(Rate::bucket(5, 0.33)))
            .described(rotation::ROTATE_USER),
        endpoint(Delete, "/tokens", FreshAdmin, rotation::rotate_everybody)
            .limit(Limit::global(Rate::per_day(1)))
            .described(rotation::ROTATE_EVERYBODY),
        endpoint(Get, "/security/config", Admin, rotation::config)
            .limit(Limit::user(Rate::bucket(10, 1.0)))
            .described(rotation::CONFIG),
        endpoint(Get, "/admin/users", Admin, admin::search)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(admin::SEARCH),
        endpoint(Get, "/admin/users/{user_id}", Admin, admin::show)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(admin::SHOW),
        endpoint(Post, "/admin/users/{user_id}/disable", Admin, admin::disable)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(admin::DISABLE),
        endpoint(Post, "/admin/users/{user_id}/enable", Admin, admin::enable)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(admin::ENABLE),
        endpoint(Delete, "/admin/users/{user_id}/sessions", Admin, admin::end_all)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(admin::END_ALL),
        endpoint(Delete, "/admin/users/{user_id}/sessions/{session_id}", Admin, admin::end_one)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(admin::END_ONE),
        endpoint(Get, "/admin/audit", Admin, audit::search)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(audit::SEARCH),
    ]
}

/// Connections to providers.
fn of_providers() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Patch, Post};
    use Who::{Authenticated, Public};
    vec![
        endpoint(Post, "/providers", Authenticated, providers::create)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(providers::CREATE),
        endpoint(Get, "/providers", Authenticated, providers::list)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(providers::LIST),
        endpoint(Get, "/providers/{id}", Authenticated, providers::one)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(providers::ONE),
        endpoint(Patch, "/providers/{id}", Authenticated, providers::rename)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(providers::RENAME),
        endpoint(Delete, "/providers/{id}", Authenticated, providers::remove)
            .limit(Limit::user(Rate::per_minute(20)))
            .described(providers::REMOVE),
        endpoint(Post, "/providers/{id}/authorization", Authenticated, authorization::begin)
            .limit(Limit::user(Rate::per_minute(50)))
            .described(authorization::BEGIN),
        endpoint(Get, "/providers/{id}/authorization", Authenticated, authorization::status)
            .limit(Limit::user(Rate::per_minute(100)))
            .described(authorization::STATUS),
        endpoint(Get, "/providers/{id}/authorization/callback", Public, authorization::callback)
            .limit(Limit::ip(Rate::bucket(20, 10.0)))
            .described(authorization::CALLBACK),
        endpoint(Patch, "/providers/{id}/authorization", Authenticated, authorization::refresh)
            .limit(Limit::user(Rate::per_minute(20)))
            .described(authorization::REFRESH),
        endpoint(Delete, "/providers/{id}/authorization", Authenticated, authorization::end)
            .limit(Limit::user(Rate::per_minute(20)))
            .described(authorization::END),
        endpoint(Get, "/provider-types", Public, providers::types)
            .limit(Limit::ip(Rate::per_minute(100)))
            .described(providers::TYPES),
        endpoint(Get, "/provider-types/{key}", Public, providers::one_type)
            .limit(Limit::ip(Rate::per_minute(100)))
            .described(providers::ONE_TYPE),
    ]
}

/// The routes of the API.
pub(crate) fn routes(app: &App) -> Router<App> {
    mount(endpoints(), app)
}

/// The layer's state by which a page is charged for the endpoint that does the same: one budget for both.
pub(crate) fn meter_of(app: &App, verb: Verb, path: &str) -> Option<Meter> {
    endpoints().iter().find(|row| row.verb == verb && row.path == path)?.meter(app)
}

/// Routes with their limits and guards.
fn mount(endpoints: Vec<Endpoint>, app: &App) -> Router<App> {
    endpoints.into_iter().fold(Router::new(), |router, row| {
        let meter = row.meter(app);
        let handler = (row.handler)(row.verb.filter());
        let handler = match row.who {
            Who::Public => handler,
            Who::Authenticated => handler.route_layer(RequireSession::new()),
            Who::Fresh => handler.route_layer(from_fn(require_fresh)),
            Who::SelfOrAdmin => handler.route_layer(from_fn_with_state(app.clone(), guards::self_or_admin)),
            Who::Admin => handler.route_layer(from_fn_with_state(app.clone(), guards::admin)),
            Who::FreshAdmin => handler.route_layer(from_fn_with_state(app.clone(), guards::fresh_admin)),
        };
        let handler = match meter {
            Some(meter) => handler.route_layer(from_fn_with_state(meter, limited)),
            None => handler,
        };
        router.route(&template(row.path), handler)
    })
}

/// The route of an endpoint, as the router and the answers name it.
fn template(path: &str) -> String {
    format!("{PREFIX}{path}")
}

/// The beginning of a row, which is none before it has its limit and its description.
fn endpoint<H, T>(verb: Verb, path: &'static str, who: Who, handler: H) -> Unlimited
where
    H: Handler<T, App>,
    T: 'static,
{
    Unlimited { verb, path, who, handler: Box::new(|filter| on(filter, handler)) }
}

/// A row that has not said its limit.
struct Unlimited {
    verb: Verb,
    path: &'static str,
    who: Who,
    handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<App>>,
}

/// A row that has not said what it does.
struct Undescribed(Unlimited, Limit);

impl Unlimited {
    const fn limit(self, limit: Limit) -> Undescribed {
        Undescribed(self, limit)
    }
}

impl Undescribed {
    fn described(self, description: Description) -> Endpoint {
        let Self(Unlimited { verb, path, who, handler }, limit) = self;
        Endpoint { verb, path, who, limit, description, handler }
    }
}

impl Endpoint {
    /// What counts its requests: none while limits are switched off.
    fn meter(&self, app: &App) -> Option<Meter> {
        let budget = Budget::of(self.verb.name(), template(self.path), self.limit);
        Some(Meter::new(app.limiter()?, template(self.path), budget))
    }
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
