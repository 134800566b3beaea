//! What many connections do at once.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{
    Advance, AdvanceOutcome, Consistency, InsertOutcome, OnceKey, Query, Revoke, RevokeTarget, SessionPatch, Touch,
    Update, UpdateOutcome,
};
use session_manager_core::{Actor, RevocationReason, SessionKey, SessionStorage};
use session_manager_storage_sqlx::SessionTable;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, GRACE, at, full, insert, record, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_logins_at_once_leave_exactly_five() {
    for mapping in [full(), SessionTable::new("sessions")] {
        let fixture = Fixture::with(mapping).await;
        let barrier = Arc::new(Barrier::new(60));
        let mut tasks = JoinSet::new();
        for _ in 0..60 {
            let (storage, barrier) = (fixture.storage.clone(), Arc::clone(&barrier));
            tasks.spawn(async move {
                barrier.wait().await;
                let InsertOutcome::Inserted { evicted, .. } =
                    storage.insert(&insert(record("alice", 0), 5, 0)).await.unwrap()
                else {
                    panic!()
                };
                evicted.len()
            });
        }
        let evicted: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(evicted, 55);
        assert_eq!(fixture.storage.count(&Query::of(user("alice"), at(1))).await.unwrap().value, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_refreshes_at_once_have_one_successor() {
    let fixture = Fixture::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let mut tasks = JoinSet::new();
    let barrier = Arc::new(Barrier::new(64));
    for _ in 0..64 {
        let (storage, barrier, key) = (fixture.storage.clone(), Arc::clone(&barrier), session.key());
        tasks.spawn(async move {
            barrier.wait().await;
            storage.advance(&Advance::new(key, 1, GRACE, at(1))).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    let advanced = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, AdvanceOutcome::Advanced(s) if s.control.generation == 2))
        .count();
    let converged = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, AdvanceOutcome::Converge(s) if s.control.generation == 2))
        .count();
    assert_eq!((advanced, converged), (1, 63));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_is_told_that_a_value_is_new() {
    let fixture = Fixture::new().await;
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let storage = fixture.storage.clone();
        tasks.spawn(
            async move { storage.remember_once(&OnceKey::parse("dpop:x").unwrap(), at(0), at(10)).await.unwrap() },
        );
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|new| *new).count(), 1);
    let key = OnceKey::parse("dpop:x").unwrap();
    assert!(!fixture.storage.remember_once(&key, at(9), at(20)).await.unwrap());
    assert!(fixture.storage.remember_once(&key, at(10), at(20)).await.unwrap());
}

#[tokio::test]
async fn a_late_write_revives_nothing() {
    let fixture = Fixture::new().await;
    let loaded = fixture.sign_in("alice", 0).await;
    let target = RevokeTarget::One { key: loaded.key(), owner: None };
    let revoked =
        fixture.storage.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(1))).await.unwrap();
    assert_eq!(revoked.sessions.len(), 1);

    let update = Update::new(loaded.key(), loaded.control.version, SessionPatch::new(), at(2));
    assert!(matches!(fixture.storage.update(&update).await.unwrap(), UpdateOutcome::Ended(..)));
    let touch = Touch::new(loaded.key(), at(3), at(600_000));
    assert_eq!(fixture.storage.touch(&[touch], at(3)).await.unwrap().touched, 0);
    assert_eq!(fixture.storage.touch(&[touch, touch], at(3)).await.unwrap().skipped, 2);
    assert!(matches!(
        fixture.storage.advance(&Advance::new(loaded.key(), 1, GRACE, at(3))).await.unwrap(),
        AdvanceOutcome::Ended(..)
    ));
    let InsertOutcome::Inserted { snapshot, .. } =
        fixture.storage.insert(&insert(loaded.record(), 5, 4)).await.unwrap()
    else {
        panic!()
    };
    assert!(snapshot.revocation().is_some());
    let scan = fixture.storage.scan().unwrap();
    let mut newer = loaded.clone();
    newer.control.version += 10;
    scan.put(&newer).await.unwrap();
    let stored =
        fixture.storage.read(&SessionKey::by_id(loaded.session.id), Consistency::Latest).await.unwrap().unwrap();
    assert_eq!(stored.revocation().unwrap().reason, RevocationReason::LOGOUT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mixed_writers_on_eight_connections_never_fail() {
    let fixture = Fixture::new().await;
    let mut tasks = JoinSet::new();
    for number in 0..48_i64 {
        let storage = fixture.storage.clone();
        tasks.spawn(async move {
            let name = format!("user{}", number % 3);
            let record = record(&name, number);
            let key = record.session.key();
            storage.insert(&insert(record, 4, number)).await.unwrap();
            storage.advance(&Advance::new(key, 1, GRACE, at(number))).await.unwrap();
            storage.touch(&[Touch::new(key, at(number + 5), at(510_000)); 2], at(number)).await.unwrap();
            storage.list(&Query::of(user(&name), at(number))).await.unwrap();
            let target = RevokeTarget::User { user: user(&name), except: None };
            storage.revoke(&Revoke::new(target, RevocationReason::ALL, Actor::System, at(number))).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(fixture.storage.count(&Query::everybody(at(60))).await.unwrap().value, 0);
}

/// A dropped future leaves all of its step or nothing: no lock, no half of an eviction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_leave_whole_steps() {
    let fixture = Fixture::new().await;
    fixture.storage.insert(&insert(record("alice", 0), 1, 0)).await.unwrap();
    let mut dropped = 0;
    for number in 1..=120_u64 {
        let request = insert(record("alice", 1), 1, 1);
        let pause = tokio::time::sleep(Duration::from_micros(number * 40 % 4_000));
        tokio::select! {
            biased;
            outcome = fixture.storage.insert(&request) => assert!(matches!(outcome.unwrap(), InsertOutcome::Inserted { .. })),
            () = pause => dropped += 1,
        }
        if number % 10 == 0 {
            let live = fixture.storage.list(&Query::of(user("alice"), at(2))).await.unwrap().sessions;
            assert_eq!(live.len(), 1, "after {number}");
        }
    }
    assert!(dropped > 0, "nothing was dropped in time");
    fixture.storage.insert(&insert(record("alice", 2), 1, 2)).await.unwrap();
}
