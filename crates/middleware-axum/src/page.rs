//! Which requests fetch a page for a person.

use http::{HeaderMap, Method, header, request::Parts};

/// Whether a request fetches a page that a person asked for: the default of [`SessionLayer::page_requests`].
///
/// # Behaviour
/// `GET` or `HEAD`, and the browser says that it navigates (`Sec-Fetch-Mode: navigate`). Where the browser does not say (http, older
/// ones), `Accept` must name `text/html`. A browser that says something else is believed: its scripts cannot write that header.
///
/// [`SessionLayer::page_requests`]: crate::SessionLayer::page_requests
pub fn is_page_request(request: &Parts) -> bool {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return false;
    }
    match request.headers.get("sec-fetch-mode") {
        Some(mode) => mode.as_bytes() == b"navigate",
        None => accepts_html(&request.headers),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).any(|range| {
        let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn pages_and_others() {
        let browser = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
        for (method, mode, accept, expected) in [
            ("GET", Some("navigate"), None, true),
            ("HEAD", Some("navigate"), None, true),
            ("GET", None, Some(browser), true),
            ("GET", None, Some("application/json, TEXT/HTML ;q=0.1"), true),
            ("GET", Some("cors"), Some(browser), false),
            ("GET", Some("no-cors"), None, false),
            ("GET", None, Some("application/json"), false),
            ("GET", None, Some("text/htmlx, */*"), false),
            ("GET", None, None, false),
            ("POST", Some("navigate"), Some(browser), false),
        ] {
            let mut request = Request::builder().method(method);
            if let Some(mode) = mode {
                request = request.header("sec-fetch-mode", mode);
            }
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            assert_eq!(is_page_request(&parts), expected, "{method} {mode:?} {accept:?}");
        }
    }
}
