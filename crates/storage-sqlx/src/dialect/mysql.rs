//! What MySQL 8.0 and MariaDB 10.6 share: rows are found by plain reads, locked by primary key in the order of their ids, and judged by the
//! next statement.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use session_manager_core::storage::Finding;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlValueRef};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, MySql, Row as _, TypeInfo, ValueRef};

use super::{Begin, Dialect, MarkSql, Sealed, UserLock, mysql_schema};
use crate::encoding::UserIdEncoding;
use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

impl Sealed for MySql {}

impl Dialect for MySql {
    // At REPEATABLE READ, the default, gap locks deadlock concurrent sign-ins, and reads do not see what a lock waited for.
    const BEGIN: Begin = Begin::Guarded("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION");
    const BEGIN_READING: Begin = Begin::Guarded(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    );
    const ROW_LOCK: Option<&'static str> = Some(" FOR UPDATE");
    const ROW_LOCK_SKIPPING: &'static str = " FOR UPDATE SKIP LOCKED";
    const BY_PRIMARY_KEY: &'static str = " FORCE INDEX (PRIMARY)";
    // The application's transaction may be REPEATABLE READ, where a plain read is older than the wait for the lock.
    const FRESH_READ: &'static str = " LOCK IN SHARE MODE";
    const LEAST: &'static str = "LEAST";
    const GREATEST: &'static str = "GREATEST";
    // By the server's clock, whatever the session's time zone. A poll begins twice as long ago as an announcement may take, so that the clock
    // may also be set back by as much.
    const MARK: Option<MarkSql> = Some(MarkSql {
        own: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000",
        settled: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 - 10000",
        text: None,
        within: Some(Duration::from_secs(5)),
    });
    const USER_LOCK: UserLock = UserLock::None;
    const HOLDS_RECORD: &'static str = "";
    const TOUCH_FINDS_FIRST: bool = true;
    const HAS_ARRAYS: bool = false;
    const SUBJECT_COLLATION: Option<&'static str> = None;
    const IN_NETWORK: Option<&'static str> = None;
    const CLOCK: Option<&'static str> =
        Some("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000");
    const TABLE_SUFFIX: &'static str = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    const SCHEMA_NAMES_INDEX: bool = false;
    const RICH_INDEXES: bool = false;
    const COMPARES_PAIRS: bool = false;
    const RETURNS: bool = false;
    const WRITES_IN_CTE: bool = false;
    const REMOVES_BY_JOIN: bool = true;
    const EXACTLY: &'static str = "";
    const LOCKS_BY_PRIMARY_KEY: bool = true;

    fn quote(name: &str) -> String {
        format!("`{name}`")
    }

    fn placeholder(_number: usize) -> String {
        "?".to_owned()
    }

    fn claim(_table: &str) -> Option<String> {
        None
    }

    fn subject(column: &str, encoding: UserIdEncoding) -> String {
        match encoding {
            UserIdEncoding::Text => column.to_owned(),
            UserIdEncoding::BigInt => format!("CAST({column} AS CHAR)"),
            UserIdEncoding::Uuid => {
                let part = |from: u8, length: u8| format!("SUBSTR(HEX({column}), {from}, {length})");
                let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
                format!("LOWER(CONCAT_WS('-', {}))", parts.join(", "))
            }
        }
    }

    fn returned(_table: &str) -> Option<String> {
        None
    }

    fn on_conflict_update(_table: &str, _key: &str, assignments: &str) -> String {
        format!(" ON DUPLICATE KEY UPDATE {assignments}")
    }

    fn excluded(column: &str) -> String {
        format!("VALUES({column})")
    }

    fn on_conflict_keep(_table: &str, _key: &str, counter: &str) -> String {
        // A new row affects one, a changed one two. One that stays as it is would affect one as well, since found rows are counted.
        format!(" ON DUPLICATE KEY UPDATE {counter} = {counter} + 1")
    }

    fn on_conflict_replace_if(_table: &str, _key: &str, _column: &str, _at_most: &str) -> Option<String> {
        None
    }

    fn column_type(kind: Kind, compared: Option<u16>) -> String {
        let name = match kind {
            Kind::Int | Kind::Mark => "BIGINT",
            Kind::Bool => "BOOLEAN",
            Kind::Real => "DOUBLE",
            Kind::Text | Kind::Inet => match compared {
                // The only type that tells all texts apart on both servers: utf8mb4_bin takes 'bob ' for 'bob'.
                Some(length) => return format!("VARBINARY({length})"),
                None => "TEXT",
            },
            Kind::Bytes => "VARBINARY(32)",
            Kind::Uuid => "BINARY(16)",
            Kind::Time => "DATETIME(3)",
            Kind::Json | Kind::Jsonb => "JSON",
        };
        name.to_owned()
    }

    fn counter_type() -> &'static str {
        "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"
    }

    fn holds(declared: &str, kind: Kind) -> bool {
        let declared = declared.to_ascii_lowercase();
        let begins = |names: &[&str]| names.iter().any(|name| declared.starts_with(name));
        let unsigned = declared.contains("unsigned");
        match kind {
            Kind::Int | Kind::Mark => begins(&["bigint"]) && !unsigned,
            Kind::Bool => begins(&["tinyint", "smallint", "int", "bigint"]),
            Kind::Real => begins(&["double"]),
            // CHAR and BINARY cut and pad.
            Kind::Text | Kind::Json | Kind::Jsonb | Kind::Inet => {
                declared.contains("text") || declared.contains("blob") || begins(&["varchar", "varbinary", "json"])
            }
            Kind::Bytes | Kind::Uuid => begins(&["binary", "varbinary"]) || declared.contains("blob"),
            Kind::Time => begins(&["datetime(3)", "datetime(4)", "datetime(5)", "datetime(6)"]),
        }
    }

    fn why_not(declared: &str, kind: Kind) -> &'static str {
        match kind {
            Kind::Time if declared.starts_with("timestamp") => "ends in 2038",
            Kind::Time if declared.starts_with("datetime") => "does not hold milliseconds",
            _ => "does not hold its values unchanged",
        }
    }

    fn code(error: &dyn DatabaseError) -> String {
        number(error).to_string()
    }

    fn classify(error: &dyn DatabaseError) -> Class {
        match number(error) {
            // Deadlock.
            1213 => Class::Overtaken,
            // Lock wait timeout: fifty seconds by default.
            1205 => Class::Waited,
            1062 => Class::Unique,
            // Too long, a character that the column's set does not have, invalid JSON.
            1406 | 1366 | 1300 | 4025 | 3140 => Class::Unfit,
            // Too many connections, shutdown, killed, read-only, disk full, out of locks or memory, statement time.
            1040
            | 1053
            | 1203
            | 1317
            | 1290
            | 1836
            | 1792
            | 1021
            | 1114
            | 1206
            | 1037
            | 1038
            | 1041
            | 3024
            | 1969
            | 1927
            | 1226
            | 1158..=1161 => Class::Busy,
            // These name tables and columns only.
            1048 | 1054 | 1146 | 1049 | 1142 | 1143 | 1144 | 1364 => Class::Refused(error.message().to_owned()),
            _ => Class::Refused("the text is withheld, since it may hold values".to_owned()),
        }
    }

    fn command<'c>(connection: &'c mut MySqlConnection, sql: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        sqlx::raw_sql(sql).execute(connection).map_ok(drop).boxed()
    }

    fn fetch(
        connection: &mut MySqlConnection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<Vec<Row>>> {
        async move {
            let query = sqlx::query_with(AssertSqlSafe(sql), bind(values)?).persistent(prepared);
            query.fetch_all(connection).await?.iter().map(read).collect()
        }
        .boxed()
    }

    fn execute(
        connection: &mut MySqlConnection,
        sql: Arc<str>,
        values: Vec<Value>,
        prepared: bool,
    ) -> BoxFuture<'_, sqlx::Result<u64>> {
        async move {
            let query = sqlx::query_with(AssertSqlSafe(sql), bind(values)?).persistent(prepared);
            Ok(query.execute(connection).await?.rows_affected())
        }
        .boxed()
    }

    fn describe<'c>(
        connection: &'c mut MySqlConnection,
        schema: Option<&'c str>,
        table: &'c str,
        compared: &'c [String],
    ) -> BoxFuture<'c, sqlx::Result<Option<LiveTable>>> {
        mysql_schema::describe(connection, schema, table, compared).boxed()
    }

    fn settings(connection: &mut MySqlConnection) -> BoxFuture<'_, sqlx::Result<Vec<Finding>>> {
        mysql_schema::settings(connection).boxed()
    }
}

fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

fn bind(values: Vec<Value>) -> sqlx::Result<MySqlArguments> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        match value {
            Value::Null(_) => arguments.add(None::<i64>),
            Value::Int(number) => arguments.add(number),
            Value::Real(number) => arguments.add(number),
            Value::Bool(truth) => arguments.add(i64::from(truth)),
            Value::Text(text) | Value::Json(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Uuid(id) => arguments.add(id.as_bytes().to_vec()),
            // Without a time zone, so that none is applied.
            Value::Time(time) => arguments.add(time.naive_utc()),
            Value::Inet(net) => arguments.add(net.addr().to_string()),
            Value::Many(..) => Err("there are no arrays".into()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn read(row: &MySqlRow) -> sqlx::Result<Row> {
    let values = row.columns().iter().map(|column| {
        let value = row.try_get_raw(column.ordinal())?;
        if value.is_null() {
            return Ok(Value::Null(Kind::Text));
        }
        decode(value).map_err(sqlx::Error::Decode)
    });
    values.collect::<sqlx::Result<Vec<_>>>().map(Vec::into_iter)
}

fn decode(value: MySqlValueRef<'_>) -> Result<Value, BoxDynError> {
    fn get<'r, T: Decode<'r, MySql>>(value: MySqlValueRef<'r>) -> Result<T, BoxDynError> {
        T::decode(value)
    }
    let name = value.type_info().name().to_owned();
    Ok(match name.as_str() {
        "BIGINT UNSIGNED" => Value::Int(get::<u64>(value)?.try_into()?),
        "DOUBLE" => Value::Real(get(value)?),
        "DATETIME" => Value::Time(get::<NaiveDateTime>(value)?.and_utc()),
        "BOOLEAN" => Value::Int(get(value)?),
        name if name.contains("INT") => Value::Int(get(value)?),
        name if name.contains("BINARY") || name.contains("BLOB") => Value::Bytes(get(value)?),
        _ => Value::Text(get(value)?),
    })
}
