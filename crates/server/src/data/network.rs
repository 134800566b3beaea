//! The accounts in a database that several machines reach: PostgreSQL, MySQL or MariaDB.

use crate::exit::StartError;
use crate::sessions::{MYSQL_SESSIONS, POSTGRES_SESSIONS};
use crate::sql::{self, Place, Pool, Schema};

const TABLE: &str = "_session_manager_accounts";
const PLACE: Place = Place { what: "the database of the accounts", key: "database.url" };

const POSTGRES: Schema = Schema {
    table: TABLE,
    steps: &[
        (1, "accounts", include_str!("../../migrations/postgres/0001_accounts.sql")),
        (2, "audit", include_str!("../../migrations/postgres/0002_audit.sql")),
    ],
};
const MYSQL: Schema = Schema {
    table: TABLE,
    steps: &[
        (1, "accounts", include_str!("../../migrations/mysql/0001_accounts.sql")),
        (2, "audit", include_str!("../../migrations/mysql/0002_audit.sql")),
    ],
};

/// Connects, and brings the tables up to date: the accounts' own, and those of the sessions, which are there unless they are elsewhere.
pub(super) async fn open(url: &str) -> Result<Pool, StartError> {
    let opened = if url.starts_with("postgres") {
        Box::pin(sql::postgres(url, &[POSTGRES, POSTGRES_SESSIONS])).await.map(Pool::Postgres)
    } else {
        Box::pin(sql::mysql(url, &[MYSQL, MYSQL_SESSIONS])).await.map(Pool::MySql)
    };
    opened.map_err(|error| error.told(PLACE))
}

#[cfg(test)]
#[path = "network_tls_tests.rs"]
mod tls;

#[cfg(test)]
mod tests {
    use session_manager_services::{MariaDb, Postgres};

    use super::*;
    use crate::data::fresh_database;

    async fn message(url: &str) -> String {
        let message = open(url).await.unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
        message
    }

    async fn run(pool: &Pool, statements: &[&str]) {
        for statement in statements {
            sql::query((*statement).to_owned()).execute(pool).await.unwrap();
        }
    }

    /// What the start says where it can go no further, and that it says what to do.
    async fn refusals(server: &str) {
        let url = fresh_database(server);
        let pool = open(&url).await.unwrap();
        let table = TABLE;
        for (statement, expected) in [
            (format!("UPDATE {table} SET version = 99 WHERE version = 2"), "newer than this server"),
            (format!("UPDATE {table} SET version = 2, success = false WHERE version = 99"), "half made"),
            (format!("UPDATE {table} SET success = true, checksum = 'x' WHERE version = 2"), "not made by this server"),
        ] {
            run(&pool, &[&statement]).await;
            let text = message(&url).await;
            assert!(text.contains(expected) && text.contains("`database.url`") | text.contains("newer"), "{text}");
        }
        pool.close().await;
        let nowhere = format!("{}_missing", fresh_database(server));
        let text = message(&nowhere).await;
        assert!(text.contains("is not there") && text.contains("`database.url`"), "{text}");
    }

    async fn unreachable(url: &str) {
        let text = message(url).await;
        assert!(text.contains("cannot be reached") && text.contains("`database.url`"), "{text}");
    }

    /// The driver forgets a transaction that had only begun to begin; the statements of whoever has its connection next would not be committed.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_transaction_that_nobody_waited_for_keeps_no_statement() {
        let mut server = Postgres::start().unwrap();
        let options: sqlx::postgres::PgConnectOptions = fresh_database(&server.url()).parse().unwrap();
        let one = || {
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).test_before_acquire(false);
            Pool::Postgres(pool.connect_lazy_with(options.clone()))
        };
        let (pool, other) = (one(), one());
        run(&pool, &["CREATE TABLE written (number bigint)"]).await;
        let rows = "SELECT count(*) FROM written";
        sql::query(rows).fetch_one(&other).await.unwrap();
        server.pause().unwrap();
        let begun = tokio::time::timeout(std::time::Duration::from_millis(200), pool.begin()).await;
        assert!(begun.is_err(), "the server is paused");
        server.resume().unwrap();
        run(&pool, &["INSERT INTO written VALUES (1)"]).await;
        let rows = sql::query(rows).fetch_one(&other).await.unwrap();
        assert_eq!(rows.only::<i64>().unwrap(), 1, "committed");
    }

    #[tokio::test]
    async fn postgres_says_why_it_cannot_be_used() {
        let mut server = Postgres::start().unwrap();
        refusals(&server.url()).await;
        let url = fresh_database(&server.url());
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let pool = Pool::Postgres(sqlx::PgPool::connect_with(options).await.unwrap());
        run(&pool, &["CREATE ROLE guest LOGIN PASSWORD 'hunter2'", "REVOKE ALL ON SCHEMA public FROM PUBLIC"]).await;
        let text = message(&url.replace("postgres@", "guest:hunter2@")).await;
        assert!(text.contains("all rights in the database"), "{text}");
        let text = message(&url.replace("postgres@", "nobody:hunter2@")).await;
        assert!(text.contains("does not let this server in"), "{text}");
        server.pause().unwrap();
        unreachable(&url).await;
        server.resume().unwrap();
        open(&url).await.unwrap();
        server.stop().unwrap();
        unreachable(&url).await;
        unreachable("postgres://app:hunter2@localhost.invalid/accounts").await;
    }

    #[tokio::test]
    async fn mariadb_says_why_it_cannot_be_used() {
        let mut server = MariaDb::start().unwrap();
        refusals(&server.url()).await;
        let url = fresh_database(&server.url());
        let pool = Pool::MySql(sqlx::MySqlPool::connect(&url).await.unwrap());
        let name = url.rsplit_once('/').unwrap().1;
        let grant = format!("GRANT SELECT ON {name}.* TO guest@'%'");
        run(&pool, &["CREATE USER guest@'%' IDENTIFIED BY 'hunter2'", &grant]).await;
        let text = message(&url.replace("root@", "guest:hunter2@")).await;
        assert!(text.contains("all rights in the database"), "{text}");
        let text = message(&url.replace("root@", "guest:hunter22@")).await;
        assert!(text.contains("does not let this server in"), "{text}");
        server.pause().unwrap();
        unreachable(&url).await;
        server.resume().unwrap();
        open(&url).await.unwrap();
        server.stop().unwrap();
        unreachable(&url).await;
    }

    /// What each connection is told: statements end, and transactions see what was committed.
    #[tokio::test]
    async fn a_statement_does_not_hold_its_connection_for_ever() {
        let (postgres, mariadb) = (Postgres::start().unwrap(), MariaDb::start().unwrap());
        let pool = open(&fresh_database(&postgres.url())).await.unwrap();
        for (name, expected) in [("statement_timeout", "35s"), ("transaction_isolation", "read committed")] {
            let value = sql::query(format!("SHOW {name}")).fetch_one(&pool).await.unwrap();
            assert_eq!(value.only::<String>().unwrap(), expected, "{name}");
        }
        let pool = open(&fresh_database(&mariadb.url())).await.unwrap();
        let limits = "SELECT CAST(@@max_statement_time AS SIGNED) + CAST(@@innodb_lock_wait_timeout AS SIGNED)";
        let value = sql::query(limits).fetch_one(&pool).await.unwrap();
        assert_eq!(value.only::<i64>().unwrap(), 70);
        let value = sql::query("SELECT @@tx_isolation").fetch_one(&pool).await.unwrap();
        assert_eq!(value.only::<String>().unwrap(), "READ-COMMITTED");
    }
}
