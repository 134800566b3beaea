//! Changing and resetting passwords.

use super::*;
use crate::accounts::test_support::{Bench, PASSWORD, at, email, password};
use crate::accounts::{InvalidToken, SignInAttempt};

const HOUR: i64 = 3_600_000;
const NEW: &str = "Battery-Staple-8";

fn origin() -> Origin {
    Origin { address: "203.0.113.7".parse().unwrap(), device: None }
}

async fn signs_in(accounts: &Accounts, typed: &str) -> bool {
    let attempt = SignInAttempt { email: email("a@b.example"), password: password(typed), origin: origin() };
    accounts.sign_in(attempt, at(10 * HOUR)).await.unwrap().outcome.is_ok()
}

async fn reset(bench: &Bench, token: &str, typed: &str, millis: i64) -> Result<User, InvalidToken> {
    let hash = bench.accounts.hash_new_password(password(typed)).await.unwrap();
    let mut transaction = bench.accounts.pool().begin().await.unwrap();
    let result = bench.accounts.reset_password(&mut transaction, token, &hash, at(millis)).await.unwrap();
    transaction.commit().await.unwrap();
    result
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_another_one_that_is_strong() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let change = async |current: &str, new: &str| {
        let change =
            bench.accounts.prepare_password_change(&user, password(current), password(new), &origin(), at(1)).await;
        change.unwrap().outcome
    };
    assert!(matches!(change("wrong", NEW).await, Err(ChangeRefusal::Current(Refusal::WrongCredentials))));
    assert!(matches!(change(PASSWORD, PASSWORD).await, Err(ChangeRefusal::Same)));
    assert!(matches!(change(PASSWORD, "weak").await, Err(ChangeRefusal::New(PasswordRefusal::Weak(_)))));
    let hash = change(PASSWORD, NEW).await.unwrap();
    assert!(signs_in(&bench.accounts, PASSWORD).await, "nothing is stored yet");
    let mut transaction = bench.accounts.pool().begin().await.unwrap();
    assert!(bench.accounts.store_password(&mut transaction, user.id, &hash, at(2)).await.unwrap());
    assert!(!bench.accounts.store_password(&mut transaction, Uuid::nil(), &hash, at(2)).await.unwrap());
    transaction.commit().await.unwrap();
    assert!(signs_in(&bench.accounts, NEW).await && !signs_in(&bench.accounts, PASSWORD).await);
    bench.accounts.notify_password_changed(&user, at(3)).await.unwrap();
    assert_eq!(bench.take_mail(), [("password-changed".into(), "a@b.example".into(), None)]);
    assert_eq!(format!("{hash:?}"), "NewPassword(***)");
}

#[tokio::test]
async fn a_rolled_back_change_is_none() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let hash = bench.accounts.hash_new_password(password(NEW)).await.unwrap();
    let mut transaction = bench.accounts.pool().begin().await.unwrap();
    bench.accounts.store_password(&mut transaction, user.id, &hash, at(1)).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(signs_in(&bench.accounts, PASSWORD).await);
}

#[tokio::test]
async fn a_reset_link_works_once_and_for_an_hour() {
    for (millis, good) in [(0, true), (HOUR - 1, true), (HOUR, false)] {
        let bench = Bench::new().await;
        let user = bench.verified_user("a@b.example").await;
        bench.accounts.request_reset(&email("a@b.example"), at(0)).await.unwrap();
        let token = bench.take_token("a@b.example");
        let expiry = bench.accounts.reset_expiry(&token, at(millis)).await.unwrap();
        assert_eq!(expiry, good.then(|| at(HOUR)));
        assert_eq!(
            reset(&bench, &token, NEW, millis).await.map(|user| user.id),
            if good { Ok(user.id) } else { Err(InvalidToken) }
        );
        assert_eq!(reset(&bench, &token, NEW, millis).await, Err(InvalidToken), "a second time");
        assert_eq!(bench.accounts.reset_expiry(&token, at(millis)).await.unwrap(), None);
        assert_eq!(signs_in(&bench.accounts, NEW).await, good);
    }
}

#[tokio::test]
async fn requests_of_others_take_no_link_away_and_using_one_uses_up_all() {
    let bench = Bench::new().await;
    bench.verified_user("a@b.example").await;
    let address = email("a@b.example");
    bench.accounts.request_reset(&address, at(0)).await.unwrap();
    let owners = bench.take_token("a@b.example");
    let mut others = Vec::new();
    for millis in 1..20 {
        bench.accounts.request_reset(&address, at(millis)).await.unwrap();
        others.extend(bench.take_mail().into_iter().map(|mail| mail.2.unwrap()));
    }
    assert_eq!(others.len(), 4, "the mailbox has five that are good");
    for token in others.iter().chain([&owners]) {
        assert!(bench.accounts.reset_expiry(token, at(20)).await.unwrap().is_some());
    }
    // Each makes room when its hour is over.
    bench.accounts.request_reset(&address, at(HOUR)).await.unwrap();
    let latest = bench.take_token("a@b.example");
    bench.accounts.request_reset(&address, at(HOUR)).await.unwrap();
    assert_eq!(bench.take_mail(), []);
    reset(&bench, &others[2], NEW, HOUR).await.unwrap();
    for token in others.iter().chain([&owners, &latest]) {
        assert_eq!(reset(&bench, token, "Third-Password-9", HOUR).await, Err(InvalidToken));
        assert_eq!(bench.accounts.reset_expiry(token, at(HOUR)).await.unwrap(), None);
    }
    bench.accounts.request_reset(&address, at(HOUR)).await.unwrap();
    bench.take_token("a@b.example");
}

#[tokio::test]
async fn those_who_ask_at_once_get_no_more_links_together() {
    let bench = Bench::new().await;
    bench.verified_user("a@b.example").await;
    let address = email("a@b.example");
    let asked = (0..12).map(|_| {
        let (accounts, address) = (bench.accounts.clone(), address.clone());
        tokio::spawn(async move { accounts.request_reset(&address, at(0)).await.unwrap() })
    });
    for one in asked.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(bench.take_mail().len(), 5);
}

#[tokio::test]
async fn no_link_works_after_a_change() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.accounts.request_reset(&email("a@b.example"), at(1)).await.unwrap();
    let second = bench.take_token("a@b.example");
    let hash = bench.accounts.hash_new_password(password(NEW)).await.unwrap();
    let mut transaction = bench.accounts.pool().begin().await.unwrap();
    bench.accounts.store_password(&mut transaction, user.id, &hash, at(3)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(reset(&bench, &second, "Third-Password-9", 4).await, Err(InvalidToken));
}

#[tokio::test]
async fn links_are_good_for_their_own_purpose() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    let verify = bench.take_token("a@b.example");
    assert_eq!(reset(&bench, &verify, NEW, 1).await, Err(InvalidToken));
    bench.accounts.verify_email(&verify, at(1)).await.unwrap().unwrap();
    bench.accounts.request_reset(&email("a@b.example"), at(1)).await.unwrap();
    let token = bench.take_token("a@b.example");
    assert_eq!(bench.accounts.verify_email(&token, at(2)).await.unwrap(), Err(InvalidToken));
    reset(&bench, &token, NEW, 2).await.unwrap();
}

#[tokio::test]
async fn unknown_unconfirmed_and_disabled_accounts_get_no_link() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.register("new@b.example", "Ann", 1).await;
    bench.take_token("new@b.example");
    for address in ["x@b.example", "new@b.example"] {
        bench.accounts.request_reset(&email(address), at(1)).await.unwrap();
    }
    bench.disable(user.id, true, 1).await;
    bench.accounts.request_reset(&email("a@b.example"), at(2)).await.unwrap();
    assert_eq!(bench.take_mail(), []);
    assert_eq!(bench.tokens().await, 1, "that of the registration");
}

#[tokio::test]
async fn a_link_does_not_outlast_the_end_of_its_account() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.accounts.request_reset(&user.email, at(0)).await.unwrap();
    let token = bench.take_token("a@b.example");
    bench.disable(user.id, true, 1).await;
    assert_eq!(reset(&bench, &token, NEW, 2).await, Err(InvalidToken));
    bench.disable(user.id, false, 3).await;
    assert!(signs_in(&bench.accounts, PASSWORD).await, "the password is the old one");
}

/// By another hand than ours, which leaves the links.
#[tokio::test]
async fn a_link_of_an_account_that_is_disabled_is_called_dead() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.accounts.request_reset(&user.email, at(0)).await.unwrap();
    let token = bench.take_token("a@b.example");
    let disable = sql::query("UPDATE users SET disabled_at = 1");
    disable.execute(bench.accounts.pool()).await.unwrap();
    assert_eq!(bench.accounts.reset_expiry(&token, at(2)).await.unwrap(), None);
    assert_eq!(reset(&bench, &token, NEW, 2).await, Err(InvalidToken));
}
