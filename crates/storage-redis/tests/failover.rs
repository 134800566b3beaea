//! What a failover may undo and what it may not, and sessions whose slot moves to another node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr, reason = "tests")]

mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, ConnectionAddr};
use session_manager_core::storage::{
    AdvanceOutcome, Consistency, Notice, OnLimit, Phase, Purge, PurgeScope, Revoke, RevokeTarget, Subject,
};
use session_manager_core::{
    Actor, ErrorKind, InvalidationBus, LocalBus, RevocationReason, SessionStorage, Snapshot, State,
};
use session_manager_services::{Redis, RedisCluster, RedisSentinel};
use session_manager_storage_redis::{Acknowledge, RedisStorage};
use session_manager_testkit::{Fixture, user};

use servers::{config, connect};

/// Storages on the present primary, as an application would make them after each failover that its Sentinel client tells it of.
async fn on_primary(group: &mut RedisSentinel, acknowledged: bool) -> RedisStorage {
    let node = group.primary().unwrap();
    let url = group.nodes()[node].url();
    let mut config = config().prefix("failover:");
    if acknowledged {
        config = config.acknowledge(Acknowledge::new(1, Duration::from_millis(200)));
    }
    RedisStorage::new(connect(&url).await, config).unwrap().acknowledging_over(connect(&url).await)
}

async fn revoke(storage: &RedisStorage, lab: &Fixture, session: &Snapshot) -> bool {
    let target = RevokeTarget::One { key: session.key(), owner: None };
    let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, lab.now());
    let revoked = storage.revoke(&revoke).await.unwrap();
    assert_eq!(u64::try_from(revoked.sessions.len()).unwrap() + revoked.already_ended, 1);
    !revoked.unconfirmed
}

async fn state(storage: &RedisStorage, lab: &Fixture, session: &Snapshot) -> Option<State> {
    let found = storage.read(&session.key(), Consistency::Latest).await.unwrap();
    found.map(|found| found.state(lab.now(), lab.live()))
}

/// The loss window: what is revoked between the replica's last word and the failover, as in a partition. Without `WAIT` it is lost silently; with it, every
/// such revocation was said to be unconfirmed, and every confirmed one stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_undoes_nothing_that_was_confirmed() {
    let mut group = RedisSentinel::start().unwrap();
    let (plain, careful) = (on_primary(&mut group, false).await, on_primary(&mut group, true).await);
    let lab = Fixture::new(Arc::new(plain.clone()));
    let mut sessions = Vec::new();
    for number in 0..40 {
        sessions.push(lab.login(&user(&format!("user {number}"))).await);
    }
    // In step: ten are ended each way, and both stand.
    for session in &sessions[..10] {
        assert!(revoke(&careful, &lab, session).await, "confirmed by the replica");
    }
    let primary = group.primary().unwrap();
    let replica = 1 - primary;
    group.nodes()[primary].command(&["WAIT", "1", "5000"]).unwrap();

    // The replica stands still: the window is open.
    group.nodes()[replica].pause().unwrap();
    // What waits in the sockets between them would still arrive: as after a cut of the network, it does not.
    group.nodes()[primary].command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    let opened = Instant::now();
    for session in &sessions[10..20] {
        assert!(revoke(&plain, &lab, session).await, "nobody asked for replicas");
    }
    for session in &sessions[20..23] {
        assert!(!revoke(&careful, &lab, session).await, "said to be unconfirmed");
    }
    group.nodes()[primary].kill().unwrap();
    let window = opened.elapsed();
    group.nodes()[replica].resume().unwrap();
    assert_eq!(group.wait_for_primary_other_than(primary).unwrap(), replica);

    let after = on_primary(&mut group, true).await;
    let mut lost = 0;
    for session in &sessions[..10] {
        assert_eq!(state(&after, &lab, session).await, Some(State::Revoked), "what was confirmed stands");
    }
    for session in &sessions[10..23] {
        lost += usize::from(state(&after, &lab, session).await == Some(State::Live));
    }
    eprintln!(
        "within a window of {} ms a failover undid {lost} of 13 revocations, 3 of them said to be unconfirmed",
        window.as_millis()
    );
    assert_eq!(lost, 13, "the danger is real, and it is why WAIT is an option");

    // Repeating what was unconfirmed is what the caller is told to do; with the old primary back as a replica it is confirmed.
    group.nodes()[primary].restart().unwrap();
    group.wait_until_agreed().unwrap();
    // A Sentinel that settles roles also closes the connections of clients.
    let after = on_primary(&mut group, true).await;
    for session in &sessions[20..23] {
        assert!(revoke(&after, &lab, session).await);
        assert_eq!(state(&after, &lab, session).await, Some(State::Revoked));
    }
    assert_eq!(state(&after, &lab, &sessions[30]).await, Some(State::Live), "nobody else was signed out");
}

/// The application's Sentinel client names the new primary; in between there are outages and no wrong answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_client_follows_the_failover() {
    let mut group = RedisSentinel::start().unwrap();
    let addresses = group.sentinel_urls().into_iter().map(|url| {
        let (host, port) = url
            .trim_start_matches("redis://")
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.parse().unwrap()))
            .unwrap();
        ConnectionAddr::Tcp(host, port)
    });
    let builder = SentinelClientBuilder::new(addresses, RedisSentinel::SERVICE, SentinelServerType::Master);
    let mut client = builder.unwrap().build().unwrap();
    let limits = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(1)));
    let settings = config();
    let storage =
        RedisStorage::new(client.get_async_connection_with_config(&limits).await.unwrap(), settings.clone()).unwrap();
    let lab = Fixture::new(Arc::new(storage.clone()));
    let (live, ended) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    lab.logout(&ended).await;
    let primary = group.primary().unwrap();
    group.nodes()[primary].command(&["WAIT", "1", "5000"]).unwrap();
    group.nodes()[primary].kill().unwrap();
    let error = storage.read(&live.key(), Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "never an absence");
    group.wait_for_primary_other_than(primary).unwrap();

    // What the application does when its client reconnects: the same configuration, another connection.
    let moved = RedisStorage::new(client.get_async_connection_with_config(&limits).await.unwrap(), settings).unwrap();
    assert_eq!(state(&moved, &lab, &live).await, Some(State::Live));
    assert_eq!(state(&moved, &lab, &ended).await, Some(State::Revoked));
}

/// A slot moves from one node to another, key by key, under traffic: the client is sent on by `MOVED` and `ASK`. What cannot be answered
/// meanwhile is an outage; no answer is wrong, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slot_moves_under_traffic() {
    let mut cluster = RedisCluster::start().unwrap();
    let client = ClusterClient::builder(cluster.urls()).response_timeout(Duration::from_secs(5)).build().unwrap();
    let storage = RedisStorage::cluster(client.get_async_connection().await.unwrap(), config()).unwrap();
    let lab = Fixture::new(Arc::new(storage.clone()));
    let alice = user("alice");
    let (live, ended) = (lab.login(&alice).await, lab.login(&alice).await);
    lab.logout(&ended).await;
    let tag = format!("{{{:03x}}}", alice.shard().number());
    let slot = match cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &tag]).unwrap() {
        session_manager_services::Reply::Integer(slot) => u16::try_from(slot).unwrap(),
        other => panic!("{other:?}"),
    };

    let (stop, answers, outages) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let traffic = tokio::spawn({
        let (lab, storage, live, ended) = (lab.clone(), storage.clone(), live.clone(), ended.clone());
        let (stop, answers, outages) = (Arc::clone(&stop), Arc::clone(&answers), Arc::clone(&outages));
        async move {
            let mut generation = live.control.generation;
            while !stop.load(Ordering::SeqCst) {
                for (session, expected) in [(&live, State::Live), (&ended, State::Revoked)] {
                    match storage.read(&session.key(), Consistency::Latest).await {
                        Ok(found) => {
                            let found = found.expect("never an absence");
                            assert_eq!(found.state(lab.now(), lab.live()), expected);
                            answers.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                            outages.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                let advance = session_manager_core::storage::Advance::new(
                    live.key(),
                    generation,
                    Duration::from_secs(10),
                    lab.now(),
                );
                match storage.advance(&advance).await {
                    Ok(AdvanceOutcome::Advanced(now) | AdvanceOutcome::Converge(now)) => {
                        generation = now.control.generation;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
                }
            }
        }
    });

    let from = cluster.owner_of(slot).unwrap();
    let to = (0..3).find(|node| *node != from).unwrap();
    let slot_text = slot.to_string();
    let id = |node: &Redis| node.command(&["CLUSTER", "MYID"]).unwrap().text().unwrap().to_owned();
    let (source, target) = (id(&cluster.nodes()[from]), id(&cluster.nodes()[to]));
    let port = cluster.nodes()[to].port().to_string();
    cluster.nodes()[to].command(&["CLUSTER", "SETSLOT", &slot_text, "IMPORTING", &source]).unwrap();
    cluster.nodes()[from].command(&["CLUSTER", "SETSLOT", &slot_text, "MIGRATING", &target]).unwrap();
    let mut moved = 0;
    loop {
        let reply = cluster.nodes()[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot_text, "1"]).unwrap();
        let Some(key) = reply.list().first().and_then(|key| key.text().map(str::to_owned)) else { break };
        cluster.nodes()[from].command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).unwrap();
        moved += 1;
        // Half-way: some keys are here, some there.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in [to, from] {
        cluster.nodes()[node].command(&["CLUSTER", "SETSLOT", &slot_text, "NODE", &target]).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    traffic.await.unwrap();
    assert_eq!(cluster.owner_of(slot).unwrap(), to);
    eprintln!(
        "{moved} keys moved; {} answers, {} outages meanwhile",
        answers.load(Ordering::SeqCst),
        outages.load(Ordering::SeqCst)
    );
    assert!(moved >= 4 && answers.load(Ordering::SeqCst) > 0);

    assert_eq!(lab.state(&live).await, State::Live);
    assert_eq!(lab.state(&ended).await, State::Revoked);
    assert_eq!(lab.live_ids(&alice).await.len(), 1);
    assert_eq!(lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await.sessions.len(), 1);
    assert_eq!(lab.state(&live).await, State::Revoked);
}

/// What is done to a session in the window, beside those of the other test.
async fn end_in_every_way(storage: &RedisStorage, lab: &Fixture, sessions: &[Snapshot]) {
    assert!(revoke(storage, lab, &sessions[0]).await);
    lab.revoke(RevokeTarget::User { user: sessions[1].session.user_id.clone(), except: None }).await;
    lab.bump_user(&sessions[2].session.user_id, None).await;
    storage.purge(&Purge::new(PurgeScope::One(sessions[3].key()), 1, lab.now())).await.unwrap();
    lab.login_within(&sessions[4].session.user_id, 1, OnLimit::EvictOldest).await;
}

/// A failover loses revocations that nobody waited for. The node that made them makes them again, and so does one that heard of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_undid_is_done_again() {
    let mut group = RedisSentinel::start().unwrap();
    let (storage, listener) = (on_primary(&mut group, false).await, on_primary(&mut group, false).await);
    let bus: Arc<dyn InvalidationBus> = Arc::new(LocalBus::new());
    let bystander = on_primary(&mut group, false).await.listening_to(Arc::clone(&bus));
    let lab = Fixture::new(Arc::new(storage.clone()));
    let mut sessions = Vec::new();
    for number in 0..8 {
        sessions.push(lab.login(&user(&format!("user {number}"))).await);
    }
    for node in [&storage, &listener, &bystander] {
        assert_eq!(node.reapply_after_failover().await.unwrap(), 0, "there was none");
    }
    let listening = tokio::spawn({
        let bystander = bystander.clone();
        async move { bystander.maintenance().unwrap().await }
    });
    let primary = group.primary().unwrap();
    let replica = 1 - primary;
    group.nodes()[primary].command(&["WAIT", "1", "5000"]).unwrap();
    group.nodes()[replica].pause().unwrap();
    group.nodes()[primary].command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();

    end_in_every_way(&storage, &lab, &sessions).await;
    // Two more end by a node that dies: of one the feed tells, of the other the bus. Both are looked at before the failover.
    let dying = on_primary(&mut group, false).await;
    for (number, session) in sessions[5..7].iter().enumerate() {
        let notice = |phase| Notice::new(Subject::Session(session.session.id), phase, lab.now());
        assert!(revoke(&dying, &lab, session).await);
        if number == 0 {
            dying.feed().unwrap().announce(&[notice(Phase::Done)]).await.unwrap();
        } else {
            bus.publish(&notice(Phase::Done)).await.unwrap();
        }
    }
    listener.feed().unwrap().since(None, 100, lab.now()).await.unwrap();
    for node in [&listener, &bystander] {
        assert_eq!(node.reapply_after_failover().await.unwrap(), 0);
    }
    // The maintenance may have taken the notice first, and looks at it.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    listening.abort();

    group.nodes()[primary].kill().unwrap();
    group.nodes()[replica].resume().unwrap();
    assert_eq!(group.wait_for_primary_other_than(primary).unwrap(), replica);
    let url = group.nodes()[replica].url();
    let moved = storage.moved_to(connect(&url).await);
    for session in &sessions {
        assert_eq!(state(&moved, &lab, session).await, Some(State::Live), "the failover undid it");
    }
    assert_eq!(moved.reapply_after_failover().await.unwrap(), 6, "one of each, and a revoked user's epoch");
    for (number, session) in sessions[..5].iter().enumerate() {
        let state = state(&moved, &lab, session).await;
        assert!(state.is_none_or(|state| !state.is_live()), "{number}: {state:?}");
    }
    let found = moved.read(&sessions[0].key(), Consistency::Latest).await.unwrap().unwrap();
    let revocation = found.revocation().unwrap();
    assert_eq!((&revocation.reason, revocation.at), (&RevocationReason::LOGOUT, lab.now()), "as it had ended");
    assert_eq!(moved.reapply_after_failover().await.unwrap(), 0, "once");

    // What the dead node had ended the others end, in the background.
    for session in &sessions[5..7] {
        assert_eq!(state(&moved, &lab, session).await, Some(State::Live));
    }
    assert_eq!(listener.moved_to(connect(&url).await).reapply_after_failover().await.unwrap(), 1);
    let bystander = bystander.moved_to(connect(&url).await);
    let working = tokio::spawn({
        let bystander = bystander.clone();
        async move { bystander.maintenance().unwrap().await }
    });
    let until = Instant::now() + Duration::from_secs(20);
    while state(&moved, &lab, &sessions[6]).await == Some(State::Live) {
        assert!(Instant::now() < until, "maintenance does it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    working.abort();
    assert_eq!(state(&moved, &lab, &sessions[5]).await, Some(State::Revoked));
    assert_eq!(state(&moved, &lab, &sessions[7]).await, Some(State::Live), "nobody else was signed out");
}

/// The same in a cluster: one of its primaries fails over, and what had been ended on it ends again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_in_a_cluster_undid_is_done_again() {
    let mut cluster = RedisCluster::start().unwrap();
    let client = ClusterClient::builder(cluster.urls()).response_timeout(Duration::from_secs(5)).build().unwrap();
    let storage = RedisStorage::cluster(client.get_async_connection().await.unwrap(), config()).unwrap();
    let lab = Fixture::new(Arc::new(storage.clone()));
    let (one, other) = (lab.login(&user("alice")).await, lab.login(&user("alice")).await);
    assert_eq!(storage.reapply_after_failover().await.unwrap(), 0);
    let tag = format!("{{{:03x}}}", user("alice").shard().number());
    let slot = match cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &tag]).unwrap() {
        session_manager_services::Reply::Integer(slot) => u16::try_from(slot).unwrap(),
        other => panic!("{other:?}"),
    };
    let owner = cluster.owner_of(slot).unwrap();
    cluster.nodes()[owner].command(&["WAIT", "1", "5000"]).unwrap();
    let port = cluster.nodes()[owner].port().to_string();
    let follows = |node: &Redis| {
        let info = node.command(&["INFO", "replication"]).unwrap();
        let info = info.text().unwrap().to_owned();
        info.contains("role:slave") && info.contains(&format!("master_port:{port}"))
    };
    let replica = (0..6).find(|node| follows(&cluster.nodes()[*node])).unwrap();
    cluster.nodes()[replica].pause().unwrap();
    cluster.nodes()[owner].command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    assert!(revoke(&storage, &lab, &one).await);
    cluster.nodes()[owner].kill().unwrap();
    cluster.nodes()[replica].resume().unwrap();
    assert_eq!(cluster.wait_for_owner_other_than(owner, slot).unwrap(), replica);
    // The client learns of the new primary by asking.
    let until = Instant::now() + Duration::from_secs(30);
    let before = loop {
        match storage.read(&one.key(), Consistency::Latest).await {
            Ok(found) => break found.map(|found| found.state(lab.now(), lab.live())),
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(before, Some(State::Live), "the failover undid it");
    let again = loop {
        match storage.reapply_after_failover().await {
            Ok(again) => break again,
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(again, 1);
    assert_eq!(state(&storage, &lab, &one).await, Some(State::Revoked));
    assert_eq!(state(&storage, &lab, &other).await, Some(State::Live));
}
