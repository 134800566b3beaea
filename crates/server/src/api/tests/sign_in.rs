//! Endpoints 3 to 5: sign in, refresh, sign out.

use std::time::Duration;

use serde_json::json;

use super::bench::{ANN, Bench, PASSWORD, credentials};

#[tokio::test]
async fn signing_in_gives_tokens_and_the_user() {
    let (bench, _) = Bench::signed_in().await;
    let answer = bench.post("/auth/login", credentials(" ANN@example.org ")).send().await.expect(200);
    let members = ["access_token", "expires_in", "refresh_token", "server_time", "session_id", "token_type", "user"];
    assert_eq!(answer.members(), members);
    assert_eq!((&answer.json["token_type"], &answer.json["user"]["email"]), (&json!("bearer"), &json!(ANN)));
    let expires_in = answer.json["expires_in"].as_i64().unwrap();
    assert!((285..=300).contains(&expires_in), "five minutes less at most five percent: {expires_in}");
    assert_eq!(answer.json["server_time"], bench.app.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    assert!(answer.set_cookies().is_empty());
    bench.call("GET", "/auth/me").bearer(&answer.tokens().access).send().await.expect(200);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_alike() {
    let (bench, _) = Bench::signed_in().await;
    let login =
        |email: &str, password: &str| bench.post("/auth/login", json!({"email": email, "password": password})).send();
    let mut bodies = Vec::new();
    for (email, password) in [(ANN, "wrong"), ("nobody@example.org", PASSWORD)] {
        let mut answer = login(email, password).await.expect_problem(401, "invalid-credentials");
        answer.json["request_id"] = json!(null);
        bodies.push(answer.json);
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn that_an_account_waits_for_its_confirmation_is_told_after_the_right_password_only() {
    let bench = Bench::new().await;
    bench.register(ANN).await;
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(403, "email-not-verified");
    let wrong = json!({"email": ANN, "password": "wrong"});
    bench.post("/auth/login", wrong).send().await.expect_problem(401, "invalid-credentials");
}

#[tokio::test]
async fn guessing_is_locked_and_told_when_it_may_go_on() {
    let (bench, tokens) = Bench::signed_in().await;
    let mut held_back = Vec::new();
    for failure in 1..=10 {
        let wrong = bench.post("/auth/login", json!({"email": ANN, "password": "wrong"})).send().await;
        assert_eq!(wrong.status, 401, "failure {failure}: also the tenth is told as one");
        held_back.extend(bench.clock.held_back());
    }
    let millis: Vec<_> = held_back.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [100, 200, 400, 800, 1600, 2000, 2000], "from the fourth attempt on");
    let locked = bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(403, "account-locked");
    let retry_after: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&retry_after));
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
}

#[tokio::test]
async fn the_right_password_waits_as_long_as_a_wrong_one() {
    let (bench, _) = Bench::signed_in().await;
    for _ in 0..5 {
        bench.post("/auth/login", json!({"email": ANN, "password": "wrong"})).send().await.expect(401);
    }
    bench.clock.held_back();
    bench.login(ANN).await;
    assert_eq!(bench.clock.held_back(), [Duration::from_millis(400)], "or the delay itself would tell");
}

#[tokio::test]
async fn each_wrong_field_of_a_sign_in_is_told() {
    let bench = Bench::new().await;
    let login = |body| bench.post("/auth/login", body).send();
    login(json!({})).await.expect_fields(&["email", "password"]);
    let wrong = json!({"email": "x", "password": 1, "device_name": "a\u{1b}[31m", "remember": "yes"});
    login(wrong).await.expect_fields(&["email", "password", "device_name", "remember"]);
}

#[tokio::test]
async fn remember_decides_how_long_a_session_lives() {
    let (bench, _) = Bench::signed_in().await;
    for (remember, days) in [(json!(null), 30), (json!(true), 30), (json!(false), 1)] {
        let body = json!({"email": ANN, "password": PASSWORD, "remember": remember});
        let tokens = bench.post("/auth/login", body).send().await.expect(200).tokens();
        let list = bench.call("GET", "/auth/sessions").bearer(&tokens.access).send().await.expect(200);
        let current = list.json["sessions"].as_array().unwrap().iter().find(|one| one["is_current"] == true).unwrap();
        let time = |name: &str| chrono::DateTime::parse_from_rfc3339(current[name].as_str().unwrap()).unwrap();
        assert_eq!((time("expires_at") - time("created_at")).num_days(), days, "{remember}");
    }
}

#[tokio::test]
async fn a_policy_that_rejects_says_so() {
    let bench = Bench::with(|settings| {
        settings.policy.max_sessions = 1;
        settings.policy.on_limit = crate::config::OnLimit::Reject;
    })
    .await;
    bench.user(ANN).await;
    bench.login(ANN).await;
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(409, "session-limit");
}

#[tokio::test]
async fn a_new_device_is_mailed_of_once() {
    let (bench, _) = Bench::signed_in().await;
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new(), "the first device is the account's own");
    bench.login(ANN).await;
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new());
    bench.login_as(ANN, "other/1").await;
    assert_eq!(bench.mail_kinds().await, ["new-device"]);
    bench.login_as(ANN, "other/1").await;
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new());
}

#[tokio::test]
async fn refreshing_gives_a_new_pair() {
    let (bench, tokens) = Bench::signed_in().await;
    let answer = bench.refresh(&tokens.refresh).await.expect(200);
    let members = ["access_token", "expires_in", "refresh_token", "server_time", "session_id", "token_type"];
    assert_eq!(answer.members(), members);
    let renewed = answer.tokens();
    assert_eq!(renewed.session, tokens.session);
    assert_ne!(renewed.refresh, tokens.refresh);
    assert_eq!(bench.refresh(&tokens.refresh).await.expect(200).tokens().refresh, renewed.refresh, "within the grace");
    for token in [&tokens.access, &renewed.access] {
        bench.call("GET", "/auth/me").bearer(token).send().await.expect(200);
    }
}

#[tokio::test]
async fn each_refused_refresh_has_its_type() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.refresh("garbage").await.expect_problem(401, "invalid-token");
    bench.refresh(&tokens.access).await.expect_problem(401, "invalid-token");
    bench.post("/auth/refresh", json!({})).send().await.expect_fields(&["refresh_token"]);
    bench.post("/auth/refresh", json!({"refresh_token": 1})).send().await.expect_fields(&["refresh_token"]);
    bench.call("POST", "/auth/refresh").send().await.expect_fields(&["refresh_token"]);

    let renewed = bench.refresh(&tokens.refresh).await.expect(200).tokens();
    bench.pass(11);
    bench.refresh(&tokens.refresh).await.expect_problem(401, "reuse-detected");
    bench.refresh(&renewed.refresh).await.expect_problem(401, "revoked");
    bench.call("GET", "/auth/me").bearer(&renewed.access).send().await.expect_problem(401, "revoked");

    let tokens = bench.login(ANN).await;
    let proof = json!({"password": PASSWORD});
    bench.post("/auth/reauthenticate", proof).bearer(&tokens.access).send().await.expect(200);
    bench.refresh(&tokens.refresh).await.expect_problem(401, "rotated");

    let tokens = bench.login(ANN).await;
    bench.pass(7 * 24 * 3600);
    bench.refresh(&tokens.refresh).await.expect_problem(401, "expired");
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "expired");
}

#[tokio::test]
async fn signing_out_ends_the_whole_session() {
    let (bench, tokens) = Bench::signed_in().await;
    let wrong = bench.post("/auth/logout", json!({"refresh_token": 1})).bearer(&tokens.access);
    wrong.send().await.expect_fields(&["refresh_token"]);
    let body = json!({"refresh_token": tokens.refresh});
    let answer = bench.post("/auth/logout", body).bearer(&tokens.access).send().await.expect(200);
    assert_eq!(answer.members(), ["message"]);
    assert_eq!(answer.header("clear-site-data"), Some(r#""cache", "storage""#));
    assert!(answer.set_cookies().is_empty(), "the credential was no cookie");
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "revoked");
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect_problem(401, "revoked");
    bench.refresh(&tokens.refresh).await.expect_problem(401, "revoked");
}

#[tokio::test]
async fn a_sign_out_needs_no_body() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect(200);
}
