//! PostgreSQL, a throw-away server.

use std::sync::Arc;

use session_manager_core::{Clock, SessionId, SessionKey, SessionStorage, SystemClock};
use session_manager_services::Postgres as Server;
use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::{AssertSqlSafe, PgPool, Postgres, postgres::PgPoolOptions};
use uuid::Uuid;

use super::{compare as compare_each, rows::bare_rows};
use crate::{
    measure::{Outcome, Plan},
    ours::Store,
    population::{PER_USER, Population, insert, random, user_of},
};

pub(crate) const IN_FLIGHT: usize = 64;
/// More would wait for each other on a small machine's cores.
const CONNECTIONS: u32 = 16;
/// Rows of one statement while seeding.
const CHUNK: usize = 10_000;

pub(crate) async fn compare(plan: Plan) -> Outcome {
    let plan = plan.in_flight(IN_FLIGHT);
    let server = server()?;
    let (pool, storage) = database(&server).await?;
    let people = Population::insert(&storage, plan.sessions, IN_FLIGHT).await?;
    let store = Store::new(storage, people, server)?.sign_in(plan.sessions).await?;
    let bare = Rows::filled(pool).await?;
    compare_each("PostgreSQL, 64 in flight over 16 connections", plan, store, bare).await
}

/// A server whose memory holds the tables of a million sessions, as that of a real one would.
pub(crate) fn server() -> Outcome<Server> {
    Ok(Server::with_args(&["-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB"])?)
}

/// An empty database with the reference tables, and a storage on it.
pub(crate) async fn database(server: &Server) -> Outcome<(PgPool, Arc<dyn SessionStorage>)> {
    let url = server.fresh_database()?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect(&url)
        .await?;
    let table = SessionTable::new("sessions")
        .native()
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"));
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Postgres>(&table)?)).execute(&pool).await?;
    let storage = SqlxStorage::new(pool.clone(), table)?;
    Ok((pool, Arc::new(storage)))
}

/// Many sessions at once: one is created by the storage, and its rows are multiplied with other ids and users.
pub(crate) async fn multiply(pool: &PgPool, storage: &Arc<dyn SessionStorage>, count: usize) -> Outcome<Population> {
    let original = insert(storage, user_of(0)?).await?;
    let copy_sessions = copying(pool, "sessions", "id", &["id", "user_id"]).await?;
    let copy_epochs = copying(pool, "session_epochs", "subject", &["subject"]).await?;
    let (mut keys, now, random) = (vec![original], SystemClock.now(), random()?);
    while keys.len() < count {
        let indexes = keys.len()..count.min(keys.len() + CHUNK);
        let (mut ids, mut owners, mut users) = (Vec::<Uuid>::new(), Vec::new(), Vec::new());
        for index in indexes {
            let user = user_of(index)?;
            let id = SessionId::generate(&user, now, random)?;
            keys.push(SessionKey::new(id, user.locator()));
            ids.push(id.as_uuid());
            if index % PER_USER == 0 {
                users.push(user.as_str().to_owned());
            }
            owners.push(user.as_str().to_owned());
        }
        let query = sqlx::query(AssertSqlSafe(copy_sessions.clone())).bind(original.id.as_uuid());
        query.bind(ids).bind(owners).execute(pool).await?;
        let query = sqlx::query(AssertSqlSafe(copy_epochs.clone())).bind(user_of(0)?.as_str().to_owned());
        query.bind(users).execute(pool).await?;
    }
    for command in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::raw_sql(command).execute(pool).await?;
    }
    Ok(Population::of(keys))
}

/// The statement that copies the row whose `key` is the first parameter, once for each element of the arrays in the others: they take the
/// place of the columns `replaced`.
async fn copying(pool: &PgPool, table: &str, key: &str, replaced: &[&str]) -> Outcome<String> {
    let columns = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1";
    let columns: Vec<String> = sqlx::query_scalar(columns).bind(table).fetch_all(pool).await?;
    let value = |column: &String| {
        let alias = if replaced.contains(&column.as_str()) { "new" } else { "old" };
        format!("{alias}.{column}")
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let arrays = replaced.iter().enumerate().map(|(index, column)| match *column {
        "id" => format!("${}::uuid[]", index + 2),
        _ => format!("${}::text[]", index + 2),
    });
    Ok(format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {table} old, UNNEST({}) AS new ({}) WHERE old.{key} = $1",
        columns.join(", "),
        values.join(", "),
        arrays.collect::<Vec<_>>().join(", "),
        replaced.join(", ")
    ))
}

bare_rows!(
    PgPool,
    "CREATE TABLE bare (id uuid NOT NULL PRIMARY KEY, user_id text NOT NULL, generation bigint NOT NULL, body bytea NOT NULL);
    CREATE INDEX bare_user ON bare (user_id);"
);
