//! The storage inside the application's own transaction.

use std::time::Duration;

use session_manager_core::storage::{
    Bump, BumpTarget, Consistency, InsertOutcome, OnLimit, Query, Revoke, RevokeTarget, SessionLimit,
};
use session_manager_core::{Actor, ErrorKind, RevocationReason, SessionStorage};
use session_manager_storage_sqlx::{SqlxStorage, reference_ddl};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::fixture::{Fixture, INCARNATIONS, at, full, insert, pool_waiting, record, user};

fn revoke_all(now: i64) -> Revoke {
    Revoke::new(RevokeTarget::User { user: user("alice"), except: None }, RevocationReason::ALL, Actor::System, at(now))
}

#[tokio::test]
async fn it_commits_and_rolls_back_with_the_application() {
    let fixture = Fixture::new().await;
    sqlx::raw_sql("CREATE TABLE users (password TEXT); INSERT INTO users VALUES ('old')")
        .execute(&fixture.pool)
        .await
        .unwrap();
    let session = fixture.sign_in("alice", 0).await;
    let live = Query::of(user("alice"), at(2));
    for commit in [false, true] {
        let mut transaction = fixture.pool.begin().await.unwrap();
        sqlx::query("UPDATE users SET password = 'new'").execute(&mut *transaction).await.unwrap();
        {
            let inside = fixture.storage.in_transaction(&mut transaction);
            let inside: &dyn SessionStorage = &inside;
            let keep = BumpTarget::User { user: user("alice"), keep: Some(session.session.id) };
            inside.bump(&Bump::new(keep, INCARNATIONS, at(1))).await.unwrap();
            assert_eq!(inside.revoke(&revoke_all(1)).await.unwrap().sessions.len(), 1);
            assert_eq!(inside.count(&live).await.unwrap().value, 0);
        }
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap().unwrap(), session);
        }
        let (password,): (String,) =
            sqlx::query_as("SELECT password FROM users").fetch_one(&fixture.pool).await.unwrap();
        let expected = if commit { ("new", 0) } else { ("old", 1) };
        assert_eq!((password.as_str(), fixture.storage.count(&live).await.unwrap().value), expected);
    }
}

#[tokio::test]
async fn a_refused_step_leaves_nothing_in_the_transaction() {
    let fixture = Fixture::new().await;
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

/// The lock is taken by the first statement: the second writer waits or is refused, and never works on a stale reading.
#[tokio::test]
async fn the_first_statement_takes_the_lock() {
    let (pool, _directory) = pool_waiting(Duration::ZERO).await;
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(&full()).unwrap())).execute(&pool).await.unwrap();
    let storage = SqlxStorage::new(pool.clone(), full()).unwrap();
    storage.insert(&insert(record("alice", 0), 5, 0)).await.unwrap();

    let mut transaction = pool.begin().await.unwrap();
    let inside = storage.in_transaction(&mut transaction);
    // It changes nothing and holds the lock all the same.
    let absent = RevokeTarget::One { key: record("alice", 0).session.key(), owner: None };
    inside.revoke(&Revoke::new(absent, RevocationReason::LOGOUT, Actor::System, at(1))).await.unwrap();
    let error = storage.insert(&insert(record("alice", 1), 5, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    transaction.rollback().await.unwrap();
    storage.insert(&insert(record("alice", 1), 5, 1)).await.unwrap();
}

#[tokio::test]
async fn an_overtaken_transaction_is_a_conflict() {
    let (pool, _directory) = pool_waiting(Duration::ZERO).await;
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(&full()).unwrap())).execute(&pool).await.unwrap();
    let storage = SqlxStorage::new(pool.clone(), full()).unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let _: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM sessions").fetch_one(&mut *transaction).await.unwrap();
    storage.insert(&insert(record("alice", 0), 5, 0)).await.unwrap();
    let error = storage.in_transaction(&mut transaction).insert(&insert(record("alice", 1), 5, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error:?}");
}
