//! Endpoints 9 to 11.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use session_manager_core::{RequestContext, RevocationReason};
use sha2::{Digest as _, Sha256};

use super::bench::{ANN, Answer, Bench, PASSWORD, credentials};

const NEW: &str = "Other-Battery-8";

async fn ask(bench: &Bench, email: &str) -> Answer {
    bench.post("/password-resets", json!({"email": email})).send().await
}

/// The token of the only mail.
async fn mailed(bench: &Bench) -> String {
    ask(bench, ANN).await.expect(202);
    assert!(bench.app.background().finish(std::time::Duration::from_secs(10)).await);
    let [(kind, Some(token))] = <[_; 1]>::try_from(bench.take_mail()).unwrap() else { panic!("no link") };
    assert_eq!(kind, "reset");
    token
}

async fn look(bench: &Bench, token: &str) -> Answer {
    bench.call("GET", &format!("/password-resets/{token}")).send().await.expect(200)
}

async fn set(bench: &Bench, token: &str, body: Value) -> Answer {
    bench.call("PATCH", &format!("/password-resets/{token}")).json(body).send().await
}

#[tokio::test]
async fn whether_an_address_has_an_account_shows_nowhere() {
    let (bench, _) = Bench::signed_in().await;
    bench.user("gone@example.org").await;
    bench.register("new@example.org").await;
    let gone = bench.account("gone@example.org").await;
    assert!(crate::flows::disable_account(&bench.app, gone.id, &RequestContext::default()).await.unwrap());
    bench.take_mail();
    let known = ask(&bench, ANN).await.expect(202);
    for email in ["nobody@example.org", "new@example.org", "gone@example.org"] {
        assert_eq!(ask(&bench, email).await.expect(202).json, known.json, "{email}");
    }
    assert_eq!(bench.mail_kinds().await, ["reset"]);
    ask(&bench, "x").await.expect_fields(&["email"]);
    bench.post("/password-resets", json!({})).send().await.expect_fields(&["email"]);
}

#[tokio::test]
async fn the_answer_waits_for_nothing() {
    let (bench, _) = Bench::signed_in().await;
    // Nobody can write, and so no link can be made.
    let mut lock = bench.app.data().pool.begin().await.unwrap();
    crate::sql::query("UPDATE users SET updated_at = 0").execute(&mut lock).await.unwrap();
    ask(&bench, ANN).await.expect(202);
    assert!(bench.take_mail().is_empty());
    lock.rollback().await.unwrap();
    assert_eq!(bench.mail_kinds().await, ["reset"]);
}

async fn a_link_sets_a_password_and_ends_all_sessions(bench: Bench) {
    bench.user(ANN).await;
    let sessions = [bench.login(ANN).await, bench.login_as(ANN, "other/1").await];
    bench.mail_kinds().await;
    let token = mailed(&bench).await;
    let expires_at = bench.app.now() + chrono::TimeDelta::hours(1);
    for _ in 0..2 {
        assert_eq!(look(&bench, &token).await.json, json!({"valid": true, "expires_at": expires_at}));
    }
    let weak = set(&bench, &token, json!({"new_password": "weak"})).await.expect_problem(400, "weak-password");
    assert_eq!(weak.json["errors"][0]["field"], "new_password");
    set(&bench, &token, json!({})).await.expect_fields(&["new_password"]);
    bench.call("GET", "/auth/me").bearer(&sessions[0].access).send().await.expect(200);

    let answer = set(&bench, &token, json!({"new_password": NEW})).await.expect(200);
    assert_eq!((answer.members(), answer.header("referrer-policy")), (vec!["message"], Some("no-referrer")));
    assert_eq!(bench.mail_kinds().await, ["password-changed"]);
    for session in &sessions {
        bench.call("GET", "/auth/me").bearer(&session.access).send().await.expect_problem(401, "revoked");
        bench.refresh(&session.refresh).await.expect_problem(401, "revoked");
    }
    set(&bench, &token, json!({"new_password": "Third-Password-9"})).await.expect_problem(400, "invalid-link");
    assert_eq!(look(&bench, &token).await.json, json!({"valid": false}));
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(401, "invalid-credentials");
    let login = bench.post("/auth/login", json!({"email": ANN, "password": NEW}));
    let tokens = login.send().await.expect(200).tokens();

    let all = bench.call("GET", "/auth/sessions?include_ended=true").bearer(&tokens.access).send().await.expect(200);
    let ended = all.json["sessions"].as_array().unwrap().iter().filter(|one| one["is_revoked"] == true);
    let reasons: Vec<_> = ended.map(|one| one["revoked_reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["password_reset"; 2]);
}

#[tokio::test]
async fn a_link_sets_a_password_once() {
    a_link_sets_a_password_and_ends_all_sessions(Bench::new().await).await;
}

#[tokio::test]
async fn a_link_sets_a_password_once_in_memory() {
    a_link_sets_a_password_and_ends_all_sessions(Bench::in_memory().await).await;
}

#[tokio::test]
async fn a_link_is_good_for_an_hour_and_for_an_open_account() {
    let (bench, _) = Bench::signed_in().await;
    let token = mailed(&bench).await;
    bench.pass(3599);
    assert_eq!(look(&bench, &token).await.json["valid"], true);
    bench.pass(1);
    assert_eq!(look(&bench, &token).await.json, json!({"valid": false}));
    set(&bench, &token, json!({"new_password": NEW})).await.expect_problem(400, "invalid-link");
    let token = mailed(&bench).await;
    let ann = bench.account(ANN).await;
    crate::flows::disable_account(&bench.app, ann.id, &RequestContext::default()).await.unwrap();
    assert_eq!(look(&bench, &token).await.json, json!({"valid": false}), "what cannot be used is not called good");
    set(&bench, &token, json!({"new_password": NEW})).await.expect_problem(400, "invalid-link");
    for token in ["x", "%00", "%ff", "%2e%2e"] {
        assert_eq!(look(&bench, token).await.json, json!({"valid": false}), "{token}");
        set(&bench, token, json!({"new_password": "weak"})).await.expect_problem(400, "invalid-link");
    }
}

#[tokio::test]
async fn without_the_end_of_the_sessions_there_is_no_new_password() {
    let (bench, tokens) = Bench::signed_in().await;
    let token = mailed(&bench).await;
    let pool = &bench.app.data().pool;
    crate::sql::query("ALTER TABLE sessions RENAME TO elsewhere").execute(pool).await.unwrap();
    set(&bench, &token, json!({"new_password": NEW})).await.expect_problem(500, "internal");
    crate::sql::query("ALTER TABLE elsewhere RENAME TO sessions").execute(pool).await.unwrap();
    assert_eq!(look(&bench, &token).await.json["valid"], true, "the link was not used up");
    bench.login(ANN).await;
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
    assert!(bench.take_mail().is_empty());
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_token_is_neither_logged_nor_stored() {
    let (bench, _) = Bench::signed_in().await;
    let lines = Lines::default();
    let (writer, level) = (lines.clone(), tracing::Level::TRACE);
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(move || writer.clone()).finish();
    let logged = tracing::subscriber::set_default(log);
    let token = mailed(&bench).await;
    let stored = crate::sql::query("SELECT hash FROM mail_tokens").fetch_all(&bench.app.data().pool).await.unwrap();
    let stored: Vec<Vec<u8>> = stored.iter().map(|row| row.only().unwrap()).collect();
    look(&bench, &token).await;
    set(&bench, &token, json!({"new_password": NEW})).await.expect(200);
    set(&bench, &token, json!({"new_password": PASSWORD})).await.expect(400);
    bench.root(&format!("/reset-password?token={token}")).send().await.expect(400);
    drop(logged);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/api/v1/password-resets/{token}"), "{text}");
    assert!(!text.contains(&token), "{text}");
    assert_eq!(stored, [Sha256::digest(&token).to_vec()]);
}

/// Who had the account asks for another address. What the owner does about it must end that too.
#[tokio::test]
async fn a_change_of_address_that_waits_dies_with_the_old_password_and_with_the_account() {
    for way in ["reset", "change", "disable"] {
        let (bench, tokens) = Bench::signed_in().await;
        let body = json!({"email": "thief@example.org"});
        bench.call("PATCH", "/auth/me").bearer(&tokens.access).json(body).send().await.expect(200);
        let [(_, Some(link))] = <[_; 1]>::try_from(bench.take_mail()).unwrap() else { panic!("no link") };
        match way {
            "reset" => drop(set(&bench, &mailed(&bench).await, json!({"new_password": NEW})).await.expect(200)),
            "change" => {
                let body = json!({"current_password": PASSWORD, "new_password": NEW});
                bench.call("PATCH", "/auth/me/password").bearer(&tokens.access).json(body).send().await.expect(200);
            }
            _ => {
                let account = bench.account(ANN).await;
                let context = RequestContext::default();
                assert!(crate::flows::disable_account(&bench.app, account.id, &context).await.unwrap());
            }
        }
        bench.post("/auth/verify-email", json!({"token": link})).send().await.expect_problem(400, "invalid-link");
        assert_eq!(bench.account(ANN).await.email.as_str(), ANN, "{way}");
    }
}

/// The request is admitted, and waits for the account, which somebody else is changing; meanwhile its session ends.
#[tokio::test]
async fn a_change_of_address_whose_session_ends_meanwhile_comes_to_nothing() {
    let bench = Bench::in_memory().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    bench.take_mail();
    let account = bench.account(ANN).await.id;
    let mut held = bench.app.data().pool.begin().await.unwrap();
    let lock = crate::sql::query("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(account.to_string());
    lock.fetch_optional(&mut held).await.unwrap();
    let body = json!({"email": "thief@example.org"});
    let asked = bench.call("PATCH", "/auth/me").bearer(&tokens.access).json(body).send();
    let ended = async {
        // Where it has come no further by then, it is refused for its token.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let manager = bench.app.sessions().manager();
        let context = RequestContext::default();
        manager.revoke_all(&account.into(), RevocationReason::ALL, &context).await.unwrap();
        held.rollback().await.unwrap();
    };
    let (answer, ()) = futures_util::future::join(asked, ended).await;
    answer.expect_problem(401, "revoked");
    for (_, link) in bench.take_mail() {
        let body = json!({"token": link.expect("a link")});
        bench.post("/auth/verify-email", body).send().await.expect_problem(400, "invalid-link");
    }
    assert_eq!(bench.account(ANN).await.email.as_str(), ANN);
}
