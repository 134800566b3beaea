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
use session_manager_core::storage::Finding;
use sqlx::error::DatabaseError;

use crate::encoding::UserIdEncoding;
use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

/// Keeps [`Dialect`] ours: a dialect is judged by the conformance suite against a real server, not by its compiling.
pub trait Sealed {}

/// A database that sessions can be kept in. Sealed.
pub trait Dialect: sqlx::Database + Sealed {
    /// How an own step begins.
    const BEGIN: Begin;
    /// How several reads of one state begin.
    const BEGIN_READING: Begin;
    /// Follows `SELECT id … WHERE …` so that the rows stay as they are until the step is over; `None` where a step excludes every other
    /// anyway. What is judged is read by the next statement: a locking read that joins may mix a new row with old epochs.
    const ROW_LOCK: Option<&'static str>;
    /// The same for clean-up, which waits for nobody.
    const ROW_LOCK_SKIPPING: &'static str;
    /// Follows the session table's name and alias where its rows are locked by their ids.
    const BY_PRIMARY_KEY: &'static str;
    /// Follows a read of a step inside the application's transaction, so that it sees what the lock waited for.
    const FRESH_READ: &'static str;
    /// The function that takes the lower of two values.
    const LEAST: &'static str;
    /// The function that takes the higher of two values.
    const GREATEST: &'static str;
    /// How announcements that commit late are not missed; `None` where they become visible in the order of their counter.
    const MARK: Option<MarkSql>;
    /// How a user's lock is taken in a mapping without epochs.
    const USER_LOCK: UserLock;
    /// How a statement that looks at a user's record, `u`, before it changes the user's session keeps the record from being raised meanwhile.
    const HOLDS_RECORD: &'static str;
    /// Whether a touch looks for the live sessions first, since an update that looks at the epochs would lock them.
    const TOUCH_FINDS_FIRST: bool;
    /// Whether a parameter may be an array, which `unnest` makes rows of.
    const HAS_ARRAYS: bool;
    /// The collation that the epoch table's subjects need so that a session's user is found by their index.
    const SUBJECT_COLLATION: Option<&'static str>;
    /// The operator by which an address lies in a network, for columns of such a type.
    const IN_NETWORK: Option<&'static str>;
    /// Reads the server's clock in milliseconds since 1970, where it has one of its own.
    const CLOCK: Option<&'static str>;
    /// Follows `CREATE TABLE (…)`.
    const TABLE_SUFFIX: &'static str;
    /// Whether the schema stands before the index's name, and not before the table's.
    const SCHEMA_NAMES_INDEX: bool;
    /// Whether indexes may leave rows out, and descend.
    const RICH_INDEXES: bool;
    /// Whether an index serves a comparison of two columns with two values at once.
    const COMPARES_PAIRS: bool;
    /// Whether sessions are locked by the primary key, so that another unique key would not do.
    const LOCKS_BY_PRIMARY_KEY: bool;

    /// Whether statements return the rows that they change, and know parameters by numbers.
    const RETURNS: bool;
    /// Whether such a statement may be part of another.
    const WRITES_IN_CTE: bool;
    /// Whether rows are removed by a join with their ids: given a list of ids the database would look at every row of a small table, and so
    /// wait for those that somebody else holds.
    const REMOVES_BY_JOIN: bool;
    /// Follows a text column so that it is compared by its bytes.
    const EXACTLY: &'static str;

    /// Quotes a checked name.
    fn quote(name: &str) -> String;

    /// Whether two names of columns are the same.
    fn same_name(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// The placeholder of the parameter with this number, from 1.
    fn placeholder(number: usize) -> String;

    /// A write that changes nothing and takes the lock of a step that would otherwise begin with a read, in the application's transaction.
    fn claim(table: &str) -> Option<String>;

    /// A column of user ids as the text that the epoch table knows the user by.
    fn subject(column: &str, encoding: UserIdEncoding) -> String;

    /// What the subqueries of `UPDATE table AS s … RETURNING` call the updated row; `None` where there is no such clause.
    fn returned(table: &str) -> Option<String>;

    /// What follows `INSERT INTO table (columns) VALUES (…)` so that a row with the same key is updated instead.
    fn on_conflict_update(table: &str, key: &str, assignments: &str) -> String;

    /// In the assignments of that clause, what the new row would have had.
    fn excluded(column: &str) -> String {
        format!("excluded.{column}")
    }

    /// What follows it so that a row with the same key keeps all but perhaps its counter; only a new row affects exactly one.
    fn on_conflict_keep(table: &str, key: &str, counter: &str) -> String;

    /// What follows it so that the row with the same key gets the new `column`, if it held at most the parameter `at_most`; `None` where the
    /// number of affected rows would not tell the cases apart.
    fn on_conflict_replace_if(table: &str, key: &str, column: &str, at_most: &str) -> Option<String>;

    /// What a column of this kind is declared as. Texts that SQL compares have a length in bytes that is enough for them.
    fn column_type(kind: Kind, compared: Option<u16>) -> String;

    /// What a counter that is its table's primary key, and never gives a number twice, is declared as.
    fn counter_type() -> &'static str;

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

    /// Runs a statement and says how many rows it changed.
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

    /// Reads the settings that endanger acknowledged writes.
    fn settings(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<Vec<Finding>>>;
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

/// How a user's lock is taken without a row to take it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Dialect only")]
pub enum UserLock {
    /// A step excludes every other anyway.
    Implied,
    /// By this statement, whose one parameter is the user. Its row says whether the lock is worth something at this isolation level.
    Statement(&'static str),
    /// Not at all: without epochs no limit of live sessions is kept.
    None,
}

/// The parts of the statements on a feed whose rows may become visible late.
#[derive(Clone, Copy, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Dialect only")]
pub struct MarkSql {
    /// The mark of a row that is being written.
    pub(crate) own: &'static str,
    /// The mark below which nothing becomes visible any more.
    pub(crate) settled: &'static str,
    /// Where a mark is no integer: what follows a column so that it is read as text, and a parameter of text so that it is a mark.
    pub(crate) text: Option<(&'static str, &'static str)>,
    /// An announcement that took longer has not been made: it might be missed.
    pub(crate) within: Option<std::time::Duration>,
}
