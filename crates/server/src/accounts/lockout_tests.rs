//! Counting, locking and slowing down, with time injected.

use super::*;
use crate::accounts::test_support::{Bench, at, email};

const HOUR: i64 = 3_600_000;

fn block(address: &str) -> Source {
    Source::block(address.parse().unwrap())
}

async fn fail(lockout: &Lockout, source: &Source, millis: i64, times: u32) {
    for _ in 0..times {
        lockout.failed(&target(), source, at(millis)).await.unwrap();
    }
}

fn target() -> Target {
    Target::new(&email("a@b.example"))
}

async fn admit(lockout: &Lockout, source: &Source, millis: i64) -> Admission {
    lockout.admit(&target(), source, at(millis)).await.unwrap()
}

fn open(millis: u64) -> Admission {
    Admission::Open { delay: Duration::from_millis(millis) }
}

#[test]
fn addresses_are_counted_by_block() {
    for (address, key) in [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ] {
        assert_eq!(block(address).key(), key);
    }
}

#[tokio::test]
async fn ten_failures_lock_for_an_hour_with_growing_delays_before() {
    let bench = Bench::new().await;
    let (lockout, here) = (&bench.accounts.lockout, block("203.0.113.7"));
    for delay in [0, 0, 0, 100, 200, 400, 800, 1600, 2000, 2000] {
        assert_eq!(admit(lockout, &here, 0).await, open(delay));
        assert_eq!(lockout.failed(&target(), &here, at(0)).await.unwrap(), None);
    }
    let locked = Admission::Locked { until: at(HOUR) };
    for millis in [0, 1, HOUR - 1] {
        assert_eq!(admit(lockout, &here, millis).await, locked, "{millis}");
        assert_eq!(admit(lockout, &block("203.0.113.250"), millis).await, locked, "the whole block");
    }
    assert_eq!(
        lockout.failed(&target(), &here, at(5)).await.unwrap(),
        Some(at(HOUR)),
        "a guess that ran beside the tenth"
    );
    assert_eq!(lockout.succeeded(&target(), &here, at(5)).await.unwrap(), Some(at(HOUR)), "even a right one");
    assert_eq!(admit(lockout, &here, HOUR).await, open(0), "everything is forgotten");
    fail(lockout, &here, HOUR, 1).await;
    assert_eq!(admit(lockout, &here, HOUR).await, open(0), "counted from one again");
}

#[tokio::test]
async fn others_are_slowed_but_never_locked() {
    let bench = Bench::new().await;
    let lockout = &bench.accounts.lockout;
    for host in 0..40 {
        fail(lockout, &block(&format!("10.0.{host}.1")), 0, 10).await;
    }
    assert_eq!(admit(lockout, &block("203.0.113.7"), 1).await, open(2000));
    assert_eq!(admit(lockout, &block("203.0.113.7"), HOUR).await, open(0), "forgotten after an hour");
    assert_eq!(lockout.admit(&Target::new(&email("c@d.example")), &block("10.0.0.1"), at(1)).await.unwrap(), open(0));
}

#[tokio::test]
async fn a_known_device_has_its_own_count() {
    let bench = Bench::new().await;
    let lockout = &bench.accounts.lockout;
    let device = Source::device(&DeviceToken::generate().unwrap());
    fail(lockout, &block("203.0.113.7"), 0, 30).await;
    assert_eq!(admit(lockout, &device, 1).await, open(0));
    fail(lockout, &device, 1, 10).await;
    assert!(matches!(admit(lockout, &device, 1).await, Admission::Locked { .. }));
    assert_eq!(admit(lockout, &Source::device(&DeviceToken::generate().unwrap()), 1).await, open(0));
}

#[tokio::test]
async fn success_forgets_the_failures_of_the_origin() {
    let bench = Bench::new().await;
    let (lockout, here) = (&bench.accounts.lockout, block("203.0.113.7"));
    fail(lockout, &here, 0, 9).await;
    assert_eq!(lockout.succeeded(&target(), &here, at(1)).await.unwrap(), None);
    fail(lockout, &here, 2, 1).await;
    assert_eq!(admit(lockout, &here, 2).await, open(100), "only the slowing of the account is left");
}

#[tokio::test]
async fn failures_far_apart_do_not_add_up() {
    let bench = Bench::new().await;
    let (lockout, here) = (&bench.accounts.lockout, block("203.0.113.7"));
    for hour in 0..12 {
        fail(lockout, &here, hour * HOUR, 1).await;
    }
    assert_eq!(admit(lockout, &here, 11 * HOUR).await, open(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_guesses_at_once_ten_learn_something() {
    let bench = Bench::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let lockout = bench.accounts.lockout.clone();
        tasks.spawn(async move { lockout.failed(&target(), &block("203.0.113.7"), at(0)).await.unwrap().is_none() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|learned| *learned).count(), 10);
}

#[tokio::test]
async fn no_address_is_stored_in_clear_and_the_forgotten_is_purged() {
    let bench = Bench::new().await;
    let (lockout, here) = (&bench.accounts.lockout, block("203.0.113.7"));
    fail(lockout, &here, 0, 10).await;
    let row = sql::query("SELECT account FROM login_failures").fetch_all(bench.accounts.pool()).await.unwrap();
    let account: Vec<u8> = row[0].only().unwrap();
    assert!(!String::from_utf8_lossy(&account).contains("b.example"));
    assert_eq!(lockout.purge(100, at(HOUR - 1)).await.unwrap(), 0);
    assert_eq!(lockout.purge(1, at(HOUR)).await.unwrap(), 1, "in batches");
    assert_eq!(lockout.purge(100, at(HOUR)).await.unwrap(), 1);
}
