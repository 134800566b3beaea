//! Our letters send nobody to what does not exist.

use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, PASSWORD};
use crate::accounts::EmailAddress;
use crate::mail::{DeviceSummary, Letter, Recipient};

#[tokio::test]
async fn letters_name_only_what_there_is() {
    let bench = Bench::new().await;
    let device = || DeviceSummary { device: "Firefox".into(), place: "Berlin".into(), time: "now".into() };
    let verify = |earlier| Letter::Verify { token: "token", registered_at: bench.app.now(), earlier };
    let letters = [
        verify(false),
        verify(true),
        Letter::AlreadyRegistered,
        Letter::Reset { token: "token" },
        Letter::PasswordChanged,
        Letter::EmailChange { token: "token" },
        Letter::EmailChanged,
        Letter::NewDevice { device: device() },
        Letter::SessionSuspicious { device: device() },
    ];
    let recipient = Recipient { name: "Ann".to_owned(), email: EmailAddress::parse(ANN).unwrap() };
    for letter in letters {
        let path = bench.app.mailer().send(&recipient, &letter, bench.app.now()).await.unwrap().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for link in text.split_whitespace().filter_map(|word| word.strip_prefix("http://127.0.0.1:8080")) {
            assert_ne!(bench.root(link).send().await.status, 404, "{letter:?}: {link}");
        }
        let (told, linked) = (text.contains("set a new password"), text.contains("-password"));
        assert!(!told || linked, "whoever is to set a password is told where: {text}");
    }
}

#[tokio::test]
async fn the_owner_of_a_session_that_looked_wrong_is_told() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.refresh(&tokens.refresh).await.expect(200);
    bench.pass(11);
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new());
    for _ in 0..2 {
        bench.refresh(&tokens.refresh).await.expect(401);
    }
    assert_eq!(bench.mail_kinds().await, ["session-suspicious"], "once, however often it is tried");
    let tokens = bench.login(ANN).await;
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new(), "who signs out knows of it");
}

/// The answers to so many registrations of an address, each from another client, and the letters that came of it.
async fn registered(bench: &Bench, email: &str, times: u8) -> (Vec<(u16, Value)>, Vec<String>) {
    let mut answers = Vec::new();
    for client in 0..times {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ann"});
        let Answer { status, json, .. } =
            bench.post("/auth/register", body).at_peer(&format!("203.0.113.{client}:1")).send().await;
        answers.push((status, json));
    }
    (answers, bench.mail_kinds().await)
}

#[tokio::test]
async fn a_mailbox_gets_a_few_letters_of_strangers_and_no_answer_tells_how_many() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let (taken, letters) = registered(&bench, ANN, 8).await;
    assert_eq!(
        letters, ["already-registered"; 4],
        "the fifth of the hour, the first being that of her own registration"
    );
    let (free, letters) = registered(&bench, "new@example.org", 8).await;
    assert_eq!(letters, ["verify"; 5]);
    assert_eq!(taken, free);
    assert!(taken.iter().all(|answer| *answer == taken[0]), "{taken:?}");

    // The address of an account, and one that is nobody's, from an account of the stranger's.
    bench.user("eve@example.org").await;
    let eve = bench.login("eve@example.org").await;
    let mut answers = Vec::new();
    for email in [ANN, "new@example.org", "third@example.org"] {
        let call = bench.call("PATCH", "/auth/me").bearer(&eve.access).json(json!({"email": email}));
        let mut answer = call.send().await.expect(200).json;
        assert_eq!(answer["pending_email"].take(), email);
        answers.push(answer);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(bench.mail_kinds().await, ["email-change"], "that to the third");

    bench.pass(3600);
    assert_eq!(registered(&bench, ANN, 8).await.1, ["already-registered"; 5], "the next hour");
    bench.pass(3600);
    assert_eq!(registered(&bench, ANN, 8).await.1, ["already-registered"; 5], "the last of the day");
    bench.pass(3600);
    assert_eq!(registered(&bench, ANN, 8).await.1, [""; 0]);
}

#[tokio::test]
async fn what_happened_to_an_account_is_told_whatever_strangers_have_sent() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    registered(&bench, ANN, 8).await;
    assert_eq!(registered(&bench, ANN, 1).await.1, [""; 0], "strangers have used it up");

    bench.login_as(ANN, "another/1").await;
    assert_eq!(bench.mail_kinds().await, ["new-device"]);
    let body = json!({"current_password": PASSWORD, "new_password": "Other-Battery-8"});
    let changed = bench.call("PATCH", "/auth/me/password").bearer(&tokens.access).json(body).send().await.expect(200);
    assert_eq!(bench.mail_kinds().await, ["password-changed"]);
    bench.refresh(&changed.tokens().refresh).await.expect(200);
    bench.pass(11);
    bench.refresh(&changed.tokens().refresh).await.expect(401);
    assert_eq!(bench.mail_kinds().await, ["session-suspicious"]);
    bench.post("/password-resets", json!({"email": ANN})).send().await.expect(202);
    assert_eq!(bench.mail_kinds().await, ["reset"]);
}

#[tokio::test]
async fn an_account_sends_ten_letters_an_hour_to_others() {
    let bench = Bench::limited().await;
    bench.user("eve@example.org").await;
    let eve = bench.login("eve@example.org").await;
    let change = |body: Value| bench.call("PATCH", "/auth/me").bearer(&eve.access).json(body).send();
    for victim in 0..10 {
        change(json!({"email": format!("victim{victim}@example.org")})).await.expect(200);
    }
    let body = json!({"email": "another@example.org", "name": "Buy now"});
    let refused = change(body).await.expect_problem(429, "rate-limited");
    assert_eq!(refused.json["endpoint"], "/api/v1/auth/me");
    assert_eq!(refused.header("retry-after"), Some(refused.json["retry_after"].to_string().as_str()));
    assert_eq!(bench.account("eve@example.org").await.name, "Ann", "nothing of it is done");
    change(json!({"name": "Eve", "email": "eve@example.org"})).await.expect(200);
    assert_eq!(bench.mail_kinds().await, ["email-change"; 10]);
}
