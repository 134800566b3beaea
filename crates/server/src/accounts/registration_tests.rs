//! Registration and confirmation, as seen from outside and from the mailbox.

use super::*;
use crate::accounts::test_support::{Bench, PASSWORD, at, email, password};
use crate::accounts::{Origin, Refusal, Role, SignInAttempt};
use crate::passwords::Violation;
use crate::sql::Pool;

const HOUR: i64 = 3_600_000;
const OTHER: &str = "Battery-Staple-8";

/// What comes of signing in to `a@b.example`.
async fn outcome(bench: &Bench, typed: &str, millis: i64) -> Result<Uuid, Refusal> {
    let origin = Origin { address: "203.0.113.7".parse().unwrap(), device: None };
    let attempt = SignInAttempt { email: email("a@b.example"), password: password(typed), origin };
    bench.accounts.sign_in(attempt, at(millis)).await.unwrap().outcome.map(|signed_in| signed_in.user.id)
}

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
    let row = sql::query("SELECT hash FROM mail_tokens").fetch_one(bench.accounts.pool()).await.unwrap();
    let stored: Vec<u8> = row.only().unwrap();
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

/// Of two registrations of an address, the one whose link is opened counts, whichever it is.
#[tokio::test]
async fn the_link_that_is_opened_decides_which_registration_counts() {
    let chosen = [("Ann", PASSWORD), ("Mallory", OTHER)];
    for opened in [0, 1] {
        let bench = Bench::new().await;
        let mut links = Vec::new();
        for (millis, (name, typed)) in (0..).zip(chosen) {
            bench.register_with("a@b.example", name, typed, millis).await;
            links.push(bench.take_token("a@b.example"));
        }
        let user = bench.accounts.verify_email(&links[opened], at(5)).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.created_at), (chosen[opened].0, at(0)));
        assert_eq!(outcome(&bench, chosen[opened].1, 6).await, Ok(user.id));
        assert_eq!(outcome(&bench, chosen[1 - opened].1, 6).await, Err(Refusal::WrongCredentials));
        assert_eq!(bench.accounts.verify_email(&links[1 - opened], at(7)).await.unwrap(), Err(InvalidToken));
        assert_eq!(outcome(&bench, chosen[opened].1, 8).await, Ok(user.id), "the other link has changed nothing");
    }
}

#[tokio::test]
async fn no_copy_of_a_password_stays_behind_a_confirmation() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    bench.register("a@b.example", "Ann", 1).await;
    let token = bench.take_mail().pop().unwrap().2.unwrap();
    bench.accounts.verify_email(&token, at(2)).await.unwrap().unwrap();
    assert_eq!(bench.tokens().await, 0);
}

#[tokio::test]
async fn a_later_registration_says_that_an_earlier_one_is_waiting() {
    let bench = Bench::new().await;
    for (millis, earlier) in [(0, false), (1, true), (24 * HOUR, true), (48 * HOUR, false)] {
        bench.register("a@b.example", "Ann", millis).await;
        let text = bench.take_text();
        assert_eq!(text.contains("An earlier registration"), earlier, "{millis}: {text}");
    }
}

#[tokio::test]
async fn a_waiting_account_knows_the_password_of_its_latest_registration() {
    let bench = Bench::new().await;
    bench.register("a@b.example", "Ann", 0).await;
    bench.register_with("a@b.example", "Ann", OTHER, 1).await;
    assert_eq!(outcome(&bench, OTHER, 2).await, Err(Refusal::NotVerified));
    assert_eq!(outcome(&bench, PASSWORD, 2).await, Err(Refusal::WrongCredentials));
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
    assert_eq!(bench.count("users").await, 1);
    let mut good = 0;
    for (_, _, token) in bench.take_mail() {
        good += u32::from(bench.accounts.verify_email(&token.unwrap(), at(1)).await.unwrap().is_ok());
    }
    assert_eq!(good, 1, "the first link that is opened ends the others");
}

#[tokio::test]
async fn a_taken_address_costs_the_same_commit_as_a_free_one() {
    let bench = Bench::new().await;
    bench.verified_user("taken@b.example").await;
    for address in ["free@b.example", "taken@b.example"] {
        let Pool::Sqlite(pool) = bench.accounts.pool() else { panic!("only SQLite tells of commits") };
        let (before, mut watcher) = (bench.tokens().await, pool.acquire().await.unwrap());
        let version = async |watcher: &mut sqlx::SqliteConnection| {
            sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(watcher).await.unwrap()
        };
        let unchanged = version(&mut watcher).await;
        bench.register(address, "Ann", 1).await;
        assert_eq!(bench.tokens().await, before + 1, "{address}");
        assert_ne!(version(&mut watcher).await, unchanged, "{address}: another connection has committed");
        assert_eq!(bench.take_mail().len(), 1, "{address}");
    }
    assert_eq!(bench.accounts.purge(100, at(1)).await.unwrap(), 1, "that of the taken one has expired");
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
async fn whoever_only_registers_first_is_no_administrator() {
    let bench = Bench::new().await;
    bench.register("first@b.example", "Mallory", 0).await;
    let late = bench.take_token("first@b.example");
    assert_eq!(bench.verified_user("second@b.example").await.role, Role::Admin, "the first one that is confirmed");
    let first = bench.accounts.verify_email(&late, at(2)).await.unwrap().unwrap();
    assert_eq!(first.role, Role::User);
    assert_eq!(bench.accounts.find_by_email(&first.email).await.unwrap().unwrap().role, Role::User);
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
async fn what_was_never_confirmed_is_purged_with_its_last_link() {
    let bench = Bench::new().await;
    let confirmed = bench.verified_user("a@b.example").await;
    for (address, millis) in [("never@b.example", 0), ("again@b.example", 0), ("again@b.example", HOUR)] {
        bench.register(address, "Ann", millis).await;
    }
    bench.register("closed@b.example", "Ann", 0).await;
    let closed = bench.accounts.find_by_email(&email("closed@b.example")).await.unwrap().unwrap();
    bench.disable(closed.id, true, 1).await;
    let left = async || {
        let addresses = "SELECT email FROM users ORDER BY email";
        let rows = sql::query(addresses).fetch_all(bench.accounts.pool()).await.unwrap();
        rows.iter().map(|row| row.only::<String>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bench.accounts.purge(100, at(24 * HOUR - 1)).await.unwrap(), 0);
    assert_eq!(bench.accounts.purge(100, at(24 * HOUR)).await.unwrap(), 4, "three links and an account");
    assert_eq!(left().await, ["a@b.example", "again@b.example", "closed@b.example"]);
    assert_eq!(bench.accounts.purge(100, at(25 * HOUR)).await.unwrap(), 2);
    assert_eq!(left().await, ["a@b.example", "closed@b.example"]);
    assert_eq!(bench.accounts.find(confirmed.id).await.unwrap(), Some(confirmed));
}

#[tokio::test]
async fn the_clean_up_takes_no_more_than_it_is_told() {
    let bench = Bench::new().await;
    for address in ["a@b.example", "b@b.example", "c@b.example"] {
        bench.register(address, "Ann", 0).await;
    }
    assert_eq!(bench.accounts.purge(1, at(24 * HOUR)).await.unwrap(), 2, "a link and its account");
    sql::query("DELETE FROM mail_tokens").execute(bench.accounts.pool()).await.unwrap();
    for removed in [1, 1, 0] {
        assert_eq!(bench.accounts.purge(1, at(24 * HOUR)).await.unwrap(), removed, "an account");
    }
}
