//! SQL text and its parameters, put together in step.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::error::{Failure, classify};
use crate::value::{Row, Value};

/// The connection of a step, and how the step uses it.
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub struct Channel<'c, DB: Dialect> {
    pub(crate) connection: &'c mut DB::Connection,
    /// Whether statements are kept prepared on the connection.
    pub(crate) prepared: bool,
}

impl<DB: Dialect> std::fmt::Debug for Channel<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

/// SQL text that grows together with its values.
pub(crate) struct Statement<DB> {
    sql: String,
    values: Vec<Value>,
    dialect: PhantomData<fn() -> DB>,
}

impl<DB: Dialect> Statement<DB> {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { sql: text.into(), values: Vec::new(), dialect: PhantomData }
    }

    pub(crate) fn push(mut self, text: &str) -> Self {
        self.sql.push_str(text);
        self
    }

    pub(crate) fn bind(mut self, value: Value) -> Self {
        self.values.push(value);
        self.sql.push_str(&DB::placeholder(self.values.len()));
        self
    }

    /// `(?, …), (?, …)`.
    pub(crate) fn rows(mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        for (number, row) in rows.into_iter().enumerate() {
            self = self.push(if number == 0 { "(" } else { ", (" }).list(row).push(")");
        }
        self
    }

    /// ` IN (…)`, padded with its last value to a power of two, so that few different texts are prepared.
    pub(crate) fn one_of(self, values: Vec<Value>) -> Self {
        let Some(last) = values.last().cloned() else { return self.push(" IN (NULL)") };
        let padding = values.len().next_power_of_two() - values.len();
        let padded = values.into_iter().chain(std::iter::repeat_n(last, padding)).collect();
        self.push(" IN (").list(padded).push(")")
    }

    fn list(mut self, values: Vec<Value>) -> Self {
        for (number, value) in values.into_iter().enumerate() {
            self = self.push(if number == 0 { "" } else { ", " }).bind(value);
        }
        self
    }

    pub(crate) async fn fetch(self, channel: &mut Channel<'_, DB>) -> Result<Vec<Row>, Failure> {
        let sql: Arc<str> = self.sql.into();
        DB::fetch(channel.connection, sql, self.values, channel.prepared).await.map_err(classify::<DB>)
    }

    pub(crate) async fn execute(self, channel: &mut Channel<'_, DB>) -> Result<u64, Failure> {
        let sql: Arc<str> = self.sql.into();
        DB::execute(channel.connection, sql, self.values, channel.prepared).await.map_err(classify::<DB>)
    }
}
