//! The cache that nodes share: what it takes, what it refuses, and what it forgets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use session_manager_core::{
    Locator, SessionId, SharedCache, SharedFill, SharedLook, SharedSubject, SharedTicket, Snapshot, UserId,
};
use session_manager_services::Redis;
use session_manager_storage_redis::RedisCache;
use session_manager_testkit::{Fixture, ReferenceStorage, user};

use servers::{Guard, cluster_servers, config, connect, server};

const LONG: Duration = Duration::from_mins(1);

/// A cache on one server and on a cluster, each with sessions to put into it.
async fn caches() -> Vec<(Arc<dyn SharedCache>, Guard)> {
    let (url, guard) = server();
    let one: Arc<dyn SharedCache> = Arc::new(RedisCache::new(connect(&url).await, &config().prefix).unwrap());
    let (urls, cluster_guard) = cluster_servers();
    let client = redis::cluster::ClusterClient::builder(urls).response_timeout(LONG).build().unwrap();
    let connection = client.get_async_connection().await.unwrap();
    let cluster: Arc<dyn SharedCache> = Arc::new(RedisCache::cluster(connection, &config().prefix).unwrap());
    vec![(one, guard), (cluster, cluster_guard)]
}

fn lab() -> Fixture {
    Fixture::new(Arc::new(ReferenceStorage::new()))
}

fn locator(snapshot: &Snapshot) -> Locator {
    snapshot.session.user_id.locator()
}

async fn look(cache: &dyn SharedCache, snapshot: &Snapshot) -> SharedLook {
    cache.look(snapshot.session.id, locator(snapshot)).await.unwrap()
}

async fn ticket(cache: &dyn SharedCache, snapshot: &Snapshot) -> SharedTicket {
    match look(cache, snapshot).await {
        SharedLook::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn fill(cache: &dyn SharedCache, snapshot: &Snapshot, ticket: SharedTicket) -> bool {
    cache.fill(&SharedFill::new(snapshot, ticket, snapshot.session.created_at, LONG, LONG)).await.unwrap()
}

async fn hit(cache: &dyn SharedCache, snapshot: &Snapshot) -> Option<Snapshot> {
    match look(cache, snapshot).await {
        SharedLook::Hit { snapshot, .. } => Some(snapshot),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_filled_in_is_found_as_it_was() {
    for (cache, _guard) in caches().await {
        let lab = lab();
        let one = lab.store(lab.session(&user("alice")).external("sid")).await;
        lab.bump_global(60_000).await;
        let read = lab.reread(&one).await;
        let mut bare = lab.login(&user("bob")).await;
        bare.control.stamped = None;
        bare.epochs = session_manager_core::Epochs::default();
        let ended = lab.login(&user("carol")).await;
        lab.logout(&ended).await;
        for snapshot in [read, bare, lab.reread(&ended).await] {
            let ticket = ticket(&*cache, &snapshot).await;
            let read_at = lab.now();
            assert!(cache.fill(&SharedFill::new(&snapshot, ticket, read_at, LONG, LONG)).await.unwrap());
            let SharedLook::Hit { snapshot: found, read_at: then } = look(&*cache, &snapshot).await else {
                panic!("it was taken")
            };
            assert_eq!((found, then), (snapshot, read_at));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_refuses_answers_and_fills() {
    for (cache, _guard) in caches().await {
        let lab = lab();
        for number in 0..4 {
            let (one, other) = (lab.login(&user(&format!("alice {number}"))).await, lab.login(&user("bob")).await);
            let subject = match number {
                0 => SharedSubject::Session(one.session.id),
                1 => SharedSubject::user(&one.session.user_id),
                2 => SharedSubject::User { locator: locator(&one), shard: None },
                _ => SharedSubject::Global,
            };
            let (early, theirs) = (ticket(&*cache, &one).await, ticket(&*cache, &other).await);
            assert!(fill(&*cache, &one, early).await);
            // Read, revoke, fill.
            cache.bury(&[subject], LONG).await.unwrap();
            assert!(!fill(&*cache, &one, early).await, "{subject:?}");
            assert!(matches!(look(&*cache, &one).await, SharedLook::Buried), "{subject:?}");
            assert_eq!(fill(&*cache, &other, theirs).await, number < 3, "nobody else is concerned: {subject:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_stands() {
    for (cache, _guard) in caches().await {
        let lab = lab();
        let old = lab.login(&user("alice")).await;
        let early = ticket(&*cache, &old).await;
        let late = ticket(&*cache, &old).await;
        lab.advance(&old, 1).await;
        let new = lab.reread(&old).await;
        assert!(fill(&*cache, &new, early).await);
        assert!(!fill(&*cache, &old, late).await, "a higher version stands");
        assert_eq!(hit(&*cache, &old).await, Some(new.clone()));
        let mut touched = new.clone();
        touched.control.last_activity += Duration::from_secs(1);
        assert!(fill(&*cache, &touched, late).await);
        assert!(!fill(&*cache, &new, early).await, "the same version was read later");
        assert_eq!(hit(&*cache, &old).await, Some(touched));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_for_its_time_only() {
    for (cache, _guard) in caches().await {
        let lab = lab();
        let one = lab.login(&user("alice")).await;
        let now = ticket(&*cache, &one).await;
        let late = SharedFill::new(&one, now, lab.now(), Duration::ZERO, LONG);
        assert!(!cache.fill(&late).await.unwrap(), "however it came to be late");
        let aged = SharedFill::new(&one, now, lab.now(), LONG, Duration::from_nanos(1));
        assert!(!cache.fill(&aged).await.unwrap(), "it would be too old at once");
        assert!(!fill(&*cache, &one, SharedTicket(now.0 + 3_600_000_000)).await, "of another clock");
        assert!(fill(&*cache, &one, now).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_id_is_not_of_its_users_shard_is_not_taken() {
    let (cache, _guard) = caches().await.swap_remove(0);
    let lab = lab();
    let mut one = lab.login(&user("alice")).await;
    let mut session = (*one.session).clone();
    session.user_id = UserId::parse("bob").unwrap();
    assert_ne!(session.user_id.shard(), session.id.shard());
    one.session = Arc::new(session);
    let ticket = ticket(&*cache, &one).await;
    assert!(!fill(&*cache, &one, ticket).await, "the tombstones of its user would be elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_its_tombstones_takes_nothing_from_before() {
    let server = Redis::start().unwrap();
    let cache = RedisCache::new(connect(&server.url()).await, "cache:").unwrap();
    let lab = lab();
    let one = lab.login(&user("alice")).await;
    let early = ticket(&cache, &one).await;
    cache.bury(&[SharedSubject::Session(one.session.id)], LONG).await.unwrap();
    server.command(&["FLUSHALL"]).unwrap();
    assert!(!fill(&cache, &one, early).await, "nobody has a ticket of the new time yet");
    let fresh = ticket(&cache, &one).await;
    assert!(!fill(&cache, &one, early).await, "and the old one is of the old");
    server.command(&["SCRIPT", "FLUSH"]).unwrap();
    assert!(fill(&cache, &one, fresh).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_it_goes_by_itself_and_no_tombstone_is_shortened() {
    let server = Redis::start().unwrap();
    let mut raw = connect(&server.url()).await;
    let cache = RedisCache::new(connect(&server.url()).await, "cache:").unwrap();
    let lab = lab();
    let (one, two) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    let key = |id: SessionId| format!("cache:{{{:03x}}}:c:{}", id.shard().number(), id.as_uuid().simple());
    for (snapshot, life) in [(&one, 60), (&one, 10), (&one, 90)] {
        cache.bury(&[SharedSubject::Session(snapshot.session.id)], Duration::from_secs(life)).await.unwrap();
        let left: i64 = cmd("PTTL").arg(key(snapshot.session.id)).query_async(&mut raw).await.unwrap();
        let least = if life == 90 { 80_000 } else { 50_000 };
        assert!((least..=90_000).contains(&left), "{left} after {life}");
    }
    let ticket = ticket(&cache, &two).await;
    assert!(fill(&cache, &two, ticket).await);
    let left: i64 = cmd("PTTL").arg(key(two.session.id)).query_async(&mut raw).await.unwrap();
    assert!((1..=60_000).contains(&left), "from its ticket on: {left}");
    cache.bury(&[SharedSubject::Session(two.session.id)], Duration::from_secs(1)).await.unwrap();
    assert!(matches!(look(&cache, &two).await, SharedLook::Buried), "an entry that would live longer is no tombstone");
    cache.bury(&[SharedSubject::user(&two.session.user_id), SharedSubject::Global], LONG).await.unwrap();
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut raw).await.unwrap();
    assert!(keys.len() > 4096);
    let mut lives = redis::pipe();
    for key in &keys {
        lives.cmd("PTTL").arg(key);
    }
    let lives: Vec<i64> = lives.query_async(&mut raw).await.unwrap();
    assert!(lives.iter().all(|left| *left > 0 || *left == -2), "each has a time to live");
}
