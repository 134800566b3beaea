//! Which credential counts, who the client is, and what another site may not do.

use std::net::IpAddr;

use session_manager_core::{RequestContext, SessionPolicy};

use crate::harness::{Harness, access_cookie, bearer, both_cookies, from, request};

#[tokio::test]
async fn a_bearer_token_beats_the_cookie() {
    let harness = Harness::new();
    let alice = harness.login().await;
    let new = session_manager_core::NewSession::of(session_manager_testkit::user("bob"));
    let bob = harness.manager.create(new, &RequestContext::default()).await.unwrap();
    let headers = [("authorization", bearer(&bob.tokens)), ("cookie", access_cookie(&alice.tokens))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(harness.get("/current", &headers).await.body, "bob by Bearer");
}

#[tokio::test]
async fn a_refused_bearer_token_never_falls_back_to_the_cookie() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    let cookie = both_cookies(&tokens);
    let refresh_as_access = format!("Bearer {}", tokens.refresh.expose());
    harness.storage.reset();
    for (authorization, status, problem) in [
        ("Bearer", 401, "invalid-token"),
        ("Bearer a b", 401, "invalid-token"),
        ("Bearer unknown", 401, "invalid-token"),
        (refresh_as_access.as_str(), 401, "invalid-token"),
    ] {
        for path in ["/current", "/optional"] {
            let headers = [("authorization", authorization), ("cookie", &cookie), ("sec-fetch-mode", "navigate")];
            let answer = harness.get(path, &headers).await;
            assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, problem), "{authorization}");
            assert!(answer.set_cookies().is_empty());
        }
    }
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b"), ("cookie", cookie.as_str())];
    assert_eq!(harness.get("/current", &twice).await.problem(), "ambiguous-credentials");
    assert_eq!(harness.storage.total(), 0, "none of these is worth a look into the storage");

    let proxied = harness.get("/current", &[("authorization", "Basic dXNlcjpwYXNz"), ("cookie", &cookie)]).await;
    assert_eq!(proxied.body, "alice by Cookie", "another scheme is no bearer token");
}

#[tokio::test]
async fn cookies_count_only_where_they_are_configured() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    let layer = session_manager_middleware_axum::SessionLayer::new(harness.manager.clone());
    let app = axum::Router::new()
        .route("/", axum::routing::get(|_: session_manager_middleware_axum::CurrentSession| async { "" }))
        .layer(layer);
    let answer = crate::harness::answer(app, request("GET", "/", &[("cookie", &access_cookie(&tokens))])).await;
    assert_eq!(answer.problem(), "unauthenticated");
}

#[tokio::test]
async fn different_cookies_of_one_name_are_refused_and_removed() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    let cookie = format!("{}; {}=planted", access_cookie(&tokens), crate::harness::ACCESS_COOKIE);
    harness.storage.reset();
    let answer = harness.get("/current", &[("cookie", &cookie)]).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (400, "ambiguous-credentials"));
    assert_eq!(answer.cookie(crate::harness::ACCESS_COOKIE), Some(""));
    assert_eq!(harness.get("/optional", &[("cookie", &cookie)]).await.body, "nobody");
    assert_eq!(harness.storage.total(), 0);
}

#[tokio::test]
async fn other_sites_cannot_use_the_cookie() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    let (cookie, bearer) = (access_cookie(&tokens), bearer(&tokens));
    let own = ("origin", crate::harness::SITE);
    let evil = ("origin", "https://evil.example");
    harness.storage.reset();
    for (method, headers, status) in [
        ("POST", &[("sec-fetch-site", "same-origin")][..], 200),
        ("POST", &[own], 200),
        ("POST", &[("sec-fetch-site", "cross-site")], 403),
        ("POST", &[("sec-fetch-site", "same-site")], 403),
        ("POST", &[evil], 403),
        ("DELETE", &[("sec-fetch-site", "cross-site"), own], 403),
        ("POST", &[], 403),
        ("GET", &[("sec-fetch-site", "cross-site")], 200),
        ("GET", &[("sec-fetch-site", "cross-site"), ("upgrade", "WebSocket")], 403),
        ("GET", &[evil, ("upgrade", "h2c, websocket")], 403),
        ("GET", &[own, ("upgrade", "websocket")], 200),
    ] {
        for path in ["/current", "/optional"] {
            harness.storage.reset();
            let by_cookie = [&[("cookie", cookie.as_str())], headers].concat();
            let answer = harness.send(request(method, path, &by_cookie)).await;
            assert_eq!(answer.status, status, "{method} {headers:?}");
            if status == 403 {
                assert_eq!(answer.problem(), "cross-site");
                assert_eq!(harness.storage.total(), 0, "judged before anything is read");
            }
        }
        let by_bearer = [&[("authorization", bearer.as_str())], headers].concat();
        assert_eq!(harness.send(request(method, "/current", &by_bearer)).await.status, 200, "{method} {headers:?}");
        assert_eq!(harness.send(request(method, "/first-party", headers)).await.status, status, "{method} {headers:?}");
        assert_eq!(harness.send(request(method, "/open", headers)).await.status, 200);
    }
}

#[tokio::test]
async fn the_clients_address_is_not_the_clients_choice() {
    let harness = Harness::new();
    let headers = [("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("user-agent", "curl/8"), ("x-request-id", "r-1")];
    for (peer, expected) in [("198.51.100.1:1", "198.51.100.1"), ("10.0.0.1:1", "203.0.113.9")] {
        let answer = harness.send(from(peer, "GET", "/client", &headers)).await;
        assert_eq!(answer.body, format!("{expected} curl/8 Some(\"r-1\")"));
    }
    let without_peer = || {
        let mut request = request("GET", "/client", &[]);
        request.extensions_mut().clear();
        request.extensions_mut().insert(IpAddr::from([192, 0, 2, 7]));
        request
    };
    assert_eq!(harness.send(without_peer()).await.body, "- - None");

    let fallback = Harness::with(SessionPolicy::default(), |layer| layer.fallback_peer(IpAddr::from([127, 0, 0, 1])));
    assert_eq!(fallback.send(without_peer()).await.body, "127.0.0.1 - None");
    let own =
        Harness::with(SessionPolicy::default(), |layer| layer.peer(|extensions| extensions.get::<IpAddr>().copied()));
    assert_eq!(own.send(without_peer()).await.body, "192.0.2.7 - None");
}

#[tokio::test]
async fn background_requests_keep_no_session_alive() {
    let harness = Harness::with(SessionPolicy::default(), |layer| {
        layer.background_requests(|request| request.uri.path() == "/optional")
    });
    let created = harness.login().await;
    let bearer = bearer(&created.tokens);
    let last_activity = async || {
        let view = harness.manager.get(None, created.snapshot.key()).await.unwrap().unwrap();
        view.snapshot.control.last_activity
    };
    let signed_in_at = last_activity().await;
    harness.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(harness.get("/optional", &[("authorization", &bearer)]).await.body, "alice");
    assert_eq!(last_activity().await, signed_in_at);
    assert_eq!(harness.get("/current", &[("authorization", &bearer)]).await.status, 200);
    assert!(last_activity().await > signed_in_at);
}
