//! How an operation reaches the database: over the application's pool, or inside the application's transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::lock::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Connection, Pool, Transaction};

use crate::dialect::{Begin, Dialect};
use crate::error::{Failure, classify};
use crate::ops::{Access, Operation};
use crate::plan::Plan;
use crate::statement::{Channel, execute};

/// So often a step of ours is tried that the database gives up in favour of another: a deadlock, a failed serialisation.
const ATTEMPTS: usize = 6;

/// How an operation reaches the database. Sealed: [`Pool`] and [`Borrowed`] are.
#[async_trait]
pub trait Link<DB: Dialect>: Send + Sync + crate::dialect::Sealed {
    /// Whether it is the application's own transaction.
    #[doc(hidden)]
    const IN_TRANSACTION: bool;

    /// Runs an operation as one atomic step.
    #[doc(hidden)]
    async fn run<O: Operation<DB>>(&self, plan: &Plan, operation: &O) -> Result<O::Output, Failure>;
}

/// The application's own transaction.
pub struct Borrowed<'t, DB: Dialect>(Arc<Mutex<&'t mut DB::Connection>>);

impl<'t, DB: Dialect> Borrowed<'t, DB> {
    pub(crate) const fn new(connection: Arc<Mutex<&'t mut DB::Connection>>) -> Self {
        Self(connection)
    }
}

impl<DB: Dialect> std::fmt::Debug for Borrowed<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Borrowed")
    }
}

impl<DB: Dialect> crate::dialect::Sealed for Pool<DB> {}
impl<DB: Dialect> crate::dialect::Sealed for Borrowed<'_, DB> {}

#[async_trait]
impl<DB: Dialect> Link<DB> for Pool<DB> {
    const IN_TRANSACTION: bool = false;

    async fn run<O: Operation<DB>>(&self, plan: &Plan, operation: &O) -> Result<O::Output, Failure> {
        let mut attempt = 1;
        loop {
            match once(self, plan, operation, attempt).await {
                // All of the step has been taken back. No pause: whoever won has what we waited for, and our next attempt waits for them.
                Err(Failure::Overtaken { .. }) if attempt < ATTEMPTS => {
                    plan.repeated.fetch_add(1, Ordering::Relaxed);
                    attempt += 1;
                }
                Err(Failure::Overtaken { code } | Failure::Waited { code }) => return Err(Failure::Busy { code }),
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl<DB: Dialect> Link<DB> for Borrowed<'_, DB> {
    const IN_TRANSACTION: bool = true;

    async fn run<O: Operation<DB>>(&self, plan: &Plan, operation: &O) -> Result<O::Output, Failure> {
        let mut connection = self.0.lock().await;
        match within::<DB, O>(&mut **connection, plan, operation).await {
            // The statement that waited has been taken back, and what the transaction holds may be what the other one waits for.
            Err(Failure::Waited { code }) => Err(Failure::Overtaken { code }),
            outcome => outcome,
        }
    }
}

/// Runs an operation inside the application's transaction.
async fn within<DB: Dialect, O: Operation<DB>>(
    connection: &mut DB::Connection,
    plan: &Plan,
    operation: &O,
) -> Result<O::Output, Failure> {
    if operation.access(plan) != Access::Writes {
        return operation.run(plan, &mut channel::<DB>(plan, connection)).await;
    }
    // A savepoint: what the step gives up, or leaves half-done when it is dropped, leaves nothing in the application's transaction.
    let mut savepoint = connection.begin().await.map_err(classify::<DB>)?;
    let mut inside = Channel { inside: true, ..channel::<DB>(plan, &mut savepoint) };
    if let Some(claim) = &plan.claim {
        execute::<DB>(&mut inside, claim, Vec::new()).await?;
    }
    let output = operation.run(plan, &mut inside).await?;
    let keeps = operation.keeps(&output);
    let ended = if keeps { savepoint.commit().await } else { savepoint.rollback().await };
    ended.map_err(classify::<DB>)?;
    Ok(output)
}

fn channel<'c, DB: Dialect>(plan: &Plan, connection: &'c mut DB::Connection) -> Channel<'c, DB> {
    Channel { connection, prepared: plan.prepared, inside: false }
}

/// Runs an operation on a connection of the pool.
async fn once<DB: Dialect, O: Operation<DB>>(
    pool: &Pool<DB>,
    plan: &Plan,
    operation: &O,
    attempt: usize,
) -> Result<O::Output, Failure> {
    let mut connection = pool.acquire().await.map_err(classify::<DB>)?;
    let begin = match operation.access(plan) {
        // Behind a transaction pooler a statement is prepared and run on one server connection only within a transaction.
        // One that was overtaken runs at our isolation level from then on, whatever the application's default is.
        Access::Statement if plan.prepared && attempt == 1 => {
            return operation.run(plan, &mut channel::<DB>(plan, &mut connection)).await;
        }
        Access::Statement | Access::Writes => DB::BEGIN,
        Access::Reads => DB::BEGIN_READING,
    };
    match begin {
        Begin::Statement(statement) => {
            let transaction = Acquire::acquire(&mut connection).await.map_err(classify::<DB>)?;
            let transaction = transaction.begin_with(statement).await.map_err(classify::<DB>)?;
            managed(transaction, plan, operation).await
        }
        Begin::Guarded(statements) => guarded(connection, statements, plan, operation).await,
    }
}

/// Runs a step in a transaction of the driver's. Dropped before its end, it rolls itself back.
async fn managed<DB: Dialect, O: Operation<DB>>(
    mut transaction: Transaction<'_, DB>,
    plan: &Plan,
    operation: &O,
) -> Result<O::Output, Failure> {
    let output = operation.run(plan, &mut channel::<DB>(plan, &mut transaction)).await?;
    let ended = if operation.keeps(&output) { transaction.commit().await } else { transaction.rollback().await };
    ended.map_err(classify::<DB>)?;
    Ok(output)
}

/// Runs a step in a transaction of our own. Dropped before its end, the connection is closed, and the server rolls back.
async fn guarded<DB: Dialect, O: Operation<DB>>(
    connection: PoolConnection<DB>,
    begin: &'static str,
    plan: &Plan,
    operation: &O,
) -> Result<O::Output, Failure> {
    let mut guard = Guard { connection, open: true };
    DB::command(&mut guard.connection, begin).await.map_err(classify::<DB>)?;
    let outcome = operation.run(plan, &mut channel::<DB>(plan, &mut guard.connection)).await;
    let keeps = outcome.as_ref().is_ok_and(|output| operation.keeps(output));
    let ended = DB::command(&mut guard.connection, if keeps { "COMMIT" } else { "ROLLBACK" }).await;
    guard.open = ended.is_err();
    let output = outcome?;
    ended.map_err(classify::<DB>)?;
    Ok(output)
}

/// A connection with a transaction of ours.
struct Guard<DB: Dialect> {
    connection: PoolConnection<DB>,
    open: bool,
}

impl<DB: Dialect> Drop for Guard<DB> {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}
