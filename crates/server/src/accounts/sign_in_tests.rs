//! Signing in, right and wrong.

use super::*;
use crate::accounts::test_support::{Bench, PASSWORD, at, email, password};

fn attempt(address: &str, typed: &str) -> SignInAttempt {
    SignInAttempt { email: email(address), password: password(typed), origin: origin(None) }
}

fn origin(device: Option<DeviceToken>) -> Origin {
    Origin { address: "203.0.113.7".parse().unwrap(), device }
}

async fn outcome(bench: &Bench, attempt: SignInAttempt) -> Result<SignedIn, Refusal> {
    bench.accounts.sign_in(attempt, at(10)).await.unwrap().outcome
}

#[tokio::test]
async fn the_right_password_of_a_confirmed_account_signs_in() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let signed_in = outcome(&bench, attempt("A@b.example", PASSWORD)).await.unwrap();
    assert_eq!((signed_in.user, signed_in.device_known), (user, false));
}

#[tokio::test]
async fn unknown_and_wrong_look_alike() {
    let bench = Bench::new().await;
    bench.verified_user("a@b.example").await;
    let mut seen = Vec::new();
    for address in ["a@b.example", "nobody@b.example"] {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let attempted = bench.accounts.sign_in(attempt(address, "wrong"), at(10)).await.unwrap();
            answers.push((attempted.delay, attempted.outcome.unwrap_err()));
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    let refusals: Vec<_> = seen[0].iter().map(|answer| answer.1).collect();
    assert!(refusals[..10].iter().all(|refusal| *refusal == Refusal::WrongCredentials));
    let locked = Refusal::Locked { retry_after: Duration::from_hours(1) };
    assert!(refusals[10..].iter().all(|refusal| *refusal == locked), "{refusals:?}");
    assert_eq!(outcome(&bench, attempt("a@b.example", PASSWORD)).await.unwrap_err(), locked, "the right one too");
}

#[tokio::test]
async fn what_is_wrong_with_an_account_is_told_after_the_right_password_only() {
    let bench = Bench::new().await;
    bench.register("new@b.example", "New", 0).await;
    bench.take_mail();
    let disabled = bench.verified_user("off@b.example").await;
    bench.disable(disabled.id, true, 1).await;
    for (address, refusal) in [("new@b.example", Refusal::NotVerified), ("off@b.example", Refusal::Disabled)] {
        assert_eq!(outcome(&bench, attempt(address, "wrong")).await.unwrap_err(), Refusal::WrongCredentials);
        assert_eq!(outcome(&bench, attempt(address, PASSWORD)).await.unwrap_err(), refusal);
    }
    bench.disable(disabled.id, false, 2).await;
    assert!(outcome(&bench, attempt("off@b.example", PASSWORD)).await.is_ok());
}

#[tokio::test]
async fn a_known_device_gets_in_while_its_block_is_locked() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let device = DeviceToken::generate().unwrap();
    bench.accounts.remember_device(user.id, &device, at(1)).await.unwrap();
    for _ in 0..10 {
        outcome(&bench, attempt("a@b.example", "wrong")).await.unwrap_err();
    }
    let with = |device| SignInAttempt { origin: origin(Some(device)), ..attempt("a@b.example", PASSWORD) };
    assert!(outcome(&bench, with(device)).await.unwrap().device_known);
    let stranger = outcome(&bench, with(DeviceToken::generate().unwrap())).await.unwrap_err();
    assert!(matches!(stranger, Refusal::Locked { .. }), "a device of its own making is not known");
}

#[tokio::test]
async fn a_sign_in_holds_while_password_and_account_stay_as_they_were() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let signed_in = outcome(&bench, attempt("a@b.example", PASSWORD)).await.unwrap();
    assert!(!format!("{signed_in:?}").contains("argon2"), "the hash is not shown");
    assert_eq!(bench.accounts.still_admits(&signed_in).await.unwrap(), Ok(()));
    bench.disable(user.id, true, 11).await;
    assert_eq!(bench.accounts.still_admits(&signed_in).await.unwrap(), Err(Refusal::Disabled));
    bench.disable(user.id, false, 12).await;
    // The same password, hashed again: it was changed all the same.
    let hash = bench.accounts.hash_new_password(password(PASSWORD)).await.unwrap();
    let mut transaction = bench.accounts.pool().begin().await.unwrap();
    bench.accounts.store_password(&mut transaction, user.id, &hash, at(13)).await.unwrap();
    let asked = bench.accounts.still_admits(&signed_in);
    tokio::pin!(asked);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut asked).await;
    assert!(early.is_err(), "a change that is about to commit is waited for");
    transaction.commit().await.unwrap();
    assert_eq!(asked.await.unwrap(), Err(Refusal::WrongCredentials));
    crate::sql::query("DELETE FROM users").execute(bench.accounts.pool()).await.unwrap();
    assert_eq!(bench.accounts.still_admits(&signed_in).await.unwrap(), Err(Refusal::WrongCredentials));
}

#[tokio::test]
async fn a_session_is_no_way_to_guess() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    for _ in 0..10 {
        let attempted = bench.accounts.check_password(&user, password("wrong"), &origin(None), at(1)).await.unwrap();
        assert_eq!(attempted.outcome, Err(Refusal::WrongCredentials));
    }
    let attempted = bench.accounts.check_password(&user, password(PASSWORD), &origin(None), at(1)).await.unwrap();
    assert!(matches!(attempted.outcome, Err(Refusal::Locked { .. })));
}

#[tokio::test]
async fn a_known_and_an_unknown_address_cost_as_many_statements() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    let bench = Bench::new().await;
    bench.verified_user("a@b.example").await;
    // Each statement takes the one connection, and gives it back.
    let taken = Arc::new(AtomicU32::new(0));
    let count = taken.clone();
    let options = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).before_acquire(move |_, _| {
        count.fetch_add(1, SeqCst);
        Box::pin(async { Ok(true) })
    });
    // What counts is this one engine's; the statements are the same for all.
    let crate::sql::Pool::Sqlite(database) = bench.accounts.pool() else { return };
    let database = database.connect_options();
    let pool = options.connect_with(Arc::unwrap_or_clone(database)).await.unwrap();
    let accounts = bench.over(pool);
    let device = DeviceToken::generate().unwrap();
    for device in [None, Some(device)] {
        let mut counts = Vec::new();
        for address in ["a@b.example", "nobody@b.example"] {
            taken.store(0, SeqCst);
            let attempt = SignInAttempt { origin: origin(device.clone()), ..attempt(address, "wrong") };
            accounts.sign_in(attempt, at(10)).await.unwrap().outcome.unwrap_err();
            counts.push(taken.load(SeqCst));
        }
        let expected = if device.is_some() { 5 } else { 4 };
        assert_eq!(counts, [expected; 2], "the account, its failures, twice one more, and the device");
    }
}
