//! The pages for people: registration, sign-in, and *Your devices*. Plain HTML and forms; the one script only keeps the list up to date.
//!
//! Forms post to the page's own path and are answered with a redirect (303), so that reloading repeats nothing. The session travels in
//! the two cookies of [`BrowserCookies`](crate::sessions::BrowserCookies); the refresh cookie has the path `/`, so that whichever page is
//! asked for first after the access token expired renews the session.

mod agent;
mod assets;
mod devices;
mod document;
mod failure;
mod form;
mod guard;
mod icons;
mod live;
mod notice;
mod register;
mod sign_in;
mod sign_out;
mod time;
mod verify_email;

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use http::request::Parts;
use session_manager_middleware_axum::OptionalSession;

use crate::app::App;

pub(crate) use failure::as_page;

/// The pages, and what they are drawn with. They stand behind the session layer.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/register", get(register::show).post(register::submit))
        .route("/devices", get(devices::show))
        .route(live::PATH, get(live::events))
        .route("/devices/{id}/end", post(devices::end_one))
        .route("/devices/end-others", post(devices::end_others))
        .route("/devices/end-all", post(sign_out::everywhere))
        .route("/sign-out", post(sign_out::here))
        .route_layer(middleware::from_fn(guard::first_party))
        // Outside the guard: this page tells no browser where it was, so older ones send its form with `Origin: null`. The token from the
        // mail is what counts there, and confirming an address signs nobody in.
        .route("/verify-email", get(verify_email::show).post(verify_email::submit))
        .merge(assets::router())
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
