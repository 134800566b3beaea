//! Endpoints 1, 2, 6 and 7.

use serde_json::json;

use super::bench::{ANN, Bench, PASSWORD, Tokens, credentials};

#[tokio::test]
async fn registering_tells_nobody_whether_the_address_is_taken() {
    let bench = Bench::new().await;
    let body = json!({"email": " Ann@Example.org ", "password": PASSWORD, "name": "Ann", "unknown": 1});
    let first = bench.post("/auth/register", body.clone()).send().await.expect(201);
    bench.post("/auth/verify-email", json!({"token": bench.take_mail()[0].1})).send().await.expect(200);
    let second = bench.post("/auth/register", body).send().await.expect(201);
    assert_eq!(first.json, second.json);
    assert!(second.json["message"].is_string());
    assert_eq!(bench.take_mail(), [("already-registered".to_owned(), None)]);
}

#[tokio::test]
async fn each_wrong_field_of_a_registration_is_told() {
    let bench = Bench::new().await;
    let register = |body| bench.post("/auth/register", body).send();
    register(json!({})).await.expect_fields(&["email", "name", "password"]);
    register(json!({"email": 1, "password": [], "name": null})).await.expect_fields(&["email", "name", "password"]);
    for name in ["a\nb", "a\u{0}", "a\u{202e}b", "", "  ", &"x".repeat(101)] {
        register(json!({"email": ANN, "password": PASSWORD, "name": name})).await.expect_fields(&["name"]);
    }
    for email in ["ann", "ann@", "a b@example.org", "ann@example.org\r\nBcc: x@example.org"] {
        register(json!({"email": email, "password": PASSWORD, "name": "Ann"})).await.expect_fields(&["email"]);
    }
    let weak = register(json!({"email": ANN, "password": "short", "name": "Ann"})).await;
    let weak = weak.expect_problem(400, "weak-password");
    assert_eq!(weak.json["violations"], json!(["too_short", "no_upper_case", "no_digit", "no_special"]));
    assert!(bench.take_mail().is_empty());
}

#[tokio::test]
async fn what_is_no_request_is_told_as_such() {
    let bench = Bench::new().await;
    let call = || bench.call("POST", "/auth/register");
    let json = || call().header("content-type", "application/json");
    json().body("{\"email\": ").send().await.expect_problem(400, "malformed-json");
    json().body([0xff, 0xfe]).send().await.expect_problem(400, "malformed-json");
    json().body("").send().await.expect_problem(400, "malformed-json");
    json().body("[]").send().await.expect_fields(&[""]);
    json().body("x".repeat(64 * 1024 + 1)).send().await.expect_problem(413, "too-large");
    call().body("email=ann").send().await.expect_problem(415, "unsupported-media-type");
    let form = call().header("content-type", "application/x-www-form-urlencoded").body("email=ann");
    form.send().await.expect_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_link_confirms_once() {
    let bench = Bench::new().await;
    bench.register(ANN).await;
    let token = bench.take_mail()[0].1.clone().unwrap();
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(403, "email-not-verified");
    let verify = |token: &str| bench.post("/auth/verify-email", json!({"token": token})).send();
    verify("x").await.expect_problem(400, "invalid-link");
    assert!(verify(&token).await.expect(200).json["message"].is_string());
    verify(&token).await.expect_problem(400, "invalid-link");
    bench.post("/auth/verify-email", json!({"token": 1})).send().await.expect_fields(&["token"]);
    bench.login(ANN).await;
}

#[tokio::test]
async fn a_user_sees_their_account() {
    let (bench, tokens) = Bench::signed_in().await;
    let me = bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me.members(), ["created_at", "email", "email_verified", "id", "name", "role"]);
    assert_eq!((&me.json["email"], &me.json["name"]), (&json!(ANN), &json!("Ann")));
    assert_eq!((&me.json["role"], &me.json["email_verified"]), (&json!("admin"), &json!(true)));
}

#[tokio::test]
async fn name_and_address_are_changed_each_in_its_way() {
    let (bench, tokens) = Bench::signed_in().await;
    let patch = |body| bench.call("PATCH", "/auth/me").bearer(&tokens.access).json(body).send();
    assert_eq!(patch(json!({"name": " Ann B "})).await.expect(200).json["name"], "Ann B");
    assert_eq!(patch(json!({})).await.expect(200).json["name"], "Ann B");
    patch(json!({"name": "a\u{7}", "email": "x"})).await.expect_fields(&["name", "email"]);

    let changed = patch(json!({"email": "new@example.org"})).await.expect(200);
    assert_eq!((&changed.json["email"], &changed.json["pending_email"]), (&json!(ANN), &json!("new@example.org")));
    let mail = bench.take_mail();
    assert_eq!(mail[0].0, "email-change");
    bench.post("/auth/verify-email", json!({"token": mail[0].1})).send().await.expect(200);
    let me = bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(me.json["email"], "new@example.org");
    assert_eq!(patch(json!({"email": "NEW@example.org"})).await.expect(200).json.get("pending_email"), None);
}

#[tokio::test]
async fn another_address_needs_a_fresh_sign_in_and_a_name_does_not() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.pass(16 * 60);
    let tokens = bench.refresh(&tokens.refresh).await.tokens();
    let patch = |body| bench.call("PATCH", "/auth/me").bearer(&tokens.access).json(body).send();
    patch(json!({"name": "B", "email": "new@example.org"})).await.expect_problem(403, "step-up-required");
    assert_eq!(patch(json!({"email": ANN})).await.expect(200).json["name"], "Ann", "nothing was changed");
    patch(json!({"name": "B"})).await.expect(200);
}

async fn disabling_ends_everything(bench: Bench) {
    bench.user(ANN).await;
    let (this, other) = (bench.login(ANN).await, bench.login_as(ANN, "other/1").await);
    let user = bench.account(ANN).await;
    let context = session_manager_core::RequestContext::default();
    assert!(crate::flows::disable_account(&bench.app, user.id, &context).await.unwrap());
    assert!(!crate::flows::disable_account(&bench.app, uuid::Uuid::nil(), &context).await.unwrap());
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(403, "account-disabled");
    refused_everywhere(&bench, &this, &other).await;
    // The sessions have ended themselves, and not only their account.
    assert!(crate::flows::enable_account(&bench.app, user.id).await.unwrap());
    refused_everywhere(&bench, &other, &this).await;
    let again = bench.login(ANN).await;
    let all = bench.call("GET", "/auth/sessions?include_ended=true").bearer(&again.access).send().await.expect(200);
    let find = |id: &str| all.json["sessions"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    for tokens in [&this, &other] {
        assert_eq!(find(&tokens.session)["revoked_reason"], "account_disabled");
    }
}

/// Of the session endpoints and of the refresh, none serves this session.
async fn refused_everywhere(bench: &Bench, this: &Tokens, other: &Tokens) {
    for (method, path) in [
        ("GET", "/auth/me".to_owned()),
        ("GET", "/auth/sessions".to_owned()),
        ("DELETE", format!("/auth/sessions/{}", other.session)),
        ("DELETE", "/auth/sessions/others/revoke".to_owned()),
        ("DELETE", "/auth/sessions/all/revoke".to_owned()),
    ] {
        bench.call(method, &path).bearer(&this.access).send().await.expect_problem(401, "revoked");
    }
    bench.refresh(&this.refresh).await.expect_problem(401, "revoked");
}

#[tokio::test]
async fn a_disabled_account_is_signed_out() {
    disabling_ends_everything(Bench::new().await).await;
}

#[tokio::test]
async fn a_disabled_account_is_signed_out_in_memory() {
    disabling_ends_everything(Bench::in_memory().await).await;
}

#[tokio::test]
async fn a_session_that_outlived_its_account_is_refused_everywhere() {
    let (bench, this) = Bench::signed_in().await;
    let other = bench.login(ANN).await;
    // As only somebody with the database in hand can do it: the sessions stay.
    crate::sql::query("UPDATE users SET disabled_at = 1").execute(&bench.app.data().pool).await.unwrap();
    refused_everywhere(&bench, &this, &other).await;
    crate::sql::query("UPDATE users SET disabled_at = NULL").execute(&bench.app.data().pool).await.unwrap();
    bench.call("GET", "/auth/me").bearer(&this.access).send().await.expect_problem(401, "revoked");
    bench.call("GET", "/auth/me").bearer(&other.access).send().await.expect(200);
}
