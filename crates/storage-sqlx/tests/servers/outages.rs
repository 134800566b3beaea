//! Servers that stand still, crash, stop and come back: the documented error in time, and no restart of the application.

use std::time::{Duration, Instant};

use session_manager_core::storage::{Advance, Consistency, InsertOutcome, Revoke, RevokeTarget};
use session_manager_core::{Actor, ErrorKind, Result, RevocationReason, SessionStorage, Snapshot};
use session_manager_services::{Engine, MariaDb, Server as Process};
use session_manager_storage_sqlx::{Dialect, SqlxStorage, reference_ddl};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres};

use crate::server::{GRACE, at, clock, full, insert, record};

/// How long the application waits for a connection, which the pool tests before it gives it out.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_goes_and_comes_back() {
    if session_manager_services::url(session_manager_services::Service::Postgres).is_none() {
        return;
    }
    let server = session_manager_services::Postgres::start().unwrap();
    let url = server.fresh_database().unwrap();
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Postgres>(&full()).unwrap())).execute(&pool).await.unwrap();
    goes_and_comes_back(server, pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_goes_and_comes_back() {
    if session_manager_services::url(session_manager_services::Service::MariaDb).is_none() {
        return;
    }
    let server = MariaDb::with_args(&["--innodb-flush-log-at-trx-commit=1"]).unwrap();
    let url = server.fresh_database().unwrap();
    let pool = MySqlPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<MySql>(&full()).unwrap())).execute(&pool).await.unwrap();
    let storage = SqlxStorage::new(pool.clone(), full()).unwrap();
    let findings = storage.check(clock()).await.unwrap().findings;
    assert!(!findings.iter().any(|finding| finding.message.contains("innodb_flush")), "{findings:?}");
    goes_and_comes_back(server, pool).await;
}

async fn goes_and_comes_back<DB: Dialect, E: Engine>(mut server: Process<E>, pool: Pool<DB>) {
    let storage = SqlxStorage::new(pool, full()).unwrap();
    let first = sign_in(&storage, 0).await.unwrap();

    server.pause().unwrap();
    is_unavailable(&storage, &first).await;
    server.resume().unwrap();
    is_well(&storage, &first, 10).await;

    // A statement that is under way waits for its answer: the caller's own limit ends that, and the pool is none the worse for it.
    server.pause().unwrap();
    let key = first.key();
    let waiting =
        (0..8).map(|_| tokio::time::timeout(Duration::from_millis(300), storage.read(&key, Consistency::Latest)));
    let waited = futures_util::future::join_all(waiting).await;
    assert!(waited.iter().all(std::result::Result::is_err), "somebody answered");
    server.resume().unwrap();
    is_well(&storage, &first, 20).await;

    server.kill().unwrap();
    is_unavailable(&storage, &first).await;
    server.restart().unwrap();
    is_well(&storage, &first, 30).await;

    server.stop().unwrap();
    is_unavailable(&storage, &first).await;
    server.restart().unwrap();
    is_well(&storage, &first, 40).await;
}

/// Every kind of operation says so, in time, and that it may be tried again.
async fn is_unavailable<DB: Dialect>(storage: &SqlxStorage<DB>, session: &Snapshot) {
    let (begun, key) = (Instant::now(), session.key());
    let target = RevokeTarget::User { user: session.session.user_id.clone(), except: None };
    let revoke = Revoke::new(target, RevocationReason::ALL, Actor::System, at(1));
    let advance = Advance::new(session.key(), 1, GRACE, at(1));
    let (read, signed_in, advanced, revoked, checked) = tokio::join!(
        storage.read(&key, Consistency::Latest),
        sign_in(storage, 1),
        storage.advance(&advance),
        storage.revoke(&revoke),
        storage.check(clock()),
    );
    let failed = [read.err(), signed_in.err(), advanced.err(), revoked.err(), checked.err()];
    for error in failed {
        let error = error.unwrap();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    }
    assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
}

/// Nothing that was acknowledged is lost, and everything works again at once.
async fn is_well<DB: Dialect>(storage: &SqlxStorage<DB>, first: &Snapshot, now: i64) {
    assert!(storage.read(&first.key(), Consistency::Latest).await.unwrap().is_some());
    let session = sign_in(storage, now).await.unwrap();
    let target = RevokeTarget::One { key: session.key(), owner: None };
    let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(now));
    assert_eq!(storage.revoke(&revoke).await.unwrap().sessions.len(), 1);
}

async fn sign_in<DB: Dialect>(storage: &SqlxStorage<DB>, now: i64) -> Result<Snapshot> {
    match storage.insert(&insert(record("alice", now), 100, now)).await? {
        InsertOutcome::Inserted { snapshot, .. } => Ok(snapshot),
        outcome => panic!("{outcome:?}"),
    }
}
