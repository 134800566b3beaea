//! Mode `Stateless`: the token alone, until it expires.

use std::time::Duration;

use session_manager_core::{ErrorKind, Rejection, RevocationReason, State, Verification};
use session_manager_tests::bed::firefox;

use super::nodes::Nodes;

#[tokio::test]
async fn an_ended_sessions_token_is_accepted_until_it_expires_and_never_renewed() {
    let nodes = Nodes::new();
    let node = nodes.node(Verification::Stateless).await;
    let created = node.sign_in("alice").await;
    node.unread(&created.tokens.access).await.unwrap();
    node.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    node.unread(&created.tokens.access).await.expect("as documented");
    let refused = node.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Revoked));
    let bound = node.manager.revocation_bound();
    assert_eq!(bound, node.manager.policy().access_token_lifetime);
    nodes.clock.advance(bound);
    let expired = Err(ErrorKind::InvalidToken(Rejection::Expired));
    assert_eq!(node.access(&created.tokens.access).await.map(drop), expired);
}

/// An access token ends with the idle deadline that was known when it was issued, whatever the mode.
#[tokio::test]
async fn idleness_is_enforced_at_refresh() {
    let nodes = Nodes::new();
    let node = nodes
        .node_with(Verification::Stateless, |builder| {
            let mut policy = session_manager_core::SessionPolicy::default();
            policy.idle_timeout = Some(Duration::from_mins(10));
            builder.policy(policy)
        })
        .await;
    let created = node.sign_in("alice").await;
    nodes.clock.advance(Duration::from_mins(10));
    let refused = node.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Idle));
}
