//! One wording of our statements for the three databases that accounts can be in, each by its own driver.
//!
//! A statement is written as SQLite has it, with parameters `?` or `?1`, and is put into the words of the others when it runs; what they have
//! no counterpart of is given to it beside. Rows are locked by `FOR UPDATE`, which SQLite needs not: there a transaction is alone in writing.

mod connect;
mod pool;
mod retry;
mod row;
mod statement;

pub(crate) use connect::{CONNECTIONS, Place, Schema, mysql, postgres};
pub(crate) use pool::{Engine, Pool, Transaction};
pub(crate) use retry::{ATTEMPTS, Overtaken, pause, retried};
pub(crate) use row::{FromRow, Row};
pub(crate) use statement::{On, Query, query};

#[cfg(test)]
mod tests;
