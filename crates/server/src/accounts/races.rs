//! Two servers on one database, and many requests at the same moment.

use std::sync::Arc;

use futures_util::future::join_all;
use session_manager_services::{MariaDb, Postgres};
use tokio::sync::Barrier;

use super::lockout::{Source, Target};
use super::test_support::{Bench, PASSWORD, at, email, password};
use super::*;
use crate::data::{fresh_database, settings_at};
use crate::sql::retried;

const ANN: &str = "ann@b.example";

/// Two servers.
async fn pair(server: Option<&str>) -> [Arc<Bench>; 2] {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let file = format!("sqlite:{}", folders[0].path().join("accounts.db").display());
    let url = server.map_or(file, fresh_database);
    let [first, second] = folders;
    let (one, other) = (settings_at(first.path(), Some(&url)), settings_at(second.path(), Some(&url)));
    let one = Bench::on(first, one, AdminRule::FirstUser).await;
    [Arc::new(one), Arc::new(Bench::on(second, other, AdminRule::FirstUser).await)]
}

/// Does the work so many times at once, half of it at each server.
async fn at_once<T, F, R>(servers: &[Arc<Bench>; 2], times: usize, work: F) -> Vec<T>
where
    F: Fn(Arc<Bench>, usize) -> R,
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let barrier = Arc::new(Barrier::new(times));
    let tasks = (0..times).map(|index| {
        let (barrier, work) = (Arc::clone(&barrier), work(Arc::clone(&servers[index % 2]), index));
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

async fn reset(accounts: &Accounts, token: &str, hash: &NewPassword) -> Result<bool, Fault> {
    let mut transaction = accounts.pool().begin().await?;
    let outcome = accounts.reset_password(&mut transaction, token, hash, at(3)).await?;
    transaction.commit().await?;
    Ok(outcome.is_ok())
}

async fn store(accounts: &Accounts, user: &User, hash: &NewPassword) -> Result<(), Fault> {
    let mut transaction = accounts.pool().begin().await?;
    accounts.store_password(&mut transaction, user.id, hash, at(4)).await?;
    transaction.commit().await?;
    Ok(())
}

fn links(servers: &[Arc<Bench>; 2]) -> Vec<String> {
    let mails = servers.iter().flat_map(|server| server.take_mail());
    mails.filter_map(|(_, _, token)| token).collect()
}

async fn confirmed_at_once(servers: &[Arc<Bench>; 2], tokens: &[String]) -> Vec<User> {
    let answers = at_once(servers, tokens.len(), |bench, index| {
        let token = tokens[index].clone();
        async move { bench.accounts.verify_email(&token, at(1)).await.unwrap() }
    });
    answers.await.into_iter().filter_map(Result::ok).collect()
}

async fn one_address_is_one_account(servers: &[Arc<Bench>; 2]) {
    at_once(servers, 16, |bench, index| async move {
        bench.register_with(ANN, &format!("Ann {index}"), PASSWORD, 0).await;
    })
    .await;
    assert_eq!((servers[0].count("users").await, servers[0].tokens().await), (1, 16));
    let tokens = links(servers);
    assert_eq!(tokens.len(), 16);
    let good = confirmed_at_once(servers, &tokens).await;
    assert_eq!(good.len(), 1, "the first link that is opened ends the others");
    assert_eq!(servers[1].tokens().await, 0);
    assert_eq!(good[0].role, Role::Admin);
}

async fn one_is_the_first(servers: &[Arc<Bench>; 2]) {
    at_once(servers, 16, |bench, index| async move {
        bench.register(&format!("user{index}@b.example"), "Ann", 0).await;
    })
    .await;
    let tokens = links(servers);
    let good = confirmed_at_once(servers, &tokens).await;
    assert_eq!(good.len(), 16);
    assert_eq!(good.iter().filter(|user| user.role == Role::Admin).count(), 1, "{good:?}");
}

async fn a_reset_link_is_used_once(servers: &[Arc<Bench>; 2]) {
    servers[0].verified_user(ANN).await;
    servers[1].accounts.request_reset(&email(ANN), at(2)).await.unwrap();
    let token = servers[1].take_token(ANN);
    let hash = servers[0].accounts.hash_new_password(password("Battery-Staple-8")).await.unwrap();
    let used = at_once(servers, 16, |bench, _| {
        let (token, hash) = (token.clone(), hash.clone());
        async move { retried!(reset(&bench.accounts, &token, &hash)).unwrap() }
    });
    assert_eq!(used.await.into_iter().filter(|used| *used).count(), 1);
}

async fn no_failure_is_lost(servers: &[Arc<Bench>; 2]) {
    let target = Target::new(&email(ANN));
    let fail = |bench: Arc<Bench>, address: String| {
        let (target, source) = (target.clone(), Source::block(address.parse().unwrap()));
        async move { bench.accounts.lockout.failed(&target, &source, at(5)).await.unwrap() }
    };
    // From everywhere.
    at_once(servers, 32, |bench, index| fail(bench, format!("203.0.{index}.1"))).await;
    let counted = sql::query("SELECT count FROM login_failures WHERE origin = '*'");
    let counted: i64 = counted.fetch_one(servers[0].accounts.pool()).await.unwrap().only().unwrap();
    assert_eq!(counted, 32);
    // From one place: ten guesses, and no eleventh.
    let told = at_once(servers, 32, |bench, _| fail(bench, "198.51.100.1".to_owned())).await;
    assert_eq!(told.iter().filter(|locked| locked.is_none()).count(), 10, "{told:?}");
    let row = sql::query("SELECT count FROM login_failures WHERE origin = '198.51.100.0/24'");
    assert_eq!(row.fetch_one(servers[0].accounts.pool()).await.unwrap().only::<i64>().unwrap(), 10);
}

/// What users, administrators and the clean-up do at the same moment: none of it fails, whoever waits for whom.
async fn nothing_fails_for_another(servers: &[Arc<Bench>; 2]) {
    let mut users = Vec::new();
    for index in 0..4 {
        users.push(servers[0].verified_user(&format!("user{index}@b.example")).await);
    }
    let hash = servers[0].accounts.hash_new_password(password("Battery-Staple-8")).await.unwrap();
    let faults = at_once(servers, 64, |bench, index| {
        let (user, hash) = (users[index % 3].clone(), hash.clone());
        async move {
            let (accounts, now) = (&bench.accounts, at(10 * 24 * 3_600_000));
            for _ in 0..4 {
                match index % 8 {
                    0 => accounts.request_reset(&user.email, now).await?,
                    1 => drop(accounts.purge(100, now).await?),
                    2 => drop(accounts.request_email_change(&user, &email("new@b.example"), now).await?),
                    3 => drop(accounts.remember_device(user.id, &DeviceToken::generate()?, now).await?),
                    4 => retried!(store(accounts, &user, &hash))?,
                    5 => drop(accounts.update_name(user.id, &PersonName::parse("Ann").unwrap(), now).await?),
                    6 => drop(accounts.oldest().await?),
                    _ => bench.register("other@b.example", "Ann", 10 * 24 * 3_600_000).await,
                }
            }
            Ok::<_, Fault>(())
        }
    });
    for outcome in faults.await {
        outcome.unwrap();
    }
}

async fn all_of_them(server: Option<&str>) {
    one_address_is_one_account(&pair(server).await).await;
    one_is_the_first(&pair(server).await).await;
    a_reset_link_is_used_once(&pair(server).await).await;
    no_failure_is_lost(&pair(server).await).await;
    nothing_fails_for_another(&pair(server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    all_of_them(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    all_of_them(Some(&Postgres::start().unwrap().url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_mariadb() {
    all_of_them(Some(&MariaDb::start().unwrap().url())).await;
}
