//! Who may use a page: requests from our own pages, and people who are signed in.

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use session_manager_middleware_axum::{CurrentSession, Refusal, RequestSession};

use super::failure;
use super::notice::Notice;
use crate::app::App;
use crate::flows::Administrator;

/// Refuses every form that another site made a browser send, those of sign-in and registration too: signing somebody in to an account of
/// the attacker's is an attack as well.
///
/// The forms whose credential came to the browser in the page's address stand beside it: `/verify-email`, and those behind
/// [`first_party_or_hidden`].
pub(super) async fn first_party(session: RequestSession, request: Request, next: Next) -> Response {
    match session.require_first_party(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => match refused.refusal() {
            Refusal::CrossSite(_) => failure::cross_site().into_response(),
            _ => refused.into_response(),
        },
    }
}

/// The same for a form on a page that tells nobody where it was: browsers that do not say `Sec-Fetch-Site` then hide the origin from our own
/// form too. Such a form is taken, for what counts in it is the token from the mail, or the provider's answer, and it signs nobody in. Another
/// site knows neither: it could only send an answer to an authorisation of its own, which that ends by itself as well.
pub(super) async fn first_party_or_hidden(session: RequestSession, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_hidden = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() == b"null");
    if is_hidden && !headers.contains_key("sec-fetch-site") {
        return next.run(request).await;
    }
    first_party(session, request, next).await
}

/// The session of a page's visitor. Who is not signed in is sent to the sign-in page; an outage is a 503.
#[derive(Clone, Debug)]
pub(super) struct SignedIn(pub(super) CurrentSession);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let request = RequestSession::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        match request.optional() {
            Ok(Some(session)) => Ok(Self(session)),
            Ok(None) => Err(sign_in_first(&request)),
            Err(rejection) => Err(rejection.into_response()),
        }
    }
}

/// A visitor who is an administrator. Anybody else who is signed in gets a 403.
#[derive(Clone, Debug)]
pub(super) struct SignedInAdmin(pub(super) Administrator);

impl FromRequestParts<App> for SignedInAdmin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let SignedIn(session) = SignedIn::from_request_parts(parts, app).await?;
        Administrator::of(app, &session).await.map(Self).map_err(IntoResponse::into_response)
    }
}

/// Whoever had a session learns that it is over; whoever comes for the first time is only asked to sign in.
fn sign_in_first(request: &RequestSession) -> Response {
    let over = request.current().is_err_and(|rejection| matches!(rejection.refusal(), Refusal::Session(_)));
    Redirect::to(&if over { Notice::SessionOver.on("/sign-in") } else { "/sign-in".to_owned() }).into_response()
}

/// Whether a request is one by which the session may be renewed: a page that is fetched, or a form that is sent.
///
/// # Security
/// The layer asks the cross-site policy about forms before it reads a token.
pub(super) fn is_page_request(request: &Parts) -> bool {
    let method = matches!(request.method, Method::GET | Method::HEAD | Method::POST);
    method
        && match request.headers.get("sec-fetch-mode") {
            Some(mode) => mode.as_bytes() == b"navigate",
            None => accepts_html(&request.headers),
        }
}

/// Whether the client names HTML among what it takes, as browsers do for what they show.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).any(|range| {
        let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_forms_renew_and_calls_do_not() {
        for (method, mode, accept, renews) in [
            ("GET", Some("navigate"), "", true),
            ("POST", Some("navigate"), "", true),
            ("POST", None, "text/html,*/*;q=0.8", true),
            ("POST", Some("cors"), "text/html", false),
            ("GET", Some("no-cors"), "text/css", false),
            ("POST", None, "application/json", false),
            ("DELETE", Some("navigate"), "text/html", false),
        ] {
            let mut request = Request::builder().method(method).header("accept", accept);
            if let Some(mode) = mode {
                request = request.header("sec-fetch-mode", mode);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            assert_eq!(is_page_request(&parts), renews, "{method} {mode:?} {accept}");
        }
    }
}
