//! The buses between nodes on real servers: what one node says, the other hears; a broken bus says so and heals.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use session_manager_core::storage::{Notice, Phase, Subject};
use session_manager_core::{BusEvent, Clock, InvalidationBus, RevocationReason, SystemClock};
use session_manager_services::{Postgres, Redis};
use session_manager_storage_redis::RedisBus;
use session_manager_storage_sqlx::PgBus;
use session_manager_tests::bed::{Bed, firefox, memory};
use tokio::task::JoinHandle;

type Events = BoxStream<'static, BusEvent>;

/// What comes within a time that is long enough for every server, past heartbeats.
async fn next(events: &mut Events) -> BusEvent {
    let next = async {
        loop {
            match events.next().await.unwrap() {
                BusEvent::Heartbeat => {}
                event => return event,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), next).await.expect("the bus says something")
}

async fn heartbeat(events: &mut Events) {
    let beat = async { while events.next().await.unwrap() != BusEvent::Heartbeat {} };
    tokio::time::timeout(Duration::from_secs(30), beat).await.expect("a heartbeat");
}

fn run(bus: &Arc<dyn InvalidationBus>) -> JoinHandle<()> {
    let bus = Arc::clone(bus);
    tokio::spawn(async move { bus.maintenance().unwrap().await })
}

fn notice(phase: Phase) -> Notice {
    Notice::new(Subject::Global, phase, SystemClock.now())
}

/// Two nodes: what one publishes the other hears, in order; an outage is heard as lost and ends by itself.
async fn nodes_hear_each_other(nodes: [Arc<dyn InvalidationBus>; 2], mut outage: impl FnMut(bool)) {
    let [here, there] = nodes;
    let (mut ours, mut theirs) = (here.subscribe(), there.subscribe());
    let tasks = [run(&here), run(&there)];
    assert_eq!(next(&mut theirs).await, BusEvent::Lost, "what was said before is unknown");
    assert_eq!(next(&mut ours).await, BusEvent::Lost);
    for phase in [Phase::Intent, Phase::Done] {
        let notice = Notice::new(Subject::Global, phase, chrono::DateTime::UNIX_EPOCH);
        here.publish(&notice).await.unwrap();
        assert_eq!(next(&mut ours).await, BusEvent::Notice(notice));
        assert_eq!(next(&mut theirs).await, BusEvent::Notice(notice));
    }
    heartbeat(&mut theirs).await;
    outage(true);
    assert_eq!(next(&mut theirs).await, BusEvent::Lost, "the bus broke");
    assert!(
        tokio::time::timeout(Duration::from_secs(20), here.publish(&notice(Phase::Done)))
            .await
            .is_ok_and(|sent| sent.is_err())
    );
    outage(false);
    // Whoever subscribes now hears when it is up again.
    let mut later = there.subscribe();
    heartbeat(&mut later).await;
    let healed = async {
        loop {
            let notice = notice(Phase::Done);
            if here.publish(&notice).await.is_ok() && matches!(next(&mut later).await, BusEvent::Notice(_)) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), healed).await.expect("it heals by itself");
    for task in tasks {
        assert!(!task.is_finished(), "no error ends it");
        task.abort();
    }
}

async fn over_redis(server: &Redis) -> Arc<dyn InvalidationBus> {
    let client = redis::Client::open(server.url()).unwrap();
    let config = redis::aio::ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_response_timeout(Some(Duration::from_secs(2)));
    let manager = redis::aio::ConnectionManager::new_with_config(client.clone(), config).await.unwrap();
    let subscribe = move || {
        let client = client.clone();
        async move { client.get_async_pubsub().await }
    };
    Arc::new(RedisBus::new(manager, "sessions", subscribe).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_carries_notices_and_survives_a_restart() {
    let mut server = Redis::start().unwrap();
    let nodes = [over_redis(&server).await, over_redis(&server).await];
    nodes_hear_each_other(nodes, |down| if down { server.kill().unwrap() } else { server.restart().unwrap() }).await;
}

fn over_postgres(server: &Postgres) -> Arc<dyn InvalidationBus> {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(2));
    Arc::new(PgBus::new(options.connect_lazy(&server.url()).unwrap(), "sessions").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_carries_notices_and_survives_a_restart() {
    let mut server = Postgres::start().unwrap();
    let nodes = [over_postgres(&server), over_postgres(&server)];
    nodes_hear_each_other(nodes, |down| if down { server.kill().unwrap() } else { server.restart().unwrap() }).await;
}

/// A stream on another node than the one that ends the session hears of it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_on_another_node_hears_of_the_end() {
    let server = Redis::start().unwrap();
    let storage = memory();
    let [here, there] = [over_redis(&server).await, over_redis(&server).await];
    let ours = Bed::with(Arc::clone(&storage), |builder| builder.bus(here));
    let theirs = Bed::with(storage, |builder| builder.bus(Arc::clone(&there)));
    let created = ours.sign_in("alice").await;
    let mut events = there.subscribe();
    let maintenance = tokio::spawn(theirs.manager.maintenance());
    heartbeat(&mut events).await;
    let key = created.snapshot.session.key();
    let watcher = theirs.manager.clone();
    let watching = tokio::spawn(async move { watcher.ended(key).await });
    // The clock of both managers stands still: only the bus can tell.
    tokio::task::yield_now().await;
    ours.manager.revoke(None, key, RevocationReason::LOGOUT, &firefox()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), watching).await.expect("told by the bus").unwrap();
    maintenance.abort();
}
