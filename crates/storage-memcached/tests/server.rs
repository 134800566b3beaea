//! What only a real server does: it restarts, pauses, is flushed, evicts, refuses what is too large, and answers to the letter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_manager_core::storage::{AdvanceOutcome, Consistency, InsertOutcome, OnLimit, Severity};
use session_manager_core::{ErrorKind, SessionStorage, Snapshot, State};
use session_manager_services::Memcached;
use session_manager_storage_memcached::{
    Added, CacheClient, CacheConnection, CacheError, CacheKey, CasToken, MemcachedStorage, Swapped, TimeToLive,
};
use session_manager_testkit::conformance::concurrency::at_once;
use session_manager_testkit::{Fixture, user};

fn address(server: &Memcached) -> String {
    format!("127.0.0.1:{}", server.port())
}

fn lab(server: &Memcached) -> Fixture {
    Fixture::new(Arc::new(support::storage_at(&address(server))))
}

async fn kind(lab: &Fixture, snapshot: &Snapshot) -> Option<ErrorKind> {
    lab.storage().read(&snapshot.key(), Consistency::Latest).await.err().map(|error| error.kind())
}

async fn is_live(lab: &Fixture, snapshot: &Snapshot) -> bool {
    lab.find(snapshot.key()).await.is_some_and(|one| one.state(lab.now(), lab.live()).is_live())
}

fn key(text: &str) -> CacheKey {
    CacheKey::parse(text).unwrap()
}

const HOUR: TimeToLive = TimeToLive::For(Duration::from_hours(1));

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_server_is_unavailable_and_a_restarted_one_serves_at_once() {
    let mut server = Memcached::start().unwrap();
    let lab = lab(&server);
    // Every connection of the pool has been used.
    let before = at_once(16, |_| {
        let lab = lab.clone();
        async move { lab.login(&user("alice")).await }
    })
    .await;
    server.kill().unwrap();
    assert_eq!(kind(&lab, &before[0]).await, Some(ErrorKind::Unavailable), "never \"no such session\"");
    let insert = lab.insert_of(lab.session(&user("alice")).record());
    let error = lab.storage().insert(&insert).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    server.restart().unwrap();
    assert_eq!(kind(&lab, &before[0]).await, None, "no restart of the application");
    for snapshot in &before {
        assert!(!is_live(&lab, snapshot).await, "all are signed out");
    }
    let after = lab.login(&user("alice")).await;
    assert!(is_live(&lab, &after).await);
    assert!(!is_live(&lab, &before[0]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_that_nobody_noticed_costs_no_request() {
    let mut server = Memcached::start().unwrap();
    let lab = lab(&server);
    at_once(16, |_| {
        let lab = lab.clone();
        async move { drop(lab.login(&user("alice")).await) }
    })
    .await;
    server.kill().unwrap();
    server.restart().unwrap();
    // All connections of the pool are dead, and no request hears of it.
    for number in 0..16 {
        let snapshot = lab.login(&user(&format!("user {number}"))).await;
        assert!(is_live(&lab, &snapshot).await);
    }
}

/// Why a token is good on its own connection only: a server that restarts gives the same ones again, for other items.
#[tokio::test]
async fn tokens_of_a_former_life_are_never_sent() {
    let mut server = Memcached::start().unwrap();
    let client = support::client(&address(&server), 2);
    let mut old = client.connection().await.unwrap();
    old.add(&key("item"), b"old", HOUR).await.unwrap();
    let token = old.get(&key("item")).await.unwrap().unwrap().token;
    server.kill().unwrap();
    server.restart().unwrap();
    let mut new = client.connection().await.unwrap();
    new.add(&key("item"), b"new", HOUR).await.unwrap();
    let item = new.get(&key("item")).await.unwrap().unwrap();
    assert_eq!(item.token, token, "the danger is real");
    let error = old.compare_and_swap(&key("item"), b"old", token, HOUR).await.unwrap_err();
    assert!(matches!(error, CacheError::Unreachable(_)), "{error:?}");
    assert_eq!(new.get(&key("item")).await.unwrap().unwrap(), item);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_server_is_unavailable_in_time_and_late_writes_are_judged_by_the_item() {
    let mut server = Memcached::start().unwrap();
    let client = support::client(&address(&server), 4).command_timeout(Duration::from_millis(200));
    let lab = Fixture::new(Arc::new(MemcachedStorage::new(client, support::config()).unwrap()));
    let live = lab.login(&user("alice")).await;
    server.pause().unwrap();
    let begun = Instant::now();
    assert_eq!(kind(&lab, &live).await, Some(ErrorKind::Unavailable));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    server.resume().unwrap();
    assert!(is_live(&lab, &live).await);
    lab.logout(&live).await;
    assert!(!is_live(&lab, &live).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_in_the_middle_signs_out_and_never_in() {
    let server = Memcached::start().unwrap();
    let lab = lab(&server);
    let ended = lab.login(&user("alice")).await;
    lab.logout(&ended).await;
    let rotated = lab.login(&user("alice")).await;
    lab.bump_user(&user("alice"), None).await;
    let address = address(&server);
    let born = at_once(24, |number| {
        let (lab, address) = (lab.clone(), address.clone());
        async move {
            if number % 8 == 0 {
                flush(&address);
                return None;
            }
            let storage = lab.storage();
            // A step may be overtaken by a flush at every attempt, and must say so.
            storage.insert(&lab.insert_of(lab.session(&user("alice")).record())).await.ok()
        }
    })
    .await;
    let fresh = lab.login(&user("alice")).await;
    assert!(is_live(&lab, &fresh).await);
    for dead in [&ended, &rotated] {
        assert!(!is_live(&lab, dead).await);
        assert!(!matches!(lab.advance(dead, 1).await, AdvanceOutcome::Advanced(_) | AdvanceOutcome::Ahead(_)));
    }
    flush(&address);
    lab.login(&user("alice")).await;
    for outcome in born.into_iter().flatten() {
        let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
        assert!(!is_live(&lab, &snapshot).await, "what the flush took stays away");
    }
}

fn flush(address: &str) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"flush_all\r\n").unwrap();
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"OK\r\n");
}

/// The reply to a question that was given up is still to come when the next one is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_reply_is_never_taken_for_another_questions() {
    let mut server = Memcached::start().unwrap();
    let client = support::client(&address(&server), 1);
    let lab = Fixture::new(Arc::new(MemcachedStorage::new(client, support::config()).unwrap()));
    let (alice, bob) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    server.pause().unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), lab.find(alice.key())).await;
    assert!(given_up.is_err());
    let next = tokio::spawn({
        let (lab, key) = (lab.clone(), bob.key());
        async move { lab.find(key).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.resume().unwrap();
    assert_eq!(next.await.unwrap(), Some(bob));
}

/// A server with little room, filled several times over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_evictions_sign_out_and_never_in() {
    let server = Memcached::with_args(&["-m", "2", "-I", "512k"]).unwrap();
    let lab = lab(&server);
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    for number in 0..400 {
        let name = user(&format!("user {number}"));
        let first = lab.store(lab.session(&name).attribute("fat", "x".repeat(10_000).into())).await;
        match number % 3 {
            0 => drop(lab.logout(&first).await),
            1 => drop(lab.bump_user(&name, None).await),
            _ => {
                live.push(first);
                continue;
            }
        }
        ended.push(first);
    }
    let mut gone = 0;
    for snapshot in &live {
        gone += u32::from(!is_live(&lab, snapshot).await);
    }
    assert!(gone > 0 && gone < 133, "{gone} of 133 were evicted");
    for snapshot in &ended {
        assert!(!is_live(&lab, snapshot).await);
    }
    for snapshot in ended.iter().chain(&live).step_by(7) {
        let was_live = is_live(&lab, snapshot).await;
        lab.login(&snapshot.session.user_id).await;
        assert!(was_live || !is_live(&lab, snapshot).await, "a new sign-in revives nothing");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_a_clear_error() {
    let server = Memcached::start().unwrap();
    let lab = lab(&server);
    assert!(lab.storage().check(lab.now()).await.unwrap().findings.is_empty());
    for kilobytes in [200, 1100] {
        let session = lab.session(&user("alice")).attribute("fat", "x".repeat(kilobytes * 1024).into());
        let error = lab.storage().insert(&lab.insert_of(session.record())).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InvalidInput, false));
        assert!(error.to_string().contains("do not fit into 204800 bytes"), "{error}");
    }
    assert!(lab.stored(&user("alice")).await.is_empty());

    // The server itself refuses, and the connection is as good as before or replaced.
    let client = support::client(&address(&server), 1);
    let error = client.connection().await.unwrap().add(&key("big"), &vec![b'x'; 2 << 20], HOUR).await.unwrap_err();
    assert!(matches!(error, CacheError::TooLarge), "{error:?}");
    assert_eq!(client.connection().await.unwrap().read(&[key("big")]).await.unwrap(), [None]);

    let small = Memcached::with_args(&["-I", "512k"]).unwrap();
    let config = support::config().max_item_bytes(900_000);
    let storage = MemcachedStorage::new(support::client(&address(&small), 1), config).unwrap();
    let lab = Fixture::new(Arc::new(storage));
    let health = lab.storage().check(lab.now()).await.unwrap();
    assert_eq!(health.findings[0].severity, Severity::Error);
    let session = lab.session(&user("alice")).attribute("fat", "x".repeat(600 * 1024).into());
    let error = lab.storage().insert(&lab.insert_of(session.record())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("-I"), "{error}");
}

#[tokio::test]
async fn every_reply_has_its_outcome() {
    let client = support::client(&support::shared_server(), 1);
    let mut cache = client.connection().await.unwrap();
    let own = support::config().prefix;
    let (one, two) = (key(&format!("{own}one")), key(&format!("{own}two")));
    assert_eq!(cache.get(&one).await.unwrap(), None);
    assert!(!cache.delete(&one).await.unwrap());
    assert_eq!(cache.compare_and_swap(&one, b"x", CasToken(1), HOUR).await.unwrap(), Swapped::Missing);
    assert_eq!(cache.add(&one, b"1\r\nEND\r\n", HOUR).await.unwrap(), Added::Stored);
    assert_eq!(cache.add(&one, b"2", HOUR).await.unwrap(), Added::Exists);
    let item = cache.get(&one).await.unwrap().unwrap();
    assert_eq!(item.value, b"1\r\nEND\r\n");
    assert_eq!(cache.compare_and_swap(&one, b"2", item.token, HOUR).await.unwrap(), Swapped::Stored);
    assert_eq!(cache.compare_and_swap(&one, b"3", item.token, HOUR).await.unwrap(), Swapped::Changed);
    let read = cache.read(&[two.clone(), one.clone(), one.clone()]).await.unwrap();
    assert_eq!(read, [None, Some(b"2".to_vec()), Some(b"2".to_vec())]);
    assert!(cache.delete(&one).await.unwrap());
    assert_eq!(cache.read(std::slice::from_ref(&one)).await.unwrap(), [None]);
    // Beyond thirty days a time to live is a date.
    for days in [1, 30, 31, 400, 40_000] {
        let ttl = TimeToLive::For(Duration::from_hours(days * 24));
        assert_eq!(cache.add(&two, b"", ttl).await.unwrap(), Added::Stored, "{days} days");
        assert_eq!(cache.read(std::slice::from_ref(&two)).await.unwrap(), [Some(Vec::new())], "{days} days");
        assert!(cache.delete(&two).await.unwrap());
    }
}

/// Futures are dropped at any moment; no later answer is taken for another question's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropped_futures_put_no_connection_out_of_step() {
    let lab = Fixture::new(Arc::new(support::storage_at(&support::shared_server())));
    let (alice, bob) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    for round in 0..300_u32 {
        let polls = round % 12;
        let snapshot = if round % 2 == 0 { &alice } else { &bob };
        let read = lab.find(snapshot.key());
        let mut read = std::pin::pin!(read);
        for _ in 0..polls {
            let found = futures_util::poll!(read.as_mut());
            if found.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..50 {
        assert_eq!(lab.find(alice.key()).await, Some(alice.clone()));
        assert_eq!(lab.find(bob.key()).await, Some(bob.clone()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_share_one_limit_and_many_keys_are_read_at_once() {
    let config = support::config();
    let node = || {
        let client = support::client(&support::shared_server(), 30);
        Arc::new(MemcachedStorage::new(client, config.clone()).unwrap())
    };
    let (first, second) = (Fixture::new(node()), node());
    let alice = user("alice");
    at_once(60, |number| {
        let (lab, second, alice) = (first.clone(), Arc::clone(&second), alice.clone());
        async move {
            let mut insert = lab.insert_of(lab.session(&alice).record());
            insert.limit = session_manager_core::storage::SessionLimit::new(5, OnLimit::EvictOldest);
            let storage: &dyn SessionStorage = if number % 2 == 0 { lab.storage() } else { &*second };
            assert!(matches!(storage.insert(&insert).await.unwrap(), InsertOutcome::Inserted { .. }));
        }
    })
    .await;
    assert_eq!(first.live_ids(&alice).await.len(), 5);
    let stored = first.stored(&alice).await;
    assert_eq!(stored.len(), 60);
    // Hostile user ids never reach a key.
    let hostile = first.login(&user("a b\u{a0}c'; flush_all \u{1F980}")).await;
    assert_eq!(first.state(&hostile).await, State::Live);
    let mut keys: Vec<_> = stored.iter().cycle().take(250).map(Snapshot::key).collect();
    keys.push(hostile.key());
    let read = first.storage().read_many(&keys, Consistency::Latest).await.unwrap();
    assert!(read.iter().zip(&keys).all(|(one, key)| one.as_ref().is_some_and(|one| one.session.id == key.id)));
}
