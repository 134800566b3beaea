//! A statement with its values, in the words of each database.

use std::borrow::Cow;

use sqlx::query::Query as Driver;
use sqlx::{Arguments, AssertSqlSafe, Database, Encode, IntoArguments, Type};

use super::{Engine, Pool, Row, Transaction, retried};

/// Follows a read whose rows nobody else may change until the transaction ends. SQLite has no such words, and no need of them.
const ROW_LOCK: &str = " FOR UPDATE";

/// A value of a parameter.
#[derive(Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Whole(Option<i64>),
    Truth(bool),
    Bytes(Option<Vec<u8>>),
}

/// A statement. It has no `Debug`: among its values are hashes of passwords.
#[derive(Clone)]
pub(crate) struct Query {
    text: Cow<'static, str>,
    mysql: Option<&'static str>,
    postgres: Option<&'static str>,
    values: Vec<Value>,
}

/// Where a statement runs.
pub(crate) enum On<'a> {
    Pool(&'a Pool),
    Transaction(&'a mut Transaction),
}

/// A statement as SQLite has it: parameters are either all `?`, or numbered from `?1` on. The text is ours alone; what comes from outside is a
/// parameter.
pub(crate) fn query(text: impl Into<Cow<'static, str>>) -> Query {
    Query { text: text.into(), mysql: None, postgres: None, values: Vec::new() }
}

impl Query {
    /// The words of MySQL and MariaDB, where they differ by more than the parameters.
    pub(crate) fn mysql(mut self, text: &'static str) -> Self {
        self.mysql = Some(text);
        self
    }

    /// The words of PostgreSQL, where they differ by more than the parameters.
    pub(crate) fn postgres(mut self, text: &'static str) -> Self {
        self.postgres = Some(text);
        self
    }

    /// The value of the next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// The row, if there is one.
    pub(crate) async fn fetch_optional(self, on: impl Into<On<'_>>) -> sqlx::Result<Option<Row>> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The row that there always is.
    pub(crate) async fn fetch_one(self, on: impl Into<On<'_>>) -> sqlx::Result<Row> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// All rows.
    // Three drivers in one future are large, and callers have several of them: each has a place of its own.
    pub(crate) async fn fetch_all(self, on: impl Into<On<'_>>) -> sqlx::Result<Vec<Row>> {
        match on.into() {
            // By itself a statement is a whole transaction.
            On::Pool(pool) => retried!(Box::pin(self.clone().rows_of(pool))),
            On::Transaction(transaction) => Box::pin(self.rows_within(transaction)).await,
        }
    }

    /// Runs it and says how many rows it has met: also those that were as it says before.
    pub(crate) async fn execute(self, on: impl Into<On<'_>>) -> sqlx::Result<u64> {
        match on.into() {
            On::Pool(pool) => retried!(Box::pin(self.clone().done_by(pool))),
            On::Transaction(transaction) => Box::pin(self.done_within(transaction)).await,
        }
    }

    async fn rows_of(self, pool: &Pool) -> sqlx::Result<Vec<Row>> {
        let (text, values) = self.spoken(pool.engine());
        Ok(match pool {
            Pool::Sqlite(pool) => mapped(made(text, values)?.fetch_all(pool).await?, Row::Sqlite),
            Pool::Postgres(pool) => mapped(made(text, values)?.fetch_all(pool).await?, Row::Postgres),
            Pool::MySql(pool) => mapped(made(text, values)?.fetch_all(pool).await?, Row::MySql),
        })
    }

    async fn rows_within(self, transaction: &mut Transaction) -> sqlx::Result<Vec<Row>> {
        let (text, values) = self.spoken(transaction.engine());
        Ok(match transaction {
            Transaction::Sqlite(within) => mapped(made(text, values)?.fetch_all(&mut **within).await?, Row::Sqlite),
            Transaction::Postgres(within) => mapped(made(text, values)?.fetch_all(&mut **within).await?, Row::Postgres),
            Transaction::MySql(within) => mapped(made(text, values)?.fetch_all(&mut **within).await?, Row::MySql),
        })
    }

    async fn done_by(self, pool: &Pool) -> sqlx::Result<u64> {
        let (text, values) = self.spoken(pool.engine());
        Ok(match pool {
            Pool::Sqlite(pool) => made(text, values)?.execute(pool).await?.rows_affected(),
            Pool::Postgres(pool) => made(text, values)?.execute(pool).await?.rows_affected(),
            Pool::MySql(pool) => made(text, values)?.execute(pool).await?.rows_affected(),
        })
    }

    async fn done_within(self, transaction: &mut Transaction) -> sqlx::Result<u64> {
        let (text, values) = self.spoken(transaction.engine());
        Ok(match transaction {
            Transaction::Sqlite(within) => made(text, values)?.execute(&mut **within).await?.rows_affected(),
            Transaction::Postgres(within) => made(text, values)?.execute(&mut **within).await?.rows_affected(),
            Transaction::MySql(within) => made(text, values)?.execute(&mut **within).await?.rows_affected(),
        })
    }

    /// The statement in the words of a database, and its values in the order of its parameters.
    pub(super) fn spoken(self, engine: Engine) -> (Cow<'static, str>, Vec<Value>) {
        let text = match engine {
            Engine::Sqlite => self.text,
            Engine::Postgres => self.postgres.map_or(self.text, Cow::Borrowed),
            Engine::MySql => self.mysql.map_or(self.text, Cow::Borrowed),
        };
        match engine {
            Engine::Sqlite if text.contains(ROW_LOCK) => (text.replace(ROW_LOCK, "").into(), self.values),
            Engine::Sqlite => (text, self.values),
            Engine::Postgres => (
                numbered(&text, |out, number| {
                    out.push('$');
                    out.push_str(&number.to_string());
                })
                .into(),
                self.values,
            ),
            Engine::MySql => {
                let mut values = Vec::with_capacity(self.values.len());
                let text = numbered(&text, |out, number| {
                    out.push('?');
                    values.extend(self.values.get(number.saturating_sub(1)).cloned());
                });
                (text.into(), values)
            }
        }
    }
}

/// The text with each parameter, `?` or `?1`, as somebody else writes it. None of our texts has a question mark in a literal.
fn numbered(text: &str, mut parameter: impl FnMut(&mut String, usize)) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut next = 1;
    let mut parts = text.split('?');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let digits = part.strip_suffix(rest).unwrap_or_default();
        let number = digits.parse().unwrap_or(next);
        parameter(&mut out, number);
        next = number + 1;
        out.push_str(rest);
    }
    out
}

fn mapped<R>(rows: Vec<R>, as_ours: fn(R) -> Row) -> Vec<Row> {
    rows.into_iter().map(as_ours).collect()
}

fn made<DB>(text: Cow<'static, str>, values: Vec<Value>) -> sqlx::Result<Driver<'static, DB, DB::Arguments>>
where
    DB: Database,
    DB::Arguments: IntoArguments<DB>,
    Option<String>: Encode<'static, DB> + Type<DB> + Send,
    Option<i64>: Encode<'static, DB> + Type<DB>,
    bool: Encode<'static, DB> + Type<DB>,
    Option<Vec<u8>>: Encode<'static, DB> + Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    for value in values {
        let added = match value {
            Value::Text(text) => arguments.add(text),
            Value::Whole(number) => arguments.add(number),
            Value::Truth(truth) => arguments.add(truth),
            Value::Bytes(bytes) => arguments.add(bytes),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(AssertSqlSafe(text.into_owned()), arguments))
}

impl<'a> From<&'a Pool> for On<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self::Transaction(transaction)
    }
}

macro_rules! values {
    ($($from:ty => |$value:ident| $made:expr),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $made
            }
        })+
    };
}

values! {
    String => |text| Self::Text(Some(text)),
    &String => |text| Self::Text(Some(text.clone())),
    &str => |text| Self::Text(Some(text.to_owned())),
    Option<String> => |text| Self::Text(text),
    &Option<String> => |text| Self::Text(text.clone()),
    Option<&str> => |text| Self::Text(text.map(str::to_owned)),
    i64 => |number| Self::Whole(Some(number)),
    u32 => |number| Self::Whole(Some(number.into())),
    Option<i64> => |number| Self::Whole(number),
    bool => |truth| Self::Truth(truth),
    Vec<u8> => |bytes| Self::Bytes(Some(bytes)),
    &Vec<u8> => |bytes| Self::Bytes(Some(bytes.clone())),
    Option<Vec<u8>> => |bytes| Self::Bytes(bytes),
}
