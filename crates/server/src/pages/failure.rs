//! Errors as pages: whatever went wrong, a person who asked for a page gets one.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};

use super::document::Page;
use super::guard::accepts_html;
use super::icons;
use crate::oauth;

/// A layer for all routes: gives an error the form of a page where a person asked, and leaves it to programs as it is.
///
/// # Behaviour
/// What the API and the OAuth endpoints say stays as it is whoever asks. Status and headers stay (`Retry-After`, `Allow`, cookies). An address with a token from a
/// mail goes nowhere from the page either.
pub(crate) async fn as_page(request: Request, next: Next) -> Response {
    let is_secret = request.uri().query().is_some_and(|query| query.contains("token="));
    let is_for_programs = ["/api/", oauth::PREFIX].iter().any(|prefix| request.uri().path().starts_with(prefix));
    let person = accepts_html(request.headers()) && !is_for_programs;
    let response = next.run(request).await;
    let status = response.status();
    if !person || !(status.is_client_error() || status.is_server_error()) || is_html(response.headers()) {
        return response;
    }
    let page = page(status);
    let mut page = if is_secret { page.without_referrer() } else { page }.into_response();
    for (name, value) in response.headers() {
        // Those that describe the body are the page's own; `entry` would keep only the first cookie of several.
        if name == header::SET_COOKIE {
            page.headers_mut().append(name, value.clone());
        } else if name != header::CONTENT_LENGTH && !page.headers().contains_key(name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

/// A form that did not come from our own pages.
pub(super) fn cross_site() -> Page {
    let text =
        "This form was not sent from a page of this site, so nothing was done. Open the page here and send it again.";
    message(StatusCode::FORBIDDEN, "That came from somewhere else", text)
}

/// A link from a mail that is used up, too old, or not ours.
pub(super) fn dead_link() -> Page {
    let text =
        "It was used before, or it is too old. If your address is not confirmed yet, register again to get a new link.";
    message(StatusCode::BAD_REQUEST, "This link does not work any more", text)
}

/// A link for a new password that is used up, too old, or not ours.
pub(super) fn dead_reset_link() -> Page {
    let text = "It was used before, it is older than an hour, or a new password was set since. Ask for another if you need it.";
    let next = ("/forgot-password", "Ask for another link");
    message_with(StatusCode::BAD_REQUEST, "This link does not work any more", text, next)
}

fn page(status: StatusCode) -> Page {
    let (title, text) = match status {
        StatusCode::UNAUTHORIZED => ("Your session has ended", "Please sign in again."),
        StatusCode::FORBIDDEN => ("Not allowed", "You may not do this."),
        StatusCode::NOT_FOUND => {
            ("There is nothing here", "The page may have moved, or the session has ended long ago.")
        }
        StatusCode::METHOD_NOT_ALLOWED => ("That does not work here", "This address cannot be used in that way."),
        StatusCode::CONFLICT => ("Something else was faster", "Look at the present state and try again."),
        StatusCode::PAYLOAD_TOO_LARGE => ("Too much at once", "What was sent is too large."),
        StatusCode::TOO_MANY_REQUESTS => {
            ("A little slower, please", "There were too many requests. Wait a moment and try again.")
        }
        StatusCode::SERVICE_UNAVAILABLE => (
            "We will be right back",
            "The service cannot answer at the moment. You stay signed in; try again in a minute.",
        ),
        status if status.is_server_error() => (
            "Something went wrong on our side",
            "It has been noted. Try again, and if it stays, tell whoever runs this service.",
        ),
        _ => ("That could not be understood", "Go back and try again."),
    };
    message(status, title, text)
}

pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Page {
    message_with(status, title, text, ("/", "To the start page"))
}

fn message_with(status: StatusCode, title: &str, text: &str, (path, label): (&str, &str)) -> Page {
    let content: Markup = html! {
        div {
            h1 { (title) }
            p.lead { (text) }
        }
        p { a.button href=(path) { (label) } }
    };
    Page::outside(title, None, &content).status(status)
}

/// A box above a form that was not taken.
pub(super) fn alert(text: &str) -> Markup {
    html! { div.alert role="alert" { (icons::warning()) p { (text) } } }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).is_some_and(|value| value.starts_with(b"text/html"))
}
