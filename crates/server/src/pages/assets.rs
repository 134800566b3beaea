//! The style sheet, the script and the icon: in the binary, under addresses that name their content.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/assets/app.css", "text/css; charset=utf-8", include_str!("../../assets/app.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("/assets/devices.js", "text/javascript; charset=utf-8", include_str!("../../assets/devices.js"))
});
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/assets/icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")));

/// A file of ours.
struct Asset {
    content_type: &'static str,
    text: &'static str,
    version: String,
    address: String,
}

/// The routes of the files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/assets/app.css",
            get(|query: RawQuery, headers: HeaderMap| async move { STYLE.answer(&query, &headers) }),
        )
        .route(
            "/assets/devices.js",
            get(|query: RawQuery, headers: HeaderMap| async move { SCRIPT.answer(&query, &headers) }),
        )
        .route(
            "/assets/icon.svg",
            get(|query: RawQuery, headers: HeaderMap| async move { ICON.answer(&query, &headers) }),
        )
}

/// The address of the style sheet. It changes with the content, so that browsers may keep what they have for ever.
pub(super) fn style() -> &'static str {
    &STYLE.address
}

/// The address of the script of *Your devices*.
pub(super) fn script() -> &'static str {
    &SCRIPT.address
}

/// The address of the icon.
pub(super) fn icon() -> &'static str {
    &ICON.address
}

impl Asset {
    fn new(path: &str, content_type: &'static str, text: &'static str) -> Self {
        let start: Vec<u8> = Sha256::digest(text).iter().copied().take(9).collect();
        let version = URL_SAFE_NO_PAD.encode(start);
        Self { content_type, text, address: format!("{path}?v={version}"), version }
    }

    /// The file; without the present version in its address it is asked for again each time, and then costs a 304.
    fn answer(&self, RawQuery(query): &RawQuery, headers: &HeaderMap) -> Response {
        let current = query.as_deref().and_then(|query| query.strip_prefix("v=")) == Some(&self.version);
        let keep = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
        let tag = format!("\"{}\"", self.version);
        let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let mut response = if unchanged {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.text).into_response()
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
        response.headers_mut().extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(query: Option<&str>, known: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        headers.extend(known.map(|known| (header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())));
        STYLE.answer(&RawQuery(query.map(str::to_owned)), &headers)
    }

    #[test]
    fn the_named_version_is_kept_for_ever_and_others_are_checked() {
        let version = STYLE.version.clone();
        for (query, cached) in [(Some(format!("v={version}")), true), (Some("v=0".into()), false), (None, false)] {
            let response = answer(query.as_deref(), None);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "text/css; charset=utf-8");
            assert_eq!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"), cached);
        }
        assert_eq!(answer(None, Some(&format!("\"{version}\""))).status(), 304);
        assert_eq!(answer(None, Some("\"0\"")).status(), 200);
        assert!(style().ends_with(&version) && icon().starts_with("/assets/icon.svg?v="));
    }

    #[test]
    fn the_script_is_small_and_makes_no_markup() {
        assert!(SCRIPT.text.len() < 4_000, "{}", SCRIPT.text.len());
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "import", "http:", "https:"]
        {
            assert!(!SCRIPT.text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_style_sheet_is_small_and_loads_nothing() {
        assert!(STYLE.text.len() < 10_000, "{}", STYLE.text.len());
        assert!(!STYLE.text.contains("url(") && !STYLE.text.contains("@import"));
    }
}
