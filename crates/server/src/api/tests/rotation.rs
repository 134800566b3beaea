//! Endpoints 16 to 18.

use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, Tokens};

const BOB: &str = "bob@example.org";
const WHY: &str = "the signing key may have leaked";
const MEMBERS: [&str; 10] = [
    "grace_period_minutes",
    "initiated_by",
    "new_version",
    "old_version",
    "reason",
    "rotated_at",
    "rotation_type",
    "tokens_revoked",
    "user_id",
    "users_affected",
];

async fn rotate(bench: &Bench, tokens: &Tokens, id: &str, body: Value) -> Answer {
    bench.call("DELETE", &format!("/users/{id}/tokens")).bearer(&tokens.access).json(body).send().await
}

async fn rotate_all(bench: &Bench, tokens: &Tokens, body: Value) -> Answer {
    bench.call("DELETE", "/tokens").bearer(&tokens.access).json(body).send().await
}

async fn config(bench: &Bench, tokens: &Tokens) -> Answer {
    bench.call("GET", "/security/config").bearer(&tokens.access).send().await
}

async fn status(bench: &Bench, tokens: &Tokens) -> u16 {
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.status
}

/// Ann, who is the administrator, and Bob, who is not.
async fn two(bench: &Bench) -> (Tokens, Tokens) {
    bench.user(ANN).await;
    bench.user(BOB).await;
    (bench.login(ANN).await, bench.login(BOB).await)
}

async fn of_a_user(bench: Bench) {
    let (ann, ended) = two(&bench).await;
    let bob = bench.account(BOB).await.id.to_string();
    // One that ended before, one that an earlier rotation ended, and one of somebody else are not counted.
    bench.call("POST", "/auth/logout").bearer(&ended.access).send().await.expect(200);
    let earlier = bench.login(BOB).await;
    let first = rotate(&bench, &earlier, &bob, json!({"reason": "a lost laptop"})).await.expect(200);
    assert_eq!(first.json["tokens_revoked"], 1);
    let sessions = [bench.login(BOB).await, bench.login_as(BOB, "other/1").await];
    bench.pass(1);
    let answer = rotate(&bench, &sessions[0], &bob, json!({"reason": "  a stolen phone "})).await.expect(200);
    assert_eq!(answer.members(), MEMBERS);
    let old = first.json["new_version"].as_u64().unwrap();
    let expected = json!({
        "rotation_type": "USER", "user_id": bob, "old_version": old, "new_version": old + 1, "tokens_revoked": 2,
        "users_affected": null, "reason": "a stolen phone", "initiated_by": bob, "grace_period_minutes": null,
        "rotated_at": bench.app.now(),
    });
    assert_eq!(answer.json, expected);
    assert!(answer.header("clear-site-data").is_some(), "the caller's own session is among them");
    for tokens in [&sessions[0], &sessions[1], &earlier] {
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "rotated");
        bench.refresh(&tokens.refresh).await.expect_problem(401, "rotated");
    }
    assert_eq!(status(&bench, &ann).await, 200);
    bench.login(BOB).await;
}

#[tokio::test]
async fn users_rotate_their_own_tokens() {
    of_a_user(Bench::new().await).await;
}

#[tokio::test]
async fn users_rotate_their_own_tokens_in_memory() {
    of_a_user(Bench::in_memory().await).await;
}

#[tokio::test]
async fn nobody_learns_whether_another_user_exists() {
    let bench = Bench::new().await;
    let (ann, bob) = two(&bench).await;
    let anns = bench.account(ANN).await.id.to_string();
    let mut bodies = Vec::new();
    for id in [anns.as_str(), "01930000-0000-7000-8000-000000000000", "garbage", "%ff", "%00"] {
        for body in [json!({"reason": "a stolen phone"}), json!({})] {
            let mut answer = rotate(&bench, &bob, id, body).await.expect_problem(403, "forbidden");
            answer.json["request_id"] = json!(null);
            bodies.push(answer.json);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(status(&bench, &ann).await, 200);
}

#[tokio::test]
async fn an_administrator_rotates_anybodys_tokens() {
    let bench = Bench::new().await;
    let (ann, bob) = two(&bench).await;
    let bobs = bench.account(BOB).await.id.to_string();
    for id in ["01930000-0000-7000-8000-000000000000", "garbage", "%ff"] {
        rotate(&bench, &ann, id, json!({"reason": "a stolen phone"})).await.expect_problem(404, "not-found");
    }
    for reason in [json!(null), json!(1), json!("too short"), json!("x".repeat(501)), json!("a stolen\nphone")] {
        rotate(&bench, &ann, &bobs, json!({"reason": reason})).await.expect_fields(&["reason"]);
    }
    let answer = rotate(&bench, &ann, &bobs, json!({"reason": "山".repeat(500)})).await.expect(200);
    assert_eq!((&answer.json["tokens_revoked"], &answer.json["user_id"]), (&json!(1), &json!(bobs)));
    assert_eq!(answer.json["initiated_by"], json!(bench.account(ANN).await.id));
    assert_eq!(answer.json["reason"], json!("山".repeat(500)));
    assert!(answer.header("clear-site-data").is_none());
    assert_eq!((status(&bench, &ann).await, status(&bench, &bob).await), (200, 401));
}

#[tokio::test]
async fn a_user_who_never_signed_in_is_rotated_too() {
    let (bench, ann) = Bench::signed_in().await;
    bench.user(BOB).await;
    let id = bench.account(BOB).await.id.to_string();
    let answer = rotate(&bench, &ann, &id, json!({"reason": "an odd mail"})).await.expect(200);
    assert_eq!((&answer.json["old_version"], &answer.json["tokens_revoked"]), (&json!(null), &json!(0)));
    bench.login(BOB).await;
}

async fn of_everybody(bench: Bench) {
    let (ann, bob) = two(&bench).await;
    let other = bench.login_as(BOB, "other/1").await;
    rotate_all(&bench, &bob, json!({"reason": WHY})).await.expect_problem(403, "forbidden");
    let before = config(&bench, &ann).await.expect(200);
    let old = before.json["global_min_token_version"].as_u64().unwrap();
    let answer = rotate_all(&bench, &ann, json!({"reason": WHY, "grace_period_minutes": 2})).await.expect(200);
    let anns = json!(bench.account(ANN).await.id);
    assert_eq!(answer.members(), MEMBERS);
    let expected = json!({
        "rotation_type": "GLOBAL", "user_id": null, "old_version": old, "new_version": old + 1, "tokens_revoked": 3,
        "users_affected": 2, "reason": WHY, "initiated_by": anns, "grace_period_minutes": 2, "rotated_at": bench.app.now(),
    });
    assert_eq!(answer.json, expected);
    assert!(answer.header("clear-site-data").is_none(), "it lives on for the grace");

    let grace_until = bench.app.now() + chrono::TimeDelta::minutes(2);
    let expected = json!({
        "global_min_token_version": old + 1, "grace_until": grace_until, "last_updated_at": bench.app.now(),
        "last_updated_by": anns, "last_rotation_reason": WHY,
    });
    assert_eq!(config(&bench, &ann).await.expect(200).json, expected);

    bench.pass(60);
    let renewed = bench.refresh(&bob.refresh).await.expect(200);
    assert!(renewed.json["expires_in"].as_i64().unwrap() <= 60, "no longer than the grace: {renewed:?}");
    let new = bench.login(BOB).await;
    bench.pass(60);
    for tokens in [&ann, &renewed.tokens(), &other] {
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(401);
        bench.refresh(&tokens.refresh).await.expect(401);
    }
    assert_eq!(status(&bench, &new).await, 200);

    let ann = bench.login(ANN).await;
    let answer = rotate_all(&bench, &ann, json!({"reason": WHY, "grace_period_minutes": 0})).await.expect(200);
    assert_eq!((&answer.json["tokens_revoked"], &answer.json["users_affected"]), (&json!(2), &json!(2)));
    assert!(answer.header("clear-site-data").is_some(), "it has ended");
    assert_eq!((status(&bench, &new).await, status(&bench, &ann).await), (401, 401));
}

#[tokio::test]
async fn everybodys_tokens_are_rotated_with_a_grace_and_without() {
    of_everybody(Bench::new().await).await;
}

#[tokio::test]
async fn everybodys_tokens_are_rotated_with_a_grace_and_without_in_memory() {
    of_everybody(Bench::in_memory().await).await;
}

#[tokio::test]
async fn two_rotations_within_a_grace_end_what_the_first_let_live() {
    let bench = Bench::new().await;
    let (ann, bob) = two(&bench).await;
    let first = rotate_all(&bench, &ann, json!({"reason": WHY})).await.expect(200);
    assert_eq!((&first.json["grace_period_minutes"], &first.json["tokens_revoked"]), (&json!(15), &json!(2)));
    let second = rotate_all(&bench, &ann, json!({"reason": "and now another one of them"})).await.expect(200);
    assert_eq!(second.json["tokens_revoked"], 2, "they lived until now");
    assert_eq!((status(&bench, &bob).await, status(&bench, &ann).await), (401, 401));
    let ann = bench.login(ANN).await;
    assert_eq!(config(&bench, &ann).await.json["last_rotation_reason"], "and now another one of them");
}

#[tokio::test]
async fn each_refused_rotation_rotates_nothing() {
    let bench = Bench::new().await;
    let (ann, bob) = two(&bench).await;
    for (body, fields) in [
        (json!({}), &["reason"][..]),
        (json!({"reason": "x".repeat(19), "grace_period_minutes": 61}), &["reason", "grace_period_minutes"]),
        (json!({"reason": "x".repeat(1001), "grace_period_minutes": -1}), &["reason", "grace_period_minutes"]),
        (json!({"reason": WHY, "grace_period_minutes": 1.5}), &["grace_period_minutes"]),
        (json!({"reason": WHY, "grace_period_minutes": "15"}), &["grace_period_minutes"]),
    ] {
        rotate_all(&bench, &ann, body).await.expect_fields(fields);
    }
    bench.pass(16 * 60);
    let stale = bench.refresh(&ann.refresh).await.tokens();
    rotate_all(&bench, &stale, json!({"reason": WHY})).await.expect_problem(403, "step-up-required");
    bench.refresh(&bob.refresh).await.expect(200);
    let config = config(&bench, &stale).await.expect(200);
    assert_eq!(config.members(), ["global_min_token_version", "last_updated_at"]);
    assert_eq!(config.json["last_updated_at"], json!(bench.account(ANN).await.created_at));
}

#[tokio::test]
async fn token_and_account_must_both_say_administrator() {
    let bench = Bench::new().await;
    let (ann, bob) = two(&bench).await;
    let set = async |email: &str, role: &str| {
        let change = crate::sql::query("UPDATE users SET role = ? WHERE email = ?").bind(role).bind(email);
        change.execute(&bench.app.data().pool).await.unwrap();
    };
    set(ANN, "user").await;
    config(&bench, &ann).await.expect_problem(403, "forbidden");
    set(ANN, "admin").await;
    config(&bench, &ann).await.expect(200);
    set(BOB, "admin").await;
    config(&bench, &bob).await.expect_problem(403, "forbidden");
    let renewed = bench.refresh(&bob.refresh).await.tokens();
    config(&bench, &renewed).await.expect(200);
}
