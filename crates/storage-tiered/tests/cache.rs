//! What the cache may answer on one node: races in a chosen order, single flight, ages, failures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod lab;

use std::sync::Arc;
use std::time::Duration;

use lab::{Lab, MAX_AGE};
use session_manager_core::storage::{Consistency, Freshness, Revoke, RevokeTarget};
use session_manager_core::{Actor, RevocationReason, SessionStorage, Snapshot, State};
use session_manager_testkit::fault::{CountingStorage, Effect, FailingStorage, Method, PausingStorage};
use session_manager_testkit::{ReferenceStorage, user};

#[tokio::test]
async fn what_is_remembered_costs_no_read_and_latest_passes_it_by() {
    let durable = Arc::new(CountingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    assert_eq!(tiered.capabilities().freshness, Freshness::Bounded(MAX_AGE));
    let alice = lab.login(&user("alice")).await;
    let reads = |expected: u64| assert_eq!(durable.calls(Method::Read), expected);
    for _ in 0..10 {
        assert_eq!(lab.eventual(&alice).await, Some(alice.clone()), "what the insert returned");
    }
    reads(0);
    lab.find(alice.key()).await;
    reads(1);
    assert!(tiered.try_read(&alice.key()).is_some() && durable.calls(Method::TryRead) == 1, "the durable's own answer");
    lab.tick(9_999);
    lab.eventual(&alice).await;
    reads(1);
    lab.tick(1);
    lab.eventual(&alice).await;
    reads(2);
    assert_eq!((tiered.stats().hits, tiered.stats().misses), (11, 1));
}

#[tokio::test]
async fn a_read_that_began_before_a_revocation_never_fills_the_cache() {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let targets = |alice: &Snapshot| {
        [
            RevokeTarget::One { key: alice.key(), owner: None },
            RevokeTarget::User { user: alice.session.user_id.clone(), except: None },
        ]
    };
    for number in 0..2 {
        let alice = lab.login(&user("alice")).await;
        lab.tick(10_000);
        let mut slow = durable.pause_next(Method::Read);
        let reader = lab.reading(&alice);
        slow.reached().await;
        lab.revoke(targets(&alice)[number].clone()).await;
        assert!(!lab.seen(&alice).await.is_live(), "a read that begins afterwards joins no earlier one");
        slow.release();
        assert_eq!(reader.await.unwrap(), Some(alice.clone()), "the slow one ran beside the revocation");
        assert!(!lab.seen(&alice).await.is_live(), "read, revoke, fill: it stays dead");
    }
    assert_eq!(tiered.stats().refused_fills, 2);
}

#[tokio::test]
async fn while_a_revocation_is_under_way_nothing_is_remembered() {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let (alice, bob) = (lab.login(&user("alice")).await, lab.login(&user("bob")).await);
    let mut slow = durable.pause_next(Method::Revoke);
    let revoking = lab.revoking(&alice);
    slow.reached().await;
    let before = tiered.stats();
    assert_eq!(lab.seen(&alice).await, State::Revoked, "straight from the durable storage");
    assert_eq!(lab.seen(&bob).await, State::Live);
    let after = tiered.stats();
    assert_eq!((after.bypassed - before.bypassed, after.hits - before.hits), (1, 1), "bob is nobody's concern");
    slow.release();
    revoking.await.unwrap();
    assert_eq!(lab.seen(&alice).await, State::Revoked);
}

#[tokio::test]
async fn an_unacknowledged_revocation_is_never_answered_from_memory() {
    for effect in [Effect::Nothing, Effect::Done] {
        let durable = Arc::new(FailingStorage::new(ReferenceStorage::new()));
        let lab = Lab::new(&durable);
        let tiered = &lab.tiered;
        let alice = lab.login(&user("alice")).await;
        durable.fail_next(Method::Revoke, effect);
        let target = RevokeTarget::One { key: alice.key(), owner: None };
        let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, lab.now());
        assert!(tiered.revoke(&revoke).await.is_err());
        let truth = if effect == Effect::Done { State::Revoked } else { State::Live };
        for _ in 0..3 {
            assert_eq!(lab.seen(&alice).await, truth);
        }
        // The change may also land after its error: for an entry's life every read asks the durable storage.
        let late = lab.past(&durable);
        late.logout(&alice).await;
        assert_eq!(lab.seen(&alice).await, State::Revoked);
        assert_eq!((tiered.stats().hits, tiered.stats().unconfirmed), (0, 1));
        durable.outage();
        assert!(
            tiered.read(&alice.key(), Consistency::Eventual).await.is_err(),
            "an outage is an error, not an answer"
        );
    }
}

#[tokio::test]
async fn a_dropped_revocation_leaves_the_session_out_of_the_cache() {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let alice = lab.login(&user("alice")).await;
    let mut slow = durable.pause_next(Method::Revoke);
    let revoking = lab.revoking(&alice);
    slow.reached().await;
    revoking.abort();
    assert!(revoking.await.is_err());
    assert_eq!(lab.seen(&alice).await, State::Revoked);
    assert_eq!(tiered.stats().hits, 0);
}

#[tokio::test]
async fn one_read_serves_all_who_miss_and_outlives_the_one_that_began_it() {
    let durable = Arc::new(PausingStorage::new(CountingStorage::new(ReferenceStorage::new())));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let alice = lab.login(&user("alice")).await;
    lab.tick(10_000);
    let mut slow = durable.pause_next(Method::Read);
    let first = lab.reading(&alice);
    slow.reached().await;
    let others: Vec<_> = (0..32).map(|_| lab.reading(&alice)).collect();
    while tiered.stats().joined < 32 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    slow.release();
    for other in others {
        assert_eq!(other.await.unwrap(), Some(alice.clone()));
    }
    assert_eq!(durable.inner().calls(Method::Read), 1);
    assert_eq!((tiered.stats().misses, tiered.stats().joined), (1, 32));
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_answered_and_not_remembered() {
    let durable = Arc::new(PausingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let alice = lab.login(&user("alice")).await;
    lab.tick(10_000);
    for (takes, remembered) in [(5_000, 0), (4_999, 1)] {
        let before = tiered.stats();
        let mut slow = durable.pause_next(Method::Read);
        let reader = lab.reading(&alice);
        slow.reached().await;
        lab.tick(takes);
        slow.release();
        assert!(reader.await.unwrap().is_some());
        if remembered == 0 {
            assert_eq!(tiered.stats().refused_fills, 1);
        } else {
            assert!(lab.eventual(&alice).await.is_some());
        }
        assert_eq!(tiered.stats().hits - before.hits, remembered);
    }
}

#[tokio::test]
async fn an_absence_is_remembered_for_a_second() {
    let durable = Arc::new(CountingStorage::new(ReferenceStorage::new()));
    let lab = Lab::new(&durable);
    let tiered = &lab.tiered;
    let nobody = lab.session(&user("alice"));
    let key = nobody.clone().record().session.key();
    for (tick, reads) in [(0, 1), (999, 1), (1, 2)] {
        lab.tick(tick);
        assert_eq!(tiered.read(&key, Consistency::Eventual).await.unwrap(), None);
        assert_eq!(durable.calls(Method::Read), reads, "after {tick} ms");
    }
    let alice = lab.store(nobody).await;
    assert_eq!(lab.eventual(&alice).await, Some(alice.clone()), "the insert is seen at once");
}

#[tokio::test]
async fn idleness_is_never_concluded_from_memory() {
    let durable = Arc::new(ReferenceStorage::new());
    let lab = Lab::new(&durable);
    let alice = lab.store(lab.session(&user("alice")).idle(Some(Duration::from_secs(5)))).await;
    lab.tick(4_000);
    lab.past(&durable).touch(&alice).await;
    assert_eq!(lab.eventual(&alice).await, Some(alice.clone()), "what another node wrote is not known yet");
    lab.tick(1_000);
    assert_eq!(lab.seen(&alice).await, State::Live, "it seems idle, so that the durable storage is asked");
}
