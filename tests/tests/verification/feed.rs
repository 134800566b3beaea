//! Mode `Feed`: no read, and every end is seen within the bound.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{Notice, Phase, Revoke, RevokeTarget, Subject};
use session_manager_core::{
    Actor, AuditKind, ErrorKind, LocalBus, NewSession, Rejection, RequestContext, RevocationReason, Rotation, State,
};
use session_manager_tests::bed::{firefox, user};

use super::nodes::{FEED, MAX_AGE, Nodes, just_before, turn};

const REVOKED: Result<(), ErrorKind> = Err(ErrorKind::SessionEnded(State::Revoked));
const ROTATED: Result<(), ErrorKind> = Err(ErrorKind::SessionEnded(State::RotatedOut));

/// How long an announcement of a manager with the default policy matters: the longest transaction, an access token's life, and the clocks.
const ENTRY: Duration = Duration::from_secs(60 + 300 + 5);

#[tokio::test]
async fn an_access_reads_nothing() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    assert_eq!(node.manager.follows_feed(), Some(true));
    let created = node.sign_in("alice").await;
    let access = &created.tokens.access;
    for _ in 0..3 {
        node.unread(access).await.unwrap();
    }
    let accepted = node.access(access).await.unwrap();
    assert!(accepted.session().is_none());
    assert_eq!((accepted.user_id(), accepted.session_id()), (&user("alice"), created.snapshot.session.id));
    // Whoever wants the session reads it.
    let loaded = node.manager.load(&accepted).await.unwrap();
    assert_eq!(loaded.session.id, created.snapshot.session.id);
}

#[tokio::test]
async fn a_node_that_does_not_know_the_feed_reads() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let created = here.sign_in("alice").await;
    let access = created.tokens.access;
    there.unread(&access).await.unwrap();
    // Its background work stops: what it knows grows old.
    there.work.abort();
    turn().await;
    nodes.pass(just_before(MAX_AGE)).await;
    here.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    nodes.pass(Duration::from_millis(1)).await;
    let (reads, outcome) = there.cost(&access).await;
    assert_eq!((reads, outcome), (1, REVOKED), "never later than max_age");
    assert_eq!(there.manager.follows_feed(), Some(false));
}

#[tokio::test]
async fn an_end_is_seen_at_once_here_and_within_the_bound_elsewhere() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let created = here.sign_in("alice").await;
    let access = created.tokens.access;
    there.unread(&access).await.unwrap();
    here.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    assert_eq!(here.access(&access).await.map(drop), REVOKED, "at once");
    there.unread(&access).await.expect("it has not heard of it yet");
    nodes.pass(MAX_AGE).await;
    assert_eq!(there.access(&access).await.map(drop), REVOKED);
    assert_eq!(there.manager.revocation_bound(), MAX_AGE);
    assert_eq!(there.manager.follows_feed(), Some(true), "by the feed, not by its age");
}

#[tokio::test]
async fn the_bus_tells_sooner() {
    let nodes = Nodes::with_bus(Arc::new(LocalBus::new()));
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let created = here.sign_in("alice").await;
    here.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    turn().await;
    assert_eq!(there.access(&created.tokens.access).await.map(drop), REVOKED, "no time has passed");
}

#[tokio::test]
async fn a_change_that_was_announced_is_looked_for_until_no_token_of_before_is_left() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let created = node.sign_in("alice").await;
    let key = created.snapshot.key();
    // Another node announced it and has not made it yet: a crash, or a transaction that is still open.
    let intent = Notice::new(Subject::Session(key.id), Phase::Intent, nodes.now());
    nodes.storage.feed().unwrap().announce(&[intent]).await.unwrap();
    nodes.pass(MAX_AGE).await;
    assert_eq!(node.cost(&created.tokens.access).await, (1, Ok(())), "a negative look");
    let target = RevokeTarget::One { key, owner: None };
    let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, nodes.now());
    nodes.storage.revoke(&revoke).await.unwrap();
    assert_eq!(node.access(&created.tokens.access).await.map(drop), REVOKED, "committed late");
}

#[tokio::test]
async fn a_raised_user_epoch_is_read_once_and_then_known() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let [kept, other, bob] = [here.sign_in("alice").await, here.sign_in("alice").await, here.sign_in("bob").await];
    let access = [&kept, &other, &bob].map(|created| created.tokens.access.clone());
    let rotation = Rotation::new("password").keeping(kept.snapshot.session.id);
    let rotated = here.manager.rotate_user(&user("alice"), &rotation, &firefox()).await.unwrap();
    let renewed = rotated.kept.unwrap().tokens.access;
    nodes.pass(MAX_AGE).await;
    for node in [&here, &there] {
        assert_eq!(node.cost(&access[1]).await, (1, ROTATED));
        assert_eq!(
            node.access(&access[0]).await.map(drop),
            Err(ErrorKind::Superseded),
            "also the kept one's old token"
        );
        node.unread(&renewed).await.expect("what its claims say is known to be current");
        node.unread(&access[2]).await.expect("others are not concerned");
    }
}

#[tokio::test]
async fn everybodys_epoch_is_read_once_and_its_grace_runs_out() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let [alice, bob] = [here.sign_in("alice").await, here.sign_in("bob").await];
    let access = [&alice, &bob].map(|created| created.tokens.access.clone());
    let grace = Duration::from_mins(2);
    here.manager.rotate_all(&Rotation::new("keys may have leaked").grace(grace), &firefox()).await.unwrap();
    nodes.pass(MAX_AGE).await;
    assert_eq!(there.cost(&access[0]).await, (1, Ok(())), "it reads the epoch once");
    there.unread(&access[1]).await.expect("for everybody");
    nodes.pass(grace).await;
    for token in &access {
        assert_eq!(there.access(token).await.map(drop), ROTATED);
    }
    let created = there.sign_in("carol").await;
    nodes.pass(Duration::from_mins(5)).await;
    assert_eq!(there.access(&created.tokens.access).await.map(drop), Err(ErrorKind::InvalidToken(Rejection::Expired)));
}

#[tokio::test]
async fn an_epoch_with_an_open_change_is_not_settled() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let created = node.sign_in("alice").await;
    let alice = user("alice");
    let announce = |phase, at| {
        let notice = Notice::new(Subject::UserEpoch(alice.locator()), phase, at);
        let feed = nodes.storage.clone();
        async move { feed.feed().unwrap().announce(&[notice]).await.unwrap() }
    };
    let (first, second) = (nodes.now(), nodes.now() + chrono::TimeDelta::milliseconds(3));
    announce(Phase::Intent, first).await;
    announce(Phase::Intent, second).await;
    announce(Phase::Done, first).await;
    nodes.pass(MAX_AGE).await;
    for _ in 0..2 {
        assert_eq!(node.cost(&created.tokens.access).await, (1, Ok(())), "the second may still come");
    }
    announce(Phase::Done, second).await;
    nodes.pass(MAX_AGE).await;
    assert_eq!(node.cost(&created.tokens.access).await, (1, Ok(())));
    node.unread(&created.tokens.access).await.unwrap();
}

#[tokio::test]
async fn whoever_a_sign_in_evicted_is_refused_and_nobody_else_looked_at() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let mut first = Vec::new();
    for _ in 0..5 {
        nodes.pass(Duration::from_secs(1)).await;
        first.push(here.sign_in("alice").await.tokens.access);
    }
    nodes.pass(MAX_AGE).await;
    here.sign_in("alice").await;
    nodes.pass(MAX_AGE).await;
    assert_eq!(there.access(&first[0]).await.map(drop), REVOKED);
    for access in &first[1..] {
        there.unread(access).await.unwrap();
    }
    let others = here
        .manager
        .revoke_others(
            &user("alice"),
            there.access(&first[1]).await.unwrap().session_id(),
            RevocationReason::OTHERS,
            &firefox(),
        )
        .await
        .unwrap();
    assert_eq!(others.len(), 4);
    nodes.pass(MAX_AGE).await;
    there.unread(&first[1]).await.unwrap();
    assert_eq!(there.access(&first[2]).await.map(drop), REVOKED);
}

#[tokio::test]
async fn a_group_whose_end_is_never_told_is_looked_at_as_long_as_a_token_lives() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let created = node.sign_in("alice").await;
    let alice = user("alice");
    // Not at the moment of the sign-in's own announcement.
    nodes.clock.advance(Duration::from_millis(1));
    let intent = Notice::new(Subject::User(alice.locator()), Phase::Intent, nodes.now());
    nodes.storage.feed().unwrap().announce(&[intent]).await.unwrap();
    nodes.pass(just_before(ENTRY)).await;
    let access = node.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap().tokens.access;
    assert_eq!(node.cost(&access).await, (1, Ok(())));
    nodes.pass(Duration::from_millis(1)).await;
    node.unread(&access).await.unwrap();
}

#[tokio::test]
async fn all_of_a_users_sessions_end_by_the_epoch() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let [one, two] = [here.sign_in("alice").await, here.sign_in("alice").await];
    nodes.pass(MAX_AGE).await;
    here.manager.revoke_all(&user("alice"), RevocationReason::ALL, &firefox()).await.unwrap();
    nodes.pass(MAX_AGE).await;
    for created in [&one, &two] {
        assert_eq!(there.access(&created.tokens.access).await.map(drop), REVOKED);
    }
}

#[tokio::test]
async fn a_raised_floor_is_seen() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let created = here.sign_in("alice").await;
    let access = created.tokens.access;
    there.unread(&access).await.unwrap();
    let renewed = here.manager.reauthenticate(created.snapshot.key(), &["pwd"], None, &firefox()).await.unwrap();
    nodes.pass(MAX_AGE).await;
    assert_eq!(there.access(&access).await.map(drop), Err(ErrorKind::Superseded));
    there.access(&renewed.tokens.access).await.unwrap();
}

#[tokio::test]
async fn an_accepted_token_whose_session_is_over_is_refused_where_the_session_is_wanted() {
    let nodes = Nodes::new();
    let (here, there) = (nodes.node(FEED).await, nodes.node(FEED).await);
    let created = here.sign_in("alice").await;
    let access = created.tokens.access;
    here.manager.revoke(None, created.snapshot.key(), RevocationReason::LOGOUT, &firefox()).await.unwrap();
    let accepted = there.access(&access).await.expect("it has not heard of it yet");
    let refused = there.manager.load(&accepted).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Revoked));
}

#[tokio::test]
async fn an_access_is_recorded_with_what_its_token_says() {
    let nodes = Nodes::new();
    let node = nodes.node(FEED).await;
    let admin = Actor::User(user("root"));
    let new = NewSession::of(user("alice")).impersonated_by(admin.clone());
    let created = node.manager.create(new, &firefox()).await.unwrap();
    let access = created.tokens.access;
    node.unread(&access).await.unwrap();
    let event = node.sink.last();
    assert_eq!((event.kind, event.actor), (AuditKind::Accessed, admin));
    assert_eq!((event.session_id, event.user_id), (Some(created.snapshot.session.id), Some(user("alice"))));
    node.manager.authenticate(access.expose(), &RequestContext::default().by(Actor::System)).await.unwrap();
    assert_eq!(node.sink.last().actor, Actor::System);
}
