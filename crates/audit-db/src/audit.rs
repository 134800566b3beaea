//! The sink: core's trait, and what is made of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::lock::Mutex;
use session_manager_core::storage::Health;
use session_manager_core::{
    AuditBackend, AuditEvent, Clock, Error, ErrorKind, Random, Result, SystemClock, SystemRandom, UserId,
};
use sqlx::{Pool, Transaction};

use crate::append::Append;
use crate::chain::{Chain, ChainKey};
use crate::config::AuditTable;
use crate::dialect::Dialect;
use crate::erase::{BATCH, Erase};
use crate::error::Failure;
use crate::link::{Borrowed, Link};
use crate::plan::Plan;
use crate::purge::{Purge, Purged};
use crate::queue::{AuditStats, Batching, Queue};
use crate::schema::Check;
use crate::step::Step;

/// How long events are kept where the application does not say: ninety days.
pub const DEFAULT_RETENTION: Duration = Duration::from_hours(90 * 24);

/// Audit events in the application's table.
///
/// # Behaviour
/// - The application gives the pool and the table; the sink opens no connection of its own, changes no schema and starts no task.
/// - As it is made, it is *direct*: [`record`](AuditBackend::record) returns when the events are committed, which is what a `Required` sink
///   has to promise. [`batched`](Self::batched) makes it write in the background.
/// - An event is recorded once, by its id, however often it is told.
/// - A future of [`record`](AuditBackend::record) that is dropped leaves all of its events or none; a batched sink may have queued some of them.
pub struct DbAudit<DB: Dialect, L: Link<DB> = Pool<DB>> {
    name: String,
    link: L,
    plan: Arc<Plan>,
    pub(crate) queue: Option<Queue>,
    pub(crate) keep: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    dialect: std::marker::PhantomData<fn() -> DB>,
}

/// A sink inside the application's own transaction: what it records is committed, or rolled back, with the rest.
pub type DbAuditTransaction<'t, DB> = DbAudit<DB, Borrowed<'t, DB>>;

/// The application's transaction, shared by several adapters that take part in it: see [`share`].
pub type SharedTransaction<'t, DB> = Arc<Mutex<&'t mut <DB as sqlx::Database>::Connection>>;

/// Shares the application's transaction, so that a storage and this sink can both be inside it. When all of them have been dropped, the
/// transaction is the application's alone again.
pub fn share<'t, DB: Dialect>(transaction: &'t mut Transaction<'_, DB>) -> SharedTransaction<'t, DB> {
    Arc::new(Mutex::new(&mut **transaction))
}

impl<DB: Dialect> DbAudit<DB> {
    /// A direct sink over the application's pool and table, without a chain. No statement is run.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a mapping that does not hold together, or that has a [chain](AuditTable::chained), whose key
    /// [`DbAudit::chained`] takes.
    pub fn new(pool: Pool<DB>, mapping: AuditTable) -> Result<Self> {
        if mapping.chain.is_some() {
            return Err(
                Error::new(ErrorKind::Misconfigured, "audit table").because("a chained audit table needs a key")
            );
        }
        Ok(Self::over(pool, Plan::new::<DB>(mapping, None)?))
    }

    /// A direct sink whose rows are chained with this key. No statement is run.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a mapping that does not hold together or has no [chain](AuditTable::chained),
    /// [`ErrorKind::Internal`] when the operating system gives no randomness.
    pub fn chained(pool: Pool<DB>, mapping: AuditTable, key: ChainKey) -> Result<Self> {
        Self::chained_with(pool, mapping, key, Arc::new(SystemRandom::new()?))
    }

    /// As [`DbAudit::chained`], with the application's own source of salts.
    ///
    /// # Errors
    /// As [`DbAudit::chained`].
    pub fn chained_with(pool: Pool<DB>, mapping: AuditTable, key: ChainKey, random: Arc<dyn Random>) -> Result<Self> {
        if mapping.chain.is_none() {
            return Err(Error::new(ErrorKind::Misconfigured, "audit table").because("the audit table has no chain"));
        }
        Ok(Self::over(pool, Plan::new::<DB>(mapping, Some(Chain { key, random }))?))
    }

    fn over(pool: Pool<DB>, plan: Plan) -> Self {
        Self {
            name: "db".to_owned(),
            link: pool,
            plan: Arc::new(plan),
            queue: None,
            keep: Some(DEFAULT_RETENTION),
            clock: Arc::new(SystemClock),
            dialect: std::marker::PhantomData,
        }
    }

    /// Gives it another name than `db`, where there are several.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Lets it write in the background: [`record`](AuditBackend::record) only puts events into a bounded queue.
    ///
    /// # Behaviour
    /// - The application runs [`maintenance`](AuditBackend::maintenance), which writes; without it the queue fills up and then does what
    ///   [`Batching::on_overflow`] says. [`flush`](AuditBackend::flush) writes too, and is to be called before the process ends: what waits is
    ///   lost with it.
    /// - What could not be written waits on and is tried again, in order, after 100 ms, and ever longer pauses up to 30 s.
    /// - So it is for a `BestEffort` sink. A `Required` one promises what it has not yet done.
    pub fn batched(mut self, batching: Batching) -> Self {
        self.queue = Some(Queue::new(batching));
        self
    }

    /// How long events are kept, ninety days by default: [`maintenance`](AuditBackend::maintenance) removes older ones every hour.
    pub const fn keep(mut self, retention: Duration) -> Self {
        self.keep = Some(retention);
        self
    }

    /// Leaves the removal of old events to the application.
    pub const fn keep_for_ever(mut self) -> Self {
        self.keep = None;
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// For a pool whose connections go through a pooler that gives each transaction another connection to the server, such as pgbouncer with
    /// `pool_mode = transaction`: nothing is kept prepared, and each step is a transaction.
    pub fn behind_transaction_pooler(mut self) -> Self {
        Arc::make_mut(&mut self.plan).prepared = false;
        self
    }

    /// The same sink inside the application's transaction, alone in it. It is direct, and known to the manager by the same name.
    ///
    /// # Behaviour
    /// - Each step is a savepoint. With a chain its head is locked until the transaction ends: keep it short, and other writers wait.
    /// - [`ErrorKind::Conflict`] means that the transaction was overtaken: roll it back and repeat it.
    pub fn in_transaction<'t>(&self, transaction: &'t mut Transaction<'_, DB>) -> DbAuditTransaction<'t, DB> {
        self.in_shared_transaction(share(transaction))
    }

    /// The same in a transaction that others, a storage above all, take part in as well.
    pub fn in_shared_transaction<'t>(&self, transaction: SharedTransaction<'t, DB>) -> DbAuditTransaction<'t, DB> {
        DbAudit {
            name: self.name.clone(),
            link: Borrowed::new(transaction),
            plan: Arc::clone(&self.plan),
            queue: None,
            keep: None,
            clock: Arc::clone(&self.clock),
            dialect: std::marker::PhantomData,
        }
    }

    /// What a [batched](Self::batched) sink has done so far; all zero for a direct one.
    pub fn stats(&self) -> AuditStats {
        self.queue.as_ref().map(Queue::stats).unwrap_or_default()
    }
}

impl<DB: Dialect, L: Link<DB>> DbAudit<DB, L> {
    /// Compares the mapping with the live database: missing tables, columns and keys, types that change what they are given and collations
    /// that confuse ids are errors, missing indexes warnings.
    ///
    /// # Errors
    /// Only when the database cannot be reached.
    pub async fn check_schema(&self) -> Result<Health> {
        self.attempt(&Check).await.map_err(|failure| failure.during("audit check").into())
    }

    /// Removes at most `limit` events that happened before `before`.
    ///
    /// # Behaviour
    /// - With a chain only from its beginning: an event waits for those that were recorded earlier. A signed checkpoint stays in their place.
    /// - Any number of nodes may clean up at once.
    ///
    /// # Errors
    /// With a chain, [`ErrorKind::Internal`] when a row that would go does not hold: it is evidence, and nothing is removed.
    pub async fn purge(&self, before: chrono::DateTime<chrono::Utc>, limit: u32) -> Result<Purged> {
        self.attempt(&Purge { before, limit }).await.map_err(|failure| failure.during("audit purge").into())
    }

    /// Erases a person from the trail, and says how many rows named them.
    ///
    /// # Behaviour
    /// - Rows stay, with what happened, when, and to which session. User, actor, client, reason and details of the person's own rows go; where
    ///   somebody else acted, that one and their client stay; where the person acted on another, that one stays.
    /// - With a chain, values and salts go, no other byte of a row changes, and a signed mark tells verification that it was an erasure.
    /// - It works in batches, each a step; repeating it is harmless. End and delete the person's sessions first, so that no new event names them.
    pub async fn erase(&self, person: &UserId) -> Result<u64> {
        self.flush().await?;
        let mut erased = 0_u64;
        loop {
            let found =
                self.attempt(&Erase(person)).await.map_err(|failure| Error::from(failure.during("audit erase")))?;
            erased = erased.saturating_add(found);
            if found < u64::from(BATCH) {
                return Ok(erased);
            }
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) async fn attempt<S: Step<DB>>(&self, step: &S) -> Result<S::Output, Failure> {
        self.link.run(&self.plan, step).await
    }
}

#[async_trait]
impl<DB: Dialect, L: Link<DB>> AuditBackend for DbAudit<DB, L> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let outcome = match &self.queue {
            Some(queue) => self.enqueue(queue, events).await,
            None => self.attempt(&Append(events)).await,
        };
        outcome.map_err(|failure| failure.during("audit record").into())
    }

    async fn flush(&self) -> Result<()> {
        let Some(queue) = &self.queue else { return Ok(()) };
        self.drain(queue, queue.end()).await.map_err(|failure| failure.during("audit flush").into())
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        Self::erase(self, person).await
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        (self.queue.is_some() || self.keep.is_some()).then(|| self.work().boxed())
    }
}

impl<DB: Dialect, L: Link<DB>> fmt::Debug for DbAudit<DB, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbAudit")
            .field("name", &self.name)
            .field("queue", &self.queue.is_some())
            .finish_non_exhaustive()
    }
}
