//! Checks of the limit of live sessions, above all under concurrency.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{EndedSession, InsertOutcome, OnLimit, SessionLimit};
use session_manager_core::{Actor, RevocationReason, SessionId, SessionStorage, Snapshot, State};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

fn parts(outcome: InsertOutcome) -> (Snapshot, Vec<EndedSession>) {
    match outcome {
        InsertOutcome::Inserted { snapshot, evicted } => (snapshot, evicted),
        other => panic!("expected an insert, got {other:?}"),
    }
}

fn ids_of(ended: &[EndedSession]) -> BTreeSet<SessionId> {
    ended.iter().map(|ended| ended.session.id).collect()
}

async fn sixty_logins(lab: &Fixture, on_limit: OnLimit) -> Vec<InsertOutcome> {
    at_once(60, |_| {
        let lab = lab.clone();
        async move { lab.login_within(&user("alice"), 5, on_limit).await }
    })
    .await
}

async fn exactly_five_stay(lab: &Fixture, on_limit: OnLimit) {
    let outcomes = sixty_logins(lab, on_limit).await;
    let live = lab.live_ids(&user("alice")).await;
    assert_eq!(live.len(), 5, "sixty sign-ins at once under a limit of five");
    let (mut born, mut evicted, mut times) = (BTreeSet::new(), BTreeSet::new(), 0);
    for outcome in outcomes {
        let (snapshot, ended) = parts(outcome);
        born.insert(snapshot.session.id);
        times += ended.len();
        evicted.extend(ids_of(&ended));
    }
    assert_eq!((born.len(), evicted.len(), times), (60, 55, 55), "each is evicted once, and reported once");
    assert!(live.is_disjoint(&evicted));
}

/// Sixty sign-ins at once under a limit of five leave exactly five, the oldest making room.
pub async fn cap_holds_under_sixty_concurrent_logins(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    exactly_five_stay(&Fixture::new(storage), OnLimit::EvictOldest).await;
    Passed
}

/// The same where the idlest make room.
pub async fn cap_holds_when_the_idlest_are_evicted(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    exactly_five_stay(&Fixture::new(storage), OnLimit::EvictIdlest).await;
    Passed
}

/// The same where new sign-ins are refused: exactly five get in.
pub async fn cap_holds_when_logins_are_rejected(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let outcomes = sixty_logins(&lab, OnLimit::Reject).await;
    let (admitted, refused): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|outcome| matches!(outcome, InsertOutcome::Inserted { .. }));
    assert_eq!(admitted.len(), 5);
    assert!(refused.iter().all(|outcome| matches!(outcome, InsertOutcome::LimitReached { live: 5 })), "{refused:?}");
    assert_eq!(lab.live_ids(&user("alice")).await.len(), 5);
    Passed
}

/// The oldest makes room: by creation, then by id, whatever its activity.
pub async fn cap_evicts_the_oldest(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut born = Vec::new();
    for tick in [1, 0, 0, 1] {
        lab.tick(tick);
        born.push(lab.login(&alice).await);
    }
    born.sort_by_key(|snapshot| (snapshot.session.created_at, snapshot.session.id));
    lab.tick(1000);
    lab.touch(&born[0]).await;
    for victim in &born {
        lab.tick(1);
        let (_, evicted) = parts(lab.login_within(&alice, 4, OnLimit::EvictOldest).await);
        assert_eq!(ids_of(&evicted), BTreeSet::from([victim.session.id]));
    }
    Passed
}

/// The least recently active makes room: by activity, then by creation, then by id.
pub async fn cap_evicts_the_idlest(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut born = Vec::new();
    for _ in 0..4 {
        lab.tick(1);
        born.push(lab.login(&alice).await);
    }
    lab.tick(1000);
    lab.touch(&born[0]).await;
    lab.tick(1000);
    lab.touch(&born[2]).await;
    for victim in [1, 3, 0, 2] {
        lab.tick(1);
        let (_, evicted) = parts(lab.login_within(&alice, 4, OnLimit::EvictIdlest).await);
        assert_eq!(ids_of(&evicted), BTreeSet::from([born[victim].session.id]), "victim {victim}");
    }
    Passed
}

/// A refused sign-in is told how many sessions live, and leaves nothing behind.
pub async fn cap_rejects_with_the_live_count(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    for _ in 0..3 {
        lab.login(&alice).await;
    }
    let mut insert = lab.insert_of(lab.session(&alice).record());
    insert.limit = SessionLimit::new(2, OnLimit::Reject);
    let outcome = lab.storage().insert(&insert).await.unwrap();
    assert!(matches!(outcome, InsertOutcome::LimitReached { live: 3 }), "{outcome:?}");
    assert!(lab.find(insert.record.session.key()).await.is_none());
    assert_eq!(lab.live_ids(&alice).await.len(), 3);
    assert!(matches!(lab.login_within(&alice, 4, OnLimit::Reject).await, InsertOutcome::Inserted { .. }));
    Passed
}

/// Revoked, idle and expired sessions take no place, to the millisecond; nor do those that an epoch has rotated out.
pub async fn cap_counts_only_live_sessions(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let revoked = lab.login(&alice).await;
    lab.logout(&revoked).await;
    let short = Duration::from_secs(1);
    let idle = lab.store(lab.session(&alice).idle(Some(short))).await;
    let expired = lab.store(lab.session(&alice).lifetime(short)).await;
    lab.set(idle.control.idle_expires_at, -1);
    let outcome = lab.login_within(&alice, 2, OnLimit::Reject).await;
    assert!(matches!(outcome, InsertOutcome::LimitReached { live: 2 }), "one millisecond early: {outcome:?}");
    lab.tick(1);
    let (_, evicted) = parts(lab.login_within(&alice, 1, OnLimit::EvictOldest).await);
    assert_eq!(evicted, [], "what has ended makes room by itself");
    assert_eq!((lab.state(&idle).await, lab.state(&expired).await), (State::Idle, State::Expired));
    if lab.storage().capabilities().epochs {
        lab.bump_user(&alice, None).await;
        let (_, evicted) = parts(lab.login_within(&alice, 1, OnLimit::EvictOldest).await);
        assert_eq!(evicted, [], "what is rotated out makes room by itself");
    }
    Passed
}

/// A lower limit than before ends as many as it takes, in one step.
pub async fn lowered_cap_evicts_several(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut born = Vec::new();
    for _ in 0..7 {
        lab.tick(1);
        born.push(lab.login(&alice).await.session.id);
    }
    let (newest, evicted) = parts(lab.login_within(&alice, 3, OnLimit::EvictOldest).await);
    assert_eq!(ids_of(&evicted), born[..5].iter().copied().collect());
    assert_eq!(lab.live_ids(&alice).await, BTreeSet::from([born[5], born[6], newest.session.id]));
    Passed
}

/// Without a limit nobody is evicted.
pub async fn unlimited_evicts_nothing(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    for _ in 0..20 {
        let (_, evicted) = parts(lab.login_within(&user("alice"), 1, OnLimit::Unlimited).await);
        assert_eq!(evicted, []);
    }
    assert_eq!(lab.live_ids(&user("alice")).await.len(), 20);
    Passed
}

/// An evicted session is revoked like any other: stored, with reason and time, one version on, and reported so.
pub async fn evicted_sessions_are_revoked(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let old = lab.store(lab.session(&user("alice")).with_everything()).await;
    lab.tick(7);
    let (_, evicted) = parts(lab.login_within(&user("alice"), 1, OnLimit::EvictOldest).await);
    let stored = lab.reread(&old).await;
    assert_eq!(stored.state(lab.now(), lab.live()), State::Revoked);
    assert_eq!(stored.control.version, old.control.version + 1);
    let revocation = stored.revocation().expect("a revocation");
    assert_eq!(
        (revocation.at, &revocation.reason, &revocation.by),
        (lab.now(), &RevocationReason::EVICTED, &Actor::System)
    );
    assert_eq!(evicted, [EndedSession::new(old.session, State::Revoked, stored.control.revocation)]);
    Passed
}

/// One user's limit is no concern of another's.
pub async fn caps_of_users_are_separate(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    at_once(30, |number| {
        let lab = lab.clone();
        async move { lab.login_within(&user(["alice", "bob", "carol"][number % 3]), 2, OnLimit::EvictOldest).await }
    })
    .await;
    for name in ["alice", "bob", "carol"] {
        assert_eq!(lab.live_ids(&user(name)).await.len(), 2, "{name}");
    }
    Passed
}
