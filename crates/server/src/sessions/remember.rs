//! Keeps the cookies of remembered sessions persistent when the session layer renews them.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use session_manager_http::SessionCookie;
use session_manager_middleware_axum::{Credential, RequestSession, SessionCookies};

use crate::app::App;
use crate::flows::is_remembered;

/// How long the cookies of the request's session may live, in seconds; travels with the response through the session layer.
#[derive(Clone, Copy, Debug)]
struct Remembered(i64);

/// Stands inside the session layer and notes whether the session whose cookies the layer may renew is a remembered one.
///
/// # Behaviour
/// Cookies that the handler has set are its own affair: they may be those of another session, after a sign-in over an older one. The layer
/// sets none beside them.
pub(crate) async fn note(State(app): State<App>, request: Request, next: Next) -> Response {
    let current = request.extensions().get::<RequestSession>().and_then(|found| found.current().ok());
    let mut response = next.run(request).await;
    let session = match current.filter(|current| current.credential() == Credential::Cookie) {
        // Where it is over meanwhile there is nothing to hand over.
        Some(current) => current.session().await.ok(),
        None => None,
    };
    let handed_over = sets_any(response.headers(), &names(&app.sessions().cookies().session(false)));
    if let Some(session) = session.filter(|session| is_remembered(session) && !handed_over) {
        let left = (session.expires_at - app.now()).num_seconds().max(0);
        response.extensions_mut().insert(Remembered(left));
    }
    response
}

/// Stands outside the session layer, whose renewals set cookies that end with the browser.
pub(crate) async fn extend(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(Remembered(seconds)) = response.extensions_mut().remove() {
        let cookies = app.sessions().cookies().session(false);
        let names = names(&cookies);
        for line in response.headers_mut().iter_mut().filter(|(name, _)| *name == header::SET_COOKIE).map(|pair| pair.1)
        {
            if let Some(longer) = longer(line, &names, seconds) {
                *line = longer;
            }
        }
    }
    response
}

fn names(cookies: &SessionCookies) -> Vec<&str> {
    [Some(cookies.access()), cookies.refresh()].into_iter().flatten().map(SessionCookie::name).collect()
}

/// Whether a response sets or removes one of these cookies.
fn sets_any(headers: &HeaderMap, names: &[&str]) -> bool {
    let lines = headers.get_all(header::SET_COOKIE).iter();
    lines.filter_map(|line| line.to_str().ok()?.split_once('=')).any(|(name, _)| names.contains(&name))
}

/// The line with a lifetime, if it sets one of these cookies without one.
fn longer(line: &HeaderValue, names: &[&str], seconds: i64) -> Option<HeaderValue> {
    let text = line.to_str().ok()?;
    let (name, _) = text.split_once('=')?;
    if !names.contains(&name) || text.contains("; Max-Age=") {
        return None;
    }
    let mut longer = HeaderValue::try_from(format!("{text}; Max-Age={seconds}")).ok()?;
    longer.set_sensitive(true);
    Some(longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_cookies_without_a_lifetime_are_given_one() {
        for (line, expected) in [
            ("session=x; HttpOnly; Path=/", Some("session=x; HttpOnly; Path=/; Max-Age=60")),
            ("session=; Path=/; Max-Age=0", None),
            ("session2=x; Path=/", None),
            ("theme=session", None),
        ] {
            let found = longer(&HeaderValue::from_static(line), &["session", "renewal"], 60);
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected, "{line}");
        }
    }
}
