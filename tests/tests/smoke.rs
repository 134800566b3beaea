//! The ordered smoke test: the whole life of sessions over real HTTP, against the real server.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use session_manager_tests::client::{Answer, Client, Tokens};
use session_manager_tests::server::Server;

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "Correct-Horse-7";
const CHANGED: &str = "Other-Battery-8";
const RESET: &str = "Third-Staple-9";
const GRACE: Duration = Duration::from_secs(1);

fn members(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<_> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn sessions(client: &Client, tokens: &Tokens) -> Vec<Value> {
    let answer = client.get("/auth/sessions", &tokens.access).expect(200);
    let sessions = answer.json["sessions"].as_array().unwrap().clone();
    assert_eq!(answer.json["total_count"], sessions.len());
    sessions
}

#[test]
fn from_registration_to_logout() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &["--set", "policy.refresh_grace=1s"]);
    let (a, b) = (server.client("Smoke-A/1.0"), server.client("Smoke-B/2.0"));

    let registration = json!({"email": EMAIL, "password": PASSWORD, "name": "Ann"});
    let registered = a.post("/auth/register", registration.clone()).expect(201);
    assert_eq!(members(&registered), ["message"]);
    a.post("/auth/login", json!({"email": EMAIL, "password": PASSWORD})).expect_problem(403, ":email-not-verified");
    let token = server.mailed_token("/verify-email");
    assert_eq!(members(&a.post("/auth/verify-email", json!({"token": token})).expect(200)), ["message"]);
    a.post("/auth/verify-email", json!({"token": token})).expect_problem(400, ":invalid-link");
    assert_eq!(a.post("/auth/register", registration).expect(201).json, registered.json, "a taken address looks alike");

    let (first, second) = two_sign_ins(&a, &b);
    let ended = refresh_within_and_after_the_grace(&a, &first);
    a.get("/auth/me", &ended.access).expect_problem(401, ":revoked");
    let first = a.login(EMAIL, PASSWORD);
    b_is_revoked_by_a(&a, &b, &first, &second);
    let link = a_change_ends_the_others_and_a_reset_all(&server, &a, &b, &first);
    a_rotation_ends_a_users_sessions_and_another_everybodys(&server, &a, &b);
    the_end_of_the_others_and_of_this(&a, &b);

    let log = server.log();
    for kind in ["created", "refreshed", "revoked", "suspicious", "rejected", "rotated"] {
        assert!(log.contains(&format!("kind=\"{kind}\"")), "{kind} is in the audit trail");
    }
    for secret in [&ended.access, &ended.refresh, &link, PASSWORD, CHANGED, RESET] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    assert_eq!(server.stop(), Some(0));
}

fn two_sign_ins(a: &Client, b: &Client) -> (Tokens, Tokens) {
    let login = |client: &Client| client.post("/auth/login", json!({"email": EMAIL, "password": PASSWORD})).expect(200);
    let wrong = json!({"email": EMAIL, "password": "wrong"});
    a.post("/auth/login", wrong).expect_problem(401, ":invalid-credentials");
    let answer = login(a);
    let expected = ["access_token", "expires_in", "refresh_token", "server_time", "session_id", "token_type", "user"];
    assert_eq!(members(&answer), expected);
    assert_eq!(members_of(&answer.json["user"]), ["created_at", "email", "email_verified", "id", "name", "role"]);
    assert_eq!((&answer.json["token_type"], &answer.json["user"]["email"]), (&json!("bearer"), &json!(EMAIL)));
    let (first, second) = (answer.tokens(), login(b).tokens());
    assert_eq!(a.get("/auth/me", &first.access).expect(200).json, answer.json["user"]);

    let listed = sessions(a, &first);
    let seen: Vec<_> = listed.iter().map(|one| (&one["id"], &one["is_current"], &one["device_info"])).collect();
    let (first_id, second_id) = (json!(first.session), json!(second.session));
    let expected =
        [(&second_id, &json!(false), &json!("Smoke-B/2.0")), (&first_id, &json!(true), &json!("Smoke-A/1.0"))];
    assert_eq!(seen, expected);
    assert!(listed.iter().all(|one| one["ip_address"] == "127.0.0.1" && one["is_revoked"] == false));
    (first, second)
}

fn members_of(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn b_is_revoked_by_a(a: &Client, b: &Client, first: &Tokens, second: &Tokens) {
    let path = format!("/auth/sessions/{}", second.session);
    b.get("/auth/me", &second.access).expect(200);
    let revoked = a.call("DELETE", &path, &first.access).expect(200);
    assert_eq!(
        (members(&revoked), &revoked.json["revoked_session_id"]),
        (vec!["message", "revoked_session_id"], &json!(second.session))
    );
    b.get("/auth/me", &second.access).expect_problem(401, ":revoked");
    b.refresh(&second.refresh).expect_problem(401, ":revoked");
    a.call("DELETE", &path, &first.access).expect_problem(409, ":already-ended");
    let own = format!("/auth/sessions/{}", first.session);
    a.call("DELETE", &own, &first.access).expect_problem(400, ":current-session");
    assert_eq!(sessions(a, first).len(), 1);
}

/// Returns the newest tokens of the session that the replay ended.
fn refresh_within_and_after_the_grace(a: &Client, first: &Tokens) -> Tokens {
    let answer = a.refresh(&first.refresh).expect(200);
    let expected = ["access_token", "expires_in", "refresh_token", "server_time", "session_id", "token_type"];
    assert_eq!(members(&answer), expected);
    let renewed = answer.tokens();
    assert_eq!(renewed.session, first.session);
    assert_ne!(renewed.refresh, first.refresh);
    let again = a.refresh(&first.refresh).expect(200).tokens();
    assert_eq!(again.refresh, renewed.refresh, "the old token leads to the same successor");
    a.get("/auth/me", &renewed.access).expect(200);

    // The grace is the server's, and its clock is the machine's: nothing but time ends it.
    std::thread::sleep(GRACE + Duration::from_millis(200));
    a.refresh(&first.refresh).expect_problem(401, ":reuse-detected");
    a.refresh(&renewed.refresh).expect_problem(401, ":revoked");
    renewed
}

/// Returns the token of the link that was used.
fn a_change_ends_the_others_and_a_reset_all(server: &Server, a: &Client, b: &Client, first: &Tokens) -> String {
    let other = b.login(EMAIL, PASSWORD);
    let change = json!({"current_password": PASSWORD, "new_password": CHANGED});
    let changed = a.send("PATCH", "/api/v1/auth/me/password", Some(&first.access), Some(&change)).expect(200).tokens();
    assert_eq!(changed.session, first.session);
    b.get("/auth/me", &other.access).expect_problem(401, ":rotated");
    a.get("/auth/me", &first.access).expect_problem(401, ":rotated");
    a.get("/auth/me", &changed.access).expect(200);

    let asked = b.post("/password-resets", json!({"email": EMAIL})).expect(202);
    let unknown = b.post("/password-resets", json!({"email": "nobody@example.org"})).expect(202);
    assert_eq!(asked.json, unknown.json);
    server.wait_for_mail("-reset-");
    let token = server.mailed_token("/reset-password");
    let path = format!("/api/v1/password-resets/{token}");
    let valid = b.send("GET", &path, None, None).expect(200);
    assert_eq!((members(&valid), &valid.json["valid"]), (vec!["expires_at", "valid"], &json!(true)));
    let weak = b.send("PATCH", &path, None, Some(&json!({"new_password": "weak"})));
    weak.expect_problem(400, ":weak-password");
    let set = json!({"new_password": RESET});
    let reset = b.send("PATCH", &path, None, Some(&set)).expect(200);
    assert_eq!(reset.header("referrer-policy"), Some("no-referrer"));
    b.send("PATCH", &path, None, Some(&set)).expect_problem(400, ":invalid-link");
    assert_eq!(b.send("GET", &path, None, None).expect(200).json, json!({"valid": false}));
    a.get("/auth/me", &changed.access).expect_problem(401, ":revoked");
    a.refresh(&changed.refresh).expect_problem(401, ":revoked");
    let old = json!({"email": EMAIL, "password": CHANGED});
    a.post("/auth/login", old).expect_problem(401, ":invalid-credentials");
    token
}

fn a_rotation_ends_a_users_sessions_and_another_everybodys(server: &Server, a: &Client, b: &Client) {
    let (this, other) = (a.login(EMAIL, RESET), b.login(EMAIL, RESET));
    let id = a.get("/auth/me", &this.access).expect(200).json["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/users/{id}/tokens");
    let rotated = a.send("DELETE", &path, Some(&this.access), Some(&json!({"reason": "a stolen phone"}))).expect(200);
    assert_eq!((&rotated.json["rotation_type"], &rotated.json["tokens_revoked"]), (&json!("USER"), &json!(2)));
    for tokens in [&this, &other] {
        a.get("/auth/me", &tokens.access).expect_problem(401, ":rotated");
        a.refresh(&tokens.refresh).expect_problem(401, ":rotated");
    }

    b.post("/auth/register", json!({"email": "bob@example.org", "password": PASSWORD, "name": "Bob"})).expect(201);
    b.post("/auth/verify-email", json!({"token": server.mailed_token("/verify-email")})).expect(200);
    let (bob, ann) = (b.login("bob@example.org", PASSWORD), a.login(EMAIL, RESET));
    let reason = json!({"reason": "a key of ours may have leaked", "grace_period_minutes": 1});
    let everybody = |tokens: &Tokens| a.send("DELETE", "/api/v1/tokens", Some(&tokens.access), Some(&reason));
    everybody(&bob).expect_problem(403, ":forbidden");
    b.send("DELETE", &path, Some(&bob.access), Some(&reason)).expect_problem(403, ":forbidden");
    let rotated = everybody(&ann).expect(200);
    assert_eq!((&rotated.json["rotation_type"], &rotated.json["users_affected"]), (&json!("GLOBAL"), &json!(2)));
    let config = a.get("/security/config", &ann.access).expect(200);
    assert_eq!(config.json["global_min_token_version"], rotated.json["new_version"]);
    assert_eq!(config.json["last_updated_by"], json!(id));
    b.get("/auth/me", &bob.access).expect(200);
    b.refresh(&bob.refresh).expect(200);
    // It lives on for the grace, and is not to be counted among the others below.
    a.call("POST", "/auth/logout", &ann.access).expect(200);
}

fn the_end_of_the_others_and_of_this(a: &Client, b: &Client) {
    let this = a.login(EMAIL, RESET);
    let other = b.login(EMAIL, RESET);
    let ended = a.call("DELETE", "/auth/sessions/others/revoke", &this.access).expect(200);
    assert_eq!((members(&ended), &ended.json["revoked_count"]), (vec!["message", "revoked_count"], &json!(1)));
    b.get("/auth/me", &other.access).expect_problem(401, ":revoked");
    a.get("/auth/me", &this.access).expect(200);

    let other = b.login(EMAIL, RESET);
    let ended = a.call("DELETE", "/auth/sessions/all/revoke", &this.access).expect(200);
    assert_eq!(ended.json["revoked_count"], 2);
    for tokens in [&this, &other] {
        a.get("/auth/me", &tokens.access).expect_problem(401, ":revoked");
        a.refresh(&tokens.refresh).expect_problem(401, ":revoked");
    }

    let last = a.login(EMAIL, RESET);
    let left = a.call("POST", "/auth/logout", &last.access).expect(200);
    assert_eq!(members(&left), ["message"]);
    assert!(left.header("clear-site-data").is_some());
    let refused = a.get("/auth/me", &last.access).expect_problem(401, ":revoked");
    assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    a.refresh(&last.refresh).expect_problem(401, ":revoked");
}
