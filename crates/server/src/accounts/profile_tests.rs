//! Name, address and closing of an account.

use super::*;
use crate::accounts::InvalidToken;
use crate::accounts::test_support::{Bench, at, email};

#[tokio::test]
async fn the_name_changes_at_once() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let name = PersonName::parse("Änne").unwrap();
    let changed = bench.accounts.update_name(user.id, &name, at(7)).await.unwrap().unwrap();
    assert_eq!(changed, User { name: "Änne".into(), updated_at: at(7), ..user });
    assert_eq!(bench.accounts.update_name(Uuid::nil(), &name, at(7)).await.unwrap(), None);
}

#[tokio::test]
async fn the_address_changes_when_the_new_one_is_confirmed() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    assert_eq!(bench.accounts.request_email_change(&user, &user.email, at(1)).await.unwrap(), EmailChange::Unchanged);
    let change = bench.accounts.request_email_change(&user, &email("new@b.example"), at(1)).await.unwrap();
    assert_eq!(change, EmailChange::Pending);
    assert_eq!(bench.accounts.find(user.id).await.unwrap().unwrap().email, user.email);
    let token = bench.take_token("new@b.example");
    let changed = bench.accounts.verify_email(&token, at(2)).await.unwrap().unwrap();
    assert_eq!((changed.id, changed.email.as_str()), (user.id, "new@b.example"));
    assert_eq!(bench.take_mail(), [("email-changed".into(), "a@b.example".into(), None)]);
    assert_eq!(bench.accounts.verify_email(&token, at(3)).await.unwrap(), Err(InvalidToken));
    assert_eq!(bench.accounts.find_by_email(&email("a@b.example")).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_stands_although_the_old_address_cannot_be_told() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.accounts.request_email_change(&user, &email("new@b.example"), at(1)).await.unwrap();
    let token = bench.take_token("new@b.example");
    bench.break_mail();
    let changed = bench.accounts.verify_email(&token, at(2)).await.unwrap().unwrap();
    assert_eq!(changed.email.as_str(), "new@b.example");
    assert_eq!(bench.accounts.find(user.id).await.unwrap(), Some(changed));
}

#[tokio::test]
async fn a_taken_address_is_not_told_and_not_taken() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    let owner = bench.verified_user("c@d.example").await;
    let change = bench.accounts.request_email_change(&user, &owner.email, at(1)).await.unwrap();
    assert_eq!(change, EmailChange::Pending);
    assert_eq!(bench.take_mail(), [("already-registered".into(), "c@d.example".into(), None)]);
}

#[tokio::test]
async fn a_taken_address_costs_the_same_commit_as_a_free_one() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.verified_user("taken@b.example").await;
    for address in ["free@b.example", "taken@b.example"] {
        bench.accounts.request_email_change(&user, &email("first@b.example"), at(1)).await.unwrap();
        let first = bench.take_token("first@b.example");
        bench.accounts.request_email_change(&user, &email(address), at(2)).await.unwrap();
        assert_eq!(bench.tokens().await, 1, "{address}");
        assert_eq!(bench.accounts.verify_email(&first, at(3)).await.unwrap(), Err(InvalidToken), "{address}");
        assert_eq!(bench.take_mail().len(), 1, "{address}");
    }
    assert_eq!(bench.accounts.purge(100, at(2)).await.unwrap(), 1, "that of the taken one has expired");
}

#[tokio::test]
async fn an_address_that_was_never_confirmed_is_free() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.register("new@b.example", "Squatter", 1).await;
    let squatter = bench.take_token("new@b.example");
    bench.accounts.request_email_change(&user, &email("new@b.example"), at(2)).await.unwrap();
    let link = bench.take_token("new@b.example");
    let changed = bench.accounts.verify_email(&link, at(3)).await.unwrap().unwrap();
    assert_eq!((changed.id, changed.email.as_str()), (user.id, "new@b.example"));
    assert_eq!(bench.accounts.verify_email(&squatter, at(4)).await.unwrap(), Err(InvalidToken));
    assert_eq!(bench.count("users").await, 1);
}

#[tokio::test]
async fn a_closed_account_keeps_its_address() {
    let bench = Bench::new().await;
    let user = bench.verified_user("a@b.example").await;
    bench.register("new@b.example", "Closed", 1).await;
    bench.take_mail();
    bench.accounts.request_email_change(&user, &email("new@b.example"), at(2)).await.unwrap();
    let link = bench.take_token("new@b.example");
    let closed = bench.accounts.find_by_email(&email("new@b.example")).await.unwrap().unwrap();
    bench.disable(closed.id, true, 3).await;
    assert_eq!(bench.accounts.verify_email(&link, at(4)).await.unwrap(), Err(InvalidToken));
    bench.accounts.request_email_change(&user, &email("new@b.example"), at(5)).await.unwrap();
    assert_eq!(bench.take_mail(), [("already-registered".into(), "new@b.example".into(), None)]);
}

#[tokio::test]
async fn who_confirms_second_loses() {
    let bench = Bench::new().await;
    let first = bench.verified_user("a@b.example").await;
    let second = bench.verified_user("c@d.example").await;
    let wanted = email("new@b.example");
    bench.accounts.request_email_change(&first, &wanted, at(1)).await.unwrap();
    let early = bench.take_token("new@b.example");
    bench.accounts.request_email_change(&second, &wanted, at(2)).await.unwrap();
    let late = bench.take_token("new@b.example");
    assert!(bench.accounts.verify_email(&late, at(3)).await.unwrap().is_ok());
    assert_eq!(bench.accounts.verify_email(&early, at(4)).await.unwrap(), Err(InvalidToken));
    assert_eq!(bench.accounts.find(first.id).await.unwrap().unwrap().email, first.email);
    assert_eq!(bench.accounts.find_by_email(&wanted).await.unwrap().unwrap().id, second.id);
}
