//! Opens PostgreSQL, MySQL and MariaDB, and makes their tables.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Error, Executor as _, SqlSafeStr as _};
use tokio::time::timeout;

use crate::exit::{StartError, reason};

/// Connections to a database from this process, for one purpose.
pub(crate) const CONNECTIONS: u32 = 16;
/// How long it may take until one is there, and answers.
const LIMIT: Duration = Duration::from_secs(2);
/// How long another server may take to make the tables, in seconds.
const PATIENCE: i64 = 60;
/// The same for PostgreSQL, whose lock is waited for with the making of the tables.
const PATIENCE_FOR_TABLES: Duration = Duration::from_mins(1);

/// What PostgreSQL is told on each connection. A statement ends a little after the request that waited for it, so that the connection comes
/// back. They are no parameters of the start, which poolers refuse.
const POSTGRES_SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET statement_timeout = '35s'; \
    SET idle_in_transaction_session_timeout = '65s'";
/// The same for MySQL and MariaDB, each of which skips what is the other's. MySQL limits reads alone; a write waits for locks.
const MYSQL_SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION innodb_lock_wait_timeout = 35 \
    /*!80000 , SESSION max_execution_time = 35000 */ /*M!100100 , SESSION max_statement_time = 35 */";

/// Tables in one database's own words. Their steps are kept apart from those of anybody else in that database. A released step is never
/// changed: its checksum is in the databases.
pub(crate) struct Schema {
    pub(crate) table: &'static str,
    pub(crate) steps: &'static [(i64, &'static str, &'static str)],
}

/// Whose database it is, for what is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) what: &'static str,
    pub(crate) key: &'static str,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    Connection(Error),
    Tables(MigrateError, i64),
    /// Another server is making the tables for longer than anybody waits.
    Busy,
}

/// Connects to PostgreSQL and makes what is missing of the tables. Of several servers that start at once one does it, and the others wait.
pub(crate) async fn postgres(url: &str, schemas: &[Schema]) -> Result<PgPool, Unusable> {
    let options: PgConnectOptions = url.parse().map_err(Unusable::Connection)?;
    let mut connection: PgConnection = answered(options.connect()).await?;
    for schema in schemas {
        // The driver's lock waits for ever; ours goes with the connection.
        let migrator = schema.migrator();
        let applied = timeout(PATIENCE_FOR_TABLES, migrator.run(&mut connection));
        let applied = applied.await.map_err(|_| Unusable::Busy)?;
        applied.map_err(|error| Unusable::Tables(error, schema.newest()))?;
    }
    // What is left of it ends with it.
    let _ = connection.close().await;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(LIMIT);
    let pool =
        pool.after_connect(|connection, _| Box::pin(async { connection.execute(POSTGRES_SESSION).await.map(drop) }));
    Ok(pool.connect_lazy_with(options))
}

/// The same with MySQL and MariaDB.
pub(crate) async fn mysql(url: &str, schemas: &[Schema]) -> Result<MySqlPool, Unusable> {
    let options: MySqlConnectOptions = url.parse().map_err(Unusable::Connection)?;
    let mut connection: MySqlConnection = answered(options.connect()).await?;
    // The driver's own lock waits for ever, which MariaDB refuses, and the driver does not look at the answer. Ours ends with the connection.
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(SHA1(CONCAT('session-manager ', DATABASE())), ?)")
        .bind(PATIENCE)
        .fetch_one(&mut connection)
        .await
        .map_err(Unusable::Connection)?;
    if locked != Some(1) {
        return Err(Unusable::Busy);
    }
    for schema in schemas {
        let mut migrator = schema.migrator();
        migrator.set_locking(false);
        let applied = migrator.run(&mut connection).await;
        applied.map_err(|error| Unusable::Tables(error, schema.newest()))?;
    }
    let _ = connection.close().await;
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(LIMIT);
    let pool =
        pool.after_connect(|connection, _| Box::pin(async { connection.execute(MYSQL_SESSION).await.map(drop) }));
    Ok(pool.connect_lazy_with(options))
}

async fn answered<C>(connecting: impl Future<Output = sqlx::Result<C>>) -> Result<C, Unusable> {
    let connected = timeout(LIMIT, connecting).await.unwrap_or(Err(Error::PoolTimedOut));
    connected.map_err(Unusable::Connection)
}

impl Schema {
    fn newest(&self) -> i64 {
        self.steps.iter().map(|step| step.0).max().unwrap_or(0)
    }

    fn migrator(&self) -> Migrator {
        let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations(self.steps.iter().map(migration).collect());
        migrator.dangerous_set_table_name(self.table);
        migrator
    }
}

impl Unusable {
    /// For the person who starts the server. Of the URL it tells nothing but its key.
    pub(crate) fn told(&self, place: Place) -> StartError {
        let Place { what, key } = place;
        let correct = |remedy: &str| format!("{remedy}, or correct `{key}`.");
        let (what, why, remedy) = match self {
            Self::Connection(error)
            | Self::Tables(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _), _) => {
                refusal(what, error, &correct)
            }
            Self::Tables(MigrateError::VersionMissing(version), newest) if version > newest => (
                format!("{what} is newer than this server"),
                format!("it has schema version {version}, this server knows up to {newest}"),
                "Start the newer server, or restore the database from before the update.".to_owned(),
            ),
            Self::Tables(MigrateError::Dirty(version), _) => (
                format!("the tables in {what} are half made"),
                format!("the making of schema version {version} was interrupted"),
                correct("Restore it from the backup, or empty it if it was new"),
            ),
            Self::Tables(error, _) => (
                format!("{what} was not made by this server"),
                error.to_string(),
                correct("Restore it from the backup"),
            ),
            Self::Busy => (
                format!("the tables in {what} cannot be made"),
                "another server has been making them for a minute".to_owned(),
                "Look at the other server, and start this one again.".to_owned(),
            ),
        };
        StartError::environment(what, why, remedy)
    }
}

/// What an error of the database means to whoever set it up.
fn refusal(what: &str, error: &Error, correct: &dyn Fn(&str) -> String) -> (String, String, String) {
    let unreachable = |why: String| (format!("{what} cannot be reached"), why, correct("Start it"));
    let untrusted = |why: &dyn std::fmt::Display| {
        let why = format!("no safe connection can be made: {why}");
        (format!("{what} cannot be reached"), why, correct("Look at its certificate"))
    };
    let code = match error {
        // What is said in the handshake comes as an error of this kind.
        Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => return untrusted(error),
        Error::Io(error) => return unreachable(reason(error)),
        Error::PoolTimedOut => return unreachable("it does not answer within two seconds".to_owned()),
        Error::Tls(error) => return untrusted(error),
        Error::Configuration(_) => {
            let why = "its URL cannot be read".to_owned();
            return (
                format!("{what} cannot be used"),
                why,
                correct("Write it like postgres://USER:PASSWORD@HOST/DATABASE"),
            );
        }
        other => code(other),
    };
    match code.as_str() {
        "28P01" | "28000" | "1045" | "1698" => {
            let why = "the name of the user or the password is wrong".to_owned();
            (format!("{what} does not let this server in"), why, correct("Let the user in"))
        }
        "3D000" | "1049" | "1044" | "1046" => {
            let why = "there is no such database, or this user may not use it".to_owned();
            (format!("{what} is not there"), why, correct("Make it, and give the user all rights in it"))
        }
        "42501" | "3F000" | "1142" | "1227" | "1143" => {
            let why = "the user may not make or read its tables".to_owned();
            (format!("the tables in {what} cannot be made"), why, correct("Give the user all rights in the database"))
        }
        "53300" | "1040" | "1203" => {
            let why = "it has too many connections".to_owned();
            (format!("{what} takes no more connections"), why, "Raise its limit, or stop somebody else.".to_owned())
        }
        _ => {
            let why = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            (format!("{what} cannot be used"), why, correct("Look at its log"))
        }
    }
}

/// The SQLSTATE of PostgreSQL, the number of MySQL.
fn code(error: &Error) -> String {
    let Some(error) = error.as_database_error() else { return String::new() };
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(error) => error.number().to_string(),
        None => error.code().unwrap_or_default().into_owned(),
    }
}
