//! The shared cache in Redis before real storages: the conformance suite through it, and nodes that meet at it.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "a failed unwrap is a failed test, and the casts are to trait objects"
)]

// One test double for the crate's own tests and these.
#[path = "../../crates/storage-tiered/tests/eventually/mod.rs"]
mod eventually;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventually::Eventually;
use session_manager_core::storage::{Consistency, RevokeTarget};
use session_manager_core::{
    Clock, Locator, Result, SessionId, SessionStorage, SharedCache, SharedFill, SharedLook, SharedSubject, Snapshot,
    State,
};
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_testkit::fault::{Method, PausingStorage};
use session_manager_testkit::{Fixture, storage_conformance, user};
use session_manager_tests::{servers, sqlite::Database};

const MAX_AGE: Duration = Duration::from_secs(10);

/// Nothing in this process, so that all is answered from the shared cache or from behind it.
fn before(durable: Arc<dyn SessionStorage>, cache: Arc<dyn SharedCache>, config: TieredConfig) -> TieredStorage {
    TieredStorage::new(durable, config.max_entries(0).shared_timeout(Duration::from_mins(1)))
        .unwrap()
        .with_shared(cache)
}

/// With so short a life of tombstones that what the suite reads again may have been remembered.
async fn quick(durable: Arc<dyn SessionStorage>) -> Eventually {
    let config = TieredConfig::new().max_age(Duration::from_millis(40)).fill_timeout(Duration::from_millis(20));
    Eventually(before(durable, Arc::new(servers::redis_cache().await), config))
}

async fn over_sqlite() -> Eventually {
    quick(Database::new().await.into_storage()).await
}

async fn over_postgres() -> Eventually {
    quick(Arc::new(servers::postgres().await)).await
}

storage_conformance!(sqlite, over_sqlite);
storage_conformance!(postgres, over_postgres);

/// A cache that knows no tombstones.
#[derive(Debug)]
struct Unburied(Arc<dyn SharedCache>);

#[async_trait]
impl SharedCache for Unburied {
    async fn look(&self, id: SessionId, locator: Locator) -> Result<SharedLook> {
        self.0.look(id, locator).await
    }

    async fn fill(&self, fill: &SharedFill<'_>) -> Result<bool> {
        self.0.fill(fill).await
    }

    async fn bury(&self, _: &[SharedSubject], _: Duration) -> Result<()> {
        Ok(())
    }
}

/// Two nodes over one durable storage whose reads can be held.
struct Nodes {
    durable: Arc<PausingStorage<Arc<dyn SessionStorage>>>,
    past: Fixture,
    here: Arc<TieredStorage>,
    there: Arc<TieredStorage>,
}

impl Nodes {
    async fn new(durable: Arc<dyn SessionStorage>, is_broken: bool) -> Self {
        let cache: Arc<dyn SharedCache> = Arc::new(servers::redis_cache().await);
        let cache = if is_broken { Arc::new(Unburied(cache)) } else { cache };
        let durable = Arc::new(PausingStorage::new(durable));
        let past = Fixture::new(Arc::clone(&durable) as Arc<dyn SessionStorage>);
        let node = || {
            let durable = Arc::clone(&durable) as Arc<dyn SessionStorage>;
            let config = TieredConfig::new().max_age(MAX_AGE);
            let node = before(durable, Arc::clone(&cache), config);
            Arc::new(node.with_clock(past.clock().clone() as Arc<dyn Clock>))
        };
        let (here, there) = (node(), node());
        Self { durable, past, here, there }
    }

    async fn seen(&self, node: &TieredStorage, one: &Snapshot) -> State {
        let found = node.read(&one.key(), Consistency::Eventual).await.unwrap().unwrap();
        found.state(self.past.now(), self.past.live())
    }
}

async fn durables() -> [Arc<dyn SessionStorage>; 2] {
    [Database::new().await.into_storage(), Arc::new(servers::postgres().await)]
}

fn logout(one: &Snapshot, nodes: &Nodes) -> session_manager_core::storage::Revoke {
    use session_manager_core::{Actor, RevocationReason};
    let target = RevokeTarget::One { key: one.key(), owner: None };
    session_manager_core::storage::Revoke::new(target, RevocationReason::LOGOUT, Actor::System, nodes.past.now())
}

/// The barrier: one node reads, another revokes, and then the first fills.
async fn read_revoke_fill(durable: Arc<dyn SessionStorage>, is_broken: bool) -> State {
    let nodes = Nodes::new(durable, is_broken).await;
    let one = nodes.past.login(&user("alice")).await;
    let mut slow = nodes.durable.pause_next(Method::Read);
    let reader = tokio::spawn({
        let (there, key) = (Arc::clone(&nodes.there), one.key());
        async move { there.read(&key, Consistency::Eventual).await.unwrap() }
    });
    slow.reached().await;
    assert_eq!(nodes.here.revoke(&logout(&one, &nodes)).await.unwrap().binds_by, None);
    slow.release();
    assert!(reader.await.unwrap().is_some(), "it ran beside the revocation");
    nodes.seen(&nodes.there, &one).await
}

#[tokio::test(flavor = "multi_thread")]
async fn read_revoke_fill_never_revives() {
    for durable in durables().await {
        assert_eq!(read_revoke_fill(durable, false).await, State::Revoked);
    }
}

/// The barrier is one: a cache without tombstones takes what the slow read brings, and revives it until its age.
#[tokio::test(flavor = "multi_thread")]
async fn the_barrier_catches_a_cache_without_tombstones() {
    for durable in durables().await {
        assert_eq!(read_revoke_fill(durable, true).await, State::Live);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_has_read_the_others_find_until_it_ends() {
    for durable in durables().await {
        let nodes = Nodes::new(durable, false).await;
        let one = nodes.past.login(&user("alice")).await;
        assert_eq!(nodes.seen(&nodes.here, &one).await, State::Live);
        assert_eq!(nodes.seen(&nodes.there, &one).await, State::Live);
        assert_eq!((nodes.here.stats().shared_misses, nodes.there.stats().shared_hits), (1, 1));
        nodes.here.revoke(&logout(&one, &nodes)).await.unwrap();
        for node in [&nodes.here, &nodes.there] {
            assert_eq!(nodes.seen(node, &one).await, State::Revoked);
        }
        assert_eq!(nodes.there.stats().shared_hits, 1);
    }
}
