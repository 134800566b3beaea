//! SQL text and its parameters, put together in step.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::error::{Failure, classify};
use crate::value::{Row, Value};

/// How many values an `IN (…)` holds at most; more are asked for in several statements.
pub(crate) const CHUNK: usize = 64;

/// The connection of a step, and how the step uses it.
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub struct Channel<'c, DB: Dialect> {
    pub(crate) connection: &'c mut DB::Connection,
    /// Whether statements are kept prepared on the connection.
    pub(crate) prepared: bool,
    /// Whether it is a step that writes inside the application's transaction, whose reads may see an older state.
    pub(crate) inside: bool,
}

impl<DB: Dialect> std::fmt::Debug for Channel<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("prepared", &self.prepared)
            .field("inside", &self.inside)
            .finish_non_exhaustive()
    }
}

impl<DB: Dialect> Channel<'_, DB> {
    /// Follows a read whose answer has to be of now.
    pub(crate) fn fresh(&self) -> &'static str {
        if self.inside { DB::FRESH_READ } else { "" }
    }
}

/// SQL text with numbered placeholders whose values come with each run.
pub(crate) struct Text<DB> {
    sql: String,
    parameters: usize,
    dialect: PhantomData<DB>,
}

impl<DB: Dialect> Text<DB> {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { sql: text.into(), parameters: 0, dialect: PhantomData }
    }

    pub(crate) fn push(mut self, text: &str) -> Self {
        self.sql.push_str(text);
        self
    }

    /// One more parameter.
    pub(crate) fn parameter(mut self) -> Self {
        self.parameters += 1;
        self.sql.push_str(&DB::placeholder(self.parameters));
        self
    }

    /// A condition whose `?` are parameters.
    pub(crate) fn condition(mut self, condition: &str) -> Self {
        for (number, part) in condition.split('?').enumerate() {
            if number > 0 {
                self = self.parameter();
            }
            self.sql.push_str(part);
        }
        self
    }

    /// `column = ?, …` for all of these.
    pub(crate) fn assignments<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        for (number, name) in names.into_iter().enumerate() {
            self = self.push(if number == 0 { "" } else { ", " }).push(name).push(" = ").parameter();
        }
        self
    }

    /// The text names so many parameters already.
    pub(crate) fn numbered(mut self, parameters: usize) -> Self {
        self.parameters = parameters;
        self
    }

    /// The text with others around it.
    pub(crate) fn between(mut self, before: &str, after: &str) -> Self {
        self.sql = format!("{before}{}{after}", self.sql);
        self
    }

    pub(crate) fn done(self) -> Arc<str> {
        self.sql.into()
    }
}

/// SQL text that grows together with its values.
pub(crate) struct Statement<DB> {
    text: Text<DB>,
    values: Vec<Value>,
}

impl<DB: Dialect> Statement<DB> {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: Text::new(text), values: Vec::new() }
    }

    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text = self.text.push(text);
        self
    }

    pub(crate) fn bind(mut self, value: Value) -> Self {
        self.text = self.text.parameter();
        self.values.push(value);
        self
    }

    /// A condition whose `?` stand for these values.
    pub(crate) fn condition(mut self, condition: &str, values: impl IntoIterator<Item = Value>) -> Self {
        self.text = self.text.condition(condition);
        self.values.extend(values);
        self
    }

    /// ` IN (…)`, padded with its last value to a power of two, so that few different texts are prepared.
    pub(crate) fn one_of(mut self, values: Vec<Value>) -> Self {
        let Some(last) = values.last().cloned() else { return self.push(" IN (NULL)") };
        let width = values.len().next_power_of_two();
        let padding = width - values.len();
        self = self.push(" IN (");
        for (number, value) in values.into_iter().chain(std::iter::repeat_n(last, padding)).enumerate() {
            self = self.push(if number == 0 { "" } else { ", " }).bind(value);
        }
        self.push(")")
    }

    pub(crate) async fn fetch(self, connection: &mut Channel<'_, DB>) -> Result<Vec<Row>, Failure> {
        fetch::<DB>(connection, &self.text.done(), self.values).await
    }

    pub(crate) async fn execute(self, connection: &mut Channel<'_, DB>) -> Result<u64, Failure> {
        execute::<DB>(connection, &self.text.done(), self.values).await
    }
}

/// Runs a statement and reads its rows.
pub(crate) async fn fetch<DB: Dialect>(
    connection: &mut Channel<'_, DB>,
    sql: &Arc<str>,
    values: Vec<Value>,
) -> Result<Vec<Row>, Failure> {
    DB::fetch(connection.connection, Arc::clone(sql), values, connection.prepared).await.map_err(classify::<DB>)
}

/// Runs a statement and says how many rows it changed.
pub(crate) async fn execute<DB: Dialect>(
    connection: &mut Channel<'_, DB>,
    sql: &Arc<str>,
    values: Vec<Value>,
) -> Result<u64, Failure> {
    DB::execute(connection.connection, Arc::clone(sql), values, connection.prepared).await.map_err(classify::<DB>)
}
