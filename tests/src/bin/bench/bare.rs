//! The other side: the bare command or statement on the same connection or pool, with rows and values of the same size.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::{
    measure::{Outcome, Plan, Side, Turn, scatter},
    ours::Operation,
    population::PER_USER,
};

/// Rows, keys or entries, as many as there are sessions beside them, unless a store has more.
pub(crate) const ROWS: usize = 1000;

/// What a storage of sessions is made of, without sessions.
pub(crate) trait Bare: Send + Sync + 'static {
    /// What the four are, in the words of the store.
    const NAMES: Names;

    /// How many there are to read and change.
    fn rows(&self) -> usize {
        ROWS
    }

    /// Reads what a check of a session reads.
    fn get(&self, row: usize) -> impl Future<Output = Outcome> + Send;

    /// Reads the rows of one user, [`PER_USER`] of them.
    fn list(&self, user: usize) -> impl Future<Output = Outcome> + Send;

    /// Changes one row.
    fn update(&self, row: usize) -> impl Future<Output = Outcome> + Send;

    /// Adds one row, whose number is new.
    fn insert(&self, number: u64) -> impl Future<Output = Outcome> + Send;
}

/// How the four are called in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) get: &'static str,
    pub(crate) list: &'static str,
    pub(crate) update: &'static str,
    pub(crate) insert: &'static str,
}

impl Names {
    /// As all SQL databases have it.
    pub(crate) const SQL: Self = Self {
        get: "select by primary key",
        list: "select 5 by user",
        update: "update of one row",
        insert: "insert of one row",
    };
}

/// The counterpart of an [`Operation`].
#[derive(Debug)]
pub(crate) struct Plain<B> {
    bare: Arc<B>,
    operation: Operation,
    /// Across all slices and operations of a bare store.
    next: Arc<AtomicU64>,
}

impl<B: Bare> Plain<B> {
    pub(crate) fn new(bare: Arc<B>, operation: Operation, next: Arc<AtomicU64>) -> Self {
        Self { bare, operation, next }
    }

    pub(crate) const fn name(operation: Operation) -> &'static str {
        match operation {
            Operation::Read | Operation::Authenticate => B::NAMES.get,
            Operation::List => B::NAMES.list,
            Operation::Refresh | Operation::ManagedRefresh | Operation::Revoke => B::NAMES.update,
            Operation::Create | Operation::ManagedCreate => B::NAMES.insert,
        }
    }
}

impl<B: Bare> Side for Plain<B> {
    async fn prepare(&self, _: Plan) -> Outcome {
        Ok(())
    }

    async fn step(&self, turn: Turn) -> Outcome<bool> {
        match self.operation {
            Operation::Read | Operation::Authenticate => self.bare.get(turn.pick(self.bare.rows())).await?,
            Operation::List => self.bare.list(turn.pick(self.bare.rows() / PER_USER)).await?,
            Operation::Refresh | Operation::ManagedRefresh | Operation::Revoke => {
                self.bare.update(turn.pick(self.bare.rows())).await?;
            }
            Operation::Create | Operation::ManagedCreate => {
                self.bare.insert(self.next.fetch_add(1, Ordering::Relaxed)).await?;
            }
        }
        Ok(true)
    }
}

/// The id of a row: as scattered as a session's.
pub(crate) fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(scatter(number), number)
}
