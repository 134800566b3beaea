//! Behind pgbouncer in transaction pooling: clean-up passes over locked rows there too, and no cache of statements alone makes it right.

use session_manager_core::SessionStorage;
use session_manager_core::storage::{InsertOutcome, Purge, PurgeScope};
use session_manager_services::{Service, url};
use session_manager_storage_sqlx::{EpochTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, Postgres};

use crate::server::{Server, at, fresh_name, insert, record};

async fn pooled() -> Option<(PgPool, SqlxStorage<Postgres>, String)> {
    let options: PgConnectOptions = url(Service::PgBouncer)?.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    let schema = fresh_name();
    let mapping = SessionTable::new(format!("{schema}.sessions")).native();
    let mapping = mapping.epochs(EpochTable::new(format!("{schema}.epochs")));
    let ddl = reference_ddl::<Postgres>(&mapping).unwrap();
    Postgres::run(&pool, &format!("CREATE SCHEMA {schema};\n{ddl}")).await;
    let storage = SqlxStorage::new(pool.clone(), mapping).unwrap().behind_transaction_pooler();
    Some((pool, storage, schema))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clean_up_passes_over_rows_that_somebody_holds() {
    let Some((pool, storage, schema)) = pooled().await else { return };
    for number in 0..4 {
        let outcome = storage.insert(&insert(record("alice", number), 100, number)).await.unwrap();
        assert!(matches!(outcome, InsertOutcome::Inserted { .. }));
    }
    let mut holder = pool.begin().await.unwrap();
    let hold = format!("SELECT id FROM {schema}.sessions ORDER BY id LIMIT 1 FOR UPDATE");
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *holder).await.unwrap();
    let purge = Purge::new(PurgeScope::EndedBefore(at(2_000_000)), 10, at(2_000_000));
    assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 3, "all but the held one, without waiting for it");
    assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 0);
    holder.rollback().await.unwrap();
    assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 1);
}
