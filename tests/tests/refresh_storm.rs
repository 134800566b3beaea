//! Many tasks on several nodes refresh one session at once, with delays and duplicates: one line of successors, no 401 within the grace, and
//! every replay outside it caught.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed unwrap is a failed test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_manager_core::{Clock, ErrorKind, ManualClock, NewSession, SessionManager, SessionStorage, State, Token};
use session_manager_tests::bed::{backend, firefox, memory, user};
use session_manager_tests::servers;
use tokio::sync::Barrier;

/// Tasks at once.
const TASKS: usize = 64;
/// Refreshes altogether, duplicates included.
const REFRESHES: usize = 10_000;
/// Generations that are needed for that.
const ROUNDS: usize = REFRESHES.div_ceil(TASKS);

/// Four nodes, each with its own storage object and manager, on one clock.
struct Nodes {
    managers: Vec<SessionManager>,
    clock: Arc<ManualClock>,
}

impl Nodes {
    fn on(storages: [Arc<dyn SessionStorage>; 4]) -> Arc<Self> {
        let clock = Arc::new(ManualClock::default());
        let manager = |storage| {
            let builder = SessionManager::builder().storage(storage).backend(backend());
            builder.clock(clock.clone()).allow_volatile(true).build().unwrap()
        };
        Arc::new(Self { managers: storages.into_iter().map(manager).collect(), clock })
    }
}

/// A number that varies with its arguments: delays differ from run to run by scheduling, not by chance.
fn varied(task: usize, round: usize) -> usize {
    (task.wrapping_mul(2_654_435_761) ^ round.wrapping_mul(40_503)) >> 3
}

async fn storm(nodes: Arc<Nodes>) {
    let created = nodes.managers[0].create(NewSession::of(user("alice")), &firefox()).await.unwrap();
    let grace = nodes.managers[0].policy().refresh_grace;
    let successors: Arc<Mutex<BTreeMap<u64, Token>>> = Arc::default();
    successors.lock().unwrap().insert(1, created.tokens.refresh.clone());
    let barrier = Arc::new(Barrier::new(TASKS));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (nodes, barrier, successors) = (Arc::clone(&nodes), Arc::clone(&barrier), Arc::clone(&successors));
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    barrier.wait().await;
                    let generation = u64::try_from(round).unwrap() + 1;
                    let token = successors.lock().unwrap()[&generation].clone();
                    barrier.wait().await;
                    // Some come late, and time passes under those that come later still: by all of them together less than the grace.
                    let number = varied(task, round);
                    for _ in 0..number % 7 {
                        tokio::task::yield_now().await;
                    }
                    if number.is_multiple_of(5) {
                        nodes.clock.advance(grace / 1000);
                    }
                    let manager = &nodes.managers[number % nodes.managers.len()];
                    let refreshed = manager.refresh(token.expose(), &firefox()).await;
                    let refreshed = refreshed.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
                    assert_eq!(refreshed.snapshot.control.generation, generation + 1, "a sibling");
                    let mut successors = successors.lock().unwrap();
                    let successor =
                        successors.entry(generation + 1).or_insert_with(|| refreshed.tokens.refresh.clone());
                    assert_eq!(*successor, refreshed.tokens.refresh, "one successor, however it is asked for");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let successors = std::mem::take(&mut *successors.lock().unwrap());
    assert_eq!(successors.len(), ROUNDS + 1);
    let newest = &successors[&(u64::try_from(ROUNDS).unwrap() + 1)];

    // The one before the newest, after the grace, from everybody at once: each is refused, and the session is over.
    nodes.clock.advance(grace);
    let old = &successors[&u64::try_from(ROUNDS).unwrap()];
    let replays = (0..TASKS).map(|task| {
        let manager = nodes.managers[task % 4].clone();
        let old = old.clone();
        tokio::spawn(
            async move { manager.refresh(old.expose(), &firefox()).await.map(drop).map_err(|error| error.kind()) },
        )
    });
    let ended = ErrorKind::SessionEnded(State::Revoked);
    for replay in replays.collect::<Vec<_>>() {
        let refused = replay.await.unwrap().expect_err("a replay");
        assert!(refused == ErrorKind::ReplayDetected || refused == ended, "{refused:?}");
    }
    for manager in &nodes.managers {
        let refused = manager.refresh(newest.expose(), &firefox()).await.unwrap_err();
        assert_eq!(refused.kind(), ended);
    }
}

/// Every token that is older than the previous one is a replay, on whichever node it is shown.
async fn replays(nodes: Arc<Nodes>) {
    for attempt in 0..100 {
        let node = |number: usize| &nodes.managers[(attempt + number) % 4];
        let created = node(0).create(NewSession::of(user("bob")), &firefox()).await.unwrap();
        let first = created.tokens.refresh;
        let second = node(1).refresh(first.expose(), &firefox()).await.unwrap().tokens.refresh;
        let third = node(2).refresh(second.expose(), &firefox()).await.unwrap().tokens;
        // Within the grace, but not the previous one.
        let replay = node(3).refresh(first.expose(), &firefox()).await.unwrap_err();
        assert_eq!(replay.kind(), ErrorKind::ReplayDetected);
        let refused = node(attempt).authenticate(third.access.expose(), &firefox()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Revoked));
        nodes.clock.advance(Duration::from_secs(1));
    }
    assert!(nodes.clock.now() > chrono::DateTime::UNIX_EPOCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_has_one_line_of_successors() {
    let storage = memory();
    let nodes = Nodes::on(std::array::from_fn(|_| Arc::clone(&storage)));
    storm(Arc::clone(&nodes)).await;
    replays(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_has_one_line_of_successors() {
    let nodes = Nodes::on(servers::postgres_nodes().await);
    storm(Arc::clone(&nodes)).await;
    replays(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_cluster_has_one_line_of_successors() {
    let nodes = Nodes::on(servers::redis_cluster_nodes().await);
    storm(Arc::clone(&nodes)).await;
    replays(nodes).await;
}
