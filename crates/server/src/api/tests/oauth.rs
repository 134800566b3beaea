//! Revocation and introspection, beside the API.

use base64::Engine as _;
use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, Call};
use crate::config::Settings;

const SECRET: &str = "3kRk9yMZ2mW7hQ1x";
const CLIENT: &str = "client_id=shop&client_secret=3kRk9yMZ2mW7hQ1x";

fn with_client(settings: &mut Settings) {
    settings.oauth = serde_json::from_value(json!({"clients": {"shop": {"secret": SECRET}}})).unwrap();
}

async fn bench() -> Bench {
    let bench = Bench::with(with_client).await;
    bench.user(ANN).await;
    bench
}

fn form<'a>(bench: &'a Bench, path: &str, body: &str) -> Call<'a> {
    bench.request("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body)
}

async fn revoke(bench: &Bench, body: &str) -> Answer {
    form(bench, "/oauth/revoke", body).send().await
}

async fn introspect(bench: &Bench, token: &str) -> Value {
    let answer = form(bench, "/oauth/introspect", &format!("token={token}&{CLIENT}")).send().await.expect(200);
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control")),
        (Some("application/json"), Some("no-store"))
    );
    answer.json
}

#[track_caller]
fn expect_error(answer: Answer, status: u16, code: &str) -> Answer {
    let answer = answer.expect(status);
    assert_eq!((&answer.json, answer.header("content-type")), (&json!({"error": code}), Some("application/json")));
    assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Basic realm=\"oauth\""));
    answer
}

#[tokio::test]
async fn whoever_holds_a_token_ends_its_session_by_it() {
    let bench = bench().await;
    for with_access in [true, false] {
        let tokens = bench.login(ANN).await;
        let token = if with_access { &tokens.access } else { &tokens.refresh };
        for _ in 0..2 {
            let answer = revoke(&bench, &format!("token={token}&client_id=any")).await.expect(200);
            assert_eq!(answer.text, "");
        }
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "revoked");
        assert_ne!(bench.refresh(&tokens.refresh).await.status, 200);
    }
}

#[tokio::test]
async fn a_token_that_nobody_knows_is_revoked_already() {
    let bench = bench().await;
    let tokens = bench.login(ANN).await;
    for token in ["garbage", "a.b.c", &tokens.access.replace('.', "x")] {
        assert_eq!(revoke(&bench, &format!("token={token}")).await.expect(200).text, "");
    }
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
}

#[tokio::test]
async fn an_active_token_is_described_to_a_client() {
    let bench = bench().await;
    let tokens = bench.login(ANN).await;
    let found = introspect(&bench, &tokens.access).await;
    assert_eq!((&found["active"], &found["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(
        (&found["sub"], &found["sid"]),
        (&json!(bench.account(ANN).await.id), &json!(tokens.session)),
        "{found}"
    );
    assert_eq!(introspect(&bench, &tokens.refresh).await["active"], true);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("shop:{SECRET}"));
    let by_header = form(&bench, "/oauth/introspect", &format!("token={}", tokens.access));
    let by_header = by_header.header("authorization", format!("Basic {basic}")).send().await.expect(200);
    assert_eq!(by_header.json, found);
    bench.refresh(&tokens.refresh).await.expect(200);
}

#[tokio::test]
async fn whatever_is_not_active_is_exactly_that() {
    let bench = bench().await;
    let ended = bench.login(ANN).await;
    bench.call("POST", "/auth/logout").bearer(&ended.access).send().await.expect(200);
    let expired = bench.login(ANN).await;
    bench.pass(5 * 60 + 1);
    let mut forged = expired.refresh.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for token in ["garbage", &ended.access, &ended.refresh, &expired.access, &forged] {
        assert_eq!(introspect(&bench, token).await, json!({"active": false}), "{token}");
    }
    assert_eq!(introspect(&bench, &expired.refresh).await["active"], true);
}

#[tokio::test]
async fn only_clients_hear_of_tokens() {
    let bench = bench().await;
    let tokens = bench.login(ANN).await;
    let token = format!("token={}", tokens.access);
    for wrong in [
        String::new(),
        "&client_id=shop".to_owned(),
        "&client_id=shop&client_secret=guess".to_owned(),
        format!("&client_id=nobody&client_secret={SECRET}"),
        format!("&client_id=shop&client_secret={SECRET}x"),
    ] {
        let body = format!("{token}{wrong}");
        expect_error(form(&bench, "/oauth/introspect", &body).send().await, 401, "invalid_client");
        if wrong.contains("secret") {
            expect_error(revoke(&bench, &body).await, 401, "invalid_client");
        }
    }
    let nobody = Bench::new().await;
    expect_error(form(&nobody, "/oauth/introspect", &format!("{token}&{CLIENT}")).send().await, 401, "invalid_client");
    // A token of one's own is no client's secret.
    let bearer = form(&bench, "/oauth/introspect", &token).bearer(&tokens.access).send().await;
    expect_error(bearer, 400, "invalid_request");
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
}

#[tokio::test]
async fn only_forms_are_read() {
    let bench = bench().await;
    let tokens = bench.login(ANN).await;
    let token = &tokens.access;
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let as_json = bench.request("POST", path).json(json!({"token": token})).send().await;
        expect_error(as_json, 400, "invalid_request");
        let too_long = format!("token={token}&{CLIENT}&pad={}", "x".repeat(17_000));
        for body in [CLIENT.to_owned(), format!("token={token}&token={token}&{CLIENT}"), too_long] {
            expect_error(form(&bench, path, &body).send().await, 400, "invalid_request");
        }
        // A browser is told the same, and no page.
        let asked = form(&bench, path, CLIENT).header("accept", "text/html").send().await;
        expect_error(asked, 400, "invalid_request");
        bench.request("GET", path).send().await.expect_problem(405, "method-not-allowed");
    }
    bench.call("GET", "/auth/me").bearer(token).send().await.expect(200);
}

#[tokio::test]
async fn both_charge_the_address() {
    // Whoever names no token, or no client, pays as well.
    for (path, most, status) in [("/oauth/revoke", 100, 400), ("/oauth/introspect", 1000, 401)] {
        let bench = Bench::limited().await;
        for left in (0..most).rev() {
            let answer = form(&bench, path, "").send().await.expect(status);
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        }
        let refused = form(&bench, path, "").send().await.expect_problem(429, "rate-limited");
        assert_eq!(refused.json["endpoint"], path);
        form(&bench, path, "").at_peer("203.0.113.9:1").send().await.expect(status);
        bench.pass(60);
        form(&bench, path, "").send().await.expect(status);
    }
}
