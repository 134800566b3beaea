//! What each extractor answers: signed in, anonymous, ended, too old, and while nobody knows.

use std::time::Duration;

use futures_util::FutureExt;
use session_manager_core::{RequestContext, RevocationReason, Rotation, SessionManager};
use session_manager_middleware_axum::{CurrentSession, Refusal, RequestSession};

use crate::harness::{Harness, access_cookie, alice, answer, bearer, both_cookies, request};

#[tokio::test]
async fn signed_in() {
    let harness = Harness::new();
    let created = harness.login().await;
    let bearer = bearer(&created.tokens);
    for (path, expected) in [
        ("/current", "alice by Bearer"),
        ("/optional", "alice"),
        ("/maybe", "alice"),
        ("/fresh", "fresh"),
        ("/fresh60", "fresh"),
        ("/handle", "5"),
        ("/open", "open"),
    ] {
        let answer = harness.get(path, &[("authorization", &bearer)]).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, expected), "{path}");
    }
    let answer = harness.get("/current", &[("cookie", &access_cookie(&created.tokens))]).await;
    assert_eq!(answer.body, "alice by Cookie");
}

#[tokio::test]
async fn anonymous_requests_cost_nothing_and_are_refused_only_where_a_session_is_needed() {
    let harness = Harness::new();
    for (path, status) in
        [("/current", 401), ("/fresh", 401), ("/optional", 200), ("/maybe", 200), ("/open", 200), ("/client", 200)]
    {
        let answer = harness.get(path, &[("accept", "text/html"), ("x-request-id", "r-1")]).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 401 {
            assert_eq!(answer.problem(), "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.json()["request_id"], "r-1");
        }
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(harness.storage.total(), 0);
}

#[tokio::test]
async fn an_outage_is_never_not_signed_in() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    harness.storage.inner().outage();
    for credential in [("authorization", bearer(&tokens)), ("cookie", both_cookies(&tokens))] {
        for path in ["/current", "/optional", "/maybe", "/fresh"] {
            let answer = harness.get(path, &[(credential.0, &credential.1)]).await;
            assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (503, "unavailable"), "{path}");
            assert!(answer.header("retry-after").is_some());
            assert!(answer.set_cookies().is_empty());
        }
        assert_eq!(harness.get("/open", &[(credential.0, &credential.1)]).await.status, 200);
    }
    harness.storage.inner().heal();
    assert_eq!(harness.get("/current", &[("authorization", &bearer(&tokens))]).await.status, 200);
}

#[tokio::test]
async fn each_end_has_its_own_problem() {
    type End = fn(&Harness, &session_manager_core::Session);
    let revoked: End = |harness, session| {
        let context = RequestContext::default();
        let ended = harness.manager.revoke(None, session.key(), RevocationReason::BY_USER, &context).now_or_never();
        ended.unwrap().unwrap();
    };
    let rotated: End = |harness, _| {
        let context = RequestContext::default();
        harness.manager.rotate_user(&alice(), &Rotation::new("test"), &context).now_or_never().unwrap().unwrap();
    };
    let superseded: End = |harness, session| {
        let context = RequestContext::default();
        let renewed = harness.manager.reauthenticate(session.key(), &["pwd"], None, &context).now_or_never();
        renewed.unwrap().unwrap();
    };
    let expired: End = |harness, _| harness.let_access_expire();
    for (end, problem) in [(revoked, "revoked"), (rotated, "rotated"), (superseded, "rotated"), (expired, "expired")] {
        let harness = Harness::new();
        let created = harness.login().await;
        end(&harness, &created.snapshot.session);
        let bearer = bearer(&created.tokens);
        let answer = harness.get("/current", &[("authorization", &bearer)]).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (401, problem));
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
        // Who shows a bearer token means it; who has an old cookie is a visitor.
        assert_eq!(harness.get("/optional", &[("authorization", &bearer)]).await.status, 401, "{problem}");
        let visitor = harness.get("/optional", &[("cookie", &access_cookie(&created.tokens))]).await;
        assert_eq!((visitor.status.as_u16(), visitor.body.as_str()), (200, "nobody"), "{problem}");
    }
}

#[tokio::test]
async fn freshness_is_judged_from_the_authentication_and_answered_with_a_challenge() {
    let harness = Harness::new();
    let created = harness.login().await;
    let bearer_of = |tokens| bearer(tokens);
    let old = bearer_of(&created.tokens);
    harness.clock.advance(Duration::from_mins(1));
    assert_eq!(harness.get("/fresh60", &[("authorization", &old)]).await.status, 200);
    harness.clock.advance(Duration::from_millis(1));
    let answer = harness.get("/fresh60", &[("authorization", &old), ("x-request-id", "r-2")]).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (403, "step-up-required"));
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, r#"Bearer error="insufficient_user_authentication", max_age="60""#);
    assert_eq!(answer.json()["request_id"], "r-2");
    assert_eq!(harness.get("/fresh", &[("authorization", &old)]).await.status, 200, "the policy allows 15 minutes");

    let context = RequestContext::default();
    let key = created.snapshot.key();
    harness.clock.advance(Duration::from_mins(15));
    let refreshed = harness.manager.refresh(created.tokens.refresh.expose(), &context).await.unwrap();
    let answer = harness.get("/fresh", &[("authorization", &bearer_of(&refreshed.tokens))]).await;
    assert_eq!(answer.status, 403, "a refresh is no authentication");
    assert!(answer.header("www-authenticate").unwrap().contains(r#"max_age="900""#));
    let renewed = harness.manager.reauthenticate(key, &["pwd"], None, &context).await.unwrap();
    assert_eq!(harness.get("/fresh60", &[("authorization", &bearer_of(&renewed.tokens))]).await.status, 200);
}

#[tokio::test]
async fn a_route_without_the_layer_is_a_defect_and_no_401() {
    let app = axum::Router::new().route("/", axum::routing::get(|_: CurrentSession| async { "" }));
    let answer = answer(app, request("GET", "/", &[("authorization", "Bearer x")])).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (500, "internal"));
}

#[tokio::test]
async fn the_end_of_a_session_can_be_awaited() {
    let harness = Harness::new();
    let created = harness.login().await;
    let current = current_of(&harness.manager, &bearer(&created.tokens)).await;
    let mut ended = Box::pin(current.ended());
    assert!(ended.as_mut().now_or_never().is_none());
    let context = RequestContext::default();
    harness.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &context).await.unwrap();
    harness.clock.advance(Duration::from_secs(15));
    assert!(ended.now_or_never().is_some());
}

#[tokio::test]
async fn nothing_shows_a_token() {
    let harness = Harness::new();
    let created = harness.login().await;
    let current = current_of(&harness.manager, &bearer(&created.tokens)).await;
    let cookies = crate::harness::cookies().set(&created.tokens).unwrap();
    for shown in [format!("{current:?}"), format!("{cookies:?}"), format!("{:?}", created.tokens)] {
        assert!(!shown.contains("sms_") && !shown.contains("smr_"), "{shown}");
        assert!(!shown.contains(&created.snapshot.session.id.to_string()), "{shown}");
    }
}

/// What the layer leaves for a bearer token, taken from the extensions.
async fn current_of(manager: &SessionManager, bearer: &str) -> CurrentSession {
    use tower::{Layer, ServiceExt, service_fn};
    let layer = session_manager_middleware_axum::SessionLayer::new(manager.clone());
    let service = layer.layer(service_fn(|request: http::Request<()>| async move {
        let state = request.extensions().get::<RequestSession>().unwrap().clone();
        assert!(!format!("{state:?}").contains("sms_"));
        Ok::<_, Refusal>(http::Response::new(state.current().unwrap()))
    }));
    let request = http::Request::builder().header("authorization", bearer).body(()).unwrap();
    service.oneshot(request).await.unwrap().into_body()
}
