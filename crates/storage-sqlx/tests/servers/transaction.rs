//! The storage inside the application's own transaction.

use std::time::{Duration, Instant};

use session_manager_core::storage::{
    Bump, BumpTarget, Consistency, InsertOutcome, OnLimit, Query, Revoke, RevokeTarget, SessionLimit,
};
use session_manager_core::{Actor, ErrorKind, LivePolicy, RevocationReason, SessionStorage};
use session_manager_storage_sqlx::{SessionTable, SqlxStorage};
use sqlx::{MySql, Postgres};

use crate::server::{Fixture, GRACE, INCARNATIONS, Server, at, full, insert, record, user};

on_each! {
    it_commits_and_rolls_back_with_the_application,
    a_refused_step_leaves_nothing_in_the_transaction,
    an_overtaken_transaction_sees_what_it_waited_for_or_conflicts,
    a_lock_is_waited_for_once,
}

fn revoke_all(now: i64) -> Revoke {
    Revoke::new(RevokeTarget::User { user: user("alice"), except: None }, RevocationReason::ALL, Actor::System, at(now))
}

async fn it_commits_and_rolls_back_with_the_application<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let live = Query::of(user("alice"), at(2));
    for commit in [false, true] {
        let mut transaction = fixture.pool.begin().await.unwrap();
        {
            let inside = fixture.storage.in_transaction(&mut transaction);
            let inside: &dyn SessionStorage = &inside;
            assert!(inside.feed().is_none() && fixture.storage.feed().is_some(), "intents go over another connection");
            let keep = BumpTarget::User { user: user("alice"), keep: Some(session.session.id) };
            inside.bump(&Bump::new(keep, INCARNATIONS, at(1))).await.unwrap();
            assert_eq!(inside.revoke(&revoke_all(1)).await.unwrap().sessions.len(), 1);
            assert_eq!(inside.count(&live).await.unwrap().value, 0);
        }
        // Nobody else sees it yet.
        assert_eq!(fixture.storage.count(&live).await.unwrap().value, 1);
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap().unwrap(), session);
        }
        assert_eq!(fixture.storage.count(&live).await.unwrap().value, u64::from(!commit));
    }
}

async fn a_refused_step_leaves_nothing_in_the_transaction<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    {
        let inside = fixture.storage.in_transaction(&mut transaction);
        let mut request = insert(record("alice", 0), 1, 0);
        request.limit = SessionLimit::new(1, OnLimit::Reject);
        assert!(matches!(inside.insert(&request).await.unwrap(), InsertOutcome::Inserted { .. }));
        let keep = BumpTarget::User { user: user("bob"), keep: Some(request.record.session.id) };
        inside.bump(&Bump::new(keep, INCARNATIONS, at(1))).await.unwrap();
        assert!(inside.epochs(Some(&user("bob"))).await.unwrap().user.is_none());
        request.record = record("alice", 1);
        assert!(matches!(inside.insert(&request).await.unwrap(), InsertOutcome::LimitReached { live: 1 }));
    }
    transaction.commit().await.unwrap();
    assert_eq!(fixture.storage.count(&Query::everybody(at(1))).await.unwrap().value, 1);
}

/// At REPEATABLE READ the transaction's snapshot is older than what it finds locked and changed. It never works on the old state.
async fn an_overtaken_transaction_sees_what_it_waited_for_or_conflicts<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let first = fixture.sign_in("alice", 0).await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    let inside = fixture.storage.in_transaction(&mut transaction);
    // Its snapshot is taken.
    assert_eq!(inside.count(&Query::of(user("alice"), at(1))).await.unwrap().value, 1);
    let second = fixture.sign_in("alice", 1).await;
    let keep = BumpTarget::User { user: user("alice"), keep: Some(second.session.id) };
    fixture.storage.bump(&Bump::new(keep, INCARNATIONS, at(2))).await.unwrap();
    let mut request = insert(record("alice", 3), 1, 3);
    request.limit = SessionLimit::new(1, OnLimit::EvictOldest);
    match inside.insert(&request).await {
        Ok(InsertOutcome::Inserted { evicted, snapshot }) => {
            let evicted: Vec<_> = evicted.iter().map(|ended| ended.session.id).collect();
            assert_eq!(evicted, [second.session.id], "{:?} is dead by its epoch", first.session.id);
            assert!(snapshot.state(at(3), LivePolicy::TRACKED).is_live());
            drop(inside);
            transaction.commit().await.unwrap();
            assert_eq!(fixture.storage.count(&Query::of(user("alice"), at(4))).await.unwrap().value, 1);
        }
        Ok(outcome) => panic!("{outcome:?}"),
        Err(error) => {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error:?}");
            drop(inside);
            transaction.rollback().await.unwrap();
        }
    }
}

/// Somebody holds a row for longer than one waits: the caller hears of it after that time, not after six times as long.
async fn a_lock_is_waited_for_once<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let pool = S::impatient(&fixture.pool).await;
    let storage = SqlxStorage::new(pool.clone(), full()).unwrap();
    let target = RevokeTarget::One { key: session.key(), owner: None };
    let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(1));
    let mut holder = fixture.pool.begin().await.unwrap();
    S::run_on(&mut holder, "SELECT id FROM sessions FOR UPDATE").await;
    let begun = Instant::now();
    let error = storage.revoke(&revoke).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let mut transaction = pool.begin().await.unwrap();
    let error = storage.in_transaction(&mut transaction).revoke(&revoke).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error:?}");
    transaction.rollback().await.unwrap();
    holder.rollback().await.unwrap();
    assert_eq!(storage.revoke(&revoke).await.unwrap().sessions.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_epochs_only_read_committed_keeps_the_limit() {
    if session_manager_services::url(Postgres::SERVICE).is_none() {
        return;
    }
    let fixture = Fixture::<Postgres>::with(SessionTable::new("sessions").native()).await;
    for (begin, kept) in
        [("BEGIN ISOLATION LEVEL REPEATABLE READ", false), ("BEGIN ISOLATION LEVEL READ COMMITTED", true)]
    {
        let mut transaction = fixture.pool.begin_with(begin).await.unwrap();
        let outcome = fixture.storage.in_transaction(&mut transaction).insert(&insert(record("alice", 0), 5, 0)).await;
        assert_eq!(outcome.is_ok(), kept, "{outcome:?}");
        assert!(kept || outcome.unwrap_err().kind() == ErrorKind::Unsupported);
    }
}

/// Two transactions that wait for each other: one of them is told to begin again, and the other goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadlock_in_the_applications_transactions_is_a_conflict() {
    deadlock::<Postgres>().await;
    deadlock::<MySql>().await;
}

async fn deadlock<S: Server>() {
    if session_manager_services::url(S::SERVICE).is_none() {
        return;
    }
    let fixture = Fixture::<S>::new().await;
    let (alice, bob) = (fixture.sign_in("alice", 0).await, fixture.sign_in("bob", 0).await);
    let one = |snapshot: &session_manager_core::Snapshot| {
        let target = RevokeTarget::One { key: snapshot.key(), owner: None };
        Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(1))
    };
    // Each holds its own and then wants the other's. Whoever is told to begin again lets go, and then the other gets what it waits for.
    let both = tokio::sync::Barrier::new(2);
    let cross = |mine: Revoke, theirs: Revoke| async {
        let mut transaction = fixture.pool.begin().await.unwrap();
        let inside = fixture.storage.in_transaction(&mut transaction);
        inside.revoke(&{ mine }).await.unwrap();
        both.wait().await;
        let outcome = inside.revoke(&{ theirs }).await;
        drop(inside);
        transaction.rollback().await.ok();
        outcome
    };
    let (left, right) = (cross(one(&alice), one(&bob)), cross(one(&bob), one(&alice)));
    let (left, right) = tokio::join!(left, right);
    let errors: Vec<_> = [left, right].into_iter().filter_map(Result::err).collect();
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error:?}");
    // The connections are as good as new.
    for _ in 0..8 {
        assert_eq!(fixture.storage.count(&Query::everybody(at(2))).await.unwrap().value, 2);
    }
    fixture.storage.bump(&Bump::new(BumpTarget::Global { grace: GRACE }, INCARNATIONS, at(3))).await.unwrap();
}
