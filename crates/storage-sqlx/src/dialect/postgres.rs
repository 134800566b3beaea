//! PostgreSQL, from 13: rows are locked by a statement of their own, and judged by the next one, whose snapshot is younger than the wait.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use ipnet::IpNet;
use session_manager_core::storage::Finding;
use sqlx::encode::IsNull;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Encode, Postgres, Row as _, Type, TypeInfo, ValueRef};
use uuid::Uuid;

use super::{Begin, Dialect, MarkSql, Sealed, UserLock, postgres_schema};
use crate::encoding::UserIdEncoding;
use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

impl Sealed for Postgres {}

impl Dialect for Postgres {
    // Whatever the application's default is: a younger snapshot for each statement is what the locks rely on.
    const BEGIN: Begin = Begin::Guarded("BEGIN ISOLATION LEVEL READ COMMITTED");
    const BEGIN_READING: Begin = Begin::Guarded("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const ROW_LOCK: Option<&'static str> = Some(" FOR UPDATE");
    const ROW_LOCK_SKIPPING: &'static str = " FOR UPDATE SKIP LOCKED";
    const BY_PRIMARY_KEY: &'static str = "";
    // An older snapshot than the lock's is error 40001.
    const FRESH_READ: &'static str = "";
    const LEAST: &'static str = "LEAST";
    const GREATEST: &'static str = "GREATEST";
    const MARK: Option<MarkSql> = Some(MarkSql {
        own: "pg_current_xact_id()",
        settled: "pg_snapshot_xmin(pg_current_snapshot())::text",
        text: Some(("::text", "::text::xid8")),
        within: None,
    });
    // A statement of its own: inside another one its snapshot would be older than the wait.
    const USER_LOCK: UserLock = UserLock::Statement(
        "SELECT current_setting('transaction_isolation') = 'read committed', \
        pg_advisory_xact_lock(hashtextextended('session-manager/' || $1, 0))::text",
    );
    // What a statement reads may be older than what it waits for. The record of everybody is not held: all would write to that one row.
    const HOLDS_RECORD: &'static str = " FOR SHARE OF u";
    const TOUCH_FINDS_FIRST: bool = false;
    const HAS_ARRAYS: bool = true;
    const SUBJECT_COLLATION: Option<&'static str> = Some("C");
    const IN_NETWORK: Option<&'static str> = Some("<<=");
    const CLOCK: Option<&'static str> = Some("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    const TABLE_SUFFIX: &'static str = "";
    const SCHEMA_NAMES_INDEX: bool = false;
    const RICH_INDEXES: bool = true;
    const COMPARES_PAIRS: bool = true;
    const RETURNS: bool = true;
    const WRITES_IN_CTE: bool = true;
    const REMOVES_BY_JOIN: bool = false;
    const EXACTLY: &'static str = " COLLATE \"C\"";
    const LOCKS_BY_PRIMARY_KEY: bool = false;

    fn quote(name: &str) -> String {
        format!("\"{name}\"")
    }

    fn same_name(one: &str, other: &str) -> bool {
        one == other
    }

    fn placeholder(number: usize) -> String {
        format!("${number}")
    }

    fn claim(_table: &str) -> Option<String> {
        None
    }

    fn subject(column: &str, encoding: UserIdEncoding) -> String {
        // Two columns of different collations cannot be compared without one that is named.
        match encoding {
            UserIdEncoding::Text => format!("{column} COLLATE \"C\""),
            UserIdEncoding::BigInt | UserIdEncoding::Uuid => format!("CAST({column} AS text) COLLATE \"C\""),
        }
    }

    fn returned(_table: &str) -> Option<String> {
        Some("s".to_owned())
    }

    fn on_conflict_update(_table: &str, key: &str, assignments: &str) -> String {
        format!(" ON CONFLICT ({key}) DO UPDATE SET {assignments}")
    }

    fn on_conflict_keep(_table: &str, key: &str, _counter: &str) -> String {
        format!(" ON CONFLICT ({key}) DO NOTHING")
    }

    fn on_conflict_replace_if(table: &str, key: &str, column: &str, at_most: &str) -> Option<String> {
        let bare = table.rsplit('.').next().unwrap_or(table);
        Some(format!(
            " ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column} WHERE {bare}.{column} <= {at_most}"
        ))
    }

    fn column_type(kind: Kind, compared: Option<u16>) -> String {
        let name = match kind {
            Kind::Int => "bigint",
            Kind::Bool => "boolean",
            Kind::Real => "double precision",
            Kind::Text if compared.is_some() => "text COLLATE \"C\"",
            Kind::Text => "text",
            Kind::Bytes => "bytea",
            Kind::Uuid => "uuid",
            Kind::Time => "timestamptz(3)",
            Kind::Json => "json",
            Kind::Jsonb => "jsonb",
            Kind::Inet => "inet",
            Kind::Mark => "xid8",
        };
        name.to_owned()
    }

    fn counter_type() -> &'static str {
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    }

    fn holds(declared: &str, kind: Kind) -> bool {
        let precise = !matches!(declared.split_once('('), Some((_, digits)) if digits.starts_with(['0', '1', '2']));
        match kind {
            Kind::Int => declared == "bigint",
            Kind::Bool => declared == "boolean",
            Kind::Real => declared == "double precision",
            Kind::Text => declared == "text" || declared.starts_with("character varying"),
            Kind::Bytes => declared == "bytea",
            Kind::Uuid => declared == "uuid",
            Kind::Time => declared.ends_with("with time zone") && declared.starts_with("timestamp") && precise,
            Kind::Json | Kind::Jsonb => matches!(declared, "json" | "jsonb"),
            Kind::Inet => declared == "inet",
            Kind::Mark => declared == "xid8",
        }
    }

    fn why_not(declared: &str, kind: Kind) -> &'static str {
        match kind {
            Kind::Time if declared.ends_with("without time zone") => "means another time in every session's time zone",
            Kind::Time if declared.starts_with("timestamp") => "does not hold milliseconds",
            _ => "does not hold its values unchanged",
        }
    }

    fn classify(error: &dyn DatabaseError) -> Class {
        let code = error.code().unwrap_or_default();
        match (&*code, code.get(..2).unwrap_or_default()) {
            // Serialisation, deadlock; what follows an error of the application's in its transaction.
            ("40001" | "40P01" | "25P02", _) => Class::Overtaken,
            // lock_timeout.
            ("55P03", _) => Class::Waited,
            ("23505", _) => Class::Unique,
            ("22P05" | "22021" | "22001", _) => Class::Unfit,
            // Connection, resources, administrator; a statement_timeout; a replica. Poolers say 08P01 of troubles of their own.
            ("57014" | "25006", _) | (_, "08" | "53" | "57" | "58" | "XX") => Class::Busy,
            ("26000" | "42P05", _) => Class::Refused(
                "prepared statements get lost on the way: see SqlxStorage::behind_transaction_pooler".to_owned(),
            ),
            // These name tables, columns and types only; a trigger's message may hold anything.
            ("23502", _) | (_, "42") => Class::Refused(error.message().to_owned()),
            _ => Class::Refused("the text is withheld, since it may hold values".to_owned()),
        }
    }

    fn command<'c>(connection: &'c mut PgConnection, sql: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        sqlx::raw_sql(sql).execute(connection).map_ok(drop).boxed()
    }

    fn fetch(
        connection: &mut PgConnection,
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
        connection: &mut PgConnection,
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
        connection: &'c mut PgConnection,
        schema: Option<&'c str>,
        table: &'c str,
        compared: &'c [String],
    ) -> BoxFuture<'c, sqlx::Result<Option<LiveTable>>> {
        postgres_schema::describe(connection, schema, table, compared).boxed()
    }

    fn settings(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<Vec<Finding>>> {
        postgres_schema::settings(connection).boxed()
    }
}

/// JSON text, which the server also takes for a `jsonb` column.
struct JsonText(String);

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl Encode<'_, Postgres> for JsonText {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

fn bind(values: Vec<Value>) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Null(Kind::Int) => arguments.add(None::<i64>),
            Value::Null(Kind::Real) => arguments.add(None::<f64>),
            Value::Null(Kind::Bool) => arguments.add(None::<bool>),
            Value::Null(Kind::Text | Kind::Mark) => arguments.add(None::<String>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Null(Kind::Uuid) => arguments.add(None::<Uuid>),
            Value::Null(Kind::Time) => arguments.add(None::<DateTime<Utc>>),
            Value::Null(Kind::Json | Kind::Jsonb) => arguments.add(None::<JsonText>),
            Value::Null(Kind::Inet) => arguments.add(None::<IpNet>),
            Value::Int(number) => arguments.add(number),
            Value::Real(number) => arguments.add(number),
            Value::Bool(truth) => arguments.add(truth),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Uuid(id) => arguments.add(id),
            Value::Time(time) => arguments.add(time),
            Value::Json(text) => arguments.add(JsonText(text)),
            Value::Inet(net) => arguments.add(net),
            Value::Many(kind, values) => add_array(&mut arguments, kind, values),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Ids and times, whatever their encoding.
fn add_array(arguments: &mut PgArguments, kind: Kind, values: Vec<Value>) -> Result<(), BoxDynError> {
    /// Takes the one variant out of each value.
    macro_rules! all {
        ($variant:ident) => {
            values
                .into_iter()
                .map(|value| if let Value::$variant(inner) = value { Some(inner) } else { None })
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| BoxDynError::from("an array of several kinds"))
        };
    }
    match kind {
        Kind::Int => arguments.add(all!(Int)?),
        Kind::Text => arguments.add(all!(Text)?),
        Kind::Bytes => arguments.add(all!(Bytes)?),
        Kind::Uuid => arguments.add(all!(Uuid)?),
        Kind::Time => arguments.add(all!(Time)?),
        _ => Err("no array of this kind is needed".into()),
    }
}

fn read(row: &PgRow) -> sqlx::Result<Row> {
    let values = row.columns().iter().map(|column| {
        let value = row.try_get_raw(column.ordinal())?;
        if value.is_null() {
            return Ok(Value::Null(Kind::Text));
        }
        decode(value).map_err(sqlx::Error::Decode)
    });
    values.collect::<sqlx::Result<Vec<_>>>().map(Vec::into_iter)
}

fn decode(value: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    fn get<'r, T: Decode<'r, Postgres>>(value: PgValueRef<'r>) -> Result<T, BoxDynError> {
        T::decode(value)
    }
    let name = value.type_info().name().to_owned();
    Ok(match name.as_str() {
        "INT8" => Value::Int(get(value)?),
        "INT4" => Value::Int(get::<i32>(value)?.into()),
        "INT2" => Value::Int(get::<i16>(value)?.into()),
        "FLOAT8" => Value::Real(get(value)?),
        "BOOL" => Value::Bool(get(value)?),
        "BYTEA" => Value::Bytes(get(value)?),
        "UUID" => Value::Uuid(get(value)?),
        "TIMESTAMPTZ" => Value::Time(get(value)?),
        "INET" | "CIDR" => Value::Inet(get(value)?),
        // A byte for the version stands before the text.
        "JSONB" => Value::Text(value.as_str()?.trim_start_matches('\u{1}').to_owned()),
        _ => Value::Text(value.as_str()?.to_owned()),
    })
}
