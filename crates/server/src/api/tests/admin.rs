//! The endpoints of administrators.

use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, Tokens, credentials};

const BOB: &str = "bob@example.org";
const UNKNOWN: &str = "01930000-0000-7000-8000-000000000000";

/// Ann, the administrator, Bob's id, and a session of each.
async fn two() -> (Bench, Tokens, Tokens, String) {
    let (bench, ann) = Bench::signed_in().await;
    bench.pass(1);
    bench.user(BOB).await;
    let (bob, id) = (bench.login(BOB).await, bench.account(BOB).await.id.to_string());
    (bench, ann, bob, id)
}

async fn call(bench: &Bench, tokens: &Tokens, method: &str, path: &str) -> Answer {
    bench.call(method, &format!("/admin/users{path}")).bearer(&tokens.access).send().await
}

fn emails(answer: &Answer) -> Vec<&str> {
    answer.json["users"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn accounts_are_found_by_a_part_of_their_address() {
    let (bench, ann, ..) = two().await;
    bench.pass(1);
    bench.register("bobby@example.org").await;
    let found = call(&bench, &ann, "GET", "?email=BOB").await.expect(200);
    assert_eq!(emails(&found), ["bobby@example.org", BOB]);
    assert_eq!(found.members(), ["users"]);
    let user = found.json["users"][0].as_object().unwrap();
    let members: Vec<_> = user.keys().collect();
    assert_eq!(members, ["created_at", "email", "email_verified", "id", "name", "role"]);
    assert_eq!(user["email_verified"], false);
    let (mut all, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = call(&bench, &ann, "GET", &query).await.expect(200);
        all.extend(emails(&page).into_iter().map(str::to_owned));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(all, ["bobby@example.org", BOB, ANN]);
    let wrong = call(&bench, &ann, "GET", &format!("?email={}&cursor=x&limit=201", "x".repeat(255))).await;
    wrong.expect_fields(&["email", "cursor", "limit"]);
}

#[tokio::test]
async fn an_account_is_shown_with_its_sessions() {
    let (bench, ann, bob, id) = two().await;
    bench.login_as(BOB, "other/1").await;
    bench.call("POST", "/auth/logout").bearer(&bob.access).send().await.expect(200);
    let shown = call(&bench, &ann, "GET", &format!("/{id}")).await.expect(200);
    assert_eq!(shown.members(), ["sessions", "total_count", "user"]);
    assert_eq!((&shown.json["user"]["email"], &shown.json["total_count"]), (&json!(BOB), &json!(1)));
    assert_eq!(
        (&shown.json["sessions"][0]["device_info"], &shown.json["sessions"][0]["is_current"]),
        (&json!("other/1"), &json!(false))
    );
    let all = call(&bench, &ann, "GET", &format!("/{id}?include_ended=true&limit=1")).await.expect(200);
    assert_eq!((&all.json["total_count"], all.json["next_cursor"].is_string()), (&json!(2), true));
    call(&bench, &ann, "GET", &format!("/{id}?cursor=x")).await.expect_problem(400, "invalid-cursor");
    let own = call(&bench, &ann, "GET", &format!("/{}", bench.account(ANN).await.id)).await.expect(200);
    assert_eq!(own.json["sessions"][0]["is_current"], true);
    for (method, path) in
        [("GET", ""), ("POST", "/disable"), ("POST", "/enable"), ("DELETE", "/sessions"), ("DELETE", "/sessions/x")]
    {
        for id in [UNKNOWN, "x", "%ff"] {
            call(&bench, &ann, method, &format!("/{id}{path}")).await.expect_problem(404, "not-found");
        }
    }
}

#[tokio::test]
async fn a_session_of_another_is_ended() {
    let (bench, ann, bob, id) = two().await;
    let anns = bench.account(ANN).await.id;
    for (user, session) in
        [(id.clone(), ann.session.as_str()), (anns.to_string(), &bob.session), (id.clone(), UNKNOWN), (id.clone(), "x")]
    {
        let path = format!("/{user}/sessions/{session}");
        let kind = if session == ann.session { (400, "current-session") } else { (404, "not-found") };
        call(&bench, &ann, "DELETE", &path).await.expect_problem(kind.0, kind.1);
    }
    let path = format!("/admin/users/{id}/sessions/{}", bob.session);
    let end = |body: Value| bench.call("DELETE", &path).bearer(&ann.access).json(body).send();
    end(json!({"reason": "a\nb"})).await.expect_fields(&["reason"]);
    let answer = end(json!({})).await.expect(200);
    assert_eq!(
        (answer.members(), &answer.json["revoked_session_id"]),
        (vec!["message", "revoked_session_id"], &json!(bob.session))
    );
    end(json!({})).await.expect_problem(409, "already-ended");
    bench.call("GET", "/auth/me").bearer(&bob.access).send().await.expect_problem(401, "revoked");
    let again = bench.login(BOB).await;
    let all = bench.call("GET", "/auth/sessions?include_ended=true").bearer(&again.access).send().await.expect(200);
    let ended = all.json["sessions"].as_array().unwrap().iter().find(|one| one["id"] == bob.session).unwrap();
    assert_eq!(ended["revoked_reason"], "revoked_by_admin");
    // Who did it is kept with the session.
    let manager = bench.app.sessions().manager();
    let view = manager.get(None, session_manager_core::SessionId::parse(&bob.session).unwrap()).await.unwrap().unwrap();
    assert_eq!(view.snapshot.revocation().unwrap().by.to_string(), format!("user:{anns}"));
}

#[tokio::test]
async fn all_sessions_of_another_are_ended() {
    let (bench, ann, bob, id) = two().await;
    let other = bench.login_as(BOB, "other/1").await;
    for count in [2, 0] {
        let answer = call(&bench, &ann, "DELETE", &format!("/{id}/sessions")).await.expect(200);
        assert_eq!(
            (answer.members(), &answer.json["revoked_count"]),
            (vec!["message", "revoked_count"], &json!(count))
        );
        assert!(answer.header("clear-site-data").is_none());
    }
    for tokens in [&bob, &other] {
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "revoked");
    }
    let own = format!("/{}/sessions", bench.account(ANN).await.id);
    let answer = call(&bench, &ann, "DELETE", &own).await.expect(200);
    assert!(answer.header("clear-site-data").is_some(), "the administrator is signed out too");
}

#[tokio::test]
async fn an_account_is_disabled_and_enabled() {
    let (bench, ann, bob, id) = two().await;
    call(&bench, &ann, "POST", &format!("/{id}/enable")).await.expect_problem(409, "already-enabled");
    let disabled = call(&bench, &ann, "POST", &format!("/{id}/disable")).await.expect(200);
    assert_eq!(disabled.json["disabled_at"], json!(bench.app.now()));
    call(&bench, &ann, "POST", &format!("/{id}/disable")).await.expect_problem(409, "already-disabled");
    bench.call("GET", "/auth/me").bearer(&bob.access).send().await.expect_problem(401, "revoked");
    bench.post("/auth/login", credentials(BOB)).send().await.expect_problem(403, "account-disabled");
    let enabled = call(&bench, &ann, "POST", &format!("/{id}/enable")).await.expect(200);
    assert_eq!(enabled.json.get("disabled_at"), None);
    bench.login(BOB).await;
    let own = format!("/{}/disable", bench.account(ANN).await.id);
    call(&bench, &ann, "POST", &own).await.expect_problem(400, "own-account");
    call(&bench, &ann, "GET", "").await.expect(200);
}
