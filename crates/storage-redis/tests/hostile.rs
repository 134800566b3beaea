//! What servers do to sessions: forgetting scripts and keys, going away, refusing, growing old.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod servers;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cmd;
use session_manager_core::storage::{
    AdvanceOutcome, BumpOutcome, BumpTarget, Consistency, InsertOutcome, OnLimit, OnceKey, Purge, PurgeScope, Query,
    Revoke, RevokeTarget, SessionPatch,
};
use session_manager_core::{Actor, ErrorKind, RevocationReason, SessionStorage, Snapshot, State};
use session_manager_services::Redis;
use session_manager_storage_redis::{Acknowledge, RedisStorage, RedisStorageConfig};
use session_manager_testkit::{Fixture, user};

use servers::{config, connect, server};

const DAY: Duration = Duration::from_hours(24);

async fn keys(connection: &mut MultiplexedConnection, pattern: &str) -> Vec<String> {
    let (mut at, mut all) = (0_u64, Vec::new());
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(at).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000);
        let (next, found): (u64, Vec<String>) = scan.query_async(connection).await.unwrap();
        all.extend(found);
        if next == 0 {
            return all;
        }
        at = next;
    }
}

async fn delete(connection: &mut MultiplexedConnection, pattern: &str) -> usize {
    let found = keys(connection, pattern).await;
    for key in &found {
        let _: u64 = cmd("DEL").arg(key).query_async(connection).await.unwrap();
    }
    found.len()
}

fn lab(connection: MultiplexedConnection, config: RedisStorageConfig) -> Fixture {
    Fixture::new(Arc::new(RedisStorage::new(connection, config).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_forget_every_script_at_any_time() {
    let server = Redis::start().unwrap();
    let lab = lab(connect(&server.url()).await, config());
    let forget = || server.command(&["SCRIPT", "FLUSH"]).unwrap();
    let alice = user("alice");
    let one = lab.store(lab.session(&alice).external("sid")).await;
    forget();
    let two = lab.login(&alice).await;
    forget();
    assert!(matches!(lab.advance(&one, 1).await, AdvanceOutcome::Advanced(_)));
    forget();
    lab.tick(1);
    assert_eq!(lab.touch(&two).await.touched, 1);
    forget();
    let now = lab.now();
    let touch = |snapshot: &Snapshot| {
        session_manager_core::storage::Touch::new(
            snapshot.key(),
            now + Duration::from_millis(1),
            snapshot.control.idle_expires_at,
        )
    };
    assert_eq!(lab.storage().touch(&[touch(&one), touch(&two)], now).await.unwrap().touched, 2, "in one go");
    forget();
    lab.update(&lab.reread(&one).await, SessionPatch::new()).await;
    forget();
    assert_eq!(lab.live_ids(&alice).await.len(), 2);
    forget();
    lab.bump_global(60_000).await;
    forget();
    assert_eq!(lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await.sessions.len(), 2);
    forget();
    assert!(lab.storage().remember_once(&OnceKey::parse("a").unwrap(), now, now).await.unwrap());
    forget();
    lab.storage().purge(&Purge::new(PurgeScope::User(alice), 10, now)).await.unwrap();
}

/// Sessions that ended in each way there is, and one that lives.
struct Cast {
    ended: Vec<Snapshot>,
    alive: Snapshot,
}

async fn cast(lab: &Fixture) -> Cast {
    let alice = user("alice");
    let globally = lab.login(&alice).await;
    lab.tick(1);
    lab.bump_global(0).await;
    let rotated = lab.login(&alice).await;
    let all = lab.login(&alice).await;
    lab.bump_user(&alice, None).await;
    lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
    let out = lab.login(&alice).await;
    lab.logout(&out).await;
    let other = lab.login(&alice).await;
    let survivor = lab.login(&alice).await;
    lab.revoke(RevokeTarget::User { user: alice, except: Some(survivor.session.id) }).await;
    Cast { ended: vec![globally, rotated, all, out, other], alive: survivor }
}

impl Cast {
    async fn nobody_is_back(&self, lab: &Fixture, when: &str) {
        for (number, snapshot) in self.ended.iter().enumerate() {
            for key in [snapshot.key(), snapshot.session.id.into()] {
                if let Some(found) = lab.find(key).await {
                    assert!(!found.state(lab.now(), lab.live()).is_live(), "{when}: number {number} lives again");
                }
            }
            let outcome = lab.advance(snapshot, snapshot.control.generation).await;
            assert!(
                matches!(outcome, AdvanceOutcome::Ended(..) | AdvanceOutcome::Missing),
                "{when}: number {number} was refreshed: {outcome:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_key_is_evicted_nothing_that_ended_is_accepted_again() {
    let (url, _guard) = server();
    let mut raw = connect(&url).await;
    let shard = format!("{{{:03x}}}", user("alice").shard().number());
    for kinds in [&["s"][..], &["u"], &["i"], &["copy"], &["g"], &["copy", "g"], &["u", "i"], &["u", "g", "copy"]] {
        let config = config();
        let prefix = config.prefix.clone();
        let lab = lab(connect(&url).await, config);
        let cast = cast(&lab).await;
        assert_eq!(lab.state(&cast.alive).await, State::Live);
        for kind in kinds {
            let pattern = match *kind {
                "copy" => format!("{prefix}{shard}:g"),
                "g" => format!("{prefix}g"),
                kind => format!("{prefix}{shard}:{kind}:*"),
            };
            assert!(delete(&mut raw, &pattern).await > 0, "{pattern}");
        }
        let when = format!("without {kinds:?}");
        cast.nobody_is_back(&lab, &when).await;
        let fresh = lab.login(&user("alice")).await;
        assert_eq!(lab.state(&fresh).await, State::Live, "{when}: signing in works");
        cast.nobody_is_back(&lab, &format!("{when}, after a sign-in")).await;
        lab.bump_global(60_000).await;
        cast.nobody_is_back(&lab, &format!("{when}, after a global rotation")).await;
        lab.tick(1);
        lab.revoke(RevokeTarget::User { user: user("alice"), except: Some(fresh.session.id) }).await;
        assert!(!lab.find(cast.alive.key()).await.is_some_and(|one| one.state(lab.now(), lab.live()).is_live()));
        assert_eq!(lab.state(&fresh).await, State::Live, "{when}: the excepted one stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_never_lets_a_session_escape() {
    let (url, _guard) = server();
    let mut raw = connect(&url).await;
    let config = config();
    let index = format!("{}*:i:*", config.prefix);
    let lab = lab(connect(&url).await, config);
    let alice = user("alice");
    // "Sign out the others" reaches what the index has lost.
    let (hidden, own) = (lab.login(&alice).await, lab.login(&alice).await);
    assert_eq!(delete(&mut raw, &index).await, 1);
    assert_eq!(lab.state(&hidden).await, State::Live, "reading needs no index");
    lab.revoke(RevokeTarget::User { user: alice.clone(), except: Some(own.session.id) }).await;
    assert_eq!((lab.state(&hidden).await, lab.state(&own).await), (State::RotatedOut, State::Live));
    assert_eq!(lab.live_ids(&alice).await.len(), 1, "and the index has the excepted one again");
    // The limit holds: what the index has lost is signed out by the next sign-in.
    for _ in 0..4 {
        lab.login(&alice).await;
    }
    delete(&mut raw, &index).await;
    let last = match lab.login_within(&alice, 5, OnLimit::EvictOldest).await {
        InsertOutcome::Inserted { snapshot, .. } => snapshot,
        other => panic!("{other:?}"),
    };
    assert_eq!((lab.state(&own).await, lab.state(&last).await), (State::EpochLost, State::Live));
    // A touch puts a session back where only its own entry was lost.
    let _: u64 = cmd("ZREM")
        .arg(&keys(&mut raw, &index).await[0])
        .arg(last.session.id.as_uuid().simple().to_string())
        .query_async(&mut raw)
        .await
        .unwrap();
    assert!(lab.live_ids(&alice).await.is_empty());
    lab.tick(1);
    lab.touch(&last).await;
    assert_eq!(lab.live_ids(&alice).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_fell_behind_are_repaired() {
    let (url, _guard) = server();
    let mut raw = connect(&url).await;
    let config = config().repair_interval(Duration::from_millis(20));
    let prefix = config.prefix.clone();
    let lab = lab(connect(&url).await, config);
    let alice = user("alice");
    let session = lab.login(&alice).await;
    let copy = format!("{prefix}{{{:03x}}}:g", alice.shard().number());
    let old: Vec<u8> = cmd("GET").arg(&copy).query_async(&mut raw).await.unwrap();
    lab.tick(1);
    lab.bump_global(0).await;
    assert_eq!(lab.state(&session).await, State::RotatedOut);
    // A bump that stopped half-way, or a failover of the copy's node.
    let _: () = cmd("SET").arg(&copy).arg(&old).query_async(&mut raw).await.unwrap();
    assert_eq!(lab.state(&session).await, State::Live);
    let repair = lab.storage().maintenance().unwrap();
    let ended = async {
        while lab.state(&session).await == State::Live {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = repair => panic!("the background work never ends"),
        () = ended => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing was repaired"),
    }
    // A failover of the authority's node: the next bump must not give out the version that the copies already have.
    let later = lab.login(&alice).await;
    let _: () = cmd("SET").arg(format!("{prefix}g")).arg(&old).query_async(&mut raw).await.unwrap();
    lab.tick(-1);
    lab.bump_global(0).await;
    assert_eq!(lab.state(&later).await, State::RotatedOut);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_sessions_come_and_go_without_a_trace() {
    let (url, _guard) = server();
    let mut raw = connect(&url).await;
    let config = config().retention(DAY);
    let prefix = config.prefix.clone();
    let lab = Arc::new(lab(connect(&url).await, config));
    let users: Vec<_> = (0..50).map(|number| user(&format!("user {number}"))).collect();
    let mut most = 0;
    for _ in 0..100 {
        for chunk in users.chunks(25) {
            let mut tasks = tokio::task::JoinSet::new();
            for one in chunk {
                let (lab, one) = (Arc::clone(&lab), one.clone());
                tasks.spawn(async move {
                    for number in 0..20 {
                        let session = lab.session(&one).lifetime(Duration::from_mins(30));
                        let snapshot = lab.store(session).await;
                        if number % 4 == 0 {
                            lab.logout(&snapshot).await;
                        }
                    }
                });
            }
            tasks.join_all().await;
        }
        lab.tick(2 * 3_600_000);
        most = most.max(keys(&mut raw, &format!("{prefix}*:s:*")).await.len());
    }
    // A day's worth at most: 20 sessions each two hours for 50 users, and the hour of slack.
    assert!(most <= 50 * 20 * 15, "{most} sessions at once");
    lab.tick(48 * 3_600_000);
    for one in &users {
        for _ in 0..6 {
            lab.login(one).await;
        }
    }
    assert_eq!(keys(&mut raw, &format!("{prefix}*:s:*")).await.len(), 50 * 6, "only what is new is left");
    for key in keys(&mut raw, &format!("{prefix}*")).await {
        let left: i64 = cmd("PTTL").arg(&key).query_async(&mut raw).await.unwrap();
        assert!(left > 0 || key.ends_with(":g") || key == format!("{prefix}g"), "{key} would stay for ever");
        if key.contains(":i:") {
            let members: i64 = cmd("ZCARD").arg(&key).query_async(&mut raw).await.unwrap();
            assert_eq!(members, 7, "six sessions and the mark of a whole index");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_sessions_and_their_list_have_a_time_to_live() {
    let (url, _guard) = server();
    let mut raw = connect(&url).await;
    let config = config().retention(DAY);
    let prefix = config.prefix.clone();
    let lab = lab(connect(&url).await, config);
    let session = lab.login(&user("alice")).await;
    lab.logout(&session).await;
    for pattern in ["*:s:*", "*:u:*", "*:i:*"] {
        let key = keys(&mut raw, &format!("{prefix}{pattern}")).await.pop().unwrap();
        let left: i64 = cmd("PTTL").arg(&key).query_async(&mut raw).await.unwrap();
        let hours = left / 3_600_000;
        assert!((47..=49).contains(&hours), "{key}: {hours} h of a session of 24 h and its day after");
    }
}

async fn kinds_of(storage: &RedisStorage, snapshot: &Snapshot, now: chrono::DateTime<chrono::Utc>) -> Vec<ErrorKind> {
    let revoke = Revoke::new(
        RevokeTarget::One { key: snapshot.key(), owner: None },
        RevocationReason::LOGOUT,
        Actor::System,
        now,
    );
    vec![
        storage.read(&snapshot.key(), Consistency::Latest).await.unwrap_err().kind(),
        storage.revoke(&revoke).await.unwrap_err().kind(),
        storage.list(&Query::of(snapshot.session.user_id.clone(), now)).await.unwrap_err().kind(),
        storage.remember_once(&OnceKey::parse("a").unwrap(), now, now).await.unwrap_err().kind(),
        storage.feed().unwrap().since(None, 1, now).await.unwrap_err().kind(),
        storage.check(now).await.unwrap_err().kind(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_an_error_and_never_an_absence() {
    let mut server = Redis::start().unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let quick = redis::aio::ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_millis(200)))
        .set_connection_timeout(Some(Duration::from_millis(200)))
        .set_number_of_retries(1);
    let manager = redis::aio::ConnectionManager::new_with_config(client, quick).await.unwrap();
    let storage = RedisStorage::new(manager, config()).unwrap();
    let lab = Fixture::new(Arc::new(storage.clone()));
    let session = lab.login(&user("alice")).await;
    server.pause().unwrap();
    assert!(kinds_of(&storage, &session, lab.now()).await.iter().all(|kind| *kind == ErrorKind::Unavailable));
    server.resume().unwrap();
    while storage.read(&session.key(), Consistency::Latest).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill().unwrap();
    assert!(kinds_of(&storage, &session, lab.now()).await.iter().all(|kind| *kind == ErrorKind::Unavailable));
    server.restart().unwrap();
    let mut attempts = 0;
    while storage.read(&session.key(), Consistency::Latest).await.is_err() {
        attempts += 1;
        assert!(attempts < 500, "it comes back by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lab.login(&user("alice")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_a_wrong_type_and_damage_have_their_kinds() {
    let server = Redis::start().unwrap();
    let mut raw = connect(&server.url()).await;
    let config = config();
    let prefix = config.prefix.clone();
    let storage = RedisStorage::new(connect(&server.url()).await, config).unwrap();
    let lab = Fixture::new(Arc::new(storage.clone()));
    let session = lab.login(&user("alice")).await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let error = storage
        .advance(&session_manager_core::storage::Advance::new(session.key(), 1, Duration::ZERO, lab.now()))
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable, "read-only");
    let health = storage.check(lab.now()).await.unwrap();
    assert!(!health.is_sound(), "a replica is no place for sessions");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]).unwrap();
    let health = storage.check(lab.now()).await.unwrap();
    assert!(!health.is_sound() && format!("{health:?}").contains("allkeys-lru"));
    assert!(health.clock_skew_millis.is_some());
    let key = keys(&mut raw, &format!("{prefix}*:s:*")).await.pop().unwrap();
    let whole: Vec<u8> = cmd("GET").arg(&key).query_async(&mut raw).await.unwrap();
    for length in [0, 1, 11, 12, 100, 159, 175, 176, whole.len() - 1] {
        let _: () = cmd("SET").arg(&key).arg(&whole[..length]).query_async(&mut raw).await.unwrap();
        let error = storage.read(&session.key(), Consistency::Latest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{length} bytes");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("alice") && !text.contains(&session.session.id.to_string()));
    }
    let _: u64 = cmd("DEL").arg(&key).query_async(&mut raw).await.unwrap();
    let _: u64 = cmd("LPUSH").arg(&key).arg("x").query_async(&mut raw).await.unwrap();
    let error = storage
        .advance(&session_manager_core::storage::Advance::new(session.key(), 1, Duration::ZERO, lab.now()))
        .await;
    assert!(!matches!(error, Ok(AdvanceOutcome::Advanced(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_leave_it_done_and_unconfirmed() {
    let (url, _guard) = server();
    let config = config().acknowledge(Acknowledge::new(9, Duration::from_millis(30)));
    let storage = RedisStorage::new(connect(&url).await, config).unwrap().acknowledging_over(connect(&url).await);
    let lab = Fixture::new(Arc::new(storage.clone()));
    let session = lab.login(&user("alice")).await;
    let target = RevokeTarget::One { key: session.key(), owner: None };
    let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, lab.now());
    let revoked = storage.revoke(&revoke).await.unwrap();
    assert_eq!((revoked.sessions.len(), revoked.unconfirmed), (1, true));
    let again = storage.revoke(&revoke).await.unwrap();
    assert_eq!((again.already_ended, again.unconfirmed), (1, true), "it waits for the first one's replicas");
    assert_eq!(lab.state(&session).await, State::Revoked);
    let bump = lab.bump_of(BumpTarget::User { user: user("alice"), keep: None });
    assert!(matches!(storage.bump(&bump).await.unwrap(), BumpOutcome::Bumped(bumped) if bumped.unconfirmed));
    let epochs = storage.epochs(Some(&user("alice"))).await.unwrap();
    assert_eq!(epochs.user.map(|epoch| epoch.version), Some(2));
}
