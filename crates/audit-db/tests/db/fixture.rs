//! A database of its own for each test, and events to put into it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::json;
use session_manager_audit_db::{AuditQuery, AuditTable, ChainKey, ChainTable, DbAudit, Dialect, reference_ddl};
use session_manager_core::{
    Actor, AuditEvent, AuditKind, ClientInfo, ManualClock, Random, SessionId, SystemRandom, UserId,
};
use session_manager_services::{Service, fresh_mysql_database, fresh_postgres_database, url};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, Row, Sqlite, Transaction};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const SECRET: &[u8] = b"an audit chain's key of 40 random bytes.";

/// A database that the tests run on.
pub(crate) trait Server: Dialect {
    /// A pool on an empty database, and what has to live as long.
    fn pool() -> BoxFuture<'static, (Pool<Self>, Option<TempDir>)>;

    /// Runs statements.
    fn run<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, ()>;

    /// Runs a statement in a transaction.
    fn run_on<'a>(transaction: &'a mut Transaction<'_, Self>, sql: &'static str) -> BoxFuture<'a, ()>;

    /// The first value of each row, a text.
    fn texts<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, Vec<String>>;

    /// The first value of the first row, a number.
    fn number<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, i64>;
}

macro_rules! statements {
    () => {
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

        fn texts<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, Vec<String>> {
            Box::pin(async move {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0)).collect()
            })
        }

        fn number<'a>(pool: &'a Pool<Self>, sql: &'a str) -> BoxFuture<'a, i64> {
            Box::pin(async move {
                let sql = AssertSqlSafe(sql.to_owned());
                sqlx::query(sql).fetch_one(pool).await.unwrap().get::<i64, _>(0)
            })
        }
    };
}

impl Server for Sqlite {
    fn pool() -> BoxFuture<'static, (Pool<Self>, Option<TempDir>)> {
        Box::pin(async move {
            let directory = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(directory.path().join("audit.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .busy_timeout(std::time::Duration::from_secs(30));
            let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
            (pool, Some(directory))
        })
    }

    statements!();
}

impl Server for Postgres {
    fn pool() -> BoxFuture<'static, (Pool<Self>, Option<TempDir>)> {
        Box::pin(async move {
            let url = fresh_postgres_database(&url(Service::Postgres).unwrap()).unwrap();
            // A session whose time zone is not UTC, and whose default would be the wrong isolation level.
            let options: PgConnectOptions = url.parse().unwrap();
            let options =
                options.options([("timezone", "Asia/Kathmandu"), ("default_transaction_isolation", "repeatable read")]);
            (PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap(), None)
        })
    }

    statements!();
}

impl Server for MySql {
    fn pool() -> BoxFuture<'static, (Pool<Self>, Option<TempDir>)> {
        Box::pin(async move {
            let url = fresh_mysql_database(&url(Service::MariaDb).unwrap()).unwrap();
            (MySqlPoolOptions::new().max_connections(8).connect(&url).await.unwrap(), None)
        })
    }

    statements!();
}

pub(crate) struct Fixture<S: Server> {
    pub(crate) pool: Pool<S>,
    pub(crate) audit: DbAudit<S>,
    pub(crate) clock: Arc<ManualClock>,
    mapping: AuditTable,
    _directory: Option<TempDir>,
}

impl<S: Server> Fixture<S> {
    pub(crate) async fn plain() -> Self {
        Self::with(AuditTable::new("audit").native()).await
    }

    pub(crate) async fn chained() -> Self {
        Self::with(AuditTable::new("audit").native().chained(ChainTable::new("audit_chain"))).await
    }

    pub(crate) async fn with(mapping: AuditTable) -> Self {
        let (pool, directory) = S::pool().await;
        S::run(&pool, &reference_ddl::<S>(&mapping).unwrap()).await;
        let clock = Arc::new(ManualClock::at(at(0)));
        let audit = open(&pool, &mapping, SECRET).unwrap().clock(clock.clone());
        Self { pool, audit, clock, mapping, _directory: directory }
    }

    /// Another sink over the same table, as on another node.
    pub(crate) fn another(&self) -> DbAudit<S> {
        open(&self.pool, &self.mapping, SECRET).unwrap().clock(self.clock.clone())
    }

    pub(crate) fn with_secret(&self, secret: &[u8]) -> DbAudit<S> {
        open(&self.pool, &self.mapping, secret).unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        S::run(&self.pool, sql).await;
    }

    pub(crate) async fn rows(&self) -> i64 {
        S::number(&self.pool, "SELECT COUNT(*) FROM audit").await
    }

    /// Everything, oldest first.
    pub(crate) async fn all(&self) -> Vec<AuditEvent> {
        let page = self.audit.query(&AuditQuery::new().oldest_first().limit(1000)).await.unwrap();
        assert_eq!(page.next, None);
        page.events
    }
}

fn open<S: Server>(pool: &Pool<S>, mapping: &AuditTable, secret: &[u8]) -> session_manager_core::Result<DbAudit<S>> {
    match DbAudit::new(pool.clone(), mapping.clone()) {
        Ok(audit) => Ok(audit),
        Err(_) => DbAudit::chained(pool.clone(), mapping.clone(), ChainKey::new(secret)?),
    }
}

pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000 + millis).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// An id that nobody has had.
pub(crate) fn fresh_id() -> Uuid {
    let mut bytes = [0; 16];
    SystemRandom::new().unwrap().fill(&mut bytes).unwrap();
    Uuid::from_bytes(bytes)
}

/// An event of a user of their own doing, with everything that an event can have.
pub(crate) fn event(kind: AuditKind, name: &str, millis: i64) -> AuditEvent {
    let mut event = AuditEvent::new(fresh_id(), kind, at(millis), Actor::User(user(name)));
    event.session_id = Some(SessionId::from(Uuid::from_u128(7)));
    event.user_id = Some(user(name));
    event.client = ClientInfo::new()
        .ip("2001:db8::7".parse().unwrap())
        .agent("Mozilla/5.0 \"quoted\"\n\u{1F98A} e\u{301} ")
        .named(format!("{name}'s device"))
        .application("web");
    event.client.hints.insert("sec-ch-ua-platform".to_owned(), "\"Windows\"".to_owned());
    event.reason = Some("because; DROP TABLE audit".to_owned());
    event.request_id = Some("req-1".to_owned());
    event.details.insert("generation".to_owned(), json!(u64::MAX));
    event.details.insert("ratio".to_owned(), json!(1e20));
    event.details.insert("nested".to_owned(), json!({ "b": [1, null, true], "a": "\u{0} line\n" }));
    event
}

/// So many events of one user, a millisecond apart.
pub(crate) fn events(name: &str, count: i64) -> Vec<AuditEvent> {
    (0..count).map(|millis| event(AuditKind::Refreshed, name, millis)).collect()
}
