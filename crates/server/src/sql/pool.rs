//! Connections to the database of the accounts, and transactions on them.

use session_manager::factory::Database;
use sqlx::{MySql, MySqlPool, PgPool, Postgres, Sqlite, SqlitePool};

/// In whose words statements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    /// MariaDB too.
    MySql,
}

impl Engine {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL or MariaDB",
        }
    }
}

/// The connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// A transaction; dropped without its end it is rolled back.
#[derive(Debug)]
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
    MySql(sqlx::Transaction<'static, MySql>),
}

impl Pool {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
            Self::MySql(_) => Engine::MySql,
        }
    }

    /// Begins a transaction that writes.
    ///
    /// # Behaviour
    /// In SQLite it has the lock of writers at once, and so never has to wait for it in its middle. Elsewhere it sees what was committed
    /// before each of its statements: what it judges by it has locked before, by `FOR UPDATE` or by writing.
    ///
    /// Whoever waits for it may be dropped at any time: once asked for, it is begun to the end, and rolled back when nobody wants it any more. The driver
    /// would give a connection back that had only begun to begin, and the next one's statements would never be committed.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(Box::pin(pool.begin_with("BEGIN IMMEDIATE")).await?),
            Self::Postgres(pool) => {
                let pool = pool.clone();
                Transaction::Postgres(to_the_end(Box::pin(async move { pool.begin().await })).await?)
            }
            Self::MySql(pool) => {
                let pool = pool.clone();
                Transaction::MySql(to_the_end(Box::pin(async move { pool.begin().await })).await?)
            }
        })
    }

    /// Further connections to the same database, at most so many. SQLite's are the same ones: there one alone writes.
    ///
    /// Whoever holds a transaction of the one and asks for a connection of the other waits for nobody who does the same.
    pub(crate) fn beside(&self, connections: u32) -> Self {
        match self {
            Self::Sqlite(pool) => Self::Sqlite(pool.clone()),
            Self::Postgres(pool) => {
                let options = pool.options().clone().max_connections(connections);
                Self::Postgres(options.connect_lazy_with(pool.connect_options().as_ref().clone()))
            }
            Self::MySql(pool) => {
                let options = pool.options().clone().max_connections(connections);
                Self::MySql(options.connect_lazy_with(pool.connect_options().as_ref().clone()))
            }
        }
    }

    /// Ends all connections, once nobody uses them any more.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => Box::pin(pool.close()).await,
            Self::Postgres(pool) => Box::pin(pool.close()).await,
            Self::MySql(pool) => Box::pin(pool.close()).await,
        }
    }
}

/// Goes on when the caller is dropped.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = sqlx::Result<T>> + Send + 'static,
) -> sqlx::Result<T> {
    // A task fails only by a panic, or at the end of the process.
    tokio::spawn(work).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

impl Transaction {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
            Self::MySql(_) => Engine::MySql,
        }
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => Box::pin(transaction.commit()).await,
            Self::Postgres(transaction) => Box::pin(transaction.commit()).await,
            Self::MySql(transaction) => Box::pin(transaction.commit()).await,
        }
    }

    pub(crate) async fn rollback(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => Box::pin(transaction.rollback()).await,
            Self::Postgres(transaction) => Box::pin(transaction.rollback()).await,
            Self::MySql(transaction) => Box::pin(transaction.rollback()).await,
        }
    }
}

impl From<Pool> for Database {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => pool.into(),
            Pool::Postgres(pool) => pool.into(),
            Pool::MySql(pool) => pool.into(),
        }
    }
}
