//! What MySQL 8.0 and MariaDB 10.6 share.

use std::sync::Arc;

use chrono::NaiveDateTime;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlValueRef};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, MySql, Row as _, TypeInfo, ValueRef};

use super::{Begin, Dialect, Sealed, mysql_schema};
use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

impl Sealed for MySql {}

impl Dialect for MySql {
    const BEGIN: Begin = Begin::Guarded("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION");
    const ROW_LOCK: &'static str = " FOR UPDATE";
    const TABLE_SUFFIX: &'static str = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    const SCHEMA_NAMES_INDEX: bool = false;
    const RICH_INDEXES: bool = false;

    fn quote(name: &str) -> String {
        format!("`{name}`")
    }

    fn placeholder(_number: usize) -> String {
        "?".to_owned()
    }

    fn on_conflict_keep(key: &str) -> String {
        // Not INSERT IGNORE, which would also cut what does not fit.
        format!(" ON DUPLICATE KEY UPDATE {key} = {key}")
    }

    fn on_conflict_update(_key: &str, columns: &[&str]) -> String {
        let set: Vec<_> = columns.iter().map(|column| format!("{column} = VALUES({column})")).collect();
        format!(" ON DUPLICATE KEY UPDATE {}", set.join(", "))
    }

    fn column_type(kind: Kind, compared: Option<u16>) -> String {
        let name = match kind {
            Kind::Int => "BIGINT",
            Kind::Text | Kind::Inet => match compared {
                // The only type that tells all texts apart on both servers: utf8mb4_bin takes 'bob ' for 'bob'.
                Some(length) => return format!("VARBINARY({length})"),
                // Details may be longer than the 64 KiB of TEXT.
                None => "LONGTEXT",
            },
            Kind::Bytes => "VARBINARY(96)",
            Kind::Uuid => "BINARY(16)",
            Kind::Time => "DATETIME(3)",
            Kind::Json => "JSON",
        };
        name.to_owned()
    }

    fn holds(declared: &str, kind: Kind) -> bool {
        let declared = declared.to_ascii_lowercase();
        let begins = |names: &[&str]| names.iter().any(|name| declared.starts_with(name));
        let unsigned = declared.contains("unsigned");
        match kind {
            Kind::Int => begins(&["bigint"]) && !unsigned,
            // CHAR and BINARY cut and pad.
            Kind::Text | Kind::Json | Kind::Inet => {
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
            Value::Text(text) | Value::Json(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Uuid(id) => arguments.add(id.as_bytes().to_vec()),
            // Without a time zone, so that none is applied.
            Value::Time(time) => arguments.add(time.naive_utc()),
            Value::Inet(address) => arguments.add(address.to_string()),
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
        "DATETIME" => Value::Time(get::<NaiveDateTime>(value)?.and_utc()),
        "BOOLEAN" => Value::Int(get(value)?),
        name if name.contains("INT") => Value::Int(get(value)?),
        name if name.contains("BINARY") || name.contains("BLOB") => Value::Bytes(get(value)?),
        _ => Value::Text(get(value)?),
    })
}
