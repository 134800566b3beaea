//! Activity that is noted in memory and written down in rounds.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::{ErrorKind, SessionPolicy, State};
use session_manager_testkit::fault::{FailingStorage, Method};
use session_manager_tests::bed::{firefox, memory};

use super::nodes::{FEED, Nodes};

#[tokio::test]
async fn ten_thousand_accesses_in_one_interval_are_one_write() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let created = node.sign_in("alice").await;
    nodes.pass(Duration::from_secs(61)).await;
    let at = nodes.now();
    node.reads.reset();
    for _ in 0..10_000 {
        node.access(&created.tokens.access).await.unwrap();
    }
    assert_eq!(node.reads.calls(Method::Touch), 0, "none with a request");
    nodes.pass(Duration::from_mins(1)).await;
    assert_eq!(node.reads.calls(Method::Touch), 1);
    let view = node.manager.get(None, created.snapshot.key()).await.unwrap().unwrap();
    assert_eq!(view.snapshot.control.last_activity, at, "when it happened, not when it was written");
}

#[tokio::test]
async fn noted_activity_keeps_a_session_alive() {
    let nodes = Nodes::new();
    let node = nodes
        .node_with(FEED, |builder| {
            let mut policy = SessionPolicy::default();
            policy.idle_timeout = Some(Duration::from_mins(10));
            builder.policy(policy)
        })
        .await;
    let (alice, bob) = (node.sign_in("alice").await, node.sign_in("bob").await);
    let (mut awake, mut asleep) = (alice.tokens, bob.tokens);
    for minute in 0..25 {
        nodes.pass(Duration::from_mins(1)).await;
        node.access(&awake.access).await.unwrap();
        if minute % 4 == 3 {
            awake = node.manager.refresh(awake.refresh.expose(), &firefox()).await.unwrap().tokens;
        }
        if minute == 3 {
            // A refresh in the background is no presence.
            asleep = node.manager.refresh(asleep.refresh.expose(), &firefox()).await.unwrap().tokens;
        }
    }
    let refused = node.manager.refresh(asleep.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Idle));
}

#[tokio::test]
async fn a_flush_writes_it_down_and_an_outage_loses_none_of_it() {
    let failing = Arc::new(FailingStorage::new(memory()));
    let mut nodes = Nodes::new();
    nodes.storage = failing.clone();
    let node = nodes.node(FEED).await;
    let created = node.sign_in("alice").await;
    nodes.clock.advance(Duration::from_mins(2));
    node.access(&created.tokens.access).await.unwrap();
    failing.outage();
    node.manager.flush().await.unwrap();
    failing.heal();
    let view = node.manager.get(None, created.snapshot.key()).await.unwrap().unwrap();
    assert!(view.snapshot.control.last_activity < nodes.now(), "nothing could be written");
    node.manager.flush().await.unwrap();
    let view = node.manager.get(None, created.snapshot.key()).await.unwrap().unwrap();
    assert_eq!(view.snapshot.control.last_activity, nodes.now());
}
