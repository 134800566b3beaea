//! Token revocation (RFC 7009) and introspection (RFC 7662) over a real manager.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};
use session_manager_core::{Error, ErrorKind, Result};
use session_manager_http::oauth::{ClientAuthenticator, ClientCredentials, OAuthEndpoints};
use session_manager_testkit::fault::FailingStorage;
use session_manager_tests::bed::{Bed, firefox, memory};

/// Knows one client, and can be down.
#[derive(Debug)]
struct Clients {
    down: bool,
}

#[async_trait]
impl ClientAuthenticator for Clients {
    async fn authenticate(&self, credentials: &ClientCredentials<'_>) -> Result<bool> {
        if self.down {
            return Err(Error::new(ErrorKind::Unavailable, "clients"));
        }
        Ok(credentials.id() == "shop" && credentials.secret() == "s3cret")
    }
}

fn endpoints(bed: &Bed) -> OAuthEndpoints {
    OAuthEndpoints::new(bed.manager.clone()).clients(Arc::new(Clients { down: false }))
}

fn form() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers
}

const CLIENT: &str = "client_id=shop&client_secret=s3cret";

async fn introspect(bed: &Bed, token: &str) -> Value {
    let body = format!("token={token}&{CLIENT}");
    let response = endpoints(bed).introspect(&form(), body.as_bytes()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    serde_json::from_str(response.body()).unwrap()
}

async fn revoke(bed: &Bed, body: &str) -> Response<String> {
    endpoints(bed).revoke(&form(), body.as_bytes(), &firefox()).await
}

#[tokio::test]
async fn an_active_token_is_described() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let access = introspect(&bed, created.tokens.access.expose()).await;
    let expected = json!({"active": true, "sub": "alice", "sid": created.snapshot.session.id.to_string(),
        "token_type": "Bearer", "amr": ["pwd"], "iss": "https://issuer.test", "aud": "https://api.test",
        "exp": created.tokens.access_expires_at.timestamp(), "auth_time": bed.clock_now().timestamp()});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&access[name], value, "{name}");
    }
    let refresh = introspect(&bed, created.tokens.refresh.expose()).await;
    assert_eq!((&refresh["active"], refresh.get("token_type")), (&json!(true), None));
    assert_eq!(refresh["exp"], created.snapshot.deadline().timestamp());
}

/// Whatever the reason, the answer is the same.
#[tokio::test]
async fn whatever_is_not_active_is_exactly_that() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let renewed = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(Duration::from_secs(11));
    let ended = bed.sign_in("bob").await;
    bed.manager
        .revoke(None, ended.snapshot.key(), session_manager_core::RevocationReason::LOGOUT, &firefox())
        .await
        .unwrap();
    let forged = created.tokens.access.expose().replace('.', "x");
    let inactive = [
        created.tokens.refresh.expose(),
        ended.tokens.access.expose(),
        ended.tokens.refresh.expose(),
        forged.as_str(),
        "garbage",
    ];
    for token in inactive {
        assert_eq!(introspect(&bed, token).await, json!({"active": false}));
    }
    assert_eq!(introspect(&bed, renewed.tokens.refresh.expose()).await["active"], true, "it was only looked at");
    bed.pass(Duration::from_mins(10));
    assert_eq!(introspect(&bed, renewed.tokens.access.expose()).await, json!({"active": false}), "expired");
}

#[tokio::test]
async fn only_clients_introspect() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let token = created.tokens.access.expose();
    let ask = |endpoints: OAuthEndpoints, body: String| async move {
        let response = endpoints.introspect(&form(), body.as_bytes()).await;
        assert!(!response.body().contains("active"), "{}", response.body());
        response
    };
    for body in [
        format!("token={token}"),
        format!("token={token}&client_id=shop"),
        format!("token={token}&client_id=shop&client_secret=guess"),
    ] {
        let response = ask(endpoints(&bed), body.clone()).await;
        assert_eq!((response.status().as_u16(), response.body().as_str()), (401, r#"{"error":"invalid_client"}"#));
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
    let right = format!("token={token}&{CLIENT}");
    assert_eq!(
        ask(OAuthEndpoints::new(bed.manager.clone()), right.clone()).await.status(),
        401,
        "no clients are known"
    );
    let down = OAuthEndpoints::new(bed.manager.clone()).clients(Arc::new(Clients { down: true }));
    assert_eq!(ask(down, right).await.status(), 503);
}

#[tokio::test]
async fn whoever_holds_a_token_may_end_its_session() {
    let bed = Bed::in_memory();
    for kind in ["refresh", "access"] {
        let created = bed.sign_in("alice").await;
        let tokens = &created.tokens;
        let token = if kind == "access" { &tokens.access } else { &tokens.refresh };
        let hint = format!("token={}&token_type_hint={kind}_token", token.expose());
        let response = revoke(&bed, &hint).await;
        assert_eq!((response.status().as_u16(), response.body().as_str()), (200, ""));
        assert!(bed.access(&tokens.access).await.is_err(), "the access token too");
        assert_eq!(revoke(&bed, &hint).await.status(), 200, "again");
    }
}

#[tokio::test]
async fn unknown_tokens_are_answered_with_200_and_counted() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let mut forged = created.tokens.refresh.expose().to_owned();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for token in ["garbage", "a.b.c", &forged] {
        assert_eq!(revoke(&bed, &format!("token={token}")).await.status(), 200);
    }
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()), "nothing has ended");
    assert_eq!(bed.manager.rejections(firefox().client.ip_address.unwrap()), 3);
}

#[tokio::test]
async fn malformed_requests_end_nothing() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let token = created.tokens.refresh.expose();
    let long = format!("token={token}&pad={}", "x".repeat(20_000));
    for body in [String::new(), "token=".to_owned(), format!("token={token}&token={token}"), long] {
        let response = revoke(&bed, &body).await;
        assert_eq!((response.status().as_u16(), response.body().as_str()), (400, r#"{"error":"invalid_request"}"#));
    }
    let wrong = format!("token={token}&client_id=shop&client_secret=guess");
    assert_eq!(revoke(&bed, &wrong).await.status(), 401, "credentials that are sent must be right");
    let json = endpoints(&bed).revoke(&HeaderMap::new(), format!("token={token}").as_bytes(), &firefox()).await;
    assert_eq!(json.status(), 400);
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
}

#[tokio::test]
async fn an_outage_is_no_answer() {
    let storage = Arc::new(FailingStorage::new(memory()));
    let bed = Bed::on(storage.clone());
    let created = bed.sign_in("alice").await;
    storage.outage();
    let body = format!("token={}&{CLIENT}", created.tokens.access.expose());
    let asked = endpoints(&bed).introspect(&form(), body.as_bytes()).await;
    let ended = revoke(&bed, &body).await;
    for response in [asked, ended] {
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
