//! A schema of its own for each test on a server that many share, and sessions to put into it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{Incarnations, Insert, InsertOutcome, OnLimit, SessionLimit};
use session_manager_core::{
    Clock, Control, Seed, Session, SessionId, SessionRecord, SessionStorage, Snapshot, SystemClock, SystemRandom,
    UserId,
};
use session_manager_services::{Service, url};
use session_manager_storage_sqlx::{
    Dialect, EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl,
};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, Row, Transaction};

pub(crate) const INCARNATIONS: Incarnations = Incarnations { user: u64::MAX - 6, global: 9 };
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A server that the tests run on.
pub(crate) trait Server: Dialect {
    const SERVICE: Service;

    /// A pool on an empty schema.
    fn pool(connections: u32) -> BoxFuture<'static, Pool<Self>>;

    /// Another pool on the schema of this one, whose connections wait for a lock a second at most.
    fn impatient(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>>;

    /// Another pool on the schema of this one, whose connections have the isolation level that the server has by default.
    fn ordinary(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>>;

    /// Runs statements.
    fn run<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, ()>;

    /// Runs a statement in a transaction.
    fn run_on<'a>(transaction: &'a mut Transaction<'_, Self>, sql: &'static str) -> BoxFuture<'a, ()>;

    /// The first value of the first row, a number.
    fn number<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, i64>;
}

impl Server for Postgres {
    const SERVICE: Service = Service::Postgres;

    fn pool(connections: u32) -> BoxFuture<'static, Pool<Self>> {
        Box::pin(async move {
            let schema = fresh_name();
            // A session whose time zone is not UTC, and whose default would be the wrong isolation level.
            let options: PgConnectOptions = url(Self::SERVICE).unwrap().parse().unwrap();
            let options = options.options([
                ("search_path", schema.as_str()),
                ("timezone", "Asia/Kathmandu"),
                ("default_transaction_isolation", "repeatable read"),
            ]);
            let pool = PgPoolOptions::new().max_connections(connections).connect_with(options).await.unwrap();
            Self::run(&pool, &format!("CREATE SCHEMA {schema}")).await;
            pool
        })
    }

    fn impatient(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>> {
        let options = pool.connect_options().as_ref().clone().options([("lock_timeout", "1s")]);
        Box::pin(async move { PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap() })
    }

    fn ordinary(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>> {
        let options = pool.connect_options().as_ref().clone();
        let options = options.options([("default_transaction_isolation", "read committed")]);
        Box::pin(async move { PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap() })
    }

    fn run<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
        })
    }

    fn run_on<'a>(transaction: &'a mut Transaction<'_, Self>, sql: &'static str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::raw_sql(sql).execute(&mut **transaction).await.unwrap();
        })
    }

    fn number<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, i64> {
        Box::pin(
            async move { sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap().get::<i64, _>(0) },
        )
    }
}

impl Server for MySql {
    const SERVICE: Service = Service::MariaDb;

    fn pool(connections: u32) -> BoxFuture<'static, Pool<Self>> {
        Box::pin(async move {
            let schema = fresh_name();
            let options: MySqlConnectOptions = url(Self::SERVICE).unwrap().parse().unwrap();
            let options = options.timezone(Some("+05:45".to_owned()));
            let pool = MySqlPoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
            // The server's default character set must not matter.
            Self::run(&pool, &format!("CREATE DATABASE {schema} CHARACTER SET latin1")).await;
            pool.close().await;
            MySqlPoolOptions::new().max_connections(connections).connect_with(options.database(&schema)).await.unwrap()
        })
    }

    fn impatient(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>> {
        let options = pool.connect_options().as_ref().clone();
        let pool = MySqlPoolOptions::new().max_connections(2).after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql("SET SESSION innodb_lock_wait_timeout = 1").execute(connection).await.map(drop)
            })
        });
        Box::pin(async move { pool.connect_with(options).await.unwrap() })
    }

    fn ordinary(pool: &Pool<Self>) -> BoxFuture<'static, Pool<Self>> {
        let options = pool.connect_options().as_ref().clone();
        Box::pin(async move { MySqlPoolOptions::new().max_connections(8).connect_with(options).await.unwrap() })
    }

    fn run<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
        })
    }

    fn run_on<'a>(transaction: &'a mut Transaction<'_, Self>, sql: &'static str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::raw_sql(sql).execute(&mut **transaction).await.unwrap();
        })
    }

    fn number<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, i64> {
        Box::pin(
            async move { sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap().get::<i64, _>(0) },
        )
    }
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> String {
    let id = SessionId::generate(&user("schema"), clock(), &SystemRandom::new().unwrap()).unwrap();
    format!("t_{}", id.to_string().replace('-', ""))
}

/// All tables, in the database's own types.
pub(crate) fn full() -> SessionTable {
    SessionTable::new("sessions")
        .native()
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"))
}

pub(crate) struct Fixture<S: Server> {
    pub(crate) pool: Pool<S>,
    pub(crate) storage: SqlxStorage<S>,
}

impl<S: Server> Fixture<S> {
    pub(crate) async fn new() -> Self {
        Self::with(full()).await
    }

    pub(crate) async fn with(mapping: SessionTable) -> Self {
        let ddl = reference_ddl::<S>(&mapping).unwrap();
        Self::with_ddl(mapping, &ddl).await
    }

    pub(crate) async fn with_ddl(mapping: SessionTable, ddl: &str) -> Self {
        let pool = S::pool(8).await;
        S::run(&pool, ddl).await;
        let storage = SqlxStorage::new(pool.clone(), mapping).unwrap();
        Self { pool, storage }
    }

    /// A new session of the user, under a limit that it does not meet.
    pub(crate) async fn sign_in(&self, name: &str, millis: i64) -> Snapshot {
        let outcome = self.storage.insert(&insert(record(name, millis), 100, millis)).await.unwrap();
        let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
        snapshot
    }
}

/// What time it is.
pub(crate) fn clock() -> DateTime<Utc> {
    SystemClock.now()
}

pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000 + millis).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// A session from `millis` on for a thousand seconds.
pub(crate) fn record(name: &str, millis: i64) -> SessionRecord {
    let random = SystemRandom::new().unwrap();
    let id = SessionId::generate(&user(name), at(millis), &random).unwrap();
    let session = Session::new(id, user(name), at(millis), at(millis + 1_000_000));
    let control = Control::new(Seed::generate(&random).unwrap(), at(millis), at(millis + 500_000));
    SessionRecord::new(session, control)
}

pub(crate) fn insert(record: SessionRecord, max: u32, now: i64) -> Insert {
    Insert::new(record, SessionLimit::new(max, OnLimit::EvictOldest), INCARNATIONS, at(now))
}
