//! What differs between databases: one implementation of [`Dialect`] for each, everything else is written once.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod mysql_schema;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_schema;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;

use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

/// Keeps [`Dialect`] ours: a dialect is judged by tests against a real server, not by its compiling.
pub trait Sealed {}

/// A database that audit events can be kept in. Sealed.
pub trait Dialect: sqlx::Database + Sealed {
    /// How an own step begins.
    const BEGIN: Begin;
    /// Follows a read whose rows stay as they are until the step is over, and which sees the newest of them; empty where a step excludes
    /// every other anyway.
    const ROW_LOCK: &'static str;
    /// Follows `CREATE TABLE (…)`.
    const TABLE_SUFFIX: &'static str;
    /// Whether the schema stands before the index's name, and not before the table's.
    const SCHEMA_NAMES_INDEX: bool;
    /// Whether indexes may leave rows out, and descend.
    const RICH_INDEXES: bool;

    /// Quotes a checked name.
    fn quote(name: &str) -> String;

    /// Whether two names of columns are the same.
    fn same_name(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// The placeholder of the parameter with this number, from 1.
    fn placeholder(number: usize) -> String;

    /// What follows `INSERT INTO table (columns) VALUES (…)` so that a row with the same key stays as it is.
    fn on_conflict_keep(key: &str) -> String;

    /// What follows it so that the row with the same key gets the new values of these columns.
    fn on_conflict_update(key: &str, columns: &[&str]) -> String;

    /// What a column of this kind is declared as. Texts that SQL compares have a length in bytes that is enough for them.
    fn column_type(kind: Kind, compared: Option<u16>) -> String;

    /// Whether a column of this declared type holds such values unchanged.
    fn holds(declared: &str, kind: Kind) -> bool;

    /// Why it does not.
    fn why_not(_declared: &str, _kind: Kind) -> &'static str {
        "does not hold its values unchanged"
    }

    /// The code of an error, for logs.
    fn code(error: &dyn DatabaseError) -> String {
        error.code().map_or_else(String::new, Cow::into_owned)
    }

    /// Sorts an error of the database.
    fn classify(error: &dyn DatabaseError) -> Class;

    /// Runs statements without parameters.
    fn command<'c>(connection: &'c mut Self::Connection, sql: &'static str) -> BoxFuture<'c, sqlx::Result<()>>;

    /// Runs a statement and reads its rows; `prepared`: it is kept prepared on the connection.
    fn fetch(
        connection: &mut Self::Connection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<Vec<Row>>>;

    /// Runs a statement and says how many rows it changed, or found.
    fn execute(
        connection: &mut Self::Connection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<u64>>;

    /// Reads how a table is declared; `None` where there is none. `compared` are the columns whose collation matters.
    fn describe<'c>(
        connection: &'c mut Self::Connection,
        schema: Option<&'c str>,
        table: &'c str,
        compared: &'c [String],
    ) -> BoxFuture<'c, sqlx::Result<Option<LiveTable>>>;
}

/// How a transaction of ours begins.
#[derive(Clone, Copy, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Dialect only")]
pub enum Begin {
    /// By this statement; the driver takes back what is abandoned, also while it begins.
    Statement(&'static str),
    /// By these statements; a connection that is abandoned before the end is closed, since the driver forgets a transaction that had only
    /// begun to begin, and the next user of the connection would find itself inside it.
    Guarded(&'static str),
}
