//! The pages for people: registration, sign-in, *Your devices* and *Connections*. Plain HTML and forms; there is no script at all.
//!
//! Forms post to the page's own path and are answered with a redirect (303), so that reloading repeats nothing. The session travels in
//! the two cookies of [`BrowserCookies`](crate::sessions::BrowserCookies); the refresh cookie has the path `/`, so that whichever page is
//! asked for first after the access token expired renews the session.

mod agent;
mod arrival;
mod assets;
mod connections;
mod devices;
mod document;
mod failure;
mod form;
mod guard;
mod icons;
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
use session_manager_middleware_axum::OptionalSession;

use crate::app::App;

pub(crate) use arrival::arrived;
pub(crate) use failure::as_page;
pub(crate) use guard::{accepts_html, is_page_request};

/// The pages, and what they are drawn with. They stand behind the session layer.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/register", get(register::show).post(register::submit))
        .route("/devices", get(devices::show))
        .route("/devices/{id}/end", post(devices::end_one))
        .route("/devices/end-others", post(devices::end_others))
        .route("/devices/end-all", post(sign_out::everywhere))
        .route("/sign-out", post(sign_out::here))
        .route(connections::PATH, get(connections::show).post(connections::add))
        .route("/connections/{id}/rename", post(connections::rename))
        .route("/connections/{id}/remove", post(connections::remove))
        .route("/connections/{id}/connect", post(connections::connect))
        .route("/connections/{id}/disconnect", post(connections::disconnect))
        .route(arrival::FINISH, post(arrival::submit))
        .route_layer(middleware::from_fn(guard::first_party))
        // Outside the guard: this page tells no browser where it was, so older ones send its form with `Origin: null`. The token from the
        // mail is what counts there, and confirming an address signs nobody in.
        .route("/verify-email", get(verify_email::show).post(verify_email::submit))
        .merge(assets::router())
}

async fn home(OptionalSession(session): OptionalSession) -> Redirect {
    Redirect::to(if session.is_some() { "/devices" } else { "/sign-in" })
}

#[cfg(test)]
mod tests;
