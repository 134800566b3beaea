//! Endpoint 8 and step-up.

use std::time::Duration;

use serde_json::{Value, json};
use session_manager_core::storage::SessionFilter;
use session_manager_core::{RequestContext, UserId};

use super::bench::{ANN, Answer, Bench, PASSWORD, Tokens, credentials};
use crate::accounts::User;
use crate::app::App;
use crate::passwords::Password;
use crate::sessions::PasswordChange;

const NEW: &str = "Other-Battery-8";

async fn change(bench: &Bench, tokens: &Tokens, current: &str, new: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": new});
    bench.call("PATCH", "/auth/me/password").bearer(&tokens.access).json(body).send().await
}

async fn change_ends_the_others(bench: Bench) {
    bench.user(ANN).await;
    let (this, other) = (bench.login(ANN).await, bench.login_as(ANN, "other/1").await);
    bench.mail_kinds().await;
    let answer = change(&bench, &this, PASSWORD, NEW).await.expect(200);
    let renewed = answer.tokens();
    assert_eq!(renewed.session, this.session);
    for (token, status) in [(&renewed.access, 200), (&this.access, 401), (&other.access, 401)] {
        bench.call("GET", "/auth/me").bearer(token).send().await.expect(status);
    }
    bench.refresh(&other.refresh).await.expect_problem(401, "rotated");
    bench.refresh(&this.refresh).await.expect_problem(401, "rotated");
    bench.refresh(&renewed.refresh).await.expect(200);
    assert_eq!(bench.mail_kinds().await, ["password-changed"]);
    bench.post("/auth/login", credentials(ANN)).send().await.expect_problem(401, "invalid-credentials");
    bench.post("/auth/login", json!({"email": ANN, "password": NEW})).send().await.expect(200);

    let list = bench.call("GET", "/auth/sessions?include_ended=true").bearer(&renewed.access).send().await.expect(200);
    let find = |id: &str| list.json["sessions"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    assert_eq!(find(&other.session)["is_revoked"], true);
    assert_eq!(find(&other.session)["revoked_reason"], "rotated");
    assert_eq!(find(&this.session)["is_revoked"], false);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    change_ends_the_others(Bench::new().await).await;
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_in_memory() {
    change_ends_the_others(Bench::in_memory().await).await;
}

#[tokio::test]
async fn each_refused_change_changes_nothing() {
    let (bench, tokens) = Bench::signed_in().await;
    change(&bench, &tokens, "wrong", NEW).await.expect_problem(400, "wrong-password");
    change(&bench, &tokens, PASSWORD, PASSWORD).await.expect_problem(400, "same-password");
    let weak = change(&bench, &tokens, PASSWORD, "weak").await.expect_problem(400, "weak-password");
    assert_eq!(weak.json["errors"][0]["field"], "new_password");
    let call = |body: Value| bench.call("PATCH", "/auth/me/password").bearer(&tokens.access).json(body).send();
    call(json!({"current_password": 1})).await.expect_fields(&["current_password", "new_password"]);
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
    bench.login(ANN).await;
    assert!(bench.take_mail().is_empty());
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_keeps_the_old_password() {
    let (bench, tokens) = Bench::signed_in().await;
    let accounts = bench.app.accounts();
    let user = bench.account(ANN).await;
    let password = accounts.hash_new_password(Password::new(NEW.to_owned())).await.unwrap();
    let manager = bench.app.sessions().manager();
    let current = manager.peek(&tokens.access).await.unwrap();
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect(200);
    let (user_id, keep) = (current.user_id(), current.session_id());
    let change = PasswordChange { user: &user, user_id, password: &password, keep };
    let context = RequestContext::default();
    let refused = bench.app.sessions().change_password(accounts, change, &context).await.unwrap_err();
    assert_eq!(refused.problem().status(), 401);
    bench.login(ANN).await;
}

/// A sign-in with the right password, during whose delay `change` happens, is refused and leaves no session behind.
async fn overlapping<F>(bench: Bench, change: impl FnOnce(App, User, Tokens) -> F, status: u16, kind: &str, left: usize)
where
    F: Future<Output = ()> + Send + 'static,
{
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    for _ in 0..3 {
        bench.post("/auth/login", json!({"email": ANN, "password": "wrong"})).send().await.expect(401);
    }
    bench.mail_kinds().await;
    let user = bench.account(ANN).await;
    bench.clock.meanwhile(change(bench.app.clone(), user.clone(), tokens));
    let late = bench.post("/auth/login", credentials(ANN)).header("user-agent", "late/1").send().await;
    late.expect_problem(status, kind);
    assert_eq!(bench.clock.held_back().len(), 1, "the change came between check and session");
    let user = UserId::parse(&user.id.to_string()).unwrap();
    let list = bench.app.sessions().manager().list(&user, SessionFilter::new(), None, 9).await.unwrap();
    assert_eq!(list.sessions.len(), left, "{list:?}");
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new(), "there was no sign-in to tell of");
}

async fn new_password(app: App, user: User, tokens: Tokens) {
    let password = app.accounts().hash_new_password(Password::new(NEW.to_owned())).await.unwrap();
    let current = app.sessions().manager().peek(&tokens.access).await.unwrap();
    let (user_id, keep) = (current.user_id(), current.session_id());
    let change = PasswordChange { user: &user, user_id, password: &password, keep };
    app.sessions().change_password(app.accounts(), change, &RequestContext::default()).await.unwrap();
}

async fn disabling(app: App, user: User, _: Tokens) {
    assert!(crate::flows::disable_account(&app, user.id, &RequestContext::default()).await.unwrap());
}

async fn resetting(app: App, user: User, _: Tokens) {
    let spool = app.data().mail.clone();
    app.accounts().request_reset(&user.email, app.now()).await.unwrap();
    let mails = || std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
    let text = std::fs::read_to_string(mails().next().unwrap()).unwrap();
    let token = text.lines().find_map(|line| line.split_once("?token=")).unwrap().1;
    let password = Password::new(NEW.to_owned());
    crate::flows::reset_password(&app, token, password, &RequestContext::default()).await.unwrap();
    // What is in them is no matter here.
    mails().for_each(|mail| std::fs::remove_file(mail).unwrap());
}

#[tokio::test]
async fn a_sign_in_that_overlaps_a_reset_is_refused() {
    overlapping(Bench::new().await, resetting, 401, "invalid-credentials", 0).await;
    overlapping(Bench::in_memory().await, resetting, 401, "invalid-credentials", 0).await;
}

#[tokio::test]
async fn a_sign_in_that_overlaps_a_new_password_is_refused() {
    overlapping(Bench::new().await, new_password, 401, "invalid-credentials", 1).await;
    overlapping(Bench::in_memory().await, new_password, 401, "invalid-credentials", 1).await;
}

#[tokio::test]
async fn guesses_at_the_password_of_a_session_are_held_back() {
    for (method, path, new, status) in [
        ("POST", "/auth/reauthenticate", NEW, 200),
        ("PATCH", "/auth/me/password", NEW, 200),
        ("PATCH", "/auth/me/password", PASSWORD, 400),
        ("PATCH", "/auth/me/password", "weak", 400),
    ] {
        let (bench, tokens) = Bench::signed_in().await;
        let give = |password: &str| {
            let body = json!({"password": password, "current_password": password, "new_password": new});
            bench.call(method, path).bearer(&tokens.access).json(body).send()
        };
        let mut held_back = Vec::new();
        for _ in 0..5 {
            give("wrong").await.expect_problem(400, "wrong-password");
            held_back.extend(bench.clock.held_back());
        }
        assert_eq!(held_back, [100, 200].map(Duration::from_millis), "{path}: from the fourth on");
        give(PASSWORD).await.expect(status);
        assert_eq!(
            bench.clock.held_back(),
            [Duration::from_millis(400)],
            "{path}: the right one, whatever comes of it"
        );
    }
}

#[tokio::test]
async fn a_sign_in_that_overlaps_the_end_of_the_account_is_refused() {
    overlapping(Bench::new().await, disabling, 403, "account-disabled", 0).await;
    overlapping(Bench::in_memory().await, disabling, 403, "account-disabled", 0).await;
}

#[tokio::test]
async fn step_up_makes_a_session_fresh_again() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.pass(16 * 60);
    let tokens = bench.refresh(&tokens.refresh).await.tokens();
    change(&bench, &tokens, PASSWORD, NEW).await.expect_problem(403, "step-up-required");
    let prove = |body: Value| bench.post("/auth/reauthenticate", body).bearer(&tokens.access).send();
    prove(json!({})).await.expect_fields(&["password"]);
    prove(json!({"password": "wrong"})).await.expect_problem(400, "wrong-password");
    let answer = prove(json!({"password": PASSWORD})).await.expect(200);
    let members = ["access_token", "expires_in", "refresh_token", "server_time", "session_id", "token_type"];
    assert_eq!(answer.members(), members);
    let fresh = answer.tokens();
    assert_eq!(fresh.session, tokens.session);
    bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect_problem(401, "rotated");
    change(&bench, &fresh, PASSWORD, NEW).await.expect(200);
}
