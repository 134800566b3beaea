//! Registration and confirmation, as seen from outside and from the mailbox.

use chrono::TimeDelta;

use super::*;
use crate::accounts::Role;
use crate::accounts::test_support::{Bench, PASSWORD, at, email, password};
use crate::passwords::Violation;

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn a_new_account_waits_for_its_confirmation() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 5).await;
    let user = bench.accounts.find_by_email(&email("a@b.example")).await.unwrap().unwrap();
    assert_eq!((user.email_verified_at, user.created_at, user.name.as_str()), (None, at(5), "Ann"));
    assert_eq!(user.id.get_version_num(), 7);
    let confirmed = bench.accounts.verify_email(&bench.take_token("a@b.example"), at(9)).await.unwrap().unwrap();
    assert_eq!((confirmed.id, confirmed.email_verified_at), (user.id, Some(at(9))));
    assert_eq!(bench.accounts.find(user.id).await.unwrap(), Some(confirmed));
}

#[tokio::test]
async fn a_link_works_once_and_for_a_day() {
    for (millis, good) in [(0, true), (24 * HOUR - 1, true), (24 * HOUR, false)] {
        let bench = Bench::new().await;
        bench.register("a@b.example", "Ann", 0).await;
        let token = bench.take_token("a@b.example");
        assert_eq!(bench.accounts.verify_email(&token, at(millis)).await.unwrap().is_ok(), good, "{millis}");
        assert_eq!(bench.accounts.verify_email(&token, at(millis)).await.unwrap(), Err(InvalidToken), "a second time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_use_a_link_at_once_one_succeeds() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    let token = bench.take_token("a@b.example");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (accounts, token) = (bench.accounts.clone(), token.clone());
        tasks.spawn(async move { accounts.verify_email(&token, at(1)).await.unwrap().is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|good| *good).count(), 1);
}

#[tokio::test]
async fn wrong_tokens_are_refused() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    let token = bench.take_token("a@b.example");
    for wrong in
        [String::new(), "x".into(), token.to_uppercase(), format!("{token}="), token[1..].into(), "' OR 1=1 --".into()]
    {
        assert_eq!(bench.accounts.verify_email(&wrong, at(1)).await.unwrap(), Err(InvalidToken), "{wrong}");
    }
    let stored: Vec<u8> =
        sqlx::query_scalar("SELECT hash FROM mail_tokens").fetch_one(bench.accounts.pool()).await.unwrap();
    assert_ne!(stored, token.as_bytes(), "only a hash is stored");
    let as_text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &stored);
    assert_eq!(bench.accounts.verify_email(&as_text, at(1)).await.unwrap(), Err(InvalidToken), "the hash is no token");
}

#[tokio::test]
async fn a_taken_address_is_told_to_its_owner_only() {
    let bench = Bench::new().await;
    let owner = bench.verified_user("a@b.example").await;
    bench.register("A@B.example", "Mallory", 1).await;
    assert_eq!(bench.take_mail(), [("already-registered".into(), "a@b.example".into(), None)]);
    assert_eq!(bench.accounts.find(owner.id).await.unwrap(), Some(owner), "nothing changed");
}

#[tokio::test]
async fn an_account_that_was_never_confirmed_is_replaced() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Mallory", 0).await;
    let early = bench.take_token("a@b.example");
    bench.register("a@b.example", "Ann", 1).await;
    let late = bench.take_token("a@b.example");
    assert_eq!(bench.accounts.verify_email(&early, at(2)).await.unwrap(), Err(InvalidToken));
    let user = bench.accounts.verify_email(&late, at(2)).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.created_at), ("Ann", at(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_of_one_address_at_once_make_one_account() {
    let bench = Bench::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let accounts = bench.accounts.clone();
        let registration = Registration {
            email: email("a@b.example"),
            name: PersonName::parse("Ann").unwrap(),
            password: password(PASSWORD),
        };
        tasks.spawn(async move { accounts.register(registration, at(0)).await.unwrap() });
    }
    tasks.join_all().await;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(bench.accounts.pool()).await.unwrap();
    assert_eq!(count, 1);
    let mut good = 0;
    for (_, _, token) in bench.take_mail() {
        good += u32::from(bench.accounts.verify_email(&token.unwrap(), at(1)).await.unwrap().is_ok());
    }
    assert_eq!(good, 1, "only the last link works");
}

#[tokio::test]
async fn a_weak_password_is_told_and_makes_nothing() {
    let bench = Bench::new().await;
    let registration = Registration {
        email: email("a@b.example"),
        name: PersonName::parse("Ann").unwrap(),
        password: password("abc"),
    };
    let refusal = bench.accounts.register(registration, at(0)).await.unwrap_err();
    assert!(matches!(refusal, PasswordRefusal::Weak(rules) if rules.contains(&Violation::TooShort)));
    assert_eq!(bench.take_mail(), []);
    assert_eq!(bench.accounts.find_by_email(&email("a@b.example")).await.unwrap(), None);
}

#[tokio::test]
async fn the_administrator_is_who_the_rule_says() {
    for (rule, expected) in [
        (AdminRule::new(None, true), [Role::Admin, Role::User]),
        (AdminRule::new(None, false), [Role::User, Role::User]),
        (AdminRule::new(Some(email("second@b.example")), true), [Role::User, Role::Admin]),
        (AdminRule::new(Some(email("second@b.example")), false), [Role::User, Role::Admin]),
        (AdminRule::new(Some(email("nobody@b.example")), true), [Role::User, Role::User]),
    ] {
        let bench = Bench::with(rule.clone()).await;
        let roles =
            [bench.verified_user("first@b.example").await.role, bench.verified_user("second@b.example").await.role];
        assert_eq!(roles, expected, "{rule:?}");
    }
}

#[tokio::test]
async fn the_first_users_role_ends_when_the_server_leaves_loopback() {
    let bench = Bench::new().await;
    let first = bench.verified_user("first@b.example").await;
    assert_eq!(first.role, Role::Admin);
    let open = bench.under(AdminRule::new(None, false)).await;
    assert_eq!(open.find(first.id).await.unwrap().unwrap().role, Role::User);
}

#[tokio::test]
async fn expired_tokens_are_purged() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    assert_eq!(bench.accounts.purge(100, at(24 * HOUR - 1)).await.unwrap(), 0);
    assert_eq!(bench.accounts.purge(100, at(0) + TimeDelta::days(1)).await.unwrap(), 1);
}
