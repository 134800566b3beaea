//! SQLite, from 3.35: one writer at a time, so that the transaction that begins by a write is the lock.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use session_manager_core::storage::{Finding, Health, Severity};
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Row as _, Sqlite, TypeInfo, ValueRef};

use super::{Begin, Dialect, MarkSql, Sealed, UserLock};
use crate::encoding::UserIdEncoding;
use crate::error::Class;
use crate::schema::{LiveColumn, LiveIndex, LiveTable, merging};
use crate::value::{Kind, Row, Value};

impl Sealed for Sqlite {}

impl Dialect for Sqlite {
    // A transaction that begins by reading would have to be given up when another writes first.
    const BEGIN: Begin = Begin::Statement("BEGIN IMMEDIATE");
    const BEGIN_READING: Begin = Begin::Statement("BEGIN");
    const ROW_LOCK: Option<&'static str> = None;
    const ROW_LOCK_SKIPPING: &'static str = "";
    const BY_PRIMARY_KEY: &'static str = "";
    const FRESH_READ: &'static str = "";
    const LEAST: &'static str = "min";
    const GREATEST: &'static str = "max";
    const MARK: Option<MarkSql> = None;
    const USER_LOCK: UserLock = UserLock::Implied;
    const HOLDS_RECORD: &'static str = "";
    const TOUCH_FINDS_FIRST: bool = false;
    const HAS_ARRAYS: bool = false;
    const SUBJECT_COLLATION: Option<&'static str> = None;
    const IN_NETWORK: Option<&'static str> = None;
    const CLOCK: Option<&'static str> = None;
    const TABLE_SUFFIX: &'static str = " STRICT";
    const SCHEMA_NAMES_INDEX: bool = true;
    const RICH_INDEXES: bool = true;
    const COMPARES_PAIRS: bool = true;
    const RETURNS: bool = true;
    const WRITES_IN_CTE: bool = false;
    const REMOVES_BY_JOIN: bool = false;
    const EXACTLY: &'static str = " COLLATE BINARY";
    const LOCKS_BY_PRIMARY_KEY: bool = false;

    fn quote(name: &str) -> String {
        format!("\"{name}\"")
    }

    fn placeholder(number: usize) -> String {
        format!("?{number}")
    }

    fn claim(table: &str) -> Option<String> {
        // It matches no row; that it is a write is enough for SQLite to take the lock.
        Some(format!("DELETE FROM {table} WHERE 0"))
    }

    fn subject(column: &str, encoding: UserIdEncoding) -> String {
        match encoding {
            UserIdEncoding::Text => column.to_owned(),
            UserIdEncoding::BigInt => format!("CAST({column} AS TEXT)"),
            UserIdEncoding::Uuid => {
                let part = |from: u8, length: u8| format!("substr(hex({column}), {from}, {length})");
                let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
                format!("lower({})", parts.join(" || '-' || "))
            }
        }
    }

    fn returned(table: &str) -> Option<String> {
        // The alias is not known there, only the bare name.
        table.rsplit('.').next().map(str::to_owned)
    }

    fn on_conflict_update(_table: &str, key: &str, assignments: &str) -> String {
        format!(" ON CONFLICT ({key}) DO UPDATE SET {assignments}")
    }

    fn on_conflict_keep(_table: &str, key: &str, _counter: &str) -> String {
        format!(" ON CONFLICT ({key}) DO NOTHING")
    }

    fn on_conflict_replace_if(table: &str, key: &str, column: &str, at_most: &str) -> Option<String> {
        // In the clause a table goes by its bare name.
        let bare = table.rsplit('.').next().unwrap_or(table);
        Some(format!(
            " ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column} WHERE {bare}.{column} <= {at_most}"
        ))
    }

    fn column_type(kind: Kind, _compared: Option<u16>) -> String {
        let name = match kind {
            Kind::Int | Kind::Bool | Kind::Time | Kind::Mark => "INTEGER",
            Kind::Real => "REAL",
            Kind::Text | Kind::Json | Kind::Jsonb | Kind::Inet => "TEXT",
            Kind::Bytes | Kind::Uuid => "BLOB",
        };
        name.to_owned()
    }

    fn counter_type() -> &'static str {
        "INTEGER PRIMARY KEY AUTOINCREMENT"
    }

    fn holds(declared: &str, kind: Kind) -> bool {
        use Affinity::{Blob, Integer, Numeric, Real, Text};
        let affinity = Affinity::of(declared);
        match kind {
            Kind::Int | Kind::Bool | Kind::Time | Kind::Mark => matches!(affinity, Integer | Numeric | Blob),
            Kind::Real => matches!(affinity, Real | Numeric | Blob),
            // Numeric affinity turns the user id '42' into the number 42.
            Kind::Text | Kind::Json | Kind::Jsonb | Kind::Inet => matches!(affinity, Text | Blob),
            Kind::Bytes | Kind::Uuid => matches!(affinity, Blob | Numeric),
        }
    }

    fn classify(error: &dyn DatabaseError) -> Class {
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
        match (code, code & 0xff) {
            (BUSY_SNAPSHOT, _) => Class::Overtaken,
            (CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE, _) => Class::Unique,
            (_, BUSY | LOCKED | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN) => Class::Busy,
            // These name tables and columns only; a trigger's message may hold anything.
            (1 | CONSTRAINT_NOTNULL, _) => Class::Refused(error.message().to_owned()),
            _ => Class::Refused("the text is withheld, since it may hold values".to_owned()),
        }
    }

    fn command<'c>(connection: &'c mut SqliteConnection, sql: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        sqlx::raw_sql(sql).execute(connection).map_ok(drop).boxed()
    }

    fn fetch(
        connection: &mut SqliteConnection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<Vec<Row>>> {
        async move {
            let rows =
                sqlx::query_with(AssertSqlSafe(sql), bind(values)?).persistent(prepared).fetch_all(connection).await?;
            rows.iter().map(read).collect()
        }
        .boxed()
    }

    fn execute(
        connection: &mut SqliteConnection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<u64>> {
        async move {
            let done =
                sqlx::query_with(AssertSqlSafe(sql), bind(values)?).persistent(prepared).execute(connection).await?;
            Ok(done.rows_affected())
        }
        .boxed()
    }

    fn describe<'c>(
        connection: &'c mut SqliteConnection,
        schema: Option<&'c str>,
        table: &'c str,
        compared: &'c [String],
    ) -> BoxFuture<'c, sqlx::Result<Option<LiveTable>>> {
        describe(connection, schema.unwrap_or("main"), table, compared).boxed()
    }

    fn settings(connection: &mut SqliteConnection) -> BoxFuture<'_, sqlx::Result<Vec<Finding>>> {
        settings(connection).boxed()
    }
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const BUSY_SNAPSHOT: i32 = 517;
const CONSTRAINT_NOTNULL: i32 = 1299;
const CONSTRAINT_PRIMARYKEY: i32 = 1555;
const CONSTRAINT_UNIQUE: i32 = 2067;

/// What SQLite makes of a declared type (section 3.1 of its page on datatypes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if declared.is_empty() || has(&["BLOB"]) || declared == "ANY" {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

fn bind(values: Vec<Value>) -> sqlx::Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Null(_) => Arguments::add(&mut arguments, None::<i64>),
            Value::Int(number) => Arguments::add(&mut arguments, number),
            Value::Real(number) => Arguments::add(&mut arguments, number),
            Value::Bool(truth) => Arguments::add(&mut arguments, i64::from(truth)),
            Value::Text(text) | Value::Json(text) => Arguments::add(&mut arguments, text),
            Value::Time(time) => Arguments::add(&mut arguments, time.timestamp_millis()),
            Value::Inet(net) => Arguments::add(&mut arguments, net.addr().to_string()),
            Value::Bytes(bytes) => Arguments::add(&mut arguments, bytes),
            Value::Uuid(id) => Arguments::add(&mut arguments, id.as_bytes().to_vec()),
            Value::Many(..) => Err("there are no arrays".into()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn read(row: &SqliteRow) -> sqlx::Result<Row> {
    let values = row.columns().iter().map(|column| {
        let value = row.try_get_raw(column.ordinal())?;
        if value.is_null() {
            return Ok(Value::Null(Kind::Text));
        }
        // The type of the stored value, not of the column: SQLite's columns hold what they were given.
        let kind = value.type_info().name().to_owned();
        let value = match kind.as_str() {
            "TEXT" => Decode::<Sqlite>::decode(value).map(Value::Text),
            "BLOB" => Decode::<Sqlite>::decode(value).map(Value::Bytes),
            "REAL" => Decode::<Sqlite>::decode(value).map(Value::Real),
            _ => Decode::<Sqlite>::decode(value).map(Value::Int),
        };
        value.map_err(sqlx::Error::Decode)
    });
    values.collect::<sqlx::Result<Vec<_>>>().map(Vec::into_iter)
}

async fn describe(
    connection: &mut SqliteConnection,
    schema: &str,
    table: &str,
    compared: &[String],
) -> sqlx::Result<Option<LiveTable>> {
    let listed = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info(?1, ?2)";
    let rows: Vec<(String, String, bool, bool, i64)> =
        sqlx::query_as(listed).bind(table).bind(schema).fetch_all(&mut *connection).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut live = LiveTable::default();
    let mut primary: Vec<(i64, String)> = Vec::new();
    for (name, declared, not_null, has_default, key) in rows {
        if key > 0 {
            primary.push((key, name.clone()));
        }
        // An INTEGER PRIMARY KEY fills itself.
        let has_default = has_default || (key > 0 && declared.eq_ignore_ascii_case("INTEGER"));
        let collation =
            if compared.contains(&name) { collation(connection, schema, table, &name).await? } else { None };
        live.columns.push(LiveColumn { name, declared, not_null, has_default, collation, collated: None });
    }
    if !primary.is_empty() {
        primary.sort();
        live.indexes.push(LiveIndex {
            columns: primary.into_iter().map(|(_, name)| name).collect(),
            unique: true,
            partial: false,
            primary: true,
        });
    }
    let listed = "SELECT l.name, l.\"unique\", l.partial, x.name FROM pragma_index_list(?1, ?2) AS l \
        JOIN pragma_index_xinfo(l.name, ?2) AS x WHERE x.key = 1 ORDER BY l.seq, x.seqno";
    let rows: Vec<(String, bool, bool, Option<String>)> =
        sqlx::query_as(listed).bind(table).bind(schema).fetch_all(&mut *connection).await?;
    let mut last = None;
    for (index, unique, partial, column) in rows {
        if last.as_ref() != Some(&index) {
            live.indexes.push(LiveIndex { columns: Vec::new(), unique, partial, primary: false });
            last = Some(index);
        }
        if let Some(index) = live.indexes.last_mut() {
            // An expression has no name, and matches no column of ours.
            index.columns.push(column.unwrap_or_default());
        }
    }
    Ok(Some(live))
}

/// The collation of a column by what it does, since no pragma tells its name: the column is the first part of a compound, whose collation
/// the whole takes.
async fn collation(
    connection: &mut SqliteConnection,
    schema: &str,
    table: &str,
    column: &str,
) -> sqlx::Result<Option<String>> {
    let (schema, table, column) = (Sqlite::quote(schema), Sqlite::quote(table), Sqlite::quote(column));
    let sql = format!(
        "SELECT c = 'a', c = 'A ' FROM (SELECT {column} AS c FROM {schema}.{table} WHERE 0 UNION ALL SELECT 'A')"
    );
    let found: Option<(bool, bool)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(&mut *connection).await?;
    Ok(match found {
        Some((true, _)) => Some(merging("NOCASE")),
        Some((_, true)) => Some(merging("RTRIM")),
        _ => None,
    })
}

async fn settings(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Finding>> {
    let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    let (journal,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    let mut health = Health::well();
    if synchronous < 2 {
        let message = "PRAGMA synchronous is below FULL: a power failure may undo acknowledged revocations";
        health = health.finding(Severity::Warning, message);
    }
    if matches!(journal.as_str(), "off" | "memory") {
        let message = format!("PRAGMA journal_mode is {journal}: a crash may corrupt the database");
        health = health.finding(Severity::Error, message);
    }
    Ok(health.findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_have_sqlites_affinity() {
        let cases = [
            ("BIGINT", Affinity::Integer),
            ("POINT", Affinity::Integer),
            ("varchar(36)", Affinity::Text),
            ("", Affinity::Blob),
            ("DOUBLE", Affinity::Real),
            ("STRING", Affinity::Numeric),
            ("UUID", Affinity::Numeric),
            ("TIMESTAMP", Affinity::Numeric),
        ];
        for (declared, affinity) in cases {
            assert_eq!(Affinity::of(declared), affinity, "{declared}");
        }
        assert!(
            !Sqlite::holds("STRING", Kind::Text)
                && !Sqlite::holds("TEXT", Kind::Int)
                && Sqlite::holds("TIMESTAMP", Kind::Int)
        );
    }
}
