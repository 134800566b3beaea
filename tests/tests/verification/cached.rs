//! Mode `Cached`: the storage's cache answers, and refuses nobody.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_manager_core::{ErrorKind, Result, RevocationReason, SessionManager, State, Verification};
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_testkit::fault::{CountingStorage, Hook, Hooked, Method};
use session_manager_tests::bed::{backend, firefox};

use super::nodes::{MAX_AGE, Nodes, just_before};

const CACHED: Verification = Verification::Cached { max_age: MAX_AGE };

/// A storage that cannot answer without waiting.
#[derive(Debug)]
struct Remote;

#[async_trait]
impl Hook for Remote {
    async fn before(&self, _: Method) -> Result<()> {
        Ok(())
    }

    fn try_read(&self) -> bool {
        false
    }
}

/// Two nodes, each with a cache of its own before one storage and no bus between them.
#[tokio::test]
async fn a_check_costs_a_read_once_in_max_age_and_an_end_is_seen_by_then() {
    let nodes = Nodes::new();
    let durable = Arc::new(CountingStorage::new(Hooked::with_hook(Arc::clone(&nodes.storage), Remote)));
    let node = || {
        let cache = TieredStorage::new(durable.clone(), TieredConfig::new().max_age(MAX_AGE)).unwrap();
        SessionManager::builder()
            .storage(Arc::new(cache.with_clock(nodes.clock.clone())))
            .backend(backend())
            .clock(nodes.clock.clone())
            .allow_volatile(true)
            .verification(CACHED)
            .build_with_maintenance()
            .unwrap()
            .0
    };
    let (here, there) = (node(), node());
    let created = nodes.node(Verification::Always).await.sign_in("alice").await;
    let access = created.tokens.access.expose();
    let reads = || durable.calls(Method::Read);
    for _ in 0..3 {
        there.authenticate(access, &firefox()).await.unwrap();
    }
    assert_eq!(reads(), 1);
    nodes.clock.advance(just_before(MAX_AGE));
    there.authenticate(access, &firefox()).await.unwrap();
    assert_eq!(reads(), 1);

    here.authenticate(access, &firefox()).await.unwrap();
    here.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    let ended = |result: Result<_>| result.map(drop).map_err(|error| error.kind());
    let revoked = Err(ErrorKind::SessionEnded(State::Revoked));
    assert_eq!(ended(here.authenticate(access, &firefox()).await), revoked, "at once here");
    assert_eq!(ended(there.authenticate(access, &firefox()).await), Ok(()), "remembered");
    nodes.clock.advance(Duration::from_millis(1));
    assert_eq!(ended(there.authenticate(access, &firefox()).await), revoked, "never later than max_age");
    assert_eq!(there.revocation_bound(), MAX_AGE);
}

/// A cache that remembers an end or an absence wrongly must not sign anybody out: the storage is asked first.
#[tokio::test]
async fn what_is_refused_the_storage_has_refused() {
    let nodes = Nodes::new();
    let remote = Arc::new(Hooked::with_hook(Arc::clone(&nodes.storage), Remote));
    let cache = TieredStorage::new(remote, TieredConfig::new().max_age(MAX_AGE)).unwrap();
    let (manager, _work) = SessionManager::builder()
        .storage(Arc::new(cache.with_clock(nodes.clock.clone())))
        .backend(backend())
        .clock(nodes.clock.clone())
        .allow_volatile(true)
        .verification(CACHED)
        .build_with_maintenance()
        .unwrap();
    let elsewhere = nodes.node(Verification::Always).await;
    let created = elsewhere.sign_in("alice").await;
    // Its absence is remembered, as on a node that was asked before the sign-in reached its replica.
    let key = created.snapshot.key();
    let record = nodes.storage.scan().unwrap().scan(None, 10).await.unwrap().sessions.remove(0);
    nodes
        .storage
        .purge(&session_manager_core::storage::Purge::new(
            session_manager_core::storage::PurgeScope::One(key),
            1,
            nodes.now(),
        ))
        .await
        .unwrap();
    assert!(manager.authenticate(created.tokens.access.expose(), &firefox()).await.is_err());
    nodes.storage.scan().unwrap().put(&record).await.unwrap();
    manager.authenticate(created.tokens.access.expose(), &firefox()).await.unwrap();
}
