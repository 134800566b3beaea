//! PostgreSQL, from 13.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use ipnet::IpNet;
use sqlx::encode::IsNull;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Encode, Postgres, Row as _, Type, TypeInfo, ValueRef};
use uuid::Uuid;

use super::{Begin, Dialect, Sealed, postgres_schema};
use crate::error::Class;
use crate::schema::LiveTable;
use crate::value::{Kind, Row, Value};

impl Sealed for Postgres {}

impl Dialect for Postgres {
    // Whatever the application's default is: a younger snapshot for each statement is what the locks rely on.
    const BEGIN: Begin = Begin::Guarded("BEGIN ISOLATION LEVEL READ COMMITTED");
    const ROW_LOCK: &'static str = " FOR UPDATE";
    const TABLE_SUFFIX: &'static str = "";
    const SCHEMA_NAMES_INDEX: bool = false;
    const RICH_INDEXES: bool = true;

    fn quote(name: &str) -> String {
        format!("\"{name}\"")
    }

    fn same_name(one: &str, other: &str) -> bool {
        one == other
    }

    fn placeholder(number: usize) -> String {
        format!("${number}")
    }

    fn on_conflict_keep(key: &str) -> String {
        format!(" ON CONFLICT ({key}) DO NOTHING")
    }

    fn on_conflict_update(key: &str, columns: &[&str]) -> String {
        let set: Vec<_> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
    }

    fn column_type(kind: Kind, compared: Option<u16>) -> String {
        let name = match kind {
            Kind::Int => "bigint",
            Kind::Text if compared.is_some() => "text COLLATE \"C\"",
            Kind::Text => "text",
            Kind::Bytes => "bytea",
            Kind::Uuid => "uuid",
            Kind::Time => "timestamptz(3)",
            Kind::Json => "json",
            Kind::Inet => "inet",
        };
        name.to_owned()
    }

    fn holds(declared: &str, kind: Kind) -> bool {
        let precise = !matches!(declared.split_once('('), Some((_, digits)) if digits.starts_with(['0', '1', '2']));
        match kind {
            Kind::Int => declared == "bigint",
            Kind::Text => declared == "text" || declared.starts_with("character varying"),
            Kind::Bytes => declared == "bytea",
            Kind::Uuid => declared == "uuid",
            Kind::Time => declared.ends_with("with time zone") && declared.starts_with("timestamp") && precise,
            Kind::Json => matches!(declared, "json" | "jsonb"),
            Kind::Inet => declared == "inet",
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
                "prepared statements get lost on the way: see DbAudit::behind_transaction_pooler".to_owned(),
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
}

/// JSON text for a column of that type.
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
            Value::Null(Kind::Text) => arguments.add(None::<String>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Null(Kind::Uuid) => arguments.add(None::<Uuid>),
            Value::Null(Kind::Time) => arguments.add(None::<DateTime<Utc>>),
            Value::Null(Kind::Json) => arguments.add(None::<JsonText>),
            Value::Null(Kind::Inet) => arguments.add(None::<IpNet>),
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Uuid(id) => arguments.add(id),
            Value::Time(time) => arguments.add(time),
            Value::Json(text) => arguments.add(JsonText(text)),
            Value::Inet(address) => arguments.add(IpNet::from(address)),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
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
        "BYTEA" => Value::Bytes(get(value)?),
        "UUID" => Value::Uuid(get(value)?),
        "TIMESTAMPTZ" => Value::Time(get(value)?),
        "INET" | "CIDR" => Value::Inet(get::<IpNet>(value)?.addr()),
        // A byte for the version stands before the text.
        "JSONB" => Value::Text(value.as_str()?.trim_start_matches('\u{1}').to_owned()),
        _ => Value::Text(value.as_str()?.to_owned()),
    })
}
