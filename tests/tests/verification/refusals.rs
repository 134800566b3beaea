//! What a mode needs is asked for when the manager is built.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::{
    Error, ErrorKind, NewSession, PolicyOverrides, SessionManager, SessionManagerBuilder, SessionPolicy, Verification,
};
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_tests::bed::{backend, firefox, memory, user};

use super::nodes::{FEED, MAX_AGE, Nodes};

fn builder() -> SessionManagerBuilder {
    SessionManager::builder().storage(memory()).backend(backend()).allow_volatile(true)
}

fn refused(outcome: Result<SessionManager, Error>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    error.to_string()
}

#[test]
fn a_mode_that_needs_background_work_is_not_built_without() {
    for mode in [FEED, Verification::Stateless] {
        assert!(refused(builder().verification(mode).build()).contains("build_with_maintenance"));
        assert!(builder().verification(mode).build_with_maintenance().is_ok());
    }
    let mut policy = SessionPolicy::default();
    policy.idle_timeout = None;
    assert!(builder().policy(policy.clone()).verification(Verification::Stateless).build().is_ok());
    assert!(refused(builder().policy(policy).verification(FEED).build()).contains("build_with_maintenance"));
}

#[test]
fn cached_needs_a_cache_that_is_young_enough() {
    let cached = Verification::Cached { max_age: MAX_AGE };
    let over = |age| Arc::new(TieredStorage::new(memory(), TieredConfig::new().max_age(age)).unwrap());
    let build =
        |builder: SessionManagerBuilder| builder.verification(cached).build_with_maintenance().map(|built| built.0);
    assert!(refused(build(builder())).contains("storage-tiered"));
    assert!(refused(build(builder().storage(over(MAX_AGE + Duration::from_secs(1))))).contains("6s"));
    assert!(build(builder().storage(over(MAX_AGE))).is_ok());
}

#[test]
fn an_age_makes_sense_or_is_refused() {
    for age in [Duration::ZERO, Duration::from_millis(99), Duration::from_hours(2)] {
        let mode = Verification::Feed { max_age: age };
        assert!(refused(builder().verification(mode).build_with_maintenance().map(|built| built.0)).contains("100ms"));
    }
}

#[test]
fn the_feed_must_be_readable_for_as_long_as_a_token_lives() {
    let mut policy = SessionPolicy::default();
    policy.access_token_lifetime = Duration::from_hours(24 * 20);
    let outcome = builder().policy(policy).verification(FEED).build_with_maintenance().map(|built| built.0);
    assert!(refused(outcome).contains("a feed that can be read for"));
}

#[tokio::test]
async fn an_idle_timeout_of_one_session_leaves_room_for_rounds() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let with = |idle| {
        let mut overrides = PolicyOverrides::new();
        overrides.idle_timeout = Some(Some(idle));
        NewSession::of(user("alice")).overriding(overrides)
    };
    let short = node.manager.create(with(Duration::from_mins(9)), &firefox()).await.unwrap_err();
    assert_eq!(short.kind(), ErrorKind::InvalidInput);
    assert!(short.to_string().contains("10m"), "{short}");
    node.manager.create(with(Duration::from_mins(10)), &firefox()).await.unwrap();
}
