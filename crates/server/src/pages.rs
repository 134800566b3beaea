//! The pages for people: registration, sign-in, *Your devices*, *Connections*, and the administration. Plain HTML and forms; the one script only
//! keeps the list of devices up to date.
//!
//! Forms post to the page's own path and are answered with a redirect (303), so that reloading repeats nothing. The session travels in
//! the two cookies of [`BrowserCookies`](crate::sessions::BrowserCookies); the refresh cookie has the path `/`, so that whichever page is
//! asked for first after the access token expired renews the session.

mod admin;
mod admin_user;
mod agent;
mod arrival;
mod assets;
mod connections;
mod devices;
mod docs;
mod document;
mod failure;
mod forgot_password;
mod form;
mod guard;
mod icons;
mod live;
mod notice;
mod register;
mod reset_password;
mod sign_in;
mod sign_out;
mod time;
mod verify_email;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::{self, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};
use http::request::Parts;
use session_manager_middleware_axum::OptionalSession;

use crate::api::{self, Verb};
use crate::app::App;
use crate::limits::{Budget, Limit, Meter, Rate, limited};

pub(crate) use arrival::arrived;
pub(crate) use failure::as_page;
pub(crate) use guard::accepts_html;
pub(crate) use live::hear_of_revocations;

/// How often a user may look at each page that reads what is stored. Nobody reads so fast, and a page that is open asks again by itself.
const LOOKS: Limit = Limit::user(Rate::per_minute(100));

/// The pages, and what they are drawn with. They stand behind the session layer.
pub(crate) fn router(app: &App) -> Router<App> {
    use Verb::{Delete, Post};
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::show).merge(charged(app, Post, "/auth/login", sign_in::submit)))
        .route("/register", get(register::show).merge(charged(app, Post, "/auth/register", register::submit)))
        .route("/devices", watched(app, "/devices", devices::show))
        .route(live::PATH, watched(app, live::PATH, live::events))
        .route("/devices/{id}/end", charged(app, Delete, "/auth/sessions/{session_id}", devices::end_one))
        .route("/devices/end-others", charged(app, Delete, "/auth/sessions/others/revoke", devices::end_others))
        .route("/devices/end-all", charged(app, Delete, "/auth/sessions/all/revoke", sign_out::everywhere))
        .route("/sign-out", charged(app, Post, "/auth/logout", sign_out::here))
        .route(
            "/forgot-password",
            get(forgot_password::show).merge(charged(app, Post, "/password-resets", forgot_password::submit)),
        )
        .route("/admin", watched(app, "/admin", admin::show))
        .route("/admin/rotate", charged(app, Delete, "/tokens", admin::rotate))
        .route("/admin/users/{user}", watched(app, "/admin/users/{user}", admin_user::show))
        .route(
            "/admin/users/{user}/sessions/{id}/end",
            charged(app, Delete, "/admin/users/{user_id}/sessions/{session_id}", admin_user::end_one),
        )
        .route("/admin/users/{user}/end-all", charged(app, Delete, "/admin/users/{user_id}/sessions", admin_user::end_all))
        .route("/admin/users/{user}/disable", charged(app, Post, "/admin/users/{user_id}/disable", admin_user::disable))
        .route("/admin/users/{user}/enable", charged(app, Post, "/admin/users/{user_id}/enable", admin_user::enable))
        .route("/admin/users/{user}/rotate", charged(app, Delete, "/users/{user_id}/tokens", admin_user::rotate))
        .route("/docs", get(docs::show))
        .route(
            connections::PATH,
            watched(app, connections::PATH, connections::show).merge(charged(
                app,
                Post,
                "/providers",
                connections::add,
            )),
        )
        .route("/connections/{id}/rename", charged(app, Verb::Patch, "/providers/{id}", connections::rename))
        .route("/connections/{id}/remove", charged(app, Delete, "/providers/{id}", connections::remove))
        .route("/connections/{id}/connect", charged(app, Post, "/providers/{id}/authorization", connections::connect))
        .route(
            "/connections/{id}/disconnect",
            charged(app, Delete, "/providers/{id}/authorization", connections::disconnect),
        )
        .route_layer(middleware::from_fn(guard::first_party))
        // Outside the guard: this page tells no browser where it was, so older ones send its form with `Origin: null`. The token from the
        // mail is what counts there, and confirming an address signs nobody in.
        .route(
            "/verify-email",
            get(verify_email::show).merge(charged(app, Post, "/auth/verify-email", verify_email::submit)),
        )
        .merge(hidden(app))
        .merge(assets::router())
}

/// Forms on pages that tell nobody where they were, since there is a secret in their address. See [`guard::first_party_or_hidden`].
fn hidden(app: &App) -> Router<App> {
    const LINK: &str = "/password-resets/{token}";
    let show = metered(api::meter_of(app, Verb::Get, LINK), get(reset_password::show));
    Router::new()
        .route("/reset-password", show.merge(charged(app, Verb::Patch, LINK, reset_password::submit)))
        .route(arrival::FINISH, charged(app, Verb::Get, "/providers/{id}/authorization/callback", arrival::submit))
        .route_layer(middleware::from_fn(guard::first_party_or_hidden))
}

/// A form that does what an endpoint of the API does, and costs what that costs.
fn charged<H, T>(app: &App, verb: Verb, path: &str, form: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    metered(api::meter_of(app, verb, path), post(form))
}

/// A page that reads what is stored, with a limit of its own: looking at it is not what the endpoints of the API do, and is done more often.
fn watched<H, T>(app: &App, path: &str, page: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    let meter = app.limiter().map(|limiter| {
        let budget = Budget::of(Verb::Get.name(), path.to_owned(), LOOKS);
        Meter::new(limiter, path.to_owned(), budget)
    });
    metered(meter, get(page))
}

fn metered(meter: Option<Meter>, handler: MethodRouter<App>) -> MethodRouter<App> {
    match meter {
        Some(meter) => handler.route_layer(from_fn_with_state(meter, limited)),
        None => handler,
    }
}

/// Whether a request is one by which the session may be renewed: a page, a form, or the stream of a page, whose first token may have expired.
pub(crate) fn is_renewed(request: &Parts) -> bool {
    guard::is_page_request(request) || live::is_renewed(request)
}

/// Whether a program sends a request by itself, which keeps no session alive.
pub(crate) fn is_background(request: &Parts) -> bool {
    live::is_stream(request)
}

async fn home(OptionalSession(session): OptionalSession) -> Redirect {
    Redirect::to(if session.is_some() { "/devices" } else { "/sign-in" })
}

#[cfg(test)]
mod tests;
