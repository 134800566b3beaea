//! The cookies of sign-in and sign-out.

use axum::response::IntoResponse;
use session_manager_http::{CookieScheme, SessionCookie};
use session_manager_middleware_axum::{CLEAR_SITE_DATA, SessionCookies, SetCookies};

use crate::harness::{ACCESS_COOKIE, Harness, REFRESH_COOKIE, cookies};

/// Name and attributes of each line, without what a set and a removal must differ in.
fn attributes(lines: SetCookies) -> Vec<Vec<String>> {
    let response = lines.into_response();
    let lines = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let shared = |part: &&str| !part.starts_with("Max-Age") && !part.starts_with("Expires");
    lines
        .map(|line| {
            let (name, rest) = line.split_once('=').unwrap();
            let attributes = rest.split("; ").skip(1).filter(shared).map(str::to_owned);
            std::iter::once(name.to_owned()).chain(attributes).collect()
        })
        .collect()
}

#[tokio::test]
async fn removal_has_the_attributes_of_setting() {
    let tokens = Harness::new().login().await.tokens;
    let loopback = SessionCookies::new(SessionCookie::access("session", CookieScheme::LoopbackHttp).unwrap())
        .with_refresh(SessionCookie::refresh("renewal", "/auth", CookieScheme::LoopbackHttp).unwrap());
    let embedded = SessionCookies::new(
        SessionCookie::access("session", CookieScheme::Https).unwrap().with_partitioned(true).unwrap(),
    );
    for cookies in [cookies(), cookies().persistent(true), loopback, embedded] {
        let set = attributes(cookies.set(&tokens).unwrap());
        assert_eq!(set, attributes(cookies.clear()), "{cookies:?}");
        assert_eq!(set, attributes(cookies.sign_out()), "{cookies:?}");
        assert_eq!(set.len(), 1 + usize::from(cookies.refresh().is_some()));
    }
}

#[tokio::test]
async fn signing_out_clears_the_site_and_keeps_other_cookies() {
    let response = ([("set-cookie", "theme=dark")], "").into_response();
    let response = (cookies().sign_out(), response).into_response();
    let names = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().split('=').next());
    assert_eq!(names.flatten().collect::<Vec<_>>(), ["theme", ACCESS_COOKIE, REFRESH_COOKIE]);
    assert_eq!(response.headers()["clear-site-data"], CLEAR_SITE_DATA);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!cookies().clear().into_response().headers().contains_key("clear-site-data"));
}

#[tokio::test]
async fn persistent_cookies_last_as_long_as_the_session() {
    let tokens = Harness::new().login().await.tokens;
    let lines = |cookies: SessionCookies| {
        let response = cookies.set(&tokens).unwrap().into_response();
        let lines = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    let thirty_days = format!("Max-Age={}", 30 * 24 * 3600);
    assert!(lines(cookies().persistent(true)).iter().all(|line| line.contains(&thirty_days)));
    assert!(lines(cookies()).iter().all(|line| !line.contains("Max-Age")));
}
