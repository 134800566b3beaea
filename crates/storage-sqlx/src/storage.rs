//! The storage: the contract's methods, each handed to its operation.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::lock::Mutex;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Durability, FeedBatch, FeedCursor,
    Health, Insert, InsertOutcome, Notice, OnceKey, Page, Purge, PurgeScope, Purged, PutOutcome, Query, RevocationFeed,
    Revoke, Revoked, ScanCursor, ScanPage, SessionScan, Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};
use sqlx::{Pool, Transaction};

use crate::config::SessionTable;
use crate::dialect::{Dialect, UserLock};
use crate::error::Failure;
use crate::field::Field;
use crate::link::{Borrowed, Link};
use crate::ops::{
    Announce, Check, Counting, EpochsOf, Listing, Operation, Put, Quick, Read, Remember, Scan, Since, TOUCHED, Touches,
    is_quick, latest,
};
use crate::plan::Plan;

/// Sessions in the application's table.
///
/// # Behaviour
/// - The application gives the pool and the tables; the storage opens no connection of its own and changes no schema.
/// - Dropping a future of any method rolls its step back, or leaves it done.
/// - A busy database is [`ErrorKind::Unavailable`](session_manager_core::ErrorKind::Unavailable), which may be retried. In the application's
///   transaction, [`ErrorKind::Conflict`](session_manager_core::ErrorKind::Conflict) means that the transaction was overtaken: roll it back
///   and begin again.
/// - A batch of touches is one statement in PostgreSQL, and one for every hundred sessions elsewhere.
/// - Each clean-up ([`PurgeScope::EndedBefore`](session_manager_core::storage::PurgeScope::EndedBefore)) also forgets remembered values that have run out and
///   announcements older than [`FeedTable::retention`](crate::FeedTable::retention).
pub struct SqlxStorage<DB: Dialect, L: Link<DB> = Pool<DB>> {
    link: L,
    plan: Arc<Plan>,
    dialect: std::marker::PhantomData<fn() -> DB>,
}

/// A storage inside the application's own transaction: what it does is committed, or rolled back, with the rest.
pub type SqlxTransaction<'t, DB> = SqlxStorage<DB, Borrowed<'t, DB>>;

impl<DB: Dialect> SqlxStorage<DB> {
    /// A storage over the application's pool and tables. No statement is run.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a mapping that does not hold together; the message names what is wrong.
    pub fn new(pool: Pool<DB>, mapping: SessionTable) -> Result<Self> {
        Ok(Self { link: pool, plan: Arc::new(Plan::new::<DB>(mapping)?), dialect: std::marker::PhantomData })
    }

    /// The same storage for a pool whose connections go through a pooler that gives each transaction another connection to the server, such
    /// as pgbouncer with `pool_mode = transaction`.
    ///
    /// # Behaviour
    /// No statement is kept prepared, and each operation is a transaction, also a single read: three round trips more. A pooler that keeps
    /// track of prepared statements itself (pgbouncer from 1.21 with `max_prepared_statements`) does not need it.
    pub fn behind_transaction_pooler(mut self) -> Self {
        Arc::make_mut(&mut self.plan).prepared = false;
        self
    }

    /// The same storage inside the application's transaction.
    ///
    /// # Behaviour
    /// - Every step that writes is a savepoint, which takes its locks before it looks.
    /// - A deadlock, a lock that was waited for too long, or at REPEATABLE READ a snapshot that is too old, is
    ///   [`ErrorKind::Conflict`](session_manager_core::ErrorKind::Conflict): roll the transaction back and repeat it.
    /// - When a future is dropped before it is done, roll the transaction back: the driver may have done so without a word.
    pub fn in_transaction<'t>(&self, transaction: &'t mut Transaction<'_, DB>) -> SqlxTransaction<'t, DB> {
        self.in_shared_transaction(Arc::new(Mutex::new(&mut **transaction)))
    }

    /// The same in a transaction that others take part in as well: an audit sink that records in it, above all. Each of them has a clone of the
    /// handle, and uses the connection in turn; when all are dropped, the transaction is the application's alone again.
    pub fn in_shared_transaction<'t>(
        &self,
        transaction: Arc<Mutex<&'t mut DB::Connection>>,
    ) -> SqlxTransaction<'t, DB> {
        SqlxStorage {
            link: Borrowed::new(transaction),
            plan: Arc::clone(&self.plan),
            dialect: std::marker::PhantomData,
        }
    }
}

impl<DB: Dialect, L: Link<DB>> SqlxStorage<DB, L> {
    /// Compares the mapping with the live database: missing tables, columns and keys, types that change what they are given and collations that
    /// confuse ids and unique indexes that would refuse a sign-in are errors, missing indexes warnings.
    ///
    /// # Errors
    /// Only when the database cannot be reached.
    pub async fn check_schema(&self) -> Result<Health> {
        self.run(&Check { now: None, began: Instant::now() }).await
    }

    /// How often a step of this storage and of its clones was given up by the database in favour of another (a deadlock, a failed
    /// serialisation) and run again. It says how well the steps get along, and is 0 but for locks that somebody else takes in another order.
    pub fn repeated_steps(&self) -> u64 {
        self.plan.repeated.load(Ordering::Relaxed)
    }

    /// Tries the usual course of an operation. In the application's transaction only where a statement that changes nothing is no loss.
    async fn quickly<'r, T, O>(&self, request: &'r T) -> Result<Option<O>>
    where
        T: Sync,
        O: Send,
        Quick<'r, T>: Operation<DB, Output = Option<O>>,
    {
        if L::IN_TRANSACTION && !DB::RETURNS {
            return Ok(None);
        }
        self.run(&Quick { request, judges: !L::IN_TRANSACTION }).await
    }

    async fn run<O: Operation<DB>>(&self, operation: &O) -> Result<O::Output> {
        self.link.run(&self.plan, operation).await.map_err(|failure| failure.during(O::NAME).into())
    }
}

#[async_trait]
impl<DB: Dialect, L: Link<DB>> SessionStorage for SqlxStorage<DB, L> {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full(Durability::Acknowledged);
        capabilities.epochs = self.plan.epochs.is_some();
        capabilities.cap = capabilities.epochs || DB::USER_LOCK != UserLock::None;
        capabilities.remember_once = self.plan.once.is_some();
        capabilities.external = self.plan.has(Field::ExternalSid);
        capabilities.transactions = true;
        capabilities.in_transaction = L::IN_TRANSACTION;
        capabilities
    }

    fn try_read(&self, _key: &SessionKey) -> Option<Option<Snapshot>> {
        None
    }

    async fn read(&self, key: &SessionKey, _consistency: Consistency) -> Result<Option<Snapshot>> {
        let found = self.run(&Read { keys: std::slice::from_ref(key) }).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn read_many(&self, keys: &[SessionKey], _consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.run(&Read { keys }).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        if let Some(outcome) = self.quickly(request).await? {
            return Ok(outcome);
        }
        let mut outcome = self.link.run(&self.plan, request).await;
        if matches!(outcome, Err(Failure::Duplicate)) {
            // Somebody else took the id between our look and our write: perhaps this very insert, sent twice.
            outcome = self.link.run(&self.plan, request).await;
        }
        match outcome {
            Err(Failure::Duplicate) => Ok(InsertOutcome::DuplicateId),
            result => result.map_err(|failure| failure.during(<Insert as Operation<DB>>::NAME).into()),
        }
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        if let Some(outcome) = self.quickly(request).await? {
            return Ok(outcome);
        }
        self.run(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        if !L::IN_TRANSACTION
            && let Some(outcome) = self.quickly(request).await?
        {
            return Ok(outcome);
        }
        self.run(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let latest = latest(batch);
        let together = if self.plan.touch_many.is_some() { latest.len().max(1) } else { TOUCHED };
        let mut touched = 0_u64;
        for batch in latest.chunks(together) {
            touched = touched.saturating_add(self.run(&Touches { batch, now }).await?);
        }
        // What a later activity of the same batch has overtaken was as far already.
        let all = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        Ok(TouchReport::new(touched, all.saturating_sub(touched)))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        if is_quick(request)
            && let Some(outcome) = self.quickly(request).await?
        {
            return Ok(outcome);
        }
        self.run(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        if self.plan.epochs.is_some()
            && !request.new_incarnation
            && let Some(outcome) = self.quickly(request).await?
        {
            return Ok(outcome);
        }
        self.run(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.run(&EpochsOf { user }).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.run(&Listing(query)).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.run(&Counting(query)).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let quick = match request.scope {
            PurgeScope::One(_) => DB::RETURNS,
            PurgeScope::EndedBefore(_) => DB::WRITES_IN_CTE,
            _ => false,
        };
        if quick && let Some(outcome) = self.quickly(request).await? {
            return Ok(outcome);
        }
        self.run(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.run(&Remember { key, now, until }).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.run(&Check { now: Some(now), began: Instant::now() }).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        // Where another connection can write beside a transaction, announcements have to be seen before it commits.
        (self.plan.feed.is_some() && !(L::IN_TRANSACTION && DB::MARK.is_some())).then_some(self)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(self)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[async_trait]
impl<DB: Dialect, L: Link<DB>> RevocationFeed for SqlxStorage<DB, L> {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.run(&Announce { notices }).await
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, _now: DateTime<Utc>) -> Result<FeedBatch> {
        self.run(&Since { cursor, limit }).await
    }

    /// What the mapping says: nothing but a clean-up removes announcements.
    fn retention(&self) -> Option<Duration> {
        self.plan.mapping.feed.as_ref().map(|feed| feed.retention)
    }
}

#[async_trait]
impl<DB: Dialect, L: Link<DB>> SessionScan for SqlxStorage<DB, L> {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        self.run(&Scan { cursor, limit }).await
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        match self.link.run(&self.plan, &Put { snapshot }).await {
            // Somebody else took the id between our look and our write.
            Err(Failure::Duplicate) => Ok(PutOutcome::Kept),
            result => result.map_err(|failure| failure.during(<Put<'_> as Operation<DB>>::NAME).into()),
        }
    }
}

impl<DB: Dialect> Clone for SqlxStorage<DB> {
    /// The same pool and the same statements.
    fn clone(&self) -> Self {
        Self { link: self.link.clone(), plan: Arc::clone(&self.plan), dialect: self.dialect }
    }
}

impl<DB: Dialect, L: Link<DB>> fmt::Debug for SqlxStorage<DB, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlxStorage")
            .field("database", &DB::NAME)
            .field("table", &self.plan.table)
            .finish_non_exhaustive()
    }
}
